//! JSON lines files as a source.

use crossdock_sdk::prelude::{Budget, Read, Result, Source, StreamInfo};
use file_drop::settings::{MAX_RECORD_BYTES, OnChange, OneOrMany, ReadSettings};
use file_drop::source::DropSource;
use file_drop::text::Encoding;
use file_drop::window::Window;
use serde::Deserialize;

use crate::lines::Lines;

/// The source's config; `plugin.json` describes every field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct SourceConfig {
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
}

fn max_record_bytes() -> usize {
    MAX_RECORD_BYTES
}

impl SourceConfig {
    fn resolve(self) -> Result<(ReadSettings, Vec<String>)> {
        let settings = ReadSettings {
            files: self.files.into_vec(),
            allow_empty: self.allow_empty,
            changed: self.changed,
            stream: self.stream,
            encoding: self.encoding,
            max_record_bytes: self.max_record_bytes,
        };
        settings.check()?;
        Ok((settings, self.key.into_vec()))
    }
}

/// Reads files of JSON lines.
pub(crate) struct JsonlSource(DropSource<Lines>);

impl Source for JsonlSource {
    type Config = SourceConfig;

    /// Opens every file.
    fn check(config: SourceConfig) -> Result<()> {
        let (settings, _) = config.resolve()?;
        for path in settings.find()? {
            Window::open(&path, settings.encoding)?;
        }
        Ok(())
    }

    fn streams(config: SourceConfig) -> Result<Vec<StreamInfo>> {
        let (settings, key) = config.resolve()?;
        let info = |name| StreamInfo::new(name).key(key.clone()).incremental(true);
        Ok(settings.streams()?.into_iter().map(info).collect())
    }

    fn open(config: SourceConfig, snapshot: Option<&[u8]>) -> Result<Self> {
        let (settings, key) = config.resolve()?;
        Ok(Self(DropSource::open(settings, Lines { key }, snapshot)?))
    }

    fn read(&mut self, budget: Budget) -> Result<Read> {
        self.0.read(budget)
    }

    fn snapshot(&mut self) -> Result<Vec<u8>> {
        self.0.snapshot()
    }
}
