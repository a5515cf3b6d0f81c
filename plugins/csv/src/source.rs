//! CSV files as a source.

use std::collections::BTreeMap;

use crossdock_sdk::prelude::{Budget, Fault, Read, Result, Source, StreamInfo};
use file_drop::layout::Layout;
use file_drop::settings::{MAX_RECORD_BYTES, OnChange, OneOrMany, ReadSettings};
use file_drop::source::DropSource;
use file_drop::text::Encoding;
use file_drop::window::Window;
use serde::Deserialize;

use crate::dialect::{Dialect, Escape, Sign};
use crate::layout::{CsvLayout, Rows};
use crate::value::{Empty, Kind};

/// The source's config; `plugin.json` describes every field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SourceConfig {
    files: OneOrMany,
    #[serde(default)]
    allow_empty: bool,
    #[serde(default)]
    changed: OnChange,
    stream: Option<String>,
    #[serde(default)]
    encoding: Encoding,
    #[serde(default = "max_record_bytes")]
    max_record_bytes: usize,
    #[serde(default)]
    key: OneOrMany,
    #[serde(default = "comma")]
    delimiter: Sign,
    #[serde(default = "quote")]
    quote: Sign,
    #[serde(default)]
    escape: Escape,
    #[serde(default = "no_sign")]
    comment: Sign,
    #[serde(default = "yes")]
    header: bool,
    columns: Option<Vec<String>>,
    #[serde(default)]
    types: BTreeMap<String, Kind>,
    #[serde(default)]
    empty: Empty,
    #[serde(default)]
    ragged: Ragged,
    #[serde(default)]
    trim: bool,
    #[serde(default)]
    skip_lines: u64,
}

/// What becomes of a row with too few or too many cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Ragged {
    #[default]
    Reject,
    Pad,
}

fn max_record_bytes() -> usize {
    MAX_RECORD_BYTES
}

fn comma() -> Sign {
    Sign::Byte(b',')
}

fn quote() -> Sign {
    Sign::Byte(b'"')
}

fn no_sign() -> Sign {
    Sign::None
}

fn yes() -> bool {
    true
}

impl SourceConfig {
    fn resolve(self) -> Result<(ReadSettings, Rows)> {
        let unfit = |field: &str, message: &str| Err(Fault::config(message).field(field));
        let (delimiter, sniff) = match self.delimiter {
            Sign::Byte(byte) => (byte, false),
            Sign::Auto => (b',', true),
            Sign::None => return unfit("/delimiter", "the delimiter cannot be empty"),
        };
        let optional = |sign: Sign, field: &str| match sign {
            Sign::Byte(byte) => Ok(Some(byte)),
            Sign::None => Ok(None),
            Sign::Auto => Err(Fault::config("`auto` is only known for the delimiter").field(field)),
        };
        let dialect = Dialect {
            delimiter,
            quote: optional(self.quote, "/quote")?,
            backslash: self.escape == Escape::Backslash,
            comment: optional(self.comment, "/comment")?,
            trim: self.trim,
        };
        if let Some(columns) = &self.columns {
            let mut seen = std::collections::HashSet::new();
            for (index, name) in columns.iter().enumerate() {
                if name.is_empty() || !seen.insert(name) {
                    let message = format!("`{name}` is empty or there twice");
                    return Err(Fault::config(message).field(format!("/columns/{index}")));
                }
            }
        }
        let settings = ReadSettings {
            files: self.files.into_vec(),
            allow_empty: self.allow_empty,
            changed: self.changed,
            stream: self.stream,
            encoding: self.encoding,
            max_record_bytes: self.max_record_bytes,
        };
        settings.check()?;
        let rows = Rows {
            // A delimiter that is still to be found clashes with nothing.
            dialect: if sniff { dialect } else { dialect.checked()? },
            sniff,
            header: self.header,
            columns: self.columns,
            key: self.key.into_vec(),
            types: self.types,
            empty: self.empty,
            pad: self.ragged == Ragged::Pad,
            skip_lines: self.skip_lines,
            max_record_bytes: self.max_record_bytes,
        };
        Ok((settings, rows))
    }
}

/// Reads CSV files.
pub struct CsvSource(DropSource<CsvLayout>);

impl Source for CsvSource {
    type Config = SourceConfig;

    /// Opens every file and reads its header.
    fn check(config: SourceConfig) -> Result<()> {
        let (settings, rows) = config.resolve()?;
        let mut layout = CsvLayout::new(rows);
        for path in settings.find()? {
            layout.begin(&mut Window::open(&path, settings.encoding)?, None)?;
        }
        Ok(())
    }

    fn streams(config: SourceConfig) -> Result<Vec<StreamInfo>> {
        let (settings, rows) = config.resolve()?;
        let mut streams: Vec<StreamInfo> = Vec::new();
        for path in settings.find()? {
            let name = settings.stream_of(&path);
            if streams.iter().any(|stream| stream.name == name) {
                continue;
            }
            let mut layout = CsvLayout::new(rows.clone());
            layout.begin(&mut Window::open(&path, settings.encoding)?, None)?;
            let schema = schema(&layout.names(), &rows)?;
            streams.push(
                StreamInfo::new(name)
                    .schema(schema)
                    .key(rows.key.clone())
                    .incremental(true),
            );
        }
        Ok(streams)
    }

    fn open(config: SourceConfig, snapshot: Option<&[u8]>) -> Result<Self> {
        let (settings, rows) = config.resolve()?;
        Ok(Self(DropSource::open(
            settings,
            CsvLayout::new(rows),
            snapshot,
        )?))
    }

    fn read(&mut self, budget: Budget) -> Result<Read> {
        self.0.read(budget)
    }

    fn snapshot(&mut self) -> Result<Vec<u8>> {
        self.0.snapshot()
    }
}

/// The JSON Schema of records with these columns.
fn schema(names: &[&str], rows: &Rows) -> Result<String> {
    let mut properties = serde_json::Map::new();
    for name in names {
        let kind = rows.types.get(*name).copied().unwrap_or_default();
        let mut types = match kind {
            Kind::Text => vec!["string"],
            Kind::Number => vec!["number"],
            Kind::Integer => vec!["integer"],
            Kind::Boolean => vec!["boolean"],
            Kind::Json => vec![],
        };
        let nullable = match rows.empty {
            Empty::Omit => false,
            Empty::Null => true,
            Empty::Text => kind != Kind::Text,
        };
        if nullable && !types.is_empty() {
            types.push("null");
        }
        let about = if types.is_empty() {
            serde_json::json!({})
        } else {
            serde_json::json!({ "type": types })
        };
        properties.insert((*name).to_owned(), about);
    }
    let mut schema = serde_json::json!({
        "type": "object", "properties": properties, "additionalProperties": false,
    });
    if rows.empty != Empty::Omit {
        schema["required"] = serde_json::json!(names);
    }
    Ok(serde_json::to_string(&schema)?)
}
