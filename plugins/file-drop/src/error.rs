//! What goes wrong with folders and files, and whose turn it is then.

use std::io::{self, ErrorKind};

use crossdock_sdk::prelude::Fault;

/// The action of whatever changes a file.
pub(crate) const WRITE: &str = "write to";

/// A fault of a file connector. Turned into a [`Fault`] at the plugin's border.
#[derive(Debug, thiserror::Error)]
pub enum DropError {
    /// A pattern matched nothing, and the config does not say that this is fine.
    #[error("no file matches `{pattern}`")]
    NoMatch {
        /// The pattern as written.
        pattern: String,
        /// JSON pointer of the pattern in the config.
        field: String,
    },
    /// A pattern cannot be read.
    #[error("`{pattern}` is not a file pattern: {reason}")]
    Pattern {
        /// The pattern as written.
        pattern: String,
        /// What is wrong with it.
        reason: String,
        /// JSON pointer of the pattern in the config.
        field: String,
    },
    /// The system refused an operation on a file.
    #[error("cannot {action} `{path}`: {source}")]
    Io {
        /// What was tried, an infinitive: `open`, `write to`.
        action: &'static str,
        /// The file or folder.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// The content of a file is broken as a whole (a gzip stream that ends early).
    #[error("{what}")]
    Broken {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// A file is not what it was when an earlier run or instance read it.
    #[error("`{path}` has changed since it was read: {what}")]
    Changed {
        /// The file.
        path: String,
        /// How that was noticed.
        what: String,
    },
    /// A snapshot cannot be used.
    #[error("cannot continue from the snapshot: {0}")]
    Snapshot(String),
    /// A setting does not fit the files.
    #[error("{message}")]
    Setting {
        /// JSON pointer of the setting.
        field: String,
        /// What is wrong.
        message: String,
        /// What to do.
        advice: String,
    },
    /// Another sink writes the same file.
    #[error("somebody else writes `{path}`: {what}")]
    Shared {
        /// The file.
        path: String,
        /// How that was noticed.
        what: String,
    },
    /// An output file is not what the last checkpoint left.
    #[error("`{path}` is not what the last checkpoint left: {what}")]
    Output {
        /// The file.
        path: String,
        /// What differs.
        what: String,
    },
}

/// Result of this crate's file work.
pub type Result<T, E = DropError> = std::result::Result<T, E>;

impl DropError {
    /// For `map_err` of an I/O call.
    pub fn io(action: &'static str, path: &str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

impl From<DropError> for Fault {
    fn from(error: DropError) -> Self {
        let message = error.to_string();
        match error {
            DropError::NoMatch { field, .. } => Self::config(message)
                .field(field)
                .advice("check the path and the stage's `files` grant, or set `allow-empty: true`"),
            DropError::Pattern { field, .. } => Self::config(message).field(field),
            DropError::Io { path, source, action } => io_fault(message, path, &source, action),
            DropError::Broken { path, .. } => Self::permanent(message).at(path),
            DropError::Changed { .. } => Self::config(message)
                .field("/changed")
                .advice("set `changed: read-again` to read such files from their start, or run with --from-start"),
            DropError::Snapshot(_) => Self::config(message).advice("run with --from-start"),
            DropError::Setting { field, advice, .. } => Self::config(message).field(field).advice(advice),
            DropError::Shared { path, .. } => Self::permanent(message)
                .advice("give each sink, of this flow or another, a file of its own; then run with --from-start")
                .at(path),
            DropError::Output { .. } => Self::config(message)
                .advice("put back the file the checkpoint left, or run with --from-start"),
        }
    }
}

/// Which turn it is after the system refused: the operator's (a missing folder, no right), or time's (a full disk).
fn io_fault(message: String, path: String, source: &io::Error, action: &str) -> Fault {
    match source.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Fault::config(message)
            .advice("check that it exists and that the stage's `files` grant covers it"),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::IsADirectory => {
            Fault::config(message).advice(
                "check the rights of the file and its folder, and the stage's `files` grant",
            )
        }
        ErrorKind::StorageFull
        | ErrorKind::QuotaExceeded
        | ErrorKind::FileTooLarge
        | ErrorKind::Interrupted
        | ErrorKind::TimedOut
        | ErrorKind::WouldBlock
        | ErrorKind::ResourceBusy => Fault::transient(message).at(path),
        // In the sandbox a full disk is an "I/O error" without a kind. Whatever it was, no record is to blame.
        _ if action == WRITE => Fault::transient(message)
            .advice("is the disk full, or the folder read-only?")
            .at(path),
        _ => Fault::permanent(message).at(path),
    }
}
