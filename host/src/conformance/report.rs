//! What is told of the checks.

use std::sync::Arc;

use serde::Serialize;

use super::subject::Subject;
use crate::{
    catalogue::{
        Kind,
        conformance::{KIT, Level},
        manifest::Delivery,
    },
    plugin::Plugin,
};

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "why")]
pub enum Outcome {
    /// The plugin keeps this part of the contract.
    Passed,
    /// It does not.
    Failed(String),
    /// There was nothing to check.
    Skipped(String),
    /// It promises nothing here, or nothing can be seen: no failure, but no proof either.
    Open(String),
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// Its name.
    pub name: &'static str,
    /// What a plugin has to do.
    pub about: &'static str,
    /// The level that needs it.
    pub level: Level,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// How long it took.
    pub millis: u64,
}

/// One kind of the plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KindReport {
    /// The kind.
    pub kind: Kind,
    /// How far it keeps the contract.
    pub level: Level,
    /// What its manifest declares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub declared: Option<Delivery>,
    /// What was found. `None`: it could not be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Delivery>,
    /// Every check.
    pub checks: Vec<CheckReport>,
}

impl KindReport {
    pub(super) fn new(subject: &Subject, mut checks: Vec<CheckReport>) -> Self {
        let mut level = Level::None;
        for next in [Level::Basic, Level::Resumable, Level::ExactlyOnce] {
            let mut needed = checks.iter().filter(|check| check.level == next);
            let holds = |check: &CheckReport| {
                matches!(check.outcome, Outcome::Passed | Outcome::Skipped(_))
            };
            if !needed.all(holds) {
                break;
            }
            level = next;
        }
        checks.extend(required(subject.settings.level, level));
        let outcome = |name: &str| {
            let mut checks = checks.iter();
            checks
                .find(|check| check.name == name)
                .map(|check| &check.outcome)
        };
        let found = match subject.kind {
            Kind::Source => source(outcome),
            Kind::Transformer => transformer(outcome),
            Kind::Sink => sink(outcome),
        };
        Self {
            kind: subject.kind,
            level,
            declared: subject.declared(),
            found,
            checks,
        }
    }

    /// Checks that failed.
    pub fn failures(&self) -> impl Iterator<Item = (&CheckReport, &str)> {
        self.checks.iter().filter_map(|check| match &check.outcome {
            Outcome::Failed(why) => Some((check, why.as_str())),
            _ => None,
        })
    }
}

/// Whether the level that the settings ask for is reached: a check like every other, for people and build servers.
fn required(wanted: Option<Level>, reached: Level) -> Option<CheckReport> {
    let wanted = wanted?;
    Some(CheckReport {
        name: "reaches-its-level",
        about: "The level that conformance.yaml asks for is reached.",
        level: wanted,
        outcome: if reached >= wanted {
            Outcome::Passed
        } else {
            Outcome::Failed(format!(
                "level {reached}, but conformance.yaml asks for {wanted}: the checks that failed or stayed open (`?`) say why"
            ))
        },
        millis: 0,
    })
}

fn source<'a>(outcome: impl Fn(&str) -> Option<&'a Outcome>) -> Option<Delivery> {
    let all = [
        "gives-the-same-again",
        "resumes-without-gap",
        "resumes-without-overlap",
    ]
    .map(outcome);
    if all
        .iter()
        .any(|one| matches!(one, Some(Outcome::Failed(_))))
    {
        return Some(Delivery::Volatile);
    }
    let passed = all.iter().all(|one| matches!(one, Some(Outcome::Passed)));
    passed.then_some(Delivery::Replayable)
}

fn transformer<'a>(outcome: impl Fn(&str) -> Option<&'a Outcome>) -> Option<Delivery> {
    match outcome("gives-the-same-again")? {
        Outcome::Passed => Some(Delivery::Deterministic),
        Outcome::Failed(_) => Some(Delivery::Volatile),
        Outcome::Skipped(_) | Outcome::Open(_) => None,
    }
}

fn sink<'a>(outcome: impl Fn(&str) -> Option<&'a Outcome>) -> Option<Delivery> {
    let replay = outcome("a-replay-writes-nothing-twice")?;
    let discards = outcome("discards-what-came-later")?;
    match (replay, discards) {
        (Outcome::Failed(_), _) => Some(Delivery::AtLeastOnce),
        (Outcome::Passed, Outcome::Passed) => Some(Delivery::ExactlyOnce),
        (Outcome::Passed, _) => Some(Delivery::Idempotent),
        (Outcome::Skipped(_) | Outcome::Open(_), _) => None,
    }
}

/// What the kit has found of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The plugin's name.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// `sha256:…` of the component.
    pub digest: String,
    /// Version of the kit.
    pub kit: u32,
    /// Each of its kinds.
    pub kinds: Vec<KindReport>,
}

impl Report {
    pub(super) fn new(plugin: &Arc<Plugin>, kinds: Vec<KindReport>) -> Self {
        Self {
            plugin: plugin.name().to_owned(),
            version: plugin.version().to_owned(),
            digest: plugin.digest().to_owned(),
            kit: KIT,
            kinds,
        }
    }

    /// Whether no check failed.
    pub fn is_sound(&self) -> bool {
        self.kinds
            .iter()
            .all(|kind| kind.failures().next().is_none())
    }
}
