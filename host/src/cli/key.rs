//! `crossdock key`: the keys with which publishers sign plugins. No command shows a private key.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use clap::Subcommand;
use serde_json::json;

use super::{
    Failure,
    output::Output,
    style::{self, FAINT, GOOD, STRONG},
};
use crate::catalogue::{
    KeyError, Passphrase, PrivateKey, PublicKey,
    key::{PASSPHRASE_FILE_VARIABLE, PASSPHRASE_VARIABLE, public_path},
};

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a key: a private one to sign with, and the public one that others verify with
    #[command(after_help = "\
Examples:
  crossdock key new                       # ~/.config/crossdock/publisher.key and .pub
  crossdock key new --out keys/acme.key

It is ECDSA over P-256, in the PKCS#8 form that `openssl` and `cosign import-key-pair` read, too. With a passphrase in
CROSSDOCK_KEY_PASSPHRASE, or in a file that CROSSDOCK_KEY_PASSPHRASE_FILE names, the private key is encrypted, in a
form that only crossdock reads, and `plugin sign` needs the same passphrase.

Exit codes: 0 done, 1 it cannot be written, 2 the file is there already")]
    New {
        /// The private key's file; the public key is beside it, with the ending `.pub`
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Print what was made as one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Show the public key of a file, and its id
    #[command(after_help = "\
Examples:
  crossdock key show
  crossdock key show keys/acme.pub

Exit codes: 0 done, 1 it cannot be read, 2 it is no key")]
    Show {
        /// A private or a public key [default: that of `crossdock key new`]
        file: Option<PathBuf>,
        /// Print it as one JSON document
        #[arg(long)]
        json: bool,
    },
}

impl KeyCommand {
    pub(super) fn wants_json(&self) -> bool {
        match self {
            Self::New { json, .. } | Self::Show { json, .. } => *json,
        }
    }
}

pub(super) fn key(command: &KeyCommand, output: Output) -> Result<u8, Failure> {
    match command {
        KeyCommand::New { out, json } => new(out.as_deref(), *json, output),
        KeyCommand::Show { file, json } => show(file.as_deref(), *json, output),
    }
}

fn new(out: Option<&Path>, json: bool, output: Output) -> Result<u8, Failure> {
    let path = out.map_or_else(default_file, |out| Ok(out.to_owned()))?;
    if path.extension().is_some_and(|own| own == "pub") {
        return Err(Failure::Usage(format!(
            "{} would be the public key: name the private key's file, with another ending",
            style::path(&path)
        )));
    }
    let passphrase = Passphrase::from_environment()?;
    let key = PrivateKey::random()?;
    let public = key.write(&path, passphrase.as_ref())?;
    let id = key.public().id();
    if json {
        output.print_json(&json!({
            "ok": true, "key": id, "private": path, "public": public, "encrypted": passphrase.is_some(),
        }));
        return Ok(0);
    }
    let paint = output.paint;
    let mut out = format!(
        "{} key {}\n",
        paint.with(GOOD, "✓"),
        paint.with(STRONG, id.short())
    );
    let private = style::path(&path);
    let how = if passphrase.is_some() {
        "encrypted"
    } else {
        "not encrypted"
    };
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "  private  {private} {}",
        paint.with(FAINT, format!("({how}: nobody else may have it)"))
    );
    let _ = writeln!(
        out,
        "  public   {} {}",
        style::path(&public),
        paint.with(FAINT, "(for everybody who installs your plugins)")
    );
    output.print(&out);
    if passphrase.is_none() {
        output.tell(&format!(
            "to encrypt a private key, set {PASSPHRASE_VARIABLE} or {PASSPHRASE_FILE_VARIABLE} when it is made"
        ));
    }
    Ok(0)
}

fn show(file: Option<&Path>, json: bool, output: Output) -> Result<u8, Failure> {
    let path = match file {
        Some(file) => file.to_owned(),
        // The public one needs no passphrase.
        None => public_path(&default_file()?),
    };
    let key = public_of(&path)?;
    if json {
        output
            .print_json(&json!({ "ok": true, "key": key.id(), "file": path, "pem": key.to_pem() }));
    } else {
        output.print(&format!("key {}\n{}", key.id(), key.to_pem()));
    }
    Ok(0)
}

/// The public key of a file that holds it or the private one.
fn public_of(path: &Path) -> Result<PublicKey, KeyError> {
    let text = fs::read(path).map_err(|source| KeyError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    let label = b"PRIVATE KEY-----";
    if text.windows(label.len()).any(|part| part == label) {
        let passphrase = Passphrase::from_environment()?;
        return Ok(PrivateKey::read(path, passphrase.as_ref())?
            .public()
            .clone());
    }
    PublicKey::read(path)
}

/// The private key to sign with: the given one, else the user's.
pub(super) fn signing_key(given: Option<&Path>) -> Result<PrivateKey, Failure> {
    let path = given.map_or_else(default_file, |given| Ok(given.to_owned()))?;
    if given.is_none() && !path.exists() {
        return Err(Failure::Usage(format!(
            "there is no key to sign with: `crossdock key new` makes {}, --key names another one",
            style::path(&path)
        )));
    }
    let passphrase = Passphrase::from_environment()?;
    Ok(PrivateKey::read(&path, passphrase.as_ref())?)
}

/// The private key to sign with, when there is one: one that is named must be there.
pub(super) fn key_if_any(given: Option<&Path>) -> Result<Option<PrivateKey>, Failure> {
    if given.is_none() && !default_file().is_ok_and(|path| path.exists()) {
        return Ok(None);
    }
    signing_key(given).map(Some)
}

/// Outside of every project, so that no private key is committed by accident.
fn default_file() -> Result<PathBuf, Failure> {
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_CONFIG_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".config")))
        .map(|config| config.join("crossdock").join("publisher.key"))
        .ok_or_else(|| {
            Failure::Usage("this user has no home folder: name the key's file".to_owned())
        })
}
