//! Why a stage failed, and what that means for the run.

use std::{fmt, time::Duration};

/// What kind of failure it was. It alone decides what the engine does (DESIGN §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// May work when tried again.
    Transient,
    /// Will never work for this record.
    Permanent,
    /// A person has to change the configuration.
    Config,
    /// The plugin trapped (panic, unreachable, out-of-bounds access).
    Trap,
    /// The plugin wanted more memory than its limit.
    Memory,
    /// The call took longer than its limit.
    Time,
    /// The plugin broke the contract: indexes out of range, a malformed batch.
    Contract,
}

impl FaultKind {
    /// All there are.
    pub const ALL: [Self; 7] = [
        Self::Permanent,
        Self::Transient,
        Self::Config,
        Self::Trap,
        Self::Memory,
        Self::Time,
        Self::Contract,
    ];

    /// The name shown to people and stored with dead letters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Permanent => "permanent",
            Self::Config => "config",
            Self::Trap => "trap",
            Self::Memory => "memory",
            Self::Time => "time",
            Self::Contract => "contract",
        }
    }

    /// Whether the instance that failed this way is gone and must be made anew.
    pub fn is_lethal(self) -> bool {
        matches!(
            self,
            Self::Trap | Self::Memory | Self::Time | Self::Contract
        )
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failure of a stage's call or of one record.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Fault {
    /// What the engine has to do.
    pub kind: FaultKind,
    /// One sentence for a person.
    pub message: String,
    /// Where: `prices.csv:17`, a URL, a path in the record. Empty when there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub location: String,
    /// JSON pointer of the config field, for config faults.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub advice: String,
    /// The other side asked to wait this long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Duration>,
    /// The plugin's own backtrace, for traps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backtrace: Option<String>,
}

impl Fault {
    /// A fault of a kind with a message and nothing else.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            location: String::new(),
            field: String::new(),
            advice: String::new(),
            retry_after: None,
            backtrace: None,
        }
    }

    /// Bytes of its texts.
    pub fn weight(&self) -> usize {
        let backtrace = self.backtrace.as_ref().map_or(0, String::len);
        self.message.len() + self.location.len() + self.field.len() + self.advice.len() + backtrace
    }

    /// Adds where it happened.
    #[must_use]
    pub fn at(mut self, location: impl Into<String>) -> Self {
        self.location = location.into();
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }

    /// Adds what to do where the stage said nothing.
    #[must_use]
    pub fn advice_when_missing(mut self, advice: &str) -> Self {
        if self.advice.is_empty() {
            advice.clone_into(&mut self.advice);
        }
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.location.is_empty() {
            write!(f, "{}: ", self.location)?;
        }
        if !self.field.is_empty() {
            write!(f, "config {}: ", self.field)?;
        }
        f.write_str(&self.message)?;
        if !self.advice.is_empty() {
            write!(f, " ({})", self.advice)?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}
