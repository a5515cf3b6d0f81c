//! The conformance kit: the contract as checks that run against a built component, through the real plugin layer.
//!
//! Each check has a name, one sentence that says what it is about, and a level that it is needed for. What comes of
//! them is a [`Report`]: a [`Level`](crate::catalogue::conformance::Level) per kind, and the delivery that was *found*,
//! whatever the manifest declares. It is stored beside the component (`NAME.conformance.json`), named by the component's digest; the delivery label of a flow
//! relies on it.
//!
//! | file | what it is |
//! |---|---|
//! | `settings.rs` | `conformance.yaml`: sample config, files, records, API of a plugin |
//! | `subject.rs` | one kind of a plugin with its settings; makes openers |
//! | `place.rs` | what a plugin sees around it: a folder of its own, tables, an API |
//! | `api.rs` | an API in memory: collections of items, and an API that is out of order |
//! | `record.rs` | sample records, odd ones, and how two lists of records differ |
//! | `check.rs` | a check, and running all of a kind's |
//! | `common.rs` | checks that all kinds have |
//! | `source.rs`, `transformer.rs`, `sink.rs` | checks of one kind |
//! | `report.rs`, `junit.rs` | what is told |
//! | `cassette/`, `scrub.rs` | all that is imported and its answers, recorded and played back, without secrets |
//! | `bench.rs` | how fast it is |
//! | `sample.rs` | what it makes of sample records |

mod api;
mod bench;
mod cassette;
mod check;
mod common;
mod junit;
mod place;
mod record;
mod report;
mod sample;
mod scrub;
mod settings;
mod sink;
mod source;
mod subject;
mod transformer;

use std::sync::Arc;

use crate::{
    catalogue::Kind,
    plugin::{HttpSend, Plugin},
};

pub use bench::{BenchOptions, Measured, bench};
pub use cassette::{Cassette, CassetteError, Length, Played};
pub use junit::junit;
pub use report::{CheckReport, KindReport, Outcome, Report};
pub use sample::{Shown, sample};
pub use settings::{KindSettings, Settings};

use subject::Subject;

/// Runs every check on every kind of a plugin, or on one of them. `network` is where requests go when the settings have no API of their
/// own.
pub async fn examine(
    plugin: &Arc<Plugin>,
    settings: &Settings,
    only: Option<Kind>,
    network: Option<Arc<dyn HttpSend>>,
    told: &(dyn Fn(Kind, &CheckReport) + Send + Sync),
) -> Report {
    let mut kinds = Vec::new();
    let kinds_of_it = plugin.inspection().kinds.iter().copied();
    for kind in kinds_of_it.filter(|kind| only.is_none_or(|only| only == *kind)) {
        let subject = Subject::new(
            Arc::clone(plugin),
            kind,
            settings.kind(kind),
            network.clone(),
        );
        let checks = match kind {
            Kind::Source => source::CHECKS,
            Kind::Transformer => transformer::CHECKS,
            Kind::Sink => sink::CHECKS,
        };
        let done = check::run(&subject, checks, &|one| told(kind, one)).await;
        kinds.push(KindReport::new(&subject, done));
    }
    Report::new(plugin, kinds)
}
