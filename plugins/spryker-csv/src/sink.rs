//! The sink: records become rows in spools; at the end spools become files, and files take their place.
//!
//! Exactly once: a snapshot makes the spools durable and holds their lengths, `open` truncates them to that. When the
//! input has ended the finished files are written beside the spools, and the snapshot says that they wait; only `commit`
//! moves them, and may be repeated.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;

use crossdock_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::attribute;
use crate::config::{Config, Duplicates};
use crate::publish::{self, Ready, Spools, disk};
use crate::row::{self, Row};
use crate::sheet::{SHEETS, Sheet};
use crate::spool::Spool;
use crate::survivor::hash;

const VERSION: u32 = 1;

/// Writes an import set for Spryker.
#[derive(Debug)]
pub struct SprykerSink {
    config: Config,
    spools: Spools,
    /// Keys so far, where a second record of a key is to be rejected.
    seen: HashMap<&'static str, HashSet<u64>>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Rows are collected.
    Writing,
    /// The input has ended; the files wait for their commit.
    Finished(Vec<Ready>),
    /// The set of an earlier instance is finished and its checkpoint stored: a record begins a new set.
    Between(Vec<Ready>),
    /// A row may be half written: only opening again from a snapshot helps.
    Broken,
}

#[derive(Debug, Serialize, Deserialize)]
struct Snapshot {
    version: u32,
    /// Rows in the spools have cells for these.
    locales: Vec<String>,
    /// Bytes of each spool.
    #[serde(default)]
    spools: BTreeMap<String, u64>,
    /// The files that wait for their commit. Rows are not collected any more.
    #[serde(default)]
    ready: Option<Vec<Ready>>,
}

/// What a stream is written as.
#[derive(Debug, Clone, Copy)]
enum Form {
    Sheet(&'static Sheet),
    Attributes,
    Values,
}

/// The streams that the sink takes.
fn form(stream: &str) -> Option<(&'static str, Form)> {
    match stream {
        attribute::ATTRIBUTES => Some((attribute::ATTRIBUTES, Form::Attributes)),
        attribute::VALUES => Some((attribute::VALUES, Form::Values)),
        _ => SHEETS
            .iter()
            .find(|sheet| sheet.stream == stream)
            .map(|sheet| (sheet.stream, Form::Sheet(sheet))),
    }
}

/// Names of all streams, in the order of the import.
pub(crate) fn streams() -> Vec<&'static str> {
    let mut names: Vec<&str> = SHEETS.iter().map(|sheet| sheet.stream).collect();
    names.extend([attribute::ATTRIBUTES, attribute::VALUES]);
    names
}

impl Sink for SprykerSink {
    type Config = Config;

    fn check(config: Config) -> Result<()> {
        config.validate()?;
        let output = config.output();
        match fs::metadata(&output) {
            Ok(found) if !found.is_dir() => {
                Err(Fault::config(format!("{} is no folder", output.display()))
                    .field("/directory")
                    .advice("name a folder"))
            }
            // A folder that does not exist yet is created by the run.
            _ => Ok(()),
        }
    }

    fn open(config: Config, snapshot: Option<&[u8]>) -> Result<Self> {
        config.validate()?;
        let mut sink = Self {
            config,
            spools: Spools::new(),
            seen: HashMap::new(),
            phase: Phase::Writing,
        };
        match snapshot {
            None => sink.begin()?,
            Some(bytes) => sink.resume(&read_snapshot(bytes)?)?,
        }
        Ok(sink)
    }

    fn write(&mut self, batch: &Batch, written: &mut Written) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let Some((stream, form)) = form(batch.stream()) else {
            return Err(Fault::config(format!(
                "there is no file for records of the stream `{}`",
                batch.stream()
            ))
            .advice(format!(
                "name the stream as one of {}",
                streams().join(", ")
            )));
        };
        match self.phase {
            Phase::Writing => {}
            Phase::Between(_) => self.next_set()?,
            Phase::Finished(_) => {
                return Err(Fault::permanent("a record came after the end of the input"));
            }
            Phase::Broken => {
                return Err(Fault::permanent(
                    "a write failed before: open the sink from its snapshot",
                ));
            }
        }
        let rejects = self.config.duplicates == Duplicates::Reject;
        let mut seen = rejects.then(|| self.seen.entry(stream).or_default());
        // Looked up once, not for every row.
        let (mut place, mut spool) = (Some(self.spools.entry(stream)), None);
        for record in batch.records() {
            let mut rows = rows_of(&self.config, form, record);
            if let Some(seen) = &mut seen {
                rows = rows.and_then(|rows| unseen(seen, stream, rows));
            }
            let rows = match rows {
                Ok(rows) => rows,
                Err(fault @ Fault::Config(_)) => return Err(fault),
                Err(fault) => {
                    written.reject(record.index(), fault);
                    continue;
                }
            };
            let opening = place.take().map(|place| opened(place, &self.config));
            let appended = opening.transpose().and_then(|opened| {
                spool = opened.or(spool.take());
                let mut spool = spool.iter_mut();
                spool.try_for_each(|spool| rows.iter().try_for_each(|row| spool.append(row)))
            });
            if let Err(error) = appended {
                self.phase = Phase::Broken;
                return Err(disk(&self.config.work())(error));
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        match self.phase {
            Phase::Writing => {}
            Phase::Between(_) => self.next_set()?,
            Phase::Finished(_) => return Ok(()),
            Phase::Broken => {
                return Err(Fault::permanent(
                    "a write failed before: open the sink from its snapshot",
                ));
            }
        }
        let ready = publish::finish(&self.config, &mut self.spools)?;
        for file in &ready {
            info!("{}: {} rows", file.file, file.rows);
        }
        self.phase = Phase::Finished(ready);
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<u8>> {
        let ready = match &self.phase {
            Phase::Finished(ready) | Phase::Between(ready) => Some(ready.clone()),
            Phase::Writing => None,
            Phase::Broken => {
                return Err(Fault::permanent(
                    "a write failed before: open the sink from its snapshot",
                ));
            }
        };
        let mut spools = BTreeMap::new();
        if ready.is_none() {
            for (stream, spool) in &mut self.spools {
                spool.sync().map_err(disk(&self.config.work()))?;
                spools.insert((*stream).to_owned(), spool.length());
            }
        }
        let locales = self.config.locales.clone();
        Ok(serde_json::to_vec(&Snapshot {
            version: VERSION,
            locales,
            spools,
            ready,
        })?)
    }

    fn commit(&mut self, snapshot: &[u8]) -> Result<()> {
        let Some(ready) = read_snapshot(snapshot)?.ready else {
            return Ok(());
        };
        // A set that is being collected again is not the one this snapshot speaks of.
        if matches!(self.phase, Phase::Finished(_) | Phase::Between(_)) {
            self.spools.clear();
            publish::publish(&self.config, &ready)?;
            self.phase = Phase::Between(ready);
        }
        Ok(())
    }
}

fn read_snapshot(bytes: &[u8]) -> Result<Snapshot> {
    let unusable = |why: String| {
        Fault::config(format!("the snapshot cannot be used: {why}"))
            .advice("run the flow from its start")
    };
    let snapshot: Snapshot =
        serde_json::from_slice(bytes).map_err(|error| unusable(error.to_string()))?;
    if snapshot.version != VERSION {
        return Err(unusable(format!(
            "it has format {}, this version reads {VERSION}",
            snapshot.version
        )));
    }
    Ok(snapshot)
}

impl SprykerSink {
    /// A new set: nothing of an earlier one that was never finished is kept.
    fn begin(&mut self) -> Result<()> {
        let work = self.config.work();
        self.spools.clear();
        self.seen.clear();
        if work.exists() {
            fs::remove_dir_all(&work).map_err(disk(&work))?;
        }
        fs::create_dir_all(&work).map_err(disk(&work))?;
        self.phase = Phase::Writing;
        Ok(())
    }

    /// A new set after one that is finished. Its commit is due, should it not have come.
    fn next_set(&mut self) -> Result<()> {
        if let Phase::Between(ready) = &self.phase {
            publish::publish(&self.config, ready)?;
        }
        self.begin()
    }

    /// Goes back to a snapshot.
    fn resume(&mut self, snapshot: &Snapshot) -> Result<()> {
        if let Some(ready) = &snapshot.ready {
            self.phase = Phase::Between(ready.clone());
            return Ok(());
        }
        if snapshot.locales != self.config.locales {
            return Err(Fault::config(format!(
                "rows were collected for the locales {}, they cannot be changed in the middle of a run",
                snapshot.locales.join(", ")
            ))
            .field("/locales")
            .advice("run the flow from its start, or change them back"));
        }
        let (work, ready) = (self.config.work(), self.config.ready());
        fs::create_dir_all(&work).map_err(disk(&work))?;
        if ready.exists() {
            fs::remove_dir_all(&ready).map_err(disk(&ready))?;
        }
        for stream in streams() {
            let length = snapshot.spools.get(stream).copied().unwrap_or(0);
            let path = work.join(format!("{stream}.rows"));
            if length == 0 && !path.exists() {
                continue;
            }
            let mut spool = Spool::open(&work, stream, length).map_err(disk(&path))?;
            if self.config.duplicates == Duplicates::Reject {
                let seen = self.seen.entry(stream).or_default();
                let (mut rows, mut row) = (spool.rows().map_err(disk(&path))?, Row::default());
                while rows.next_key(&mut row).map_err(disk(&path))? {
                    seen.insert(hash(&row.key));
                }
            }
            self.spools.insert(stream, spool);
        }
        Ok(())
    }
}

fn rows_of(config: &Config, form: Form, record: Record<'_>) -> Result<Vec<Row>> {
    if record.op() == Op::Delete {
        return Err(Fault::permanent("an import CSV cannot delete"));
    }
    let object = record.object()?;
    match form {
        Form::Sheet(sheet) => row::rows(sheet, config, &object),
        Form::Attributes => Ok(vec![attribute::attribute_row(config, &object)?]),
        Form::Values => Ok(vec![attribute::value_row(config, &object)?]),
    }
}

/// With `duplicates: reject`, refuses a record whose key came before.
fn unseen(seen: &mut HashSet<u64>, stream: &str, rows: Vec<Row>) -> Result<Vec<Row>> {
    if let Some(row) = rows.iter().find(|row| seen.contains(&hash(&row.key))) {
        let key = row.key.trim_start_matches(',').replace('\u{1f}', ".");
        return Err(Fault::permanent(format!(
            "a record of `{stream}` with the key `{key}` came before"
        )));
    }
    seen.extend(rows.iter().map(|row| hash(&row.key)));
    Ok(rows)
}

/// The spool of a stream, made when the first record of it comes that can be written.
fn opened<'s>(
    place: Entry<'s, &'static str, Spool>,
    config: &Config,
) -> std::io::Result<&'s mut Spool> {
    match place {
        Entry::Occupied(spool) => Ok(spool.into_mut()),
        Entry::Vacant(place) => {
            let spool = Spool::open(&config.work(), place.key(), 0)?;
            Ok(place.insert(spool))
        }
    }
}
