//! `registries.yaml`: how single registries are spoken to, and which catalogues are looked at. A project has one, and so may
//! a user, in `~/.config/crossdock`; what the project's says of a registry wins.
//!
//! No password is ever in it: credentials are where `docker login` and its helpers keep them.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    catalogue::reference::{Repository, is_host},
    flow::{
        Finding, Variables,
        document::{self, Loaded},
        quantity::Time,
    },
};

/// The name of the file.
pub const FILE: &str = "registries.yaml";
/// How old the copy of an index may be before a newer one is asked for.
const AGE: Duration = Duration::from_hours(24);
const AREA: &str = "registries";

/// How registries are spoken to, and which catalogues are looked at.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "crossdock registries")]
pub struct SettingsSpec {
    /// Registries that are not spoken to in the usual way.
    #[serde(default)]
    pub registries: Vec<RegistrySpec>,
    /// Catalogues that plugins are found in: a namespace of a registry whose publisher makes an index.
    #[serde(default)]
    #[schemars(extend("examples" = [["oci://registry.example.com/acme"]]))]
    pub catalogues: Vec<String>,
    /// How old what is known of a catalogue may be before it is asked again. It never stops what is installed.
    #[schemars(extend("examples" = ["1d"]))]
    pub catalogue_age: Option<Time>,
}

/// How one registry is spoken to.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RegistrySpec {
    /// Its host, with the port when that is not the usual one.
    #[schemars(extend("examples" = ["registry.example.com:5000"]))]
    pub registry: String,
    /// Without encryption. Everybody on the way can read and change what is sent, passwords too.
    #[serde(default)]
    pub plain_http: bool,
    /// PEM files with certificates that this registry, and no other one, may be signed by, relative to this file. Those of
    /// the system count as well.
    #[serde(default)]
    #[schemars(extend("examples" = [["certs/company-ca.pem"]]))]
    pub ca: Vec<PathBuf>,
    /// How long an answer, or the next piece of it, is waited for.
    #[schemars(extend("examples" = ["30s"]))]
    pub timeout: Option<Time>,
    /// A file like Docker's `config.json`, relative to this file, with the credentials for this registry. Without it, it is
    /// the one that `docker login` writes.
    pub docker_config: Option<PathBuf>,
}

/// What is said of one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostSettings {
    /// Without encryption.
    pub plain_http: bool,
    /// Files with certificates that are trusted besides those of the system.
    pub certificates: Vec<PathBuf>,
    /// How long an answer, or the next piece of it, is waited for.
    pub patience: Option<Duration>,
    /// Where its credentials are, when not in the usual place.
    pub credentials: Option<PathBuf>,
}

/// What `registries.yaml` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Of registries, by host.
    pub hosts: BTreeMap<String, HostSettings>,
    /// Where the indexes of the catalogues are.
    pub catalogues: Vec<Repository>,
    /// How old the copy of an index may be before a newer one is asked for.
    pub age: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hosts: BTreeMap::new(),
            catalogues: Vec::new(),
            age: AGE,
        }
    }
}

impl Settings {
    /// What is said in a project, and by its user. Blocks.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub fn of_project(folder: &Path) -> Result<Self, Vec<Finding>> {
        let mut settings = Self::default();
        if let Some(user) = users_file() {
            settings.add(&user)?;
        }
        settings.add(&folder.join(FILE))?;
        Ok(settings)
    }

    /// Adds what a file says, where it is there.
    fn add(&mut self, file: &Path) -> Result<(), Vec<Finding>> {
        if file.symlink_metadata().is_err() {
            return Ok(());
        }
        let loaded = document::load::<SettingsSpec>(AREA, file, &Variables::default())?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let mut findings = Vec::new();
        let mut note = |pointer: &str, message: String, advice: &str| {
            findings.push(wrong(&loaded, pointer, message, advice));
        };
        for (at, spec) in loaded.value.registries.iter().enumerate() {
            if !is_host(&spec.registry) {
                let message = format!("{:?} is no host of a registry", spec.registry);
                let advice =
                    "write it as references have it: `registry.example.com`, `localhost:5000`";
                note(&format!("/registries/{at}/registry"), message, advice);
            }
            let own = HostSettings {
                plain_http: spec.plain_http,
                certificates: spec.ca.iter().map(|ca| folder.join(ca)).collect(),
                patience: spec.timeout.map(|time| time.0),
                credentials: spec.docker_config.as_ref().map(|file| folder.join(file)),
            };
            self.hosts.insert(spec.registry.clone(), own);
        }
        for (at, written) in loaded.value.catalogues.iter().enumerate() {
            match Repository::of_catalogue(written) {
                Ok(place) if self.catalogues.contains(&place) => {}
                Ok(place) => self.catalogues.push(place),
                Err(error) => note(
                    &format!("/catalogues/{at}"),
                    error.to_string(),
                    "write a registry and a namespace: `oci://registry.example.com/acme`",
                ),
            }
        }
        if let Some(age) = loaded.value.catalogue_age {
            self.age = age.0;
        }
        if findings.is_empty() {
            Ok(())
        } else {
            Err(findings)
        }
    }
}

fn wrong(loaded: &Loaded<SettingsSpec>, pointer: &str, message: String, advice: &str) -> Finding {
    Finding::error("registries.wrong-value", message)
        .at(loaded.document.locate(pointer))
        .advice(advice)
}

/// `~/.config/crossdock/registries.yaml`.
fn users_file() -> Option<PathBuf> {
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let config =
        absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
    config.map(|config| config.join("crossdock").join(FILE))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_says_how_registries_are_spoken_to() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE);
        let mut settings = Settings::default();
        settings.add(&file).unwrap();
        assert_eq!(settings, Settings::default());
        fs::write(
            &file,
            "registries:\n  - { registry: localhost:5000, plain-http: true, timeout: 2s }\n  - registry: r.example.com\n    \
             ca: [certs/ca.pem]\n    docker-config: login.json\ncatalogues: [oci://r.example.com/acme, oci://r.example.com]\n\
             catalogue-age: 2h\n",
        )
        .unwrap();
        settings.add(&file).unwrap();
        let local = &settings.hosts["localhost:5000"];
        assert!(local.plain_http && local.patience == Some(Duration::from_secs(2)));
        let company = &settings.hosts["r.example.com"];
        assert_eq!(company.certificates, [dir.path().join("certs/ca.pem")]);
        assert_eq!(company.credentials, Some(dir.path().join("login.json")));
        let places: Vec<String> = settings
            .catalogues
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            places,
            [
                "oci://r.example.com/acme/catalogue",
                "oci://r.example.com/catalogue"
            ]
        );
        assert_eq!(settings.age, Duration::from_hours(2));
    }

    #[test]
    fn what_is_wrong_is_told_at_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE);
        for (text, line, said) in [
            (
                "registries:\n  - { registry: 'https://x' }\n",
                2,
                "is no host of a registry",
            ),
            (
                "catalogues:\n  - registry.example.com/acme\n",
                2,
                "does not begin with `oci://`",
            ),
            (
                "catalogues:\n  - oci://registry.example.com/acme@1.0.0\n",
                2,
                "is no name in a registry",
            ),
            (
                "registries:\n  - { registry: x.example, password: secret }\n",
                2,
                "password",
            ),
        ] {
            fs::write(&file, text).unwrap();
            let findings = Settings::default().add(&file).unwrap_err();
            let finding = &findings[0];
            assert_eq!(finding.location.as_ref().unwrap().line, line, "{finding}");
            assert!(finding.to_string().contains(said), "{said}: {finding}");
        }
    }
}
