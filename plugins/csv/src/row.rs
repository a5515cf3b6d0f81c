//! One row of cells as a JSON object and its key.

use crossdock_sdk::prelude::{BatchBuilder, Fault};

use crate::dialect::Dialect;
use crate::scan::{Cell, unescape};
use crate::value::{self, Empty, Kind};

/// The longest row that is built in the scratch buffer; longer ones are rare and grow it for good only up to here.
const SCRATCH: usize = 256 * 1024;
/// Copies run up to this far beyond the end of what they copy: two instructions instead of a call.
const STRIDE: usize = 16;

/// How the rows of one file become records.
pub(crate) struct Plan {
    columns: Vec<Column>,
    /// Columns of the key, in the order of the config.
    key: Vec<usize>,
    dialect: Dialect,
    empty: Empty,
    pad: bool,
    /// Sum of the lengths of all names in JSON, with quotes, colon, comma.
    names: usize,
    scratch: Vec<u8>,
    cell: Vec<u8>,
    key_text: Vec<u8>,
}

struct Column {
    name: String,
    /// `,"name":`, and for texts the opening quote. Padded to a multiple of the stride.
    prefix: Vec<u8>,
    prefix_len: usize,
    kind: Kind,
}

impl Plan {
    pub(crate) fn new(
        names: &[String],
        kinds: impl Fn(&str) -> Kind,
        key: Vec<usize>,
        dialect: Dialect,
        (empty, pad): (Empty, bool),
    ) -> Self {
        let columns: Vec<Column> = names
            .iter()
            .map(|name| Column::new(name, kinds(name)))
            .collect();
        let names = columns.iter().map(|column| column.prefix.len() + 8).sum();
        Self {
            columns,
            key,
            dialect,
            empty,
            pad,
            names,
            scratch: Vec::new(),
            cell: Vec::new(),
            key_text: Vec::new(),
        }
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.columns
            .iter()
            .map(|column| column.name.as_str())
            .collect()
    }

    /// Adds the row to the batch. The text is valid UTF-8. A fault names the column; the caller adds file and line.
    pub(crate) fn push(
        &mut self,
        text: &[u8],
        cells: &mut Vec<Cell>,
        out: &mut BatchBuilder,
    ) -> Result<(), Fault> {
        if cells.len() != self.columns.len() {
            self.even_out(cells)?;
        }
        let length: usize = cells.iter().map(|cell| cell.end - cell.start).sum();
        let bound = self.names + 6 * length + STRIDE * (cells.len() + 1);
        if self.scratch.len() < bound {
            self.scratch.resize(bound, 0);
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let written = self.write(text, cells, &mut scratch);
        let result = written.and_then(|end| {
            let key = self.key(text, cells)?;
            out.push(key, scratch.get(..end).unwrap_or_default());
            Ok(())
        });
        if scratch.len() > SCRATCH {
            scratch.truncate(SCRATCH);
            scratch.shrink_to_fit();
        }
        self.scratch = scratch;
        result
    }

    fn even_out(&self, cells: &mut Vec<Cell>) -> Result<(), Fault> {
        let (found, expected) = (cells.len(), self.columns.len());
        let superfluous = cells.get(expected..).unwrap_or_default();
        if !self.pad || superfluous.iter().any(|cell| cell.end > cell.start) {
            let message = format!("the row has {found} cells, the header has {expected} columns");
            return Err(Fault::permanent(message));
        }
        cells.resize(
            expected,
            Cell {
                start: 0,
                end: 0,
                quoted: false,
                escaped: false,
                special: false,
            },
        );
        Ok(())
    }

    fn write(&mut self, text: &[u8], cells: &[Cell], scratch: &mut [u8]) -> Result<usize, Fault> {
        let mut at = 0;
        for (index, (column, cell)) in self.columns.iter().zip(cells).enumerate() {
            if cell.start == cell.end && (column.kind != Kind::Text || self.empty != Empty::Text) {
                if self.empty != Empty::Omit {
                    let name = column.prefix_len - usize::from(column.kind == Kind::Text);
                    at = copy_exact(scratch, at, column.prefix.get(..name).unwrap_or_default());
                    at = copy_exact(scratch, at, b"null");
                }
                continue;
            }
            at = copy(scratch, at, &column.prefix, 0, column.prefix_len);
            if column.kind == Kind::Text && !cell.special {
                at = copy(scratch, at, text, cell.start, cell.end - cell.start);
                at = copy_exact(scratch, at, b"\"");
                continue;
            }
            self.cell.clear();
            let raw = text.get(cell.start..cell.end).unwrap_or_default();
            let mut unescaped = Vec::new();
            let raw = if cell.escaped {
                unescape(text, *cell, self.dialect, &mut unescaped);
                &unescaped
            } else {
                raw
            };
            if column.kind == Kind::Text {
                value::escape(raw, &mut self.cell);
                self.cell.push(b'"');
            } else if !value::write(column.kind, raw, &mut self.cell) {
                return Err(not_a_value(column, index, raw));
            }
            at = copy_exact(scratch, at, &self.cell);
        }
        // Every field begins with a comma; that of the first makes room for the brace.
        at = at.max(1);
        if let Some(first) = scratch.first_mut() {
            *first = b'{';
        }
        Ok(copy_exact(scratch, at, b"}"))
    }

    /// The record's key: the text of its column, or a JSON array of texts when there are several.
    fn key<'a>(&'a mut self, text: &'a [u8], cells: &[Cell]) -> Result<&'a [u8], Fault> {
        let Some(first) = self.key.first() else {
            return Ok(b"");
        };
        let cell_at = |column: &usize| cells.get(*column).copied();
        if self
            .key
            .iter()
            .all(|column| cell_at(column).is_none_or(|cell| cell.start == cell.end))
        {
            let names: Vec<&str> = self
                .key
                .iter()
                .filter_map(|column| Some(self.columns.get(*column)?.name.as_str()))
                .collect();
            return Err(Fault::permanent(format!(
                "the key (`{}`) is empty",
                names.join("`, `")
            )));
        }
        self.key_text.clear();
        if self.key.len() == 1 {
            let Some(cell) = cell_at(first) else {
                return Ok(b"");
            };
            if !cell.escaped {
                return Ok(text.get(cell.start..cell.end).unwrap_or_default());
            }
            unescape(text, cell, self.dialect, &mut self.key_text);
            return Ok(&self.key_text);
        }
        for column in &self.key {
            self.key_text
                .push(if self.key_text.is_empty() { b'[' } else { b',' });
            self.cell.clear();
            if let Some(cell) = cell_at(column) {
                if cell.escaped {
                    unescape(text, cell, self.dialect, &mut self.cell);
                } else {
                    self.cell
                        .extend_from_slice(text.get(cell.start..cell.end).unwrap_or_default());
                }
            }
            value::text(&self.cell, &mut self.key_text);
        }
        self.key_text.push(b']');
        Ok(&self.key_text)
    }
}

impl Column {
    fn new(name: &str, kind: Kind) -> Self {
        let mut prefix = vec![b','];
        value::text(name.as_bytes(), &mut prefix);
        prefix.push(b':');
        if kind == Kind::Text {
            prefix.push(b'"');
        }
        let prefix_len = prefix.len();
        prefix.resize(prefix_len.next_multiple_of(STRIDE), 0);
        Self {
            name: name.to_owned(),
            prefix,
            prefix_len,
            kind,
        }
    }
}

fn not_a_value(column: &Column, index: usize, cell: &[u8]) -> Fault {
    let expected = match column.kind {
        Kind::Text => "text",
        Kind::Number => "a number",
        Kind::Integer => "an integer",
        Kind::Boolean => "a boolean (true/false, 1/0, yes/no)",
        Kind::Json => "JSON",
    };
    let shown: String = String::from_utf8_lossy(cell).chars().take(40).collect();
    Fault::permanent(format!(
        "column {} `{}`: `{shown}` is not {expected}",
        index + 1,
        column.name
    ))
}

/// Copies `length` bytes in strides; what is behind them in `to` is overwritten with anything, up to a stride.
#[inline]
fn copy(to: &mut [u8], at: usize, from: &[u8], start: usize, length: usize) -> usize {
    let mut done = 0;
    while done < length {
        let source = from
            .get(start + done..)
            .and_then(<[u8]>::first_chunk::<STRIDE>);
        let target = to
            .get_mut(at + done..)
            .and_then(<[u8]>::first_chunk_mut::<STRIDE>);
        let (Some(source), Some(target)) = (source, target) else {
            let rest = from.get(start + done..start + length).unwrap_or_default();
            return copy_exact(to, at + done, rest);
        };
        *target = *source;
        done += STRIDE;
    }
    at + length
}

#[inline]
fn copy_exact(to: &mut [u8], at: usize, from: &[u8]) -> usize {
    if let Some(room) = to.get_mut(at..at + from.len()) {
        room.copy_from_slice(from);
    }
    at + from.len()
}
