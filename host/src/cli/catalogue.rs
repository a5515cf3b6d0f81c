//! `crossdock catalogue`: what catalogues say of plugins, and for publishers how one is made.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Failure,
    arguments::duration,
    key::{key_if_any, signing_key},
    output::{Output, table},
    plugin::{
        arguments::{ProjectArguments, RegistryArguments},
        notices,
    },
    style::{self, BAD, FAINT, GOOD, STRONG, WARN},
};
use crate::{
    app::{
        Look, Plugins, PluginsError,
        catalogues::{BuildOptions, CatalogueError, Updated, beside, sign_index},
    },
    catalogue::{
        KeyError, Repository,
        index::{Built, notes},
    },
};

/// A list of plugins is not larger than this.
const MAX_LIST: usize = 4 << 20;
/// Lines of what is new, gone or left out that are shown.
const MAX_SHOWN: usize = 20;

const NAMESPACE: &str = "The namespace: oci://HOST/NAMESPACE, or oci://HOST for a whole registry";

#[derive(Debug, Subcommand)]
pub(super) enum CatalogueCommand {
    /// Make the next index of a namespace: of what is published there, the index before, and your notes
    #[command(after_help = "\
Examples:
  crossdock catalogue build oci://registry.example.com/acme
  crossdock catalogue build oci://registry.example.com/acme --list plugins.txt --expires 14d

Every plugin in the namespace is in it, with its versions: kinds, description, keywords, licence, contract, what it asks
for, and the level that its attached report claims. The serial is one higher than that of the index in the registry,
which must be signed by you or by who is in trust.yaml. A version that was replaced since is refused.

catalogue.yaml beside the index says what no component can say of itself: which versions are yanked, what is deprecated,
what is wrong with some versions, what the channels are at. `crossdock schema catalogue` prints what can be in it. With
such a file it is all that counts; without one, what the index before said stays.

An index counts until it expires: build, sign and serve the next one before that, from a timer say. Hosts that see none
warn, since somebody may be holding it back.

Exit codes: 0 written, 1 the registry refused, 2 usage or configuration error")]
    Build(CatalogueBuildArguments),
    /// Sign an index with your key; several may do so
    #[command(after_help = "\
Examples:
  crossdock catalogue sign
  crossdock catalogue sign catalogue.json --key keys/acme.key

No registry is asked: the key can stay on a machine without a network. The signature is a bundle beside the file, one for
each key, and goes with it.

Exit codes: 0 done, 1 it cannot be written, 2 there is no key, or the file is no index")]
    Sign(CatalogueSignArguments),
    /// Put a signed index to its place in the registry, from where hosts get it
    #[command(after_help = "\
Examples:
  crossdock catalogue serve oci://registry.example.com/acme
  crossdock catalogue serve oci://registry.example.com/acme build/catalogue.json

It is an artifact in the repository `catalogue` of the namespace, under the tag `index`, with its signatures as
referrers. Who can pull the plugins can pull it; mirrors and logins work as for plugins, and nothing has to run. Hosts name
it in registries.yaml: `catalogues: [oci://registry.example.com/acme]`. An index that is not newer than the one that
is there is refused.

Exit codes: 0 it is there, 1 the registry refused or it was overtaken, 2 usage or configuration error")]
    Serve(CatalogueServeArguments),
    /// Fetch the indexes of the catalogues that registries.yaml names
    #[command(after_help = "\
Example:
  crossdock catalogue update

An index is taken when who is in trust.yaml signed it, when it has not expired, and when its serial is not lower than
the highest that was seen here. Otherwise what was known before counts on, and what is installed runs on. Searching,
installing and upgrading do this by themselves when what they know is older than `catalogue-age` in registries.yaml.

Exit codes: 0 all are there, 1 one was refused or cannot be had, 2 usage or configuration error")]
    Update(CatalogueUpdateArguments),
    /// Show what is known of the catalogues, without asking anybody
    List(CatalogueListArguments),
}

#[derive(Debug, Args)]
pub(super) struct CatalogueBuildArguments {
    #[arg(value_name = "REGISTRY", help = NAMESPACE, value_parser = Repository::of_catalogue)]
    place: Repository,
    /// The plugins, one path below the namespace a line, for registries that do not tell what they have
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Yanks, deprecations, advisories and channels [default: catalogue.yaml beside the index, when it is there]
    #[arg(long, value_name = "FILE")]
    notes: Option<PathBuf>,
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "catalogue.json")]
    out: PathBuf,
    /// How long the index counts
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = duration)]
    expires: Duration,
    /// Your private key, which signed the index before [default: that of `crossdock key new`, when there is one]
    #[arg(
        long,
        value_name = "FILE",
        env = "CROSSDOCK_SIGNING_KEY",
        hide_env_values = true
    )]
    key: Option<PathBuf>,
    #[command(flatten)]
    registry: RegistryArguments,
    #[command(flatten)]
    project: ProjectArguments,
}

#[derive(Debug, Args)]
pub(super) struct CatalogueSignArguments {
    /// The index
    #[arg(value_name = "FILE", default_value = "catalogue.json")]
    file: PathBuf,
    /// The private key [default: that of `crossdock key new`]
    #[arg(
        long,
        value_name = "FILE",
        env = "CROSSDOCK_SIGNING_KEY",
        hide_env_values = true
    )]
    key: Option<PathBuf>,
    /// Print the result as one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct CatalogueServeArguments {
    #[arg(value_name = "REGISTRY", help = NAMESPACE, value_parser = Repository::of_catalogue)]
    place: Repository,
    /// The index, with its signatures beside it
    #[arg(value_name = "FILE", default_value = "catalogue.json")]
    file: PathBuf,
    #[command(flatten)]
    registry: RegistryArguments,
    #[command(flatten)]
    project: ProjectArguments,
}

#[derive(Debug, Args)]
pub(super) struct CatalogueUpdateArguments {
    #[command(flatten)]
    registry: RegistryArguments,
    #[command(flatten)]
    project: ProjectArguments,
}

#[derive(Debug, Args)]
pub(super) struct CatalogueListArguments {
    #[command(flatten)]
    project: ProjectArguments,
}

impl CatalogueCommand {
    pub(super) fn wants_json(&self) -> bool {
        match self {
            Self::Build(arguments) => arguments.project.json,
            Self::Sign(arguments) => arguments.json,
            Self::Serve(arguments) => arguments.project.json,
            Self::Update(arguments) => arguments.project.json,
            Self::List(arguments) => arguments.project.json,
        }
    }
}

pub(super) async fn catalogue(command: CatalogueCommand, output: Output) -> Result<u8, Failure> {
    match command {
        CatalogueCommand::Build(arguments) => build(arguments, output).await,
        CatalogueCommand::Sign(arguments) => sign(&arguments, output),
        CatalogueCommand::Serve(arguments) => serve(arguments, output).await,
        CatalogueCommand::Update(arguments) => update(arguments, output).await,
        CatalogueCommand::List(arguments) => list(arguments, output).await,
    }
}

async fn build(arguments: CatalogueBuildArguments, output: Output) -> Result<u8, Failure> {
    let plugins = arguments.project.plugins(Some(&arguments.registry))?;
    let paths = arguments.list.as_deref().map(listed).transpose()?;
    let beside_index = arguments.out.with_file_name(notes::FILE);
    let is_there = arguments.notes.is_none() && beside_index.is_file();
    let options = BuildOptions {
        paths,
        notes: arguments.notes.or_else(|| is_there.then_some(beside_index)),
        lasts: arguments.expires,
        own: key_if_any(arguments.key.as_deref())?.map(|key| key.public().clone()),
    };
    let built = plugins.build_index(&arguments.place, options).await?;
    let bytes = built
        .index
        .write()
        .map_err(|error| wrong(&arguments.out, &error))?;
    write(&arguments.out, &bytes)?;
    if arguments.project.json {
        output.print_json(&json!({
            "ok": true, "file": arguments.out, "serial": built.index.serial, "plugins": built.index.plugins.len(),
            "expires": built.index.expires.to_string(), "added": built.added, "gone": built.gone,
            "skipped": built.skipped.iter().map(|(what, why)| json!({ "what": what, "why": why })).collect::<Vec<_>>(),
        }));
    } else {
        output.print(&told(&built, &arguments.out, output));
    }
    Ok(0)
}

fn told(built: &Built, file: &Path, output: Output) -> String {
    let paint = output.paint;
    let index = &built.index;
    let mut out = format!(
        "{} {} serial {}, {}, counts until {}\n",
        paint.with(GOOD, "✓"),
        paint.with(STRONG, style::path(file)),
        index.serial,
        style::counted(index.plugins.len() as u64, "plugin"),
        index.expires
    );
    let mut some = |mark: String, lines: Vec<String>| {
        // Writing to a String cannot fail, here and below.
        for line in lines.iter().take(MAX_SHOWN) {
            let _ = writeln!(out, "  {mark} {line}");
        }
        if lines.len() > MAX_SHOWN {
            let _ = writeln!(out, "  {mark} and {} more", lines.len() - MAX_SHOWN);
        }
    };
    some(paint.with(GOOD, "+"), built.added.clone());
    let gone = |what: &String| format!("{what} is not there any more");
    some(paint.with(WARN, "-"), built.gone.iter().map(gone).collect());
    let skipped = |(what, why): &(String, String)| format!("{what} is left out: {why}");
    some(
        paint.with(WARN, "!"),
        built.skipped.iter().map(skipped).collect(),
    );
    let next = format!("next: crossdock catalogue sign {}", style::path(file));
    let _ = writeln!(out, "  {}", paint.with(FAINT, next));
    out
}

/// The paths in a file: one a line, `#` begins a comment.
fn listed(file: &Path) -> Result<Vec<String>, Failure> {
    let unreadable = |source| Failure::Io {
        action: "the list of plugins cannot be read",
        source,
    };
    let text = fs::read_to_string(file).map_err(unreadable)?;
    if text.len() > MAX_LIST {
        return Err(Failure::Usage(format!(
            "{} is too long for a list of plugins",
            style::path(file)
        )));
    }
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    Ok(lines
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect())
}

fn sign(arguments: &CatalogueSignArguments, output: Output) -> Result<u8, Failure> {
    let key = signing_key(arguments.key.as_deref())?;
    let (index, signature) = sign_index(&arguments.file, &key).map_err(PluginsError::from)?;
    let id = key.public().id();
    let place = beside(&arguments.file, id);
    write(&place, &signature)?;
    if arguments.json {
        output.print_json(&json!({
            "ok": true, "file": arguments.file, "serial": index.serial, "key": id, "signature": place,
        }));
        return Ok(0);
    }
    let paint = output.paint;
    let next = format!(
        "next: crossdock catalogue serve oci://HOST/{} {}",
        index.namespace,
        style::path(&arguments.file)
    );
    output.print(&format!(
        "{} serial {} is signed with the key {}\n  signature  {} {}\n  {}\n",
        paint.with(GOOD, "✓"),
        index.serial,
        id.short(),
        style::path(&place),
        paint.with(FAINT, "(goes with the file)"),
        paint.with(FAINT, next)
    ));
    Ok(0)
}

async fn serve(arguments: CatalogueServeArguments, output: Output) -> Result<u8, Failure> {
    let plugins = arguments.project.plugins(Some(&arguments.registry))?;
    let done = plugins
        .serve_index(&arguments.place, &arguments.file)
        .await?;
    if arguments.project.json {
        output.print_json(&json!({ "ok": true, "served": done }));
        return Ok(0);
    }
    let paint = output.paint;
    let verb = if done.was_there {
        "is there already, the same"
    } else {
        "is there"
    };
    output.print(&format!(
        "{} serial {} {verb}: {}, {}\n  place      {}\n  manifest   {}\n",
        paint.with(GOOD, "✓"),
        done.serial,
        style::counted(done.plugins as u64, "plugin"),
        style::counted(done.signatures as u64, "signature"),
        done.place,
        done.manifest
    ));
    Ok(0)
}

async fn update(arguments: CatalogueUpdateArguments, output: Output) -> Result<u8, Failure> {
    let plugins = arguments.project.plugins(Some(&arguments.registry))?;
    let all = plugins.update_catalogues().await?;
    let failed = all.iter().any(Result::is_err);
    if arguments.project.json {
        let document = |one: &Result<Updated, CatalogueError>| match one {
            Ok(updated) => json!({ "ok": true, "catalogue": updated }),
            Err(error) => json!({ "ok": false, "error": error.to_string() }),
        };
        let all: Vec<_> = all.iter().map(document).collect();
        output.print_json(&json!({ "ok": !failed, "catalogues": all }));
        return Ok(u8::from(failed));
    }
    let paint = output.paint;
    for one in &all {
        match one {
            Ok(updated) => {
                let new = if updated.is_new {
                    ""
                } else {
                    ", known already"
                };
                output.print(&format!(
                    "{} {} serial {}, {}, {}, counts until {}{new}\n",
                    paint.with(GOOD, "✓"),
                    paint.with(STRONG, &updated.place),
                    updated.serial,
                    style::counted(updated.plugins as u64, "plugin"),
                    updated.signature.words(),
                    updated.expires
                ));
            }
            Err(error) => {
                let head = output.paint_errors.with(BAD, "error:");
                output.tell(&format!("{head} {error}"));
            }
        }
    }
    Ok(u8::from(failed))
}

async fn list(arguments: CatalogueListArguments, output: Output) -> Result<u8, Failure> {
    let plugins: Plugins = arguments.project.plugins(None)?;
    notices(&plugins, Look::Kept, output).await?;
    let known = plugins.known();
    if arguments.project.json {
        let all: Vec<_> = known
            .catalogues
            .iter()
            .map(|one| {
                json!({
                    "place": one.place, "serial": one.index.serial, "plugins": one.index.plugins.len(),
                    "fetched": one.fetched.to_string(), "expires": one.index.expires.to_string(), "stale": one.stale,
                    "signature": one.trust,
                })
            })
            .collect();
        output.print_json(&json!({ "ok": true, "catalogues": all, "notices": known.notices }));
        return Ok(0);
    }
    if known.catalogues.is_empty() {
        output.print("nothing is known of any catalogue\n");
        return Ok(0);
    }
    let row = |one: &crate::app::catalogues::Known| {
        vec![
            one.place.to_string(),
            one.trust.publisher().unwrap_or("not signed").to_owned(),
            one.index.expires.to_string(),
            if one.stale { "stale" } else { "" }.to_owned(),
            one.index.serial.to_string(),
            style::count(one.index.plugins.len() as u64),
        ]
    };
    let rows: Vec<Vec<String>> = known.catalogues.iter().map(row).collect();
    let header = [
        "catalogue",
        "signed by",
        "counts until",
        "",
        "serial",
        "plugins",
    ];
    output.print(&table(&header, 4, &rows));
    Ok(0)
}

fn wrong(file: &Path, error: &dyn std::fmt::Display) -> Failure {
    let path = file.to_owned();
    let why = error.to_string();
    PluginsError::from(CatalogueError::File { path, why }).into()
}

/// Puts a file into its place as a whole.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    super::signature::replace(path, bytes).map_err(|source| {
        KeyError::Io {
            action: "write",
            path: path.to_owned(),
            source,
        }
        .into()
    })
}
