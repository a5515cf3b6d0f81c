//! The database: tables that readers see, and beside them what is staged for the next checkpoints.
//!
//! Between two calls the file may be open or not. It is closed in good order after `snapshot` and `commit`, since another
//! instance may be opened from there while this one still lives.

use std::ops::RangeInclusive;

use crossdock_sdk::prelude::{Fault, Result};
use redb::{
    Database as Redb, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition,
    WriteTransaction,
};
use serde::{Deserialize, Serialize};

use crate::{
    file::DatabaseFile,
    ops::{self, Op},
};

/// Names that begin so are the plugin's own tables.
pub(crate) const OWN: &str = "_crossdock.";
/// Chunks of operations by epoch and number.
const STAGED: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("_crossdock.staged");
/// Numbers by name.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("_crossdock.meta");
/// How often the file was begun anew: a snapshot of another beginning does not fit.
const BEGINNING: &str = "beginning";
/// The last epoch that was staged durably.
const LAST_STAGED: &str = "staged";
/// The last epoch that is in the tables.
const APPLIED: &str = "applied";

/// Operations are staged in chunks of about this many bytes.
const CHUNK: usize = 1 << 20;
/// redb's default would be more than an instance has.
const CACHE: usize = 24 << 20;

/// How far the database is. It is the sink's snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mark {
    beginning: u64,
    /// Everything up to this epoch is staged.
    epoch: u64,
}

/// See the module's documentation.
pub(crate) struct Database {
    path: String,
    redb: Option<Redb>,
    mark: Mark,
    /// Operations that are in no transaction yet.
    chunk: Vec<u8>,
    /// The number of the next chunk of the epoch that is being written.
    next: u64,
}

/// A failure of the file is the operator's or a passing one; damage is nobody's record's fault.
fn failed<E: Into<redb::Error>>(path: &str) -> impl Fn(E) -> Fault + '_ {
    let unusable = move |error: &dyn std::fmt::Display| {
        Fault::config(format!("`{path}` is no database that can be used: {error}"))
            .field("/file")
            .advice("restore the file, or name another one and run with --from-start")
    };
    move |error| match error.into() {
        redb::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            unusable(&error)
        }
        redb::Error::Io(error) => {
            Fault::transient(format!("cannot read or write `{path}`: {error}")).at(path)
        }
        error @ (redb::Error::Corrupted(_) | redb::Error::UpgradeRequired(_)) => unusable(&error),
        error @ (redb::Error::TableTypeMismatch { .. } | redb::Error::TableIsMultimap(_)) => {
            Fault::config(format!(
                "a table of `{path}` was made by another program: {error}"
            ))
            .field("/table")
            .advice("name another table or another file")
        }
        error => Fault::transient(format!("the database `{path}` failed: {error}")).at(path),
    }
}

/// Makes the file of a database under another name first: a process that is killed meanwhile leaves nothing at its own
/// that is neither a database nor empty.
fn make(path: &str) -> Result<()> {
    let new = format!("{path}.new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(unreachable(path, &error));
        }
        _ => {}
    }
    drop(open_or_make(&new, path)?);
    std::fs::rename(&new, path).map_err(|error| unreachable(path, &error))
}

/// The database in this file. Faults name the one that people know.
fn open_or_make(file: &str, path: &str) -> Result<Redb> {
    let file = DatabaseFile::open(file).map_err(|error| unreachable(path, &error))?;
    let mut builder = Redb::builder();
    builder.set_cache_size(CACHE);
    builder.create_with_backend(file).map_err(failed(path))
}

fn unreachable(path: &str, error: &std::io::Error) -> Fault {
    Fault::config(format!("cannot open `{path}`: {error}"))
        .field("/file")
        .advice("its folder must be there and granted under `grants.files.write`")
}

impl Database {
    /// Opens it and drops what was staged behind the mark. Without a mark everything staged is dropped.
    pub(crate) fn open(path: &str, mark: Option<Mark>) -> Result<Self> {
        let mut database = Self {
            path: path.to_owned(),
            redb: None,
            mark: mark.unwrap_or(Mark {
                beginning: 0,
                epoch: 0,
            }),
            chunk: Vec::new(),
            next: 0,
        };
        match mark {
            None => database.begin()?,
            Some(mark) => database.go_on(mark)?,
        }
        database.close();
        Ok(database)
    }

    /// Whether the file can be opened, without making it.
    pub(crate) fn check(path: &str) -> Result<()> {
        if std::fs::metadata(path).is_err() {
            return Ok(());
        }
        let mut database = Self {
            path: path.to_owned(),
            redb: None,
            mark: Mark {
                beginning: 0,
                epoch: 0,
            },
            chunk: Vec::new(),
            next: 0,
        };
        database.redb().map(drop)
    }

    fn redb(&mut self) -> Result<&Redb> {
        if self.redb.is_none() {
            let path = self.path.as_str();
            let is_made = std::fs::metadata(path).is_ok_and(|file| file.len() > 0);
            if !is_made {
                make(path)?;
            }
            self.redb = Some(open_or_make(path, path)?);
        }
        match &self.redb {
            Some(redb) => Ok(redb),
            // Set above.
            None => Err(Fault::transient("the database is closed")),
        }
    }

    /// Runs one transaction. What it wrote is durable when this returns, unless it was told that it need not be.
    fn transact<T>(
        &mut self,
        durability: Durability,
        work: impl FnOnce(&WriteTransaction) -> std::result::Result<T, redb::Error>,
    ) -> Result<T> {
        let path = self.path.clone();
        let mut transaction = self.redb()?.begin_write().map_err(failed(&path))?;
        transaction
            .set_durability(durability)
            .map_err(failed(&path))?;
        let done = work(&transaction).map_err(failed(&path))?;
        transaction.commit().map_err(failed(&path))?;
        Ok(done)
    }

    /// Closes the file in good order. The next call opens it again.
    pub(crate) fn close(&mut self) {
        self.redb = None;
    }

    fn begin(&mut self) -> Result<()> {
        let beginning = self.transact(Durability::Immediate, |transaction| {
            transaction.delete_table(STAGED)?;
            transaction.open_table(STAGED)?;
            let mut meta = transaction.open_table(META)?;
            let beginning = meta.get(BEGINNING)?.map_or(0, |n| n.value()) + 1;
            meta.insert(BEGINNING, beginning)?;
            meta.insert(LAST_STAGED, 0)?;
            meta.insert(APPLIED, 0)?;
            Ok(beginning)
        })?;
        self.mark = Mark {
            beginning,
            epoch: 0,
        };
        Ok(())
    }

    fn go_on(&mut self, mark: Mark) -> Result<()> {
        let path = self.path.clone();
        let foreign = |what: &str| {
            Fault::config(format!("`{path}` {what}"))
                .field("/file")
                .advice("put the file back, or begin anew with --from-start")
        };
        if std::fs::metadata(&path).is_err() {
            return Err(foreign(
                "is gone, although the flow's checkpoint says that records are in it",
            ));
        }
        let read = self.redb()?.begin_read().map_err(failed(&path))?;
        let number = |name: &str| -> std::result::Result<u64, redb::Error> {
            match read.open_table(META) {
                Ok(meta) => Ok(meta.get(name)?.map_or(0, |number| number.value())),
                Err(redb::TableError::TableDoesNotExist(_)) => Ok(0),
                Err(error) => Err(error.into()),
            }
        };
        let number = |name: &str| number(name).map_err(failed(&path));
        let (beginning, staged, applied) =
            (number(BEGINNING)?, number(LAST_STAGED)?, number(APPLIED)?);
        drop(read);
        if beginning != mark.beginning || staged < mark.epoch {
            return Err(foreign(
                "is not the file that the flow's checkpoint was made with",
            ));
        }
        self.mark = mark;
        if staged == mark.epoch && applied <= mark.epoch && !self.has_staged_behind(mark.epoch)? {
            return Ok(());
        }
        self.transact(Durability::Immediate, |transaction| {
            let mut table = transaction.open_table(STAGED)?;
            table.retain_in(behind(mark.epoch), |_, _| false)?;
            let mut meta = transaction.open_table(META)?;
            meta.insert(LAST_STAGED, mark.epoch)?;
            // A checkpoint older than what is in the tables (it was brought back): it is written again, by key.
            meta.insert(APPLIED, applied.min(mark.epoch))?;
            Ok(())
        })
    }

    fn has_staged_behind(&mut self, epoch: u64) -> Result<bool> {
        let path = self.path.clone();
        let read = self.redb()?.begin_read().map_err(failed(&path))?;
        let staged = read.open_table(STAGED).map_err(failed(&path))?;
        let mut range = staged.range(behind(epoch)).map_err(failed(&path))?;
        Ok(range.next().is_some())
    }

    /// Takes an operation.
    pub(crate) fn push(&mut self, op: Op<'_>) -> Result<()> {
        ops::push(&mut self.chunk, op);
        if self.chunk.len() >= CHUNK {
            // Durable only with the snapshot: until then a crash may take it.
            self.stage(Durability::None, None)?;
        }
        Ok(())
    }

    /// Puts the operations that wait into a transaction, and notes the epoch that they complete.
    fn stage(&mut self, durability: Durability, complete: Option<u64>) -> Result<()> {
        let chunk = std::mem::take(&mut self.chunk);
        let at = (self.mark.epoch + 1, self.next);
        let staged = self.transact(durability, |transaction| {
            if !chunk.is_empty() {
                transaction
                    .open_table(STAGED)?
                    .insert(at, chunk.as_slice())?;
            }
            if let Some(epoch) = complete {
                transaction.open_table(META)?.insert(LAST_STAGED, epoch)?;
            }
            Ok(())
        });
        if staged.is_err() {
            // The call may be made again.
            self.chunk = chunk;
            return staged;
        }
        self.next += 1;
        Ok(())
    }

    /// Stages everything durably.
    pub(crate) fn snapshot(&mut self) -> Result<Mark> {
        let epoch = self.mark.epoch + 1;
        self.stage(Durability::Immediate, Some(epoch))?;
        self.mark.epoch = epoch;
        self.next = 0;
        self.close();
        Ok(self.mark)
    }

    /// Moves what is staged up to the mark into the tables, in one transaction. Nothing when it is there.
    pub(crate) fn commit(&mut self, mark: Mark) -> Result<()> {
        let path = self.path.clone();
        let damaged = || {
            redb::Error::Corrupted(format!(
                "what is staged in `{path}` for epoch {} cannot be read",
                mark.epoch
            ))
        };
        self.transact(Durability::Immediate, |transaction| {
            let mut meta = transaction.open_table(META)?;
            if meta.get(APPLIED)?.is_some_and(|n| n.value() >= mark.epoch) {
                return Ok(());
            }
            let mut staged = transaction.open_table(STAGED)?;
            for chunk in staged.range(..=(mark.epoch, u64::MAX))? {
                let (_, chunk) = chunk?;
                for op in ops::read(chunk.value()) {
                    let op = op.ok_or_else(damaged)?;
                    // Opened for each: tables are few, and redb keeps what it needs.
                    let table: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new(op.table);
                    let mut table = transaction.open_table(table)?;
                    match op.value {
                        Some(value) => drop(table.insert(op.key, value)?),
                        None => drop(table.remove(op.key)?),
                    }
                }
            }
            staged.retain_in(..=(mark.epoch, u64::MAX), |_, _| false)?;
            meta.insert(APPLIED, mark.epoch)?;
            Ok(())
        })?;
        self.close();
        Ok(())
    }
}

/// What is staged behind an epoch.
fn behind(epoch: u64) -> RangeInclusive<(u64, u64)> {
    (epoch + 1, 0)..=(u64::MAX, u64::MAX)
}
