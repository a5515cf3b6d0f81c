//! What a flow promises about delivery: computed from what its plugins declare, never claimed by hand.

use serde::{Deserialize, Serialize};

/// What a source declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceDelivery {
    /// Opened from a snapshot it gives the same records again.
    Replayable,
    /// What was read once may not come again.
    Volatile,
}

/// What a sink declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkDelivery {
    /// Opened from a snapshot it discards what came later.
    ExactlyOnce,
    /// Writing a record again changes nothing.
    Idempotent,
    /// Writing a record again writes it twice.
    AtLeastOnce,
}

/// The delivery label of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Label {
    /// The output is what an undisturbed run would have written.
    ExactlyOnce,
    /// No record is lost; some may be written twice after a failure.
    AtLeastOnce,
    /// Records in flight may be lost in a failure.
    AtMostOnce,
}

impl Label {
    /// The label as people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExactlyOnce => "exactly-once",
            Self::AtLeastOnce => "at-least-once",
            Self::AtMostOnce => "at-most-once",
        }
    }
}

/// A label and why it is that one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Delivery {
    /// The label.
    pub label: Label,
    /// One sentence per stage that decided it.
    pub reasons: Vec<String>,
}

/// Computes the label of a flow. Transformers are `(stage, deterministic)`.
///
/// A checkpoint holds the state of all stages, so after a failure everything behind it is read again. Sinks that
/// discard what they wrote behind it make the flow exactly-once whatever the transformers do. An idempotent sink sees
/// the replayed records again: that is the same only when the transformers make the same of them.
pub fn delivery(
    source: (&str, SourceDelivery),
    transformers: &[(&str, bool)],
    sinks: &[(&str, SinkDelivery)],
) -> Delivery {
    let mut label = Label::ExactlyOnce;
    let mut reasons = Vec::new();
    if source.1 == SourceDelivery::Volatile {
        reasons.push(format!(
            "source `{}` cannot give its records again",
            source.0
        ));
        return Delivery {
            label: Label::AtMostOnce,
            reasons,
        };
    }
    reasons.push(format!(
        "source `{}` continues exactly behind its snapshot",
        source.0
    ));
    let random: Vec<&str> = transformers
        .iter()
        .filter(|(_, same)| !same)
        .map(|(name, _)| *name)
        .collect();
    for (name, sink) in sinks {
        match sink {
            SinkDelivery::ExactlyOnce => {
                reasons.push(format!(
                    "sink `{name}` discards what it wrote behind the checkpoint"
                ));
            }
            SinkDelivery::Idempotent if random.is_empty() => {
                reasons.push(format!(
                    "sink `{name}` is idempotent and every transformer is deterministic"
                ));
            }
            SinkDelivery::Idempotent => {
                label = Label::AtLeastOnce;
                reasons.push(format!(
                    "sink `{name}` is idempotent, but transformer `{}` may answer differently",
                    random.join("`, `")
                ));
            }
            SinkDelivery::AtLeastOnce => {
                label = Label::AtLeastOnce;
                reasons.push(format!("sink `{name}` writes replayed records again"));
            }
        }
    }
    Delivery { label, reasons }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weakest_stage_decides() {
        let label =
            |source, same, sink| delivery(("s", source), &[("t", same)], &[("k", sink)]).label;
        use {SinkDelivery as K, SourceDelivery as S};
        assert_eq!(
            label(S::Replayable, false, K::ExactlyOnce),
            Label::ExactlyOnce
        );
        assert_eq!(
            label(S::Replayable, true, K::Idempotent),
            Label::ExactlyOnce
        );
        assert_eq!(
            label(S::Replayable, false, K::Idempotent),
            Label::AtLeastOnce
        );
        assert_eq!(
            label(S::Replayable, true, K::AtLeastOnce),
            Label::AtLeastOnce
        );
        assert_eq!(label(S::Volatile, true, K::ExactlyOnce), Label::AtMostOnce);
    }
}
