//! What a snapshot holds.

use std::collections::BTreeMap;

use crossdock_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::mark::Mark;
use crate::stream::Stream;

/// Format of the snapshot. A later plugin version that changes it reads the older ones or refuses them.
const VERSION: u32 = 1;

/// Position of a run, and what the next run needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    version: u32,
    /// The run came to its end: opened from this, a new run begins.
    #[serde(default)]
    pub(crate) ended: bool,
    /// Streams that this run has read to their end.
    #[serde(default)]
    pub(crate) done: Vec<Stream>,
    /// Where this run is in the current stream. None: at its start.
    #[serde(default)]
    pub(crate) place: Option<Place>,
    /// Incremental reading, per stream.
    #[serde(default)]
    pub(crate) marks: BTreeMap<Stream, Mark>,
    /// Smallest offset seen in the server's dates, in seconds.
    #[serde(default)]
    pub(crate) offset: Option<i32>,
}

/// A place within a stream: the record behind which reading goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The stream.
    pub(crate) stream: Stream,
    /// For nested streams: the page of parents. None: the first one.
    #[serde(default)]
    pub(crate) parents: Option<String>,
    /// For nested streams: the parent whose items are read. None: the first one of its page.
    #[serde(default)]
    pub(crate) parent: Option<String>,
    /// The page. None: the first one.
    #[serde(default)]
    pub(crate) url: Option<String>,
    /// Items of the page that were read.
    #[serde(default)]
    pub(crate) position: usize,
    /// Key of the last one of them: should the page have changed in the meantime, this finds the place.
    #[serde(default)]
    pub(crate) key: Option<String>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            version: VERSION,
            ended: false,
            done: Vec::new(),
            place: None,
            marks: BTreeMap::new(),
            offset: None,
        }
    }
}

impl State {
    /// Reads a snapshot. One of a run that ended becomes the start of the next run.
    pub(crate) fn open(snapshot: Option<&[u8]>) -> Result<Self> {
        let Some(bytes) = snapshot else {
            return Ok(Self::default());
        };
        let state: Self =
            serde_json::from_slice(bytes).map_err(|error| unusable(&error.to_string()))?;
        if state.version != VERSION {
            return Err(unusable(&format!(
                "it has format {}, this version reads {VERSION}",
                state.version
            )));
        }
        if state.ended {
            return Ok(state.next_run());
        }
        Ok(state)
    }

    /// The start of the run after this one: it asks for what changed since this one began.
    fn next_run(self) -> Self {
        let marks = self
            .marks
            .into_iter()
            .map(|(stream, mark)| {
                (
                    stream,
                    Mark {
                        since: mark.next.or(mark.since),
                        next: None,
                    },
                )
            })
            .collect();
        Self {
            marks,
            offset: self.offset,
            ..Self::default()
        }
    }

    /// The snapshot.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        Ok(serde_json::to_vec(self)?)
    }
}

fn unusable(why: &str) -> Fault {
    Fault::config(format!("the snapshot cannot be used: {why}"))
        .advice("run the flow from its start")
}
