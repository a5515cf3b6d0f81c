//! `crossdock secret`: the encrypted secrets of a project. No command shows a value, and none takes one as an argument.

use std::{
    env,
    io::{self, IsTerminal as _, Read as _},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde_json::json;

use super::{
    Failure, folders,
    output::{Output, table},
    style,
};
use crate::app::{self, DeadLetterDocument, ProjectSecrets, SecretInput};

/// Bytes that are read of a value: more than any may have, so that one that is too long is told.
const MOST: u64 = 1 << 20;

#[derive(Debug, Subcommand)]
pub(super) enum SecretCommand {
    /// Add a secret, or replace its value; the value is read from standard input
    #[command(after_help = "\
Examples:
  crossdock secret set shop-token                  # asks for the value, and shows nothing of it
  pass show shop/token | crossdock secret set shop-token
  crossdock secret set shop-key < client.key

A connection file uses it as `token: { secret: shop-token }`. The secrets are in `secrets.sealed` in the project's
folder, encrypted with the key in CROSSDOCK_SECRETS_KEY, or in the file that CROSSDOCK_SECRETS_KEY_FILE names. With
the first secret that file is made when it is not there.")]
    Set {
        /// Its name: letters, digits, `-`, `_` and `.`
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// List the names of the secrets
    #[command(after_help = "\
Example:
  crossdock secret list")]
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Encrypt all secrets with another key
    #[command(after_help = "\
Example:
  crossdock secret rotate ~/.config/crossdock/shop-2.key

The key file is made when it is not there. Afterwards hosts need the new key: set CROSSDOCK_SECRETS_KEY_FILE to the
new file, start them again, and remove the old key. Old copies of secrets.sealed stay readable with the old key: when
it became known, replace the secrets, too.")]
    Rotate {
        /// The file with the new key
        key_file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Remove a secret
    #[command(after_help = "\
Example:
  crossdock secret rm shop-token")]
    Rm {
        /// Its name
        name: String,
        #[command(flatten)]
        place: Place,
    },
}

/// Where the secrets are.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The project's folder [default: the one around the current folder]
    #[arg(long, value_name = "DIR")]
    project: Option<PathBuf>,
    /// Folder with the audit log [default: .crossdock in the project's folder]
    #[arg(
        long,
        value_name = "DIR",
        env = "CROSSDOCK_STATE",
        hide_env_values = true
    )]
    state: Option<PathBuf>,
    /// Print the result as one JSON document
    #[arg(long)]
    json: bool,
}

impl SecretCommand {
    pub(super) fn wants_json(&self) -> bool {
        match self {
            Self::Set { place, .. }
            | Self::List { place }
            | Self::Rotate { place, .. }
            | Self::Rm { place, .. } => place.json,
        }
    }
}

impl Place {
    fn secrets(&self) -> ProjectSecrets {
        let current = env::current_dir().unwrap_or_default();
        let given = self.project.clone();
        let project = given.unwrap_or_else(|| folders::project_around(&current).to_owned());
        let state = self.state.clone();
        let state = state.unwrap_or_else(|| folders::state_of(&project));
        ProjectSecrets::new(&project, &state, app::cli_actor())
    }
}

pub(super) fn secret(command: SecretCommand, output: Output) -> Result<u8, Failure> {
    match command {
        SecretCommand::Set { name, place } => set(&name, &place, output),
        SecretCommand::List { place } => list(&place, output),
        SecretCommand::Rotate { key_file, place } => rotate(&key_file, &place, output),
        SecretCommand::Rm { name, place } => {
            place.secrets().remove(&name)?;
            if place.json {
                output.print_json(&json!({ "ok": true, "removed": name }));
            } else {
                output.print(&format!("{name} removed\n"));
            }
            Ok(0)
        }
    }
}

fn set(name: &str, place: &Place, output: Output) -> Result<u8, Failure> {
    let secrets = place.secrets();
    let value = value_of(name, output)?;
    let done = secrets.set(name, value)?;
    if place.json {
        let new_key = done
            .new_key
            .as_deref()
            .map(|path| path.display().to_string());
        let document =
            json!({ "ok": true, "set": name, "replaced": done.replaced, "new_key": new_key });
        output.print_json(&document);
    } else {
        let verb = if done.replaced { "replaced" } else { "added" };
        let file = style::path(secrets.file());
        output.print(&format!("{name} {verb} in {file}\n"));
        if let Some(path) = &done.new_key {
            let path = style::path(path);
            output.tell(&format!(
                "the key in {path} is new: keep a copy of it, without it nobody can read the secrets"
            ));
        }
    }
    Ok(0)
}

fn list(place: &Place, output: Output) -> Result<u8, Failure> {
    let found = place.secrets().list()?;
    if place.json {
        let secrets: Vec<_> = found
            .iter()
            .map(|info| json!({ "name": info.name, "set_at": DeadLetterDocument::time(info.set_at_ms) }))
            .collect();
        output.print_json(&json!({ "ok": true, "secrets": secrets }));
    } else if found.is_empty() {
        output.print("no secrets\n");
    } else {
        let row = |info: &app::SecretInfo| {
            vec![info.name.clone(), DeadLetterDocument::time(info.set_at_ms)]
        };
        let rows: Vec<_> = found.iter().map(row).collect();
        output.print(&table(&["name", "set at"], 2, &rows));
    }
    Ok(0)
}

fn rotate(key_file: &Path, place: &Place, output: Output) -> Result<u8, Failure> {
    let secrets = place.secrets();
    let made = secrets.rotate(key_file)?;
    if place.json {
        output.print_json(&json!({ "ok": true, "key_file": key_file, "made": made }));
        return Ok(0);
    }
    let (file, key) = (style::path(secrets.file()), style::path(key_file));
    output.print(&format!("{file} is encrypted with the key in {key} now\n"));
    if made {
        output.tell(&format!(
            "the key in {key} is new: keep a copy of it, without it nobody can read the secrets"
        ));
    }
    output.tell(&format!(
        "set CROSSDOCK_SECRETS_KEY_FILE to {key} and start hosts again"
    ));
    Ok(0)
}

/// A value from standard input: asked for at a terminal, everything there is otherwise, without its last line break.
fn value_of(name: &str, output: Output) -> Result<SecretInput, Failure> {
    let failed = |source| Failure::Io {
        action: "the value cannot be read",
        source,
    };
    let mut value = SecretInput::default();
    if io::stdin().is_terminal() {
        output.tell(&format!("value of {name} (it is not shown):"));
        let _quiet = Quiet::new().map_err(failed)?;
        io::stdin().read_line(value.text()).map_err(failed)?;
    } else {
        let mut input = io::stdin().lock().take(MOST);
        input.read_to_string(value.text()).map_err(failed)?;
    }
    Ok(value)
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Quiet(Termios);

impl Quiet {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        quiet.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // There is nobody to tell.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}
