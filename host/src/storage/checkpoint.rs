//! The snapshots of all stages at one point of a run, with the counts up to there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::StorageError;

/// The newest checkpoint format that this host reads and the one it writes.
pub const FORMAT: u32 = 1;

/// Where a flow is. There is one per flow: the last one committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// [`FORMAT`].
    pub format: u32,
    /// The flow's name.
    pub flow: String,
    /// The run that wrote it.
    pub run: String,
    /// Counts checkpoints of the run from 1.
    pub epoch: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Whether the run had reached its end: the next run starts a new epoch count from the same snapshots.
    pub finished: bool,
    /// Whether every sink has confirmed the commit of this checkpoint. `false` after a crash between the write and the
    /// commit: recovery commits again.
    pub settled: bool,
    /// State per stage name.
    pub stages: BTreeMap<String, StageState>,
    /// Counts of the run so far, per stream.
    pub counts: BTreeMap<String, StreamCounts>,
    /// Records filtered so far, per stage and reason.
    pub filtered: BTreeMap<String, BTreeMap<String, u64>>,
}

/// One stage of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageState {
    /// Name of the plugin.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// `sha256:…` of the component.
    pub digest: String,
    /// `sha256:…` of its config.
    pub config_digest: String,
    /// What it is opened with.
    #[serde(with = "crate::storage::checkpoint::base64_bytes")]
    pub snapshot: Vec<u8>,
}

/// What happened to the records of one stream. Over all streams: read + expanded + replayed = written + filtered + dead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StreamCounts {
    /// Read by the source, unreadable input included.
    pub read: u64,
    /// Settled by every sink that takes the stream.
    pub written: u64,
    /// Taken out by a transformer, or taken by no sink.
    pub filtered: u64,
    /// Kept as dead letters.
    pub dead: u64,
    /// Made by a transformer in addition to its input.
    pub expanded: u64,
    /// Dead letters that were given again.
    #[serde(default)]
    pub replayed: u64,
}

impl std::ops::AddAssign for StreamCounts {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.written += other.written;
        self.filtered += other.filtered;
        self.dead += other.dead;
        self.expanded += other.expanded;
        self.replayed += other.replayed;
    }
}

impl Checkpoint {
    /// Reads a checkpoint of a flow as it is stored.
    ///
    /// # Errors
    /// It is of a newer format, of another flow, or none.
    pub fn parse(flow: &str, json: &[u8]) -> Result<Self, StorageError> {
        parse(flow, json)
    }
}

/// Reads a stored checkpoint of a flow.
pub(super) fn parse(flow: &str, json: &[u8]) -> Result<Checkpoint, StorageError> {
    /// What every format of a checkpoint has.
    #[derive(Deserialize)]
    struct AnyFormat {
        format: u32,
    }
    let what = || format!("the checkpoint of flow {flow}");
    let corrupt = |message: String| StorageError::Corrupt {
        what: what(),
        message: format!("{message}; run the flow with --from-start to begin anew"),
    };
    let AnyFormat { format } =
        serde_json::from_slice(json).map_err(|error| corrupt(error.to_string()))?;
    if format > FORMAT {
        return Err(StorageError::TooNew {
            what: what(),
            found: format,
            known: FORMAT,
        });
    }
    let checkpoint: Checkpoint =
        serde_json::from_slice(json).map_err(|error| corrupt(error.to_string()))?;
    if checkpoint.flow != flow {
        return Err(corrupt(format!("it belongs to flow {}", checkpoint.flow)));
    }
    Ok(checkpoint)
}

/// Bytes as base64 text in JSON.
pub(crate) mod base64_bytes {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map_err(D::Error::custom)
    }
}
