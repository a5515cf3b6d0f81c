//! The sink.

use crossdock_sdk::prelude::{Batch, Fault, Op as RecordOp, Record, Result, Sink, Written};
use serde::Deserialize;

use crate::{
    database::{Database, Mark, OWN},
    ops::Op,
};

/// redb takes no larger key.
const MAX_KEY: usize = 64 << 10;

/// The sink's config; `plugin.json` describes every field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct SinkConfig {
    file: String,
    #[serde(default = "per_stream")]
    table: String,
}

fn per_stream() -> String {
    "{stream}".to_owned()
}

/// Writes records into a database.
pub(crate) struct RedbSink {
    database: Database,
    table: String,
}

impl Sink for RedbSink {
    type Config = SinkConfig;

    fn check(config: SinkConfig) -> Result<()> {
        named(&config.table, "x")?;
        Database::check(&config.file)
    }

    fn open(config: SinkConfig, snapshot: Option<&[u8]>) -> Result<Self> {
        named(&config.table, "x")?;
        let mark = snapshot.map(read_mark).transpose()?;
        Ok(Self {
            database: Database::open(&config.file, mark)?,
            table: config.table,
        })
    }

    fn write(&mut self, batch: &Batch, written: &mut Written) -> Result<()> {
        let table = match named(&self.table, batch.stream()) {
            Ok(table) => table,
            Err(fault) => {
                let fault = Fault::permanent(fault.message());
                (0..batch.len()).for_each(|index| written.reject(index, fault.clone()));
                return Ok(());
            }
        };
        for record in batch.records() {
            match operation(&table, record) {
                Ok(op) => self.database.push(op)?,
                Err(fault) => written.reject(record.index(), fault),
            }
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<u8>> {
        let mark = self.database.snapshot()?;
        serde_json::to_vec(&mark).map_err(|error| Fault::permanent(error.to_string()))
    }

    fn commit(&mut self, snapshot: &[u8]) -> Result<()> {
        self.database.commit(read_mark(snapshot)?)
    }

    fn close(&mut self) {
        self.database.close();
    }
}

fn read_mark(snapshot: &[u8]) -> Result<Mark> {
    serde_json::from_slice(snapshot)
        .map_err(|error| Fault::config(format!("this is no snapshot of `redb`: {error}")))
}

/// The table of a stream.
fn named(template: &str, stream: &str) -> Result<String> {
    let table = template.replace("{stream}", stream);
    if table.starts_with(OWN) {
        return Err(Fault::config(format!(
            "tables whose names begin with `{OWN}` are the plugin's own"
        ))
        .field("/table"));
    }
    Ok(table)
}

fn operation<'a>(table: &'a str, record: Record<'a>) -> Result<Op<'a>> {
    let key = record.key();
    if key.is_empty() {
        return Err(Fault::permanent(
            "the record has no key, so there is nothing to find it by again",
        )
        .advice("set `key` in the source's config"));
    }
    if key.len() > MAX_KEY {
        return Err(Fault::permanent(format!(
            "the key has {} bytes, more than {MAX_KEY}",
            key.len()
        )));
    }
    Ok(Op {
        table,
        key,
        value: (record.op() != RecordOp::Delete).then(|| record.payload()),
    })
}
