//! A check, and running all of a kind's.

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::{
    report::{CheckReport, Outcome},
    subject::Subject,
};
use crate::{catalogue::conformance::Level, engine::fault::Fault};

/// How long one check may take, whatever the plugin does.
const PATIENCE: Duration = Duration::from_mins(2);

/// Why a check did not pass.
#[derive(Debug)]
pub(super) enum Wrong {
    /// The plugin does not keep the contract.
    Failed(String),
    /// There is nothing to check here.
    Skipped(String),
    /// It promises nothing here, or nothing can be seen: no failure, but no proof either.
    Open(String),
}

pub(super) type Found = Result<(), Wrong>;

impl From<Fault> for Wrong {
    fn from(fault: Fault) -> Self {
        Self::Failed(told(&fault))
    }
}

/// Adds during what it failed.
pub(super) fn during(what: impl std::fmt::Display) -> impl FnOnce(Fault) -> Wrong {
    move |fault| Wrong::Failed(format!("{what}: {}", told(&fault)))
}

pub(super) fn told(fault: &Fault) -> String {
    let mut text = format!("{} fault: {fault}", fault.kind);
    if let Some(backtrace) = &fault.backtrace {
        text.push('\n');
        text.push_str(backtrace.trim_end());
    }
    text
}

pub(super) fn failed<T>(why: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::Failed(why.into()))
}

pub(super) fn skipped<T>(why: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::Skipped(why.into()))
}

pub(super) fn open<T>(why: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::Open(why.into()))
}

/// What a check is, and how it is run.
pub(super) struct Check {
    pub(super) name: &'static str,
    /// One sentence: what a plugin has to do.
    pub(super) about: &'static str,
    /// The level that needs it.
    pub(super) level: Level,
    pub(super) run: for<'a> fn(&'a Subject) -> BoxFuture<'a, Found>,
}

/// Makes a [`Check`] of an async function.
macro_rules! check {
    ($level:ident $name:literal: $about:literal, $run:path) => {
        $crate::conformance::check::Check {
            name: $name,
            about: $about,
            level: $crate::catalogue::conformance::Level::$level,
            run: |subject| Box::pin($run(subject)),
        }
    };
}
pub(super) use check;

/// Runs every check. When the first one fails (it does not open), there is nothing to be seen of the others.
pub(super) async fn run(
    subject: &Subject,
    checks: &[Check],
    told: &(dyn Fn(&CheckReport) + Send + Sync),
) -> Vec<CheckReport> {
    let mut reports: Vec<CheckReport> = Vec::new();
    for check in checks {
        let started = Instant::now();
        let dead = reports
            .first()
            .is_some_and(|first| matches!(first.outcome, Outcome::Failed(_)));
        let found = if dead {
            open("it does not open")
        } else {
            let patience = tokio::time::timeout(PATIENCE, (check.run)(subject));
            patience.await.unwrap_or_else(|_| {
                failed(format!("it takes longer than {} s", PATIENCE.as_secs()))
            })
        };
        let report = CheckReport {
            name: check.name,
            about: check.about,
            level: check.level,
            outcome: match found {
                Ok(()) => Outcome::Passed,
                Err(Wrong::Failed(why)) => Outcome::Failed(why),
                Err(Wrong::Skipped(why)) => Outcome::Skipped(why),
                Err(Wrong::Open(why)) => Outcome::Open(why),
            },
            millis: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        told(&report);
        reports.push(report);
    }
    reports
}
