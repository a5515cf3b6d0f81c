//! Why a project cannot be made or built.

use std::{io, path::PathBuf};

use crate::{
    catalogue::{InspectError, ManifestError},
    plugin::PluginError,
};

/// Why a project cannot be made or built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorError {
    /// A name that a flow file could not write.
    #[error(
        "`{0}` is no name for a plugin: it has up to 64 of a-z, 0-9 and `-`, and starts with a letter"
    )]
    Name(String),
    /// There is something in the way.
    #[error("{} is there already: choose another name, or remove it", .0.display())]
    Exists(PathBuf),
    /// No project.
    #[error(
        "{} is no plugin project: there is no `plugin.json`; `crossdock plugin new` makes one",
        .0.display()
    )]
    NoProject(PathBuf),
    /// There is no component yet.
    #[error("there is no {} yet: `crossdock plugin build` makes it", .0.display())]
    NotBuilt(PathBuf),
    /// No language feels responsible.
    #[error(
        "{}: nothing says which language this is; a project has one of these: {known}", folder.display()
    )]
    NoLanguage {
        /// The project.
        folder: PathBuf,
        /// The files by which languages are told.
        known: String,
    },
    /// The manifest is not right.
    #[error("{}: {source}", path.display())]
    Manifest {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        source: ManifestError,
    },
    /// A config schema in the manifest is not right.
    #[error("{}: `kinds.{kind}.config` is no JSON Schema: {message}", path.display())]
    Schema {
        /// The manifest's file.
        path: PathBuf,
        /// The kind.
        kind: crate::catalogue::Kind,
        /// What is wrong.
        message: String,
    },
    /// A program of the tool chain is not there.
    #[error("`{tool}` is needed to {purpose}, but {found}; {advice}")]
    Tool {
        /// The program.
        tool: String,
        /// What for.
        purpose: String,
        /// What was found instead.
        found: String,
        /// What to install, and how.
        advice: String,
    },
    /// A program of the tool chain failed. It has told why on stderr.
    #[error("`{command}` failed ({status}), see above")]
    Step {
        /// What was run.
        command: String,
        /// How it ended.
        status: String,
    },
    /// A program of the tool chain did not leave what was expected.
    #[error("{0}")]
    Output(String),
    /// The module cannot become a component.
    #[error("the module does not keep the contract: {message}")]
    Componentize {
        /// What the encoder says.
        message: String,
    },
    /// What was built is no component.
    #[error("what was built cannot be used: {0}")]
    Inspect(#[from] InspectError),
    /// What was built is not what the manifest says.
    #[error("what was built is not what plugin.json says: {}", .0.join("; "))]
    Mismatch(Vec<String>),
    /// This host cannot run it.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The file system said no.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl AuthorError {
    /// 1: a step failed, 2: something has to be changed or installed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Step { .. } | Self::Output(_) | Self::Io { .. } => 1,
            _ => 2,
        }
    }

    /// For `map_err` at a path.
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
