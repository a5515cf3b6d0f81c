//! What can be typed behind `crossdock plugin` about registries and what is installed.

use std::{env, path::PathBuf, time::Duration};

use clap::Args;
use semver::Version;

use crate::{
    app::{self, Plugins, PluginsError},
    catalogue::{RegistryOptions, Repository},
    cli::{arguments::duration, folders},
};

pub(in crate::cli) const PUBLISH_EXAMPLES: &str = "\
Examples:
  crossdock plugin publish oci://registry.example.com/shop/shop-items
  crossdock plugin publish oci://localhost:5000/shop/csv csv.wasm --plain-http

Without a file it is what `crossdock plugin build --release` made of the project in the current folder. Name and
version are those in plugin.json. A version never changes: the same content again is no error, another one is.
With a key it is signed, in both layouts of cosign, so that others can tell that it is yours.
Credentials are those that `docker login` keeps, credential helpers included.

The report of `crossdock plugin test` beside the component and a bill of material (CycloneDX) are attached to it.

Exit codes: 0 it is there, 1 the registry refused, 2 the plugin or the place is wrong";

pub(in crate::cli) const INSTALL_EXAMPLES: &str = "\
Examples:
  crossdock plugin install oci://registry.example.com/shop/akeneo
  crossdock plugin install oci://registry.example.com/shop/akeneo@^1.2
  crossdock plugin install oci://registry.example.com/shop/akeneo@1.2.0 --yes
  crossdock plugin install akeneo@beta         # by its name, when a catalogue has it; from a channel of the catalogue
  crossdock plugin install                     # fetches what plugins.lock names and is not here
  crossdock plugin install shop-plugins.tar    # what `plugin bundle` wrote elsewhere

Who signed it, what it is, what it asks for and what is different from the installed version is shown before anything
of it runs. trust.yaml of the project says whose signatures count; another key than that of the installed version asks.
Flows use it by its name, `plugin: akeneo`, or `plugin: akeneo@^1.2`; they run exactly the digest in plugins.lock.
With --yes nobody is asked: then grants/NAME.yaml of the project must grant what it asks for.
Catalogues that registries.yaml names are asked first: a version that was yanked is never chosen, and what is known to
be wrong with one is told. `crossdock schema registries` prints what can be in that file.

Exit codes: 0 installed, 1 the registry refused or nobody agreed, 2 the call or a file is wrong";

pub(in crate::cli) const LIST_EXAMPLES: &str = "\
Example:
  crossdock plugin list";

pub(in crate::cli) const INFO_EXAMPLES: &str = "\
Examples:
  crossdock plugin info akeneo                 # installed, or in a catalogue
  crossdock plugin info oci://registry.example.com/shop/akeneo@^1.2";

pub(in crate::cli) const REMOVE_EXAMPLES: &str = "\
Example:
  crossdock plugin remove akeneo

What runs goes on: a host keeps the components that it runs.";

pub(in crate::cli) const SEARCH_EXAMPLES: &str = "\
Examples:
  crossdock plugin search shop
  crossdock plugin search source csv --json
  crossdock plugin search                      # everything

Every word must be in the name, the keywords, the description or the kinds; the best are first. The copies of the
indexes are searched, of the catalogues that registries.yaml names; nobody learns what was looked for. The level is what
the publisher claims that `crossdock plugin test` has found.

Exit codes: 0 found, 1 nothing found, 2 usage or configuration error";

const WHICH: &str = "Which: oci://HOST/NAMESPACE/NAME or the name of one in a catalogue, with @VERSION, @RANGE or \
                     @CHANNEL when it is not to be the newest, or a bundle's file. Without it: everything that \
                     plugins.lock names and is not here";
const WHAT: &str = "The name of a plugin that is installed or in a catalogue, or oci://HOST/NAMESPACE/NAME; with \
                    @VERSION, @RANGE or @CHANNEL";

/// How a registry is spoken to.
#[derive(Debug, Args)]
pub(in crate::cli) struct RegistryArguments {
    /// Speak to the registry without encryption
    #[arg(long)]
    plain_http: bool,
    /// Also trust the certificates in this file (PEM); may be repeated
    #[arg(long = "ca", value_name = "FILE")]
    certificates: Vec<PathBuf>,
    /// How long an answer of the registry is waited for [default: what registries.yaml says, else 30s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
}

impl RegistryArguments {
    pub(in crate::cli) fn options(&self) -> RegistryOptions {
        RegistryOptions {
            plain_http: self.plain_http,
            certificates: self.certificates.clone(),
            patience: self.timeout,
            ..RegistryOptions::default()
        }
    }
}

/// The project in which something is installed.
#[derive(Debug, Args)]
pub(in crate::cli) struct ProjectArguments {
    /// The project's folder [default: the one around the current folder]
    #[arg(long, value_name = "DIR")]
    project: Option<PathBuf>,
    /// Folder with the components [default: .crossdock in the project's folder]
    #[arg(
        long,
        value_name = "DIR",
        env = "CROSSDOCK_STATE",
        hide_env_values = true
    )]
    state: Option<PathBuf>,
    /// Print the result as one JSON document
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

impl ProjectArguments {
    pub(in crate::cli) fn plugins(
        &self,
        registry: Option<&RegistryArguments>,
    ) -> Result<Plugins, PluginsError> {
        let current = env::current_dir().unwrap_or_default();
        let given = self.project.clone();
        let project = given.unwrap_or_else(|| folders::project_around(&current).to_owned());
        let state = self.state.clone();
        let state = state.unwrap_or_else(|| folders::state_of(&project));
        let options = registry.map(RegistryArguments::options).unwrap_or_default();
        Plugins::open(project, state, &options, app::cli_actor())
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PublishArguments {
    #[arg(value_name = "REPOSITORY", help = "Where: oci://HOST/NAMESPACE/NAME")]
    pub(super) repository: Repository,
    /// The component, or the folder of a plugin's project
    #[arg(value_name = "FILE", default_value = ".")]
    pub(super) file: PathBuf,
    /// The private key to sign it with [default: that of `crossdock key new`, when there is one]
    #[arg(
        long,
        value_name = "FILE",
        env = "CROSSDOCK_SIGNING_KEY",
        hide_env_values = true
    )]
    pub(super) key: Option<PathBuf>,
    #[command(flatten)]
    pub(super) registry: RegistryArguments,
    /// Print the result as one JSON document
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

impl PublishArguments {
    pub(super) fn plugins(&self) -> Result<Plugins, PluginsError> {
        // Nothing is installed, so it matters not where.
        let here = PathBuf::from(".");
        let state = folders::state_of(&here);
        Plugins::open(here, state, &self.registry.options(), app::cli_actor())
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct InstallArguments {
    #[arg(value_name = "PLUGIN", help = WHICH)]
    pub(super) plugin: Option<String>,
    /// Ask nobody: the project's grants/NAME.yaml must grant what it asks for
    #[arg(long, short)]
    pub(super) yes: bool,
    /// Take an older version than the installed one
    #[arg(long)]
    pub(super) downgrade: bool,
    /// Take a version that its publisher has yanked
    #[arg(long)]
    pub(super) yanked: bool,
    #[command(flatten)]
    pub(super) registry: RegistryArguments,
    #[command(flatten)]
    pub(in crate::cli) project: ProjectArguments,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ListArguments {
    #[command(flatten)]
    pub(in crate::cli) project: ProjectArguments,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct InfoArguments {
    #[arg(value_name = "PLUGIN", help = WHAT)]
    pub(super) plugin: String,
    #[command(flatten)]
    pub(super) registry: RegistryArguments,
    #[command(flatten)]
    pub(in crate::cli) project: ProjectArguments,
}

pub(in crate::cli) const UPGRADE_EXAMPLES: &str = "\
Examples:
  crossdock plugin upgrade --dry-run
  crossdock plugin upgrade akeneo
  crossdock plugin upgrade --yes

Each plugin is upgraded to the newest of the versions that it was installed for (`install ...@^1.2`). What the new one
asks for beyond the old one and how their configs differ is shown, and whether that is a patch, a minor or a breaking
change, whatever its number says. With --yes nobody is asked: one that asks for more stays as it is, unless
grants/NAME.yaml grants it.

Exit codes: 0 done, 1 something stays as it is for want of consent or failed, 2 the call or a file is wrong";

pub(in crate::cli) const OUTDATED_EXAMPLES: &str = "\
Example:
  crossdock plugin outdated";

pub(in crate::cli) const PIN_EXAMPLES: &str = "\
Examples:
  crossdock plugin pin akeneo
  crossdock plugin pin akeneo --off";

pub(in crate::cli) const ROLLBACK_EXAMPLES: &str = "\
Examples:
  crossdock plugin rollback akeneo
  crossdock plugin rollback akeneo --to 1.2.0

The former versions are here, so no registry is asked. `crossdock plugin list --json` names them.";

pub(in crate::cli) const WHY_EXAMPLES: &str = "\
Example:
  crossdock plugin why akeneo";

pub(in crate::cli) const BUNDLE_EXAMPLES: &str = "\
Examples:
  crossdock plugin bundle shop-plugins.tar
  crossdock plugin bundle akeneo.tar akeneo

Elsewhere `crossdock plugin install shop-plugins.tar` shows and installs them as a registry would. The file is an OCI
image layout in a tar archive, which other tools read, too.";

#[derive(Debug, Args)]
pub(in crate::cli) struct UpgradeArguments {
    /// Only these plugins
    #[arg(value_name = "NAME")]
    pub(super) names: Vec<String>,
    /// Show what would be different, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Ask nobody: what asks for more than before needs grants/NAME.yaml
    #[arg(long, short)]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) registry: RegistryArguments,
    #[command(flatten)]
    pub(in crate::cli) project: ProjectArguments,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct OutdatedArguments {
    #[command(flatten)]
    pub(super) registry: RegistryArguments,
    #[command(flatten)]
    pub(in crate::cli) project: ProjectArguments,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PinArguments {
    /// Its name
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    /// Let it change again
    #[arg(long)]
    pub(super) off: bool,
    #[command(flatten)]
    pub(in crate::cli) project: ProjectArguments,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PluginRollbackArguments {
    /// Its name
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    /// The version [default: the one before]
    #[arg(long, value_name = "VERSION")]
    pub(super) to: Option<Version>,
    #[command(flatten)]
    pub(in crate::cli) project: ProjectArguments,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct WhyArguments {
    /// Its name
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    #[command(flatten)]
    pub(in crate::cli) project: ProjectArguments,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct BundleArguments {
    /// The file to write
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// Only these plugins
    #[arg(value_name = "NAME")]
    pub(super) names: Vec<String>,
    #[command(flatten)]
    pub(super) registry: RegistryArguments,
    #[command(flatten)]
    pub(in crate::cli) project: ProjectArguments,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SearchArguments {
    /// What to look for
    #[arg(value_name = "WORD")]
    pub(super) words: Vec<String>,
    /// At most this many
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    pub(super) limit: usize,
    #[command(flatten)]
    pub(super) registry: RegistryArguments,
    #[command(flatten)]
    pub(in crate::cli) project: ProjectArguments,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RemoveArguments {
    /// Its name
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    #[command(flatten)]
    pub(in crate::cli) project: ProjectArguments,
}
