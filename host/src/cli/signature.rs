//! `crossdock plugin sign` and `verify`: who made a plugin.

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Failure, failed, folders,
    key::signing_key,
    output::Output,
    plugin::{arguments::RegistryArguments, notices},
    style::{self, BAD, FAINT, GOOD, STRONG},
};
use crate::{
    app::{self, AppError, Look, Plugins},
    catalogue::{
        self, Decision, Inspection, PublicKey, Reference, ReferenceError, Signature, Subject,
        Trust,
        reference::is_reference,
        signature::{FILE_SUFFIX, MAX_BUNDLE},
        trust::Asked,
    },
    flow::Variables,
};

pub(super) const SIGN_EXAMPLES: &str = "\
Examples:
  crossdock plugin sign dist/csv.wasm
  crossdock plugin sign dist/csv.wasm --key keys/acme.key
  crossdock plugin sign oci://registry.example.com/acme/csv@1.2.0

The signature of a file is a bundle beside it (csv.wasm.sigstore.json), which is handed over with the file.
`crossdock plugin verify` and `cosign verify-blob --key acme.pub --bundle csv.wasm.sigstore.json csv.wasm` read it.
In a registry it is signed in both layouts of cosign; `crossdock plugin publish` does so by itself.

Exit codes: 0 done, 1 it cannot be written, 2 there is no key, or the file is no plugin";

pub(super) const VERIFY_EXAMPLES: &str = "\
Examples:
  crossdock plugin verify csv.wasm
  crossdock plugin verify csv.wasm --key acme.pub --json
  crossdock plugin verify oci://registry.example.com/acme/csv@^1.2

Without --key, trust.yaml in the project's folder says whose signatures count: `crossdock schema trust` prints what
can be in it.

Exit codes: 0 signed by somebody who is trusted, 1 not so, 2 usage or configuration error";

const WHAT: &str = "The plugin: a file, or oci://HOST/NAMESPACE/NAME@VERSION";

#[derive(Debug, Args)]
pub(super) struct SignArguments {
    #[arg(value_name = "PLUGIN", help = WHAT)]
    file: PathBuf,
    /// The private key [default: that of `crossdock key new`]
    #[arg(
        long,
        value_name = "FILE",
        env = "CROSSDOCK_SIGNING_KEY",
        hide_env_values = true
    )]
    key: Option<PathBuf>,
    #[command(flatten)]
    registry: RegistryArguments,
    /// Print the result as one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    #[arg(value_name = "PLUGIN", help = WHAT)]
    file: PathBuf,
    /// Where its signature is [default: FILE.sigstore.json]
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Only signatures of this public key count; may be repeated
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// The project's folder, with trust.yaml [default: the one around the current folder]
    #[arg(long, value_name = "DIR")]
    project: Option<PathBuf>,
    #[command(flatten)]
    registry: RegistryArguments,
    /// Print the result as one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) async fn sign(arguments: SignArguments, output: Output) -> Result<u8, Failure> {
    match reference(&arguments.file)? {
        Some(reference) => sign_there(&arguments, &reference, output).await,
        None => sign_file(&arguments, output),
    }
}

/// A place in a registry, when it is meant to be one.
fn reference(what: &Path) -> Result<Option<Reference>, Failure> {
    let text = what.to_str().filter(|text| is_reference(text));
    let read = text.map(str::parse).transpose();
    read.map_err(|error: ReferenceError| Failure::Usage(error.to_string()))
}

/// Nothing is installed: what the project has is only looked at.
fn plugins(project: PathBuf, registry: &RegistryArguments) -> Result<Plugins, Failure> {
    let state = folders::state_of(&project);
    Ok(Plugins::open(
        project,
        state,
        &registry.options(),
        app::cli_actor(),
    )?)
}

async fn sign_there(
    arguments: &SignArguments,
    reference: &Reference,
    output: Output,
) -> Result<u8, Failure> {
    let key = signing_key(arguments.key.as_deref())?;
    let current = env::current_dir().unwrap_or_default();
    let plugins = plugins(current, &arguments.registry)?;
    notices(&plugins, Look::Kept, output).await?;
    let offer = plugins.sign(reference, &key).await?;
    let id = key.public().id();
    if arguments.json {
        output.print_json(&json!({
            "ok": true, "key": id, "source": offer.repository, "manifest": offer.pulled.manifest.digest,
            "plugin": offer.name, "version": offer.version, "digest": offer.inspection.digest,
        }));
    } else {
        let name = output
            .paint
            .with(STRONG, format!("{} {}", offer.name, offer.version));
        let mark = output.paint.with(GOOD, "✓");
        let (place, manifest) = (&offer.repository, &offer.pulled.manifest.digest);
        output.print(&format!(
            "{mark} {name} is signed with the key {}\n  manifest   {manifest}\n  place      {place}\n", id.short()
        ));
    }
    Ok(0)
}

fn sign_file(arguments: &SignArguments, output: Output) -> Result<u8, Failure> {
    let file = &arguments.file;
    let bytes = read(file)?;
    let inspection = plugin(file, &bytes)?;
    let key = signing_key(arguments.key.as_deref())?;
    let Signature::Bundle(bundle) = Signature::of_file(&key, &bytes)? else {
        return Err(Failure::Usage("a file is signed with a bundle".to_owned()));
    };
    let beside = bundle_of(file);
    replace(&beside, &bundle).map_err(|source| Failure::Io {
        action: "the signature cannot be written",
        source,
    })?;
    let id = key.public().id();
    if arguments.json {
        let mut document = about(file, &inspection);
        document["ok"] = true.into();
        document["key"] = json!(id);
        document["bundle"] = json!(beside);
        output.print_json(&document);
        return Ok(0);
    }
    let paint = output.paint;
    let mut out = format!(
        "{} {} is signed with the key {}\n",
        paint.with(GOOD, "✓"),
        paint.with(STRONG, title(file, &inspection)),
        id.short()
    );
    // Writing to a String cannot fail.
    let _ = writeln!(out, "  digest     {}", inspection.digest);
    let _ = writeln!(
        out,
        "  signature  {} {}",
        style::path(&beside),
        paint.with(FAINT, "(goes with the file)")
    );
    output.print(&out);
    Ok(0)
}

pub(super) async fn verify(arguments: VerifyArguments, output: Output) -> Result<u8, Failure> {
    let Some(reference) = reference(&arguments.file)? else {
        return verify_file(&arguments, output);
    };
    let plugins = plugins(project(&arguments), &arguments.registry)?;
    let plugins = plugins.trusting(trust(&arguments)?);
    notices(&plugins, Look::Kept, output).await?;
    let offer = plugins.offer(&reference).await?;
    let about = json!({
        "source": offer.repository, "manifest": offer.pulled.manifest.digest, "digest": offer.inspection.digest,
        "plugin": offer.name, "version": offer.version,
    });
    let name = format!("{} {}", offer.name, offer.version);
    Ok(tell(about, &name, &offer.trust, arguments.json, output))
}

fn verify_file(arguments: &VerifyArguments, output: Output) -> Result<u8, Failure> {
    let file = &arguments.file;
    let bytes = read(file)?;
    let inspection = plugin(file, &bytes)?;
    let signatures = match &arguments.bundle {
        Some(path) => vec![signature(path).map_err(|source| unreadable(path, source))?],
        None => signature_beside(file)?.into_iter().collect(),
    };
    let trust = trust(arguments)?;
    let asked = Asked {
        repository: None,
        subject: Subject::File(&bytes),
        pinned: None,
    };
    let decision = trust.decide(&asked, &signatures, Timestamp::now());
    let (about, name) = (about(file, &inspection), title(file, &inspection));
    Ok(tell(about, &name, &decision, arguments.json, output))
}

/// Only who is trusted is good enough for who asks.
fn tell(mut document: Value, name: &str, decision: &Decision, json: bool, output: Output) -> u8 {
    let good = matches!(decision, Decision::Trusted { .. });
    if json {
        let parts = [
            serde_json::to_value(decision).ok(),
            (!good).then(|| failed(&decision.words(), &[])),
        ];
        for (field, value) in parts.into_iter().flatten().filter_map(fields).flatten() {
            document[field] = value;
        }
        document["ok"] = good.into();
        output.print_json(&document);
    } else {
        let mark = if good {
            output.paint.with(GOOD, "✓")
        } else {
            output.paint.with(BAD, "×")
        };
        output.print(&format!(
            "{mark} {}: {}\n",
            output.paint.with(STRONG, name),
            decision.words()
        ));
    }
    u8::from(!good)
}

fn fields(value: Value) -> Option<serde_json::Map<String, Value>> {
    match value {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

fn project(arguments: &VerifyArguments) -> PathBuf {
    let current = env::current_dir().unwrap_or_default();
    let given = arguments.project.clone();
    given.unwrap_or_else(|| folders::project_around(&current).to_owned())
}

/// Whose signatures count.
fn trust(arguments: &VerifyArguments) -> Result<Trust, Failure> {
    if !arguments.keys.is_empty() {
        let keys: Result<Vec<_>, _> = arguments
            .keys
            .iter()
            .map(|file| PublicKey::read(file))
            .collect();
        return Ok(Trust::only("who was named with --key", keys?));
    }
    let project = project(arguments);
    let trust = Trust::of_project(&project, &Variables::new(BTreeMap::new()))
        .map_err(|findings| Failure::App(AppError::Findings(findings)))?;
    if trust.is_empty() {
        return Err(Failure::Usage(format!(
            "nobody is known: name a public key with --key, or write publishers into {}",
            style::path(&project.join(catalogue::trust::FILE))
        )));
    }
    Ok(trust)
}

fn about(file: &Path, inspection: &Inspection) -> Value {
    let manifest = inspection.manifest.as_ref();
    json!({
        "file": file,
        "digest": inspection.digest,
        "plugin": manifest.map(|manifest| &manifest.name),
        "version": manifest.map(|manifest| &manifest.version),
    })
}

fn title(file: &Path, inspection: &Inspection) -> String {
    inspection.manifest.as_ref().map_or_else(
        || style::path(file),
        |manifest| format!("{} {}", manifest.name, manifest.version),
    )
}

fn unreadable(path: &Path, source: io::Error) -> Failure {
    Failure::App(AppError::Read {
        path: path.to_owned(),
        source,
    })
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    catalogue::read_component(file).map_err(|source| unreadable(file, source))
}

fn plugin(file: &Path, bytes: &[u8]) -> Result<Inspection, Failure> {
    let inspection = catalogue::inspect(bytes).map_err(|source| AppError::Inspect {
        path: file.to_owned(),
        source,
    })?;
    if inspection.kinds.is_empty() {
        let name = style::path(file);
        return Err(Failure::Usage(format!(
            "{name} is a component, but no plugin: `crossdock plugin inspect` says more"
        )));
    }
    Ok(inspection)
}

/// `csv.wasm.sigstore.json`.
fn bundle_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(FILE_SUFFIX);
    name.into()
}

/// The signature beside a file, if there is one.
fn signature_beside(file: &Path) -> Result<Option<Signature>, Failure> {
    let path = bundle_of(file);
    match signature(&path) {
        Ok(signature) => Ok(Some(signature)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(unreadable(&path, source)),
    }
}

/// A bundle, read not much further than one may be large: what is longer is refused.
fn signature(path: &Path) -> io::Result<Signature> {
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(MAX_BUNDLE as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(Signature::Bundle(bytes))
}

/// Puts a file in its place as a whole.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut part = tempfile::Builder::new()
        .prefix(".crossdock-")
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    part.write_all(bytes)?;
    part.as_file().sync_all()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // A temporary file is for its owner only; this one is for everybody.
        part.as_file()
            .set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    part.persist(path).map(drop).map_err(|error| error.error)
}
