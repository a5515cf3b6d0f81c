//! EDIFACT files as a source.

use crossdock_sdk::prelude::{Budget, Fault, Read, Result, Source, StreamInfo};
use file_drop::layout::Layout;
use file_drop::settings::{MAX_RECORD_BYTES, OnChange, OneOrMany, ReadSettings};
use file_drop::source::DropSource;
use file_drop::text::Encoding;
use file_drop::window::Window;
use serde::Deserialize;

use crate::charset::Setting;
use crate::envelope::Checks;
use crate::layout::{Messages, Rules};

/// The types that are announced as streams when the config names none.
const USUAL: [&str; 4] = ["ORDERS", "INVOIC", "DESADV", "PRICAT"];

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
    encoding: Setting,
    #[serde(default = "max_record_bytes")]
    max_record_bytes: usize,
    #[serde(default)]
    messages: OneOrMany,
    #[serde(default)]
    envelope: Checks,
}

fn max_record_bytes() -> usize {
    MAX_RECORD_BYTES
}

impl SourceConfig {
    fn resolve(self) -> Result<(ReadSettings, Rules)> {
        let messages = self.messages.into_vec();
        for (at, kind) in messages.iter().enumerate() {
            if kind.len() != 6 || !kind.bytes().all(|byte| byte.is_ascii_uppercase()) {
                let message =
                    format!("`{kind}` is no message type: those have six capital letters");
                return Err(Fault::config(message).field(format!("/messages/{at}")));
            }
        }
        let rules = Rules {
            setting: self.encoding,
            checks: self.envelope,
            messages,
            one_stream: self.stream.is_some(),
        };
        let settings = ReadSettings {
            files: self.files.into_vec(),
            allow_empty: self.allow_empty,
            changed: self.changed,
            stream: self.stream,
            // Every interchange says for itself what its bytes mean.
            encoding: Encoding::Utf8,
            max_record_bytes: self.max_record_bytes,
        };
        settings.check()?;
        Ok((settings, rules))
    }
}

/// Reads EDIFACT files.
pub struct EdifactSource(DropSource<Messages>);

impl Source for EdifactSource {
    type Config = SourceConfig;

    /// Opens every file.
    fn check(config: SourceConfig) -> Result<()> {
        let (settings, rules) = config.resolve()?;
        for path in settings.find()? {
            let mut window = Window::open(&path, settings.encoding)?;
            Messages::new(rules.clone()).begin(&mut window, None)?;
        }
        Ok(())
    }

    fn streams(config: SourceConfig) -> Result<Vec<StreamInfo>> {
        let (settings, rules) = config.resolve()?;
        let names = match settings.stream {
            Some(name) => vec![name],
            None if rules.messages.is_empty() => USUAL.map(str::to_ascii_lowercase).to_vec(),
            None => rules
                .messages
                .iter()
                .map(|kind| kind.to_ascii_lowercase())
                .collect(),
        };
        let key = || {
            vec![
                "/interchange/sender/id".to_owned(),
                "/document/number".to_owned(),
            ]
        };
        let info = |name| StreamInfo::new(name).key(key()).incremental(true);
        Ok(names.into_iter().map(info).collect())
    }

    fn open(config: SourceConfig, snapshot: Option<&[u8]>) -> Result<Self> {
        let (settings, rules) = config.resolve()?;
        Ok(Self(DropSource::open(
            settings,
            Messages::new(rules),
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
