use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
};

use crossdock_sdk::prelude::*;
use serde::Deserialize;

const FILE: &str = "out.jsonl";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(default)]
    lie: String,
    #[serde(default = "here")]
    folder: String,
}

fn here() -> String {
    ".".to_owned()
}

pub(crate) struct Liar {
    lie: String,
    folder: String,
    file: File,
    committed: Vec<u8>,
}

#[allow(clippy::needless_pass_by_value, reason = "what `map_err` calls")]
fn io(error: std::io::Error) -> Fault {
    Fault::transient(error.to_string())
}

impl Sink for Liar {
    type Config = Config;

    fn check(config: Config) -> Result<()> {
        if config.lie == "touches" {
            fs::write(format!("{}/touched", config.folder), b"").map_err(io)?;
        }
        Ok(())
    }

    fn open(config: Config, snapshot: Option<&[u8]>) -> Result<Self> {
        let length = snapshot.map_or(Ok(0), super::number)?;
        let mut options = OpenOptions::new();
        let path = format!("{}/{FILE}", config.folder);
        let file = options.create(true).append(true).open(path).map_err(io)?;
        let length = match config.lie.as_str() {
            // Nothing that came later is discarded.
            "doubles" if snapshot.is_some() => file.metadata().map_err(io)?.len(),
            "loses" => length.saturating_sub(1),
            _ => length,
        };
        file.set_len(length).map_err(io)?;
        Ok(Self {
            lie: config.lie,
            folder: config.folder,
            file,
            committed: Vec::new(),
        })
    }

    fn write(&mut self, batch: &Batch, written: &mut Written) -> Result<()> {
        for record in batch.records() {
            if let Err(fault) = record.value() {
                match self.lie.as_str() {
                    // The rest is forgotten, and nobody hears of it.
                    "gives-up" => break,
                    "all-or-nothing" => return Err(fault),
                    _ => written.reject(record.index(), fault),
                }
                continue;
            }
            if self.lie == "by-key" {
                // As good twice as once, but what is written stays.
                let key = String::from_utf8_lossy(record.key()).replace(['/', '\n'], "_");
                let name: String = key.chars().take(40).collect();
                fs::write(format!("{}/{name}.json", self.folder), record.payload()).map_err(io)?;
            } else {
                let line = [record.payload(), b"\n"].concat();
                self.file.write_all(&line).map_err(io)?;
            }
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<u8>> {
        self.file.sync_all().map_err(io)?;
        let length = self.file.metadata().map_err(io)?.len();
        Ok(length.to_string().into_bytes())
    }

    fn commit(&mut self, snapshot: &[u8]) -> Result<()> {
        if self.lie == "once" && self.committed == snapshot {
            return Err(Fault::permanent("this was committed already"));
        }
        self.committed = snapshot.to_vec();
        Ok(())
    }
}
