//! How records lie in a CSV file: preamble, header, rows.

use std::collections::BTreeMap;

use crossdock_sdk::prelude::{BatchBuilder, Fault, Result};
use file_drop::DropError;
use file_drop::layout::{Layout, Skipped, Skipper, Step, View};
use file_drop::window::Window;

use crate::dialect::Dialect;
use crate::header;
use crate::row::Plan;
use crate::scan::{Cell, Found, Scanner, unescape};
use crate::sniff;
use crate::value::{Empty, Kind};

/// What the config says about the rows of all files.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    /// Its delimiter is not used when `sniff` is set.
    pub(crate) dialect: Dialect,
    pub(crate) sniff: bool,
    pub(crate) header: bool,
    pub(crate) columns: Option<Vec<String>>,
    pub(crate) key: Vec<String>,
    pub(crate) types: BTreeMap<String, Kind>,
    pub(crate) empty: Empty,
    pub(crate) pad: bool,
    pub(crate) skip_lines: u64,
    pub(crate) max_record_bytes: usize,
}

/// The CSV layout.
pub(crate) struct CsvLayout {
    rows: Rows,
    scanner: Scanner,
    plan: Plan,
    cells: Vec<Cell>,
    reported: Vec<String>,
}

impl CsvLayout {
    pub(crate) fn new(rows: Rows) -> Self {
        let scanner = Scanner::new(rows.dialect);
        let plan = Plan::new(
            &[],
            |_| Kind::Text,
            Vec::new(),
            rows.dialect,
            (rows.empty, rows.pad),
        );
        Self {
            rows,
            scanner,
            plan,
            cells: Vec::new(),
            reported: Vec::new(),
        }
    }

    /// The columns of the file that reading stands in.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.plan.names()
    }

    fn skip_lines(&self, window: &mut Window) -> Result<u64, DropError> {
        let mut lines = 0;
        while lines < self.rows.skip_lines {
            if let Some(at) = memchr::memchr(b'\n', window.text()) {
                window.consume(at + 1);
                lines += 1;
                continue;
            }
            window.consume(window.text().len());
            if window.ended() {
                break;
            }
            window.fill()?;
        }
        Ok(lines)
    }

    fn choose_delimiter(
        &self,
        window: &mut Window,
        note: Option<&str>,
    ) -> Result<Dialect, DropError> {
        let mut dialect = self.rows.dialect;
        if !self.rows.sniff {
            return Ok(dialect);
        }
        if let Some([delimiter]) = note.map(str::as_bytes) {
            return Ok(Dialect {
                delimiter: *delimiter,
                ..dialect
            });
        }
        while window.text().len() < sniff::SAMPLE && !window.ended() {
            window.fill()?;
        }
        let text = window.text();
        let sample = text.get(..sniff::SAMPLE).unwrap_or(text);
        dialect.delimiter = sniff::delimiter(
            sample,
            window.ended() && sample.len() == text.len(),
            dialect,
        );
        crossdock_sdk::info!(
            "`{}`: the delimiter is {:?}",
            window.path(),
            char::from(dialect.delimiter)
        );
        Ok(dialect)
    }

    /// The first record as texts, consumed. `None`: the file has none.
    fn first_record(
        &mut self,
        window: &mut Window,
        lines: &mut u64,
    ) -> Result<Option<Vec<String>>> {
        loop {
            let text = window.text();
            let at = |lines: u64| format!("{}:{}", window.path(), lines + 1);
            match self.scanner.scan(text, window.ended(), &mut self.cells) {
                Found::More if window.ended() => return Ok(None),
                Found::More if text.len() > self.rows.max_record_bytes => {
                    return Err(
                        Fault::permanent("the header is longer than `max-record-bytes`")
                            .at(at(*lines)),
                    );
                }
                Found::More => window.fill()?,
                Found::Nothing { used, lines: more } => {
                    window.consume(used);
                    *lines += more;
                }
                Found::Stray { column, .. } => {
                    let message = format!("header, column {column}: text behind the closing quote");
                    return Err(Fault::permanent(message).at(at(*lines)));
                }
                Found::Open { line, .. } => {
                    let message = "the file is truncated: a quote of its header is never closed";
                    return Err(Fault::permanent(message).at(at(*lines + line)));
                }
                Found::Record { used, lines: more } => {
                    if used > window.valid() {
                        let message = "the header is not valid UTF-8; if the file is no UTF-8, set `encoding`";
                        return Err(Fault::permanent(message).at(at(*lines)));
                    }
                    let mut names = Vec::with_capacity(self.cells.len());
                    for cell in &self.cells {
                        let mut name = Vec::new();
                        unescape(text, *cell, self.scanner.dialect(), &mut name);
                        names.push(String::from_utf8_lossy(&name).into_owned());
                    }
                    window.consume(used);
                    *lines += more;
                    return Ok(Some(names));
                }
            }
        }
    }

    fn columns(&mut self, window: &mut Window, lines: &mut u64) -> Result<Vec<String>> {
        if self.rows.header {
            let Some(found) = self.first_record(window, lines)? else {
                return Ok(Vec::new());
            };
            self.warn_of_one_column(&found, window.path());
            let Some(given) = &self.rows.columns else {
                return Ok(self.made_unique(found, window.path()));
            };
            if given.len() != found.len() {
                let message = format!(
                    "{} columns are named, but the header has {}",
                    given.len(),
                    found.len()
                );
                return Err(Fault::config(message)
                    .field("/columns")
                    .at(format!("{}:{lines}", window.path())));
            }
            return Ok(given.clone());
        }
        if let Some(given) = &self.rows.columns {
            return Ok(given.clone());
        }
        // No header and no names: the first row says how many columns there are, and stays where it is.
        let (width, ended) = loop {
            let text = window.text();
            match self.scanner.scan(text, window.ended(), &mut self.cells) {
                Found::More if !window.ended() && text.len() <= self.rows.max_record_bytes => {
                    window.fill()?;
                }
                Found::Nothing { used, lines: more } => {
                    window.consume(used);
                    *lines += more;
                }
                found => break (self.cells.len(), matches!(found, Found::More)),
            }
        };
        Ok(if ended {
            Vec::new()
        } else {
            (1..=width)
                .map(|number| format!("column_{number}"))
                .collect()
        })
    }

    fn made_unique(&mut self, found: Vec<String>, path: &str) -> Vec<String> {
        let (names, renamed) = header::unique(found);
        if let Some(sentence) = renamed
            .sentence()
            .filter(|sentence| !self.reported.contains(sentence))
        {
            crossdock_sdk::warn!("`{path}`: {sentence}");
            self.reported.push(sentence);
        }
        names
    }

    fn warn_of_one_column(&self, found: &[String], path: &str) {
        let delimiter = self.scanner.dialect().delimiter;
        if let [only] = found
            && let Some(other) = [';', ',', '\t', '|']
                .iter()
                .find(|sign| only.contains(**sign))
        {
            let delimiter = char::from(delimiter);
            crossdock_sdk::warn!(
                "`{path}` has one column, `{only}`: is the delimiter {other:?}, not {delimiter:?}?"
            );
        }
    }

    fn plan(&self, names: &[String], path: &str) -> Result<Plan> {
        let known =
            |name: &String, field: String| match names.iter().position(|column| column == name) {
                Some(index) => Ok(index),
                None => Err(Fault::config(format!("`{path}` has no column `{name}`"))
                    .field(field)
                    .advice(format!("its columns are: {}", names.join(", ")))),
            };
        let mut key = Vec::new();
        for name in &self.rows.key {
            key.push(known(name, "/key".to_owned())?);
        }
        for name in self.rows.types.keys() {
            known(
                name,
                format!("/types/{}", name.replace('~', "~0").replace('/', "~1")),
            )?;
        }
        let kinds = |name: &str| self.rows.types.get(name).copied().unwrap_or_default();
        Ok(Plan::new(
            names,
            kinds,
            key,
            self.scanner.dialect(),
            (self.rows.empty, self.rows.pad),
        ))
    }
}

impl Layout for CsvLayout {
    type Skipper = RowSkipper;

    fn begin(&mut self, window: &mut Window, note: Option<&str>) -> Result<(u64, String)> {
        let mut lines = self.skip_lines(window)?;
        let dialect = self.choose_delimiter(window, note)?;
        self.scanner = Scanner::new(dialect);
        let names = self.columns(window, &mut lines)?;
        // A file without any record has no columns, and nobody misses one.
        if !names.is_empty() {
            self.plan = self.plan(&names, window.path())?;
        }
        let note = if self.rows.sniff {
            char::from(dialect.delimiter).to_string()
        } else {
            String::new()
        };
        Ok((lines, note))
    }

    fn step(&mut self, view: View<'_>, out: &mut BatchBuilder) -> Step {
        match self.scanner.scan(view.text, view.ended, &mut self.cells) {
            Found::More => Step::More,
            Found::Nothing { used, lines } => Step::Skip { used, lines },
            Found::Record { used, lines } => {
                if let Some(fault) = view.text_fault(used) {
                    return Step::Unreadable { used, lines, fault };
                }
                match self.plan.push(view.text, &mut self.cells, out) {
                    Ok(()) => Step::Record { used, lines },
                    Err(fault) => Step::Unreadable {
                        used,
                        lines,
                        fault: fault.at(view.location(0)),
                    },
                }
            }
            Found::Stray {
                used,
                lines,
                column,
            } => {
                let message = format!("column {column}: text behind the closing quote");
                Step::Unreadable {
                    used,
                    lines,
                    fault: Fault::permanent(message).at(view.location(0)),
                }
            }
            Found::Open {
                used,
                lines,
                line,
                column,
            } => {
                let message = format!(
                    "the file is truncated: the quote opened here, in column {column}, is never closed"
                );
                Step::Unreadable {
                    used,
                    lines,
                    fault: Fault::permanent(message).at(view.location(line)),
                }
            }
        }
    }

    fn skipper(&self) -> RowSkipper {
        RowSkipper {
            dialect: self.scanner.dialect(),
            place: Place::Start,
        }
    }
}

/// Finds the end of a row without keeping its cells.
pub(crate) struct RowSkipper {
    dialect: Dialect,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At the start of a cell.
    Start,
    Plain,
    Quoted,
    /// Behind a quote inside quotes: doubled, or the end.
    Quote,
    /// In stray text behind a closing quote, where nothing quotes or escapes.
    Behind,
}

impl Skipper for RowSkipper {
    fn skip(&mut self, text: &[u8], ended: bool) -> Skipped {
        let mut lines = 0;
        let mut bytes = text.iter().copied().enumerate();
        let skipped = |used, lines, done| Skipped { used, lines, done };
        while let Some((at, byte)) = bytes.next() {
            let is_quote = Some(byte) == self.dialect.quote;
            let closed = matches!(self.place, Place::Quote | Place::Behind);
            if byte == b'\\' && self.dialect.backslash && !closed {
                match text.get(at + 1) {
                    None if !ended => return skipped(at, lines, false),
                    None => {}
                    Some(b'\r') => match text.get(at + 2) {
                        None if !ended => return skipped(at, lines, false),
                        // It is left to be counted with its line feed.
                        Some(b'\n') => {}
                        _ => {
                            lines += 1;
                            bytes.next();
                        }
                    },
                    Some(next) => {
                        lines += u64::from(*next == b'\n');
                        bytes.next();
                    }
                }
                if self.place == Place::Start {
                    self.place = Place::Plain;
                }
                continue;
            }
            if matches!(byte, b'\n' | b'\r') {
                let next = text.get(at + 1);
                if byte == b'\r' && next.is_none() && !ended {
                    return skipped(at, lines, false);
                }
                let pair = byte == b'\r' && next == Some(&b'\n');
                if self.place != Place::Quoted {
                    return skipped(at + 1 + usize::from(pair), lines + 1, true);
                }
                lines += u64::from(!pair);
                continue;
            }
            self.place = match self.place {
                Place::Quoted if is_quote => Place::Quote,
                Place::Quoted => Place::Quoted,
                Place::Quote if is_quote => Place::Quoted,
                _ if byte == self.dialect.delimiter => Place::Start,
                Place::Quote | Place::Behind => Place::Behind,
                Place::Start if is_quote => Place::Quoted,
                Place::Start if self.dialect.trim && matches!(byte, b' ' | b'\t') => Place::Start,
                _ => Place::Plain,
            };
        }
        skipped(text.len(), lines, false)
    }

    fn fault_at_end(&self) -> Option<&'static str> {
        (self.place == Place::Quoted)
            .then_some("the file is truncated: a quote of it is never closed")
    }
}
