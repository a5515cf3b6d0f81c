//! CSV files as a sink.

use std::borrow::Cow;
use std::collections::HashMap;

use crossdock_sdk::json::Object;
use crossdock_sdk::prelude::{Batch, Fault, Form, Op, Record, Result, Sink, Written};
use file_drop::output::{Ending, Mode, Output, WriteSettings, ending};
use file_drop::text::Encoding;
use file_drop::window::Window;
use serde::Deserialize;

use crate::dialect::{Dialect, Sign};
use crate::scan::{Found, Scanner, unescape};
use crate::write::{Signs, cell_text};

/// The sink's config; `plugin.json` describes every field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct SinkConfig {
    file: String,
    #[serde(default)]
    mode: Mode,
    gzip: Option<bool>,
    columns: Option<Vec<ColumnConfig>>,
    #[serde(default)]
    unknown: Unknown,
    #[serde(default = "comma")]
    delimiter: Sign,
    #[serde(default = "quote")]
    quote: Sign,
    #[serde(default)]
    line_end: LineEnd,
    #[serde(default)]
    encoding: Encoding,
    bom: Option<bool>,
    #[serde(default = "yes")]
    header: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ColumnConfig {
    Field(String),
    Renamed(Renamed),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Renamed {
    field: String,
    name: String,
}

/// What becomes of a field that has no column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Unknown {
    /// The record is refused.
    #[default]
    Reject,
    /// The field is left out.
    Ignore,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LineEnd {
    #[default]
    Lf,
    Crlf,
}

fn comma() -> Sign {
    Sign::Byte(b',')
}

fn quote() -> Sign {
    Sign::Byte(b'"')
}

fn yes() -> bool {
    true
}

/// One column: where its value is and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Column {
    /// A name, or a JSON pointer when it begins with `/`.
    field: String,
    name: String,
}

/// The columns of one file.
#[derive(Debug)]
struct Sheet {
    columns: Vec<Column>,
    /// Where each plain field goes.
    places: HashMap<String, usize>,
}

/// Writes CSV files.
#[derive(Debug)]
pub(crate) struct CsvSink {
    output: Output,
    signs: Signs,
    columns: Option<Vec<Column>>,
    unknown: Unknown,
    header: bool,
    bom: bool,
    sheets: HashMap<String, Sheet>,
    scratch: Vec<u8>,
    row: Vec<u8>,
}

impl SinkConfig {
    fn resolve(self) -> Result<(WriteSettings, Signs, Option<Vec<Column>>)> {
        let unfit = |field: &str, message: &str| Err(Fault::config(message).field(field));
        let Sign::Byte(delimiter) = self.delimiter else {
            return unfit("/delimiter", "the delimiter must be one ASCII character");
        };
        let Sign::Byte(quote) = self.quote else {
            return unfit("/quote", "the quote must be one ASCII character");
        };
        Dialect {
            delimiter,
            quote: Some(quote),
            backslash: false,
            comment: None,
            trim: false,
        }
        .checked()?;
        let columns = match self.columns {
            None => None,
            Some(columns) if columns.is_empty() => {
                return unfit("/columns", "there must be at least one column");
            }
            Some(columns) => Some(columns.into_iter().map(Column::from).collect()),
        };
        let line_end = if self.line_end == LineEnd::Crlf {
            "\r\n"
        } else {
            "\n"
        };
        let signs = Signs {
            delimiter,
            quote,
            line_end,
            encoding: self.encoding,
        };
        let settings = WriteSettings {
            file: self.file,
            mode: self.mode,
            gzip: self.gzip,
        };
        settings.check()?;
        Ok((settings, signs, columns))
    }
}

impl From<ColumnConfig> for Column {
    fn from(config: ColumnConfig) -> Self {
        match config {
            ColumnConfig::Field(field) => Self {
                name: field.clone(),
                field,
            },
            ColumnConfig::Renamed(Renamed { field, name }) => Self { field, name },
        }
    }
}

impl Sheet {
    fn new(columns: Vec<Column>) -> Self {
        let places = columns
            .iter()
            .enumerate()
            .filter(|(_, column)| !column.field.starts_with('/'))
            .map(|(index, column)| (column.field.clone(), index))
            .collect();
        Self { columns, places }
    }

    /// Columns that are called like the fields.
    fn named(names: impl IntoIterator<Item = String>) -> Self {
        Self::new(
            names
                .into_iter()
                .map(|name| Column {
                    field: name.clone(),
                    name,
                })
                .collect(),
        )
    }

    /// The first segment of a pointer counts as known, too.
    fn knows(&self, field: &str) -> bool {
        self.places.contains_key(field)
            || self.columns.iter().any(|column| {
                column.field.strip_prefix('/').is_some_and(|pointer| {
                    pointer
                        .split('/')
                        .next()
                        .is_some_and(|first| first.replace("~1", "/").replace("~0", "~") == field)
                })
            })
    }
}

impl Sink for CsvSink {
    type Config = SinkConfig;

    fn check(config: SinkConfig) -> Result<()> {
        config.resolve().map(drop)
    }

    fn open(config: SinkConfig, snapshot: Option<&[u8]>) -> Result<Self> {
        let (unknown, header) = (config.unknown, config.header);
        let wide = matches!(config.encoding, Encoding::Utf16 | Encoding::Utf16Be);
        let bom = config.bom.unwrap_or(wide);
        let (settings, signs, columns) = config.resolve()?;
        let output = Output::open(settings, snapshot)?;
        let (sheets, scratch, row) = (HashMap::new(), Vec::new(), Vec::new());
        Ok(Self {
            output,
            signs,
            columns,
            unknown,
            header,
            bom,
            sheets,
            scratch,
            row,
        })
    }

    fn write(&mut self, batch: &Batch, written: &mut Written) -> Result<()> {
        let refused = |fault: &Fault, written: &mut Written| {
            (0..batch.len()).for_each(|index| written.reject(index, fault.clone()));
        };
        if batch.form() != Form::Json {
            refused(
                &Fault::permanent("a CSV row is made of a JSON object, this is no JSON"),
                written,
            );
            return Ok(());
        }
        let path = match self.output.settings().path_of(batch.stream()) {
            Ok(path) => path,
            Err(fault) => {
                refused(&fault, written);
                return Ok(());
            }
        };
        for record in batch.records() {
            match self.write_row(&path, record) {
                Ok(()) => {}
                Err(fault @ Fault::Permanent(_)) => written.reject(record.index(), fault),
                Err(fault) => return Err(fault),
            }
        }
        self.output.pass_on(&path)
    }

    fn finish(&mut self) -> Result<()> {
        if self.output.is_empty_run() {
            let path = self.output.settings().file.clone();
            let columns = self.columns.clone();
            self.prepare(&path, || {
                columns.map(|columns| columns.into_iter().map(|column| column.field).collect())
            })?;
            self.output.target(&path)?.buffer();
        }
        self.output.finish()
    }

    fn snapshot(&mut self) -> Result<Vec<u8>> {
        self.output.snapshot()
    }

    fn commit(&mut self, snapshot: &[u8]) -> Result<()> {
        self.output.commit(snapshot)?;
        // A run that begins after this one starts its files anew.
        let output = &mut self.output;
        self.sheets.retain(|path, _| output.is_open(path));
        Ok(())
    }
}

impl CsvSink {
    fn write_row(&mut self, path: &str, record: Record<'_>) -> Result<()> {
        if record.op() == Op::Delete {
            return Err(Fault::permanent(
                "a CSV file cannot take a delete: its rows stay",
            ));
        }
        let object = record.object()?;
        self.prepare(path, || {
            Some(object.iter().map(|(name, _)| name.into_owned()).collect())
        })?;
        let Some(sheet) = self.sheets.get(path) else {
            return Ok(());
        };
        let cells = cells_of(sheet, &object, self.unknown)?;
        self.row.clear();
        if let Err(bad) = self
            .signs
            .row(cells.into_iter(), &mut self.scratch, &mut self.row)
        {
            let field = sheet
                .columns
                .get(bad.column)
                .map_or("", |column| column.field.as_str());
            let (sign, code) = (bad.sign, u32::from(bad.sign));
            let encoding = self.signs.encoding.name();
            let message = format!(
                "field `{field}`: the character `{sign}` (U+{code:04X}) is not in {encoding}"
            );
            return Err(Fault::permanent(message));
        }
        self.output
            .target(path)?
            .buffer()
            .extend_from_slice(&self.row);
        self.output.pass_on(path)
    }

    /// Makes sure that the columns of a file are known and its header is written. `fields` are those of the first
    /// record, used when neither the config nor the file names any.
    fn prepare(&mut self, path: &str, fields: impl FnOnce() -> Option<Vec<String>>) -> Result<()> {
        if self.sheets.contains_key(path) {
            return Ok(());
        }
        let (signs, header) = (self.signs, self.header);
        let target = self.output.target(path)?;
        let continued = !target.is_untouched();
        let appended = !continued && !target.is_blank();
        let sheet = if !target.note().is_empty() {
            Sheet::named(serde_json::from_str::<Vec<String>>(target.note())?)
        } else if let Some(columns) = &self.columns {
            if appended && header {
                check_header(path, signs, columns)?;
            }
            Sheet::new(columns.clone())
        } else {
            let found = if appended && header {
                existing_header(path, signs)?
            } else {
                None
            };
            let Some(names) = found.or_else(fields) else {
                return Ok(());
            };
            if names.is_empty() {
                return Err(Fault::permanent(
                    "the first record has no fields, so there are no columns",
                ));
            }
            target.set_note(serde_json::to_string(&names)?);
            Sheet::named(names)
        };
        if !continued {
            let mut start = Vec::new();
            if appended {
                let wide = matches!(signs.encoding, Encoding::Utf16 | Encoding::Utf16Be);
                if ending(path, wide)? == Ending::Open {
                    let _ = signs.encoding.encode(signs.line_end, &mut start);
                }
            } else {
                if self.bom {
                    start.extend_from_slice(signs.encoding.mark());
                }
                if header {
                    let names = sheet
                        .columns
                        .iter()
                        .map(|column| Cow::Borrowed(column.name.as_str()));
                    if let Err(bad) = signs.row(names, &mut self.scratch, &mut start) {
                        let message = format!(
                            "a column name has `{}`, which is not in {}",
                            bad.sign,
                            signs.encoding.name()
                        );
                        return Err(Fault::config(message).field("/columns"));
                    }
                }
            }
            target.buffer().extend_from_slice(&start);
        }
        self.sheets.insert(path.to_owned(), sheet);
        Ok(())
    }
}

/// The texts of the cells of one row.
fn cells_of<'a>(
    sheet: &Sheet,
    object: &'a Object<'_>,
    unknown: Unknown,
) -> Result<Vec<Cow<'a, str>>> {
    let mut cells: Vec<Cow<'a, str>> = vec![Cow::Borrowed(""); sheet.columns.len()];
    for (position, (name, value)) in object.iter().enumerate() {
        // Records of one stream mostly have their fields in the order of the columns.
        let place = match sheet.columns.get(position) {
            Some(column) if column.field == *name => Some(position),
            _ => sheet.places.get(name.as_ref()).copied(),
        };
        match place.and_then(|place| cells.get_mut(place)) {
            Some(cell) => *cell = cell_text(&value),
            None if unknown == Unknown::Reject && !sheet.knows(&name) => {
                let message = format!(
                    "field `{name}` has no column: name it in `columns`, or set `unknown: ignore`"
                );
                return Err(Fault::permanent(message));
            }
            None => {}
        }
    }
    if sheet.places.len() < sheet.columns.len() {
        for (column, cell) in sheet.columns.iter().zip(&mut cells) {
            let value = match column.field.strip_prefix('/') {
                None => object.get(&column.field),
                Some(pointer) => {
                    let (first, rest) = pointer
                        .split_once('/')
                        .map_or((pointer, None), |(a, b)| (a, Some(b)));
                    let value = object.get(&first.replace("~1", "/").replace("~0", "~"));
                    match rest {
                        None => value,
                        Some(rest) => value.and_then(|value| value.pointer(&format!("/{rest}"))),
                    }
                }
            };
            if let Some(value) = value {
                *cell = cell_text(&value);
            }
        }
    }
    Ok(cells)
}

/// The names in the first row of a file that is appended to. `None`: it is empty.
fn existing_header(path: &str, signs: Signs) -> Result<Option<Vec<String>>> {
    let dialect = Dialect {
        delimiter: signs.delimiter,
        quote: Some(signs.quote),
        backslash: false,
        comment: None,
        trim: false,
    };
    let scanner = Scanner::new(dialect);
    let mut window = Window::open(path, signs.encoding)?;
    let mut cells = Vec::new();
    loop {
        match scanner.scan(window.text(), window.ended(), &mut cells) {
            Found::More if window.ended() => return Ok(None),
            Found::More if window.text().len() <= file_drop::settings::MAX_RECORD_BYTES => {
                window.fill()?;
            }
            Found::Nothing { used, .. } => window.consume(used),
            Found::Record { .. } => break,
            Found::More | Found::Stray { .. } | Found::Open { .. } => {
                return Err(
                    Fault::config(format!("the first row of `{path}` is no header")).field("/file"),
                );
            }
        }
    }
    let name = |cell| {
        let mut name = Vec::new();
        unescape(window.text(), cell, dialect, &mut name);
        String::from_utf8_lossy(&name).into_owned()
    };
    Ok(Some(cells.iter().copied().map(name).collect()))
}

fn check_header(path: &str, signs: Signs, columns: &[Column]) -> Result<()> {
    let Some(found) = existing_header(path, signs)? else {
        return Ok(());
    };
    if found.iter().eq(columns.iter().map(|column| &column.name)) {
        return Ok(());
    }
    Err(
        Fault::config(format!("`{path}` has other columns than the config"))
            .field("/columns")
            .advice(format!("its header is: {}", found.join(", "))),
    )
}
