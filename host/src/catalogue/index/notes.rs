//! What a publisher writes by hand about plugins: which versions nobody should get any more, what is wrong with some, which
//! ones the channels are at. `crossdock catalogue build` puts it into the index.

use std::{collections::BTreeMap, path::Path, str::FromStr};

use schemars::JsonSchema;
use semver::{Version, VersionReq};
use serde::Deserialize;

use super::{Advisory, Deprecated, Entry, Index, Severity};
use crate::{
    catalogue::version::is_channel,
    flow::{
        Finding, Variables,
        document::{self, Loaded},
    },
};

/// The name of the file beside an index.
pub const FILE: &str = "catalogue.yaml";
const AREA: &str = "catalogue";

/// What a publisher has to say of plugins, beside what they say of themselves.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "crossdock catalogue")]
pub struct NotesSpec {
    /// By the name of the plugin.
    #[serde(default)]
    pub plugins: BTreeMap<String, PluginNotes>,
}

/// About one plugin.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PluginNotes {
    /// Versions that nobody should get any more. They stay in the registry for who has them.
    #[serde(default)]
    pub yanked: Vec<YankSpec>,
    /// Nobody should begin to use the plugin.
    pub deprecated: Option<DeprecatedSpec>,
    /// What is wrong with some versions.
    #[serde(default)]
    pub advisories: Vec<AdvisorySpec>,
    /// Names for versions that move, with the version that each is at now.
    #[serde(default)]
    #[schemars(extend("examples" = [{"stable": "1.4.2", "beta": "2.0.0-rc.1"}]))]
    pub channels: BTreeMap<String, String>,
}

/// A version that nobody should get any more.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct YankSpec {
    /// The version.
    pub version: String,
    /// Why, in one sentence.
    #[schemars(length(min = 1, max = 500))]
    pub reason: String,
}

/// Why nobody should begin to use a plugin.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DeprecatedSpec {
    /// Why, in one sentence.
    #[schemars(length(min = 1, max = 500))]
    pub reason: String,
    /// The plugin to use instead.
    pub replacement: Option<String>,
}

/// What is wrong with some versions.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AdvisorySpec {
    /// A name for it.
    #[schemars(length(min = 1, max = 128), extend("examples" = ["ACME-2026-1"]))]
    pub id: String,
    /// The versions that have it.
    #[schemars(extend("examples" = [">=1.0.0, <1.4.2"]))]
    pub affected: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is. The first line is shown in lists.
    #[schemars(length(min = 1, max = 4000))]
    pub text: String,
    /// The first version without it.
    pub fixed: Option<String>,
}

/// Notes, read from their file.
#[derive(Debug, Clone)]
pub struct Notes(Loaded<NotesSpec>);

impl Notes {
    /// Reads a file of notes. Blocks.
    ///
    /// # Errors
    /// Everything that is wrong with it by itself.
    pub fn load(file: &Path) -> Result<Self, Vec<Finding>> {
        document::load::<NotesSpec>(AREA, file, &Variables::default()).map(Self)
    }

    /// Puts what the file says into an index. What an index said before of these things is forgotten: the file is all that
    /// counts.
    ///
    /// # Errors
    /// Everything that does not fit what is in the index.
    pub fn apply(&self, index: &mut Index) -> Result<(), Vec<Finding>> {
        let mut findings = Vec::new();
        for entry in index.plugins.values_mut() {
            entry.deprecated = None;
            entry.advisories.clear();
            entry.channels.clear();
            for release in entry.versions.values_mut() {
                release.yanked = None;
            }
        }
        for (name, notes) in &self.0.value.plugins {
            let mut writer = Writer {
                notes: &self.0,
                pointer: format!("/plugins/{name}"),
                findings: &mut findings,
            };
            if let Some(entry) = index.plugins.get_mut(name) {
                writer.plugin(notes, entry);
            } else {
                let message = format!("there is no plugin `{name}` in the catalogue");
                writer.note("", message, "write the name of one that is published there");
            }
        }
        if findings.is_empty() {
            Ok(())
        } else {
            Err(findings)
        }
    }
}

/// Puts the notes of one plugin into its entry.
struct Writer<'a> {
    notes: &'a Loaded<NotesSpec>,
    pointer: String,
    findings: &'a mut Vec<Finding>,
}

impl Writer<'_> {
    fn note(&mut self, field: &str, message: String, advice: &str) {
        let at = self
            .notes
            .document
            .locate(&format!("{}{field}", self.pointer));
        self.findings.push(
            Finding::error("catalogue.wrong-value", message)
                .at(at)
                .advice(advice),
        );
    }

    fn plugin(&mut self, notes: &PluginNotes, entry: &mut Entry) {
        entry.deprecated = notes.deprecated.as_ref().map(|spec| Deprecated {
            reason: spec.reason.clone(),
            replacement: spec.replacement.clone(),
        });
        for (at, yank) in notes.yanked.iter().enumerate() {
            let field = format!("/yanked/{at}/version");
            if let Some(version) = self.version(&field, &yank.version, entry)
                && let Some(release) = entry.versions.get_mut(&version)
            {
                release.yanked = Some(yank.reason.clone());
            }
        }
        for (at, spec) in notes.advisories.iter().enumerate() {
            let field = format!("/advisories/{at}");
            let affected = self.parsed::<VersionReq>(
                &format!("{field}/affected"),
                &spec.affected,
                "write a range like `>=1.0.0, <1.4.2`",
            );
            // The version that mends it may come later than the advice.
            let fixed = spec.fixed.as_ref().map(|text| {
                self.parsed::<Version>(
                    &format!("{field}/fixed"),
                    text,
                    "write a version like `1.4.2`",
                )
            });
            if let (Some(affected), Some(fixed)) =
                (affected, fixed.map_or(Some(None), |one| one.map(Some)))
            {
                entry.advisories.push(Advisory {
                    id: spec.id.clone(),
                    affected,
                    severity: spec.severity,
                    text: spec.text.clone(),
                    fixed,
                });
            }
        }
        for (channel, written) in &notes.channels {
            let field = format!("/channels/{channel}");
            if !is_channel(channel) {
                let advice = "two to 32 of a-z, 0-9 and `-`, and not `latest`";
                self.note(
                    &field,
                    format!("`{channel}` is no name of a channel"),
                    advice,
                );
                continue;
            }
            let Some(version) = self.version(&field, written, entry) else {
                continue;
            };
            if let Some(reason) = entry.yanked(&version) {
                let message =
                    format!("the channel `{channel}` is at {version}, which is yanked: {reason}");
                self.note(&field, message, "let it be at another version");
            }
            entry.channels.insert(channel.clone(), version);
        }
    }

    fn parsed<T: FromStr<Err: std::fmt::Display>>(
        &mut self,
        field: &str,
        text: &str,
        advice: &str,
    ) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.note(field, format!("`{text}`: {error}"), advice);
                None
            }
        }
    }

    /// A version that is there.
    fn version(&mut self, field: &str, text: &str, entry: &Entry) -> Option<Version> {
        let version: Version = self.parsed(field, text, "write a version like `1.4.2`")?;
        if entry.versions.contains_key(&version) {
            return Some(version);
        }
        let there: Vec<String> = entry
            .versions
            .keys()
            .rev()
            .take(5)
            .map(ToString::to_string)
            .collect();
        let advice = format!("the latest there: {}", there.join(", "));
        self.note(
            field,
            format!("there is no version {version} in the catalogue"),
            &advice,
        );
        None
    }
}
