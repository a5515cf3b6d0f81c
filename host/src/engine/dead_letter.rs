//! Records that could not be processed, and when there are too many of them.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    batch::{Batch, Form, Op, Record},
    fault::Fault,
    run::StageFailure,
    stage::{Identity, Unreadable},
};
use crate::storage::{DeadLetter, Retention};

/// Beyond this the flow fails instead of filling the store with dead letters.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Threshold {
    /// At most this many in one run.
    pub max_count: Option<u64>,
    /// At most this share of the records read, 0 to 1.
    pub max_share: Option<f64>,
    /// The share counts from this many records on.
    pub min_records: u64,
}

impl Threshold {
    /// Why the flow must stop, if it must.
    pub fn exceeded(&self, dead: u64, read: u64) -> Option<String> {
        if let Some(max) = self.max_count.filter(|&max| dead > max) {
            return Some(format!(
                "{dead} dead letters are more than `dead-letters.max-count: {max}` allows"
            ));
        }
        let max = self.max_share?;
        #[allow(
            clippy::cast_precision_loss,
            reason = "a share needs no more than 52 bits"
        )]
        let share = if read == 0 {
            0.0
        } else {
            dead as f64 / read as f64
        };
        (read >= self.min_records && share > max).then(|| {
            format!("{dead} dead letters of {read} records are more than `dead-letters.max-share: {max}` allows")
        })
    }
}

/// How long and how much of a flow's dead letters is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// For this long.
    pub time: Option<Duration>,
    /// So many bytes.
    pub bytes: Option<u64>,
}

impl Keep {
    /// What that means now.
    pub fn now(self) -> Retention {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Retention {
            not_before_ms: self.time.map(|time| now_ms().saturating_sub(millis(time))),
            max_bytes: self.bytes,
        }
    }
}

/// Makes dead letters of one stage of one run.
#[derive(Debug, Clone)]
pub struct Undertaker {
    /// The flow.
    pub flow: Arc<str>,
    /// The run.
    pub run: Arc<str>,
    /// The stage.
    pub stage: Arc<str>,
    /// What is behind the stage.
    pub identity: Identity,
}

impl Undertaker {
    /// Names the stage of a fault with which it cannot go on.
    pub fn failure(&self, fault: Fault) -> StageFailure {
        StageFailure::new(&self.stage, &self.identity, fault)
    }

    /// A record that the stage could not process.
    pub fn record(&self, batch: &Batch, record: Record<'_>, fault: &Fault) -> DeadLetter {
        let mut letter = self.letter(batch.stream(), batch.form(), fault);
        letter.delete = record.op() == Op::Delete;
        letter.key = record.key.to_vec();
        letter.headers = record.headers.to_vec();
        letter.payload = record.payload.to_vec();
        letter
    }

    /// Input that the source could not make a record of.
    pub fn unreadable(&self, stream: &str, input: &Unreadable) -> DeadLetter {
        let mut letter = self.letter(stream, Form::Bytes, &input.fault);
        letter.payload.clone_from(&input.data);
        letter
    }

    fn letter(&self, stream: &str, form: Form, fault: &Fault) -> DeadLetter {
        DeadLetter {
            id: 0,
            flow: self.flow.to_string(),
            run: self.run.to_string(),
            stage: self.stage.to_string(),
            plugin: self.identity.plugin.clone(),
            version: self.identity.version.clone(),
            digest: self.identity.digest.clone(),
            config_digest: self.identity.config_digest.clone(),
            stream: stream.to_owned(),
            form: match form {
                Form::Json => "json".into(),
                Form::Bytes => "bytes".into(),
            },
            delete: false,
            key: Vec::new(),
            headers: Vec::new(),
            payload: Vec::new(),
            fault: fault.kind.as_str().to_owned(),
            message: if fault.advice.is_empty() {
                fault.message.clone()
            } else {
                format!("{} ({})", fault.message, fault.advice)
            },
            location: fault.location.clone(),
            backtrace: fault.backtrace.clone(),
            at_ms: now_ms(),
            edited_at_ms: None,
        }
    }
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds() {
        let t = Threshold {
            max_count: Some(10),
            max_share: Some(0.1),
            min_records: 100,
        };
        assert_eq!(t.exceeded(10, 1000), None);
        assert!(t.exceeded(11, 1_000_000).unwrap().contains("max-count: 10"));
        assert_eq!(t.exceeded(9, 20), None, "too few records for a share");
        assert!(
            Threshold {
                max_count: None,
                ..t
            }
            .exceeded(11, 100)
            .unwrap()
            .contains("max-share: 0.1")
        );
        assert_eq!(Threshold::default().exceeded(u64::MAX, 0), None);
    }
}
