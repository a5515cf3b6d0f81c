//! What must survive: checkpoints, dead letters and tables. The only module that knows sled.
//!
//! It holds derived state only. Flows, connections and plugins are files; losing the store loses positions and dead
//! letters, never a definition.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::print_stdout,
        reason = "tests"
    )
)]

pub mod audit;
mod blob;
pub mod checkpoint;
pub mod dead_letter;
mod key;
mod kv;
mod reached;
mod sled;
mod store;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use async_trait::async_trait;

pub use audit::{Action, Audit, AuditEntry, AuditFilter, AuditPage};
pub use checkpoint::{Checkpoint, StageState, StreamCounts};
pub use dead_letter::{DeadLetter, DeadLetterEdit, DeadLetterFilter, Retention};
pub use store::Store;

/// What the stages of a flow are granted, as lines of text by stage.
pub type Granted = BTreeMap<String, BTreeSet<String>>;

/// One write to a table. `None` removes the entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableChange {
    /// The table.
    pub table: String,
    /// The key.
    pub key: String,
    /// A JSON text.
    pub value: Option<Vec<u8>>,
}

/// All that one epoch made durable: written together or not at all.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// The flow's new checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// Records that failed in this epoch. Their `id` is given by the store.
    pub dead_letters: Vec<DeadLetter>,
    /// Table writes in the order in which they were made.
    pub table_changes: Vec<TableChange>,
    /// Ids of dead letters that were given again and are settled anew: they go.
    pub removed_dead_letters: Vec<u64>,
    /// What is kept of the flow's older dead letters. It needs a checkpoint, which names the flow.
    pub retention: Retention,
}

/// What a commit did beyond what it was asked to write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Committed {
    /// Older dead letters that are gone because of [`Commit::retention`].
    pub expired: u64,
}

/// The part of the store that a run needs.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Makes a commit durable. When it returns `Ok` the commit survives a crash of the machine; when it fails, nothing
    /// of it is there.
    async fn commit(&self, commit: Commit) -> Result<Committed, StorageError>;
    /// The last checkpoint of a flow.
    fn checkpoint(&self, flow: &str) -> Result<Option<Checkpoint>, StorageError>;
    /// Values by key, in the order asked.
    fn table_get_many(
        &self,
        table: &str,
        keys: &[&str],
    ) -> Result<Vec<Option<Vec<u8>>>, StorageError>;
    /// Up to `limit` entries whose key starts with `prefix` and is greater than `after`, in byte order.
    fn table_find(
        &self,
        table: &str,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StorageError>;
}

/// The store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// Another process holds the folder.
    #[error(
        "the state folder {path} is in use by another crossdock process{holder}; stop it or use another folder with --state"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// ` (process 123)`, or empty when unknown.
        holder: String,
    },
    /// What should be the state folder is something else.
    #[error("{} is no folder, so no state can be kept in it; name a folder with --state", .0.display())]
    NoFolder(PathBuf),
    /// A file operation failed: no space, no permission.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The database failed.
    #[error("the state database in {path}: {message}")]
    Database {
        /// The folder.
        path: PathBuf,
        /// What it said.
        message: String,
    },
    /// What is stored was written by a newer crossdock.
    #[error(
        "{what} has format {found}, this crossdock knows up to {known}; upgrade crossdock or start with --from-start in another --state folder"
    )]
    TooNew {
        /// What it is.
        what: String,
        /// Its format.
        found: u32,
        /// The newest known format.
        known: u32,
    },
    /// What is stored cannot be read.
    #[error("{what} cannot be read: {message}")]
    Corrupt {
        /// What it is.
        what: String,
        /// Why.
        message: String,
    },
}

impl StorageError {
    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_path_buf(),
            source,
        }
    }

    /// The same error for another commit of the same write.
    fn again(&self) -> Self {
        match self {
            Self::InUse { path, holder } => Self::InUse {
                path: path.clone(),
                holder: holder.clone(),
            },
            Self::NoFolder(path) => Self::NoFolder(path.clone()),
            Self::Io {
                action,
                path,
                source,
            } => Self::Io {
                action,
                path: path.clone(),
                source: io::Error::new(source.kind(), source.to_string()),
            },
            Self::Database { path, message } => Self::Database {
                path: path.clone(),
                message: message.clone(),
            },
            Self::TooNew { what, found, known } => Self::TooNew {
                what: what.clone(),
                found: *found,
                known: *known,
            },
            Self::Corrupt { what, message } => Self::Corrupt {
                what: what.clone(),
                message: message.clone(),
            },
        }
    }
}

/// Makes a folder that only its owner may read: records can be personal data.
fn create_private_dir(path: &Path) -> Result<(), StorageError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(path)
        .map_err(|error| StorageError::io("create", path, error))
}
