//! How commands find the daemon of a project.

use std::path::PathBuf;

use clap::Args;

use super::{Failure, folders, style};
use crate::api::client::{Client, ClientError};

/// Which project is meant.
#[derive(Debug, Clone, Args)]
pub(super) struct ProjectFolder {
    /// The project's folder [default: the one around the current folder]
    #[arg(long, value_name = "DIR")]
    project: Option<PathBuf>,
    /// Folder with checkpoints and dead letters [default: .crossdock in the project's folder]
    #[arg(
        long,
        value_name = "DIR",
        env = "CROSSDOCK_STATE",
        hide_env_values = true
    )]
    state: Option<PathBuf>,
}

impl ProjectFolder {
    fn state(&self) -> PathBuf {
        let given = self.state.clone();
        given
            .or_else(|| {
                self.project
                    .as_ref()
                    .map(|project| folders::state_of(project))
            })
            .unwrap_or_else(|| folders::state(None))
    }

    /// The daemon of the project.
    ///
    /// # Errors
    /// There is none.
    pub(super) async fn daemon(&self) -> Result<Client, Failure> {
        let state = self.state();
        match Client::find(&state).await? {
            Some(client) => Ok(client),
            None => Err(Failure::Usage(format!(
                "no daemon serves the project of {}: start one with `crossdock serve PROJECT`, or name another project \
                 with --project",
                style::path(&state)
            ))),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused {
                status,
                error,
                findings,
            } => Self::Daemon {
                // What was asked is wrong, or cannot be now.
                usage: matches!(status, 400..=499),
                error,
                findings,
            },
            ClientError::Unreachable { .. } => Self::Daemon {
                usage: false,
                error: error.to_string(),
                findings: Vec::new(),
            },
        }
    }
}
