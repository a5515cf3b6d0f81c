//! Why a call, or one record, failed: [`Fault`] decides what the host does next.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::bindings::host::crossdock::plugin::plugin_types as wit;

/// The result of nearly everything in this crate.
pub type Result<T, E = Fault> = std::result::Result<T, E>;

/// Why a call, or one record, failed.
///
/// ```
/// use crossdock_sdk::Fault;
/// let fault = Fault::permanent("the price `1.2.3` is no number").at("prices.csv:17");
/// assert_eq!(fault.to_string(), "prices.csv:17: the price `1.2.3` is no number");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It may work when tried again: the host retries with backoff.
    Transient(Detail),
    /// It will never work: the record becomes a dead letter.
    Permanent(Detail),
    /// A person has to change the configuration: the run stops.
    Config(ConfigDetail),
}

/// What went wrong with the world or with a record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Detail {
    /// One sentence for a person: what was expected, what was found.
    pub message: String,
    /// Where: `prices.csv:17`, a URL, a path in the record. Empty when there is none.
    pub location: String,
    /// For transient faults: the other side asked to wait this long.
    pub retry_after: Option<Duration>,
}

/// What is wrong with the config.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigDetail {
    /// One sentence for a person.
    pub message: String,
    /// The field as a JSON pointer: `/files/0`. Empty for the config as a whole.
    pub field: String,
    /// What to do about it, or empty.
    pub advice: String,
}

impl Fault {
    /// It may work when tried again.
    pub fn transient(message: impl Into<String>) -> Self {
        Self::Transient(Detail {
            message: message.into(),
            ..Detail::default()
        })
    }

    /// It will never work.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::Permanent(Detail {
            message: message.into(),
            ..Detail::default()
        })
    }

    /// A person has to change the configuration.
    pub fn config(message: impl Into<String>) -> Self {
        Self::Config(ConfigDetail {
            message: message.into(),
            ..ConfigDetail::default()
        })
    }

    /// Says where it happened. A config fault has no location: there the text goes in front of the message.
    #[must_use]
    pub fn at(mut self, location: impl Into<String>) -> Self {
        let location = location.into();
        match &mut self {
            Self::Transient(detail) | Self::Permanent(detail) => detail.location = location,
            Self::Config(detail) => detail.message = format!("{location}: {}", detail.message),
        }
        self
    }

    /// Says how long the other side asked to wait. Only transient faults carry it.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        if let Self::Transient(detail) = &mut self {
            detail.retry_after = Some(wait);
        }
        self
    }

    /// Names the config field as a JSON pointer (`/files/0`). On other faults it is the location.
    #[must_use]
    pub fn field(mut self, pointer: impl Into<String>) -> Self {
        match &mut self {
            Self::Config(detail) => detail.field = pointer.into(),
            Self::Transient(detail) | Self::Permanent(detail) => detail.location = pointer.into(),
        }
        self
    }

    /// Says what to do about it. On other than config faults it is added to the message.
    #[must_use]
    pub fn advice(mut self, advice: impl Into<String>) -> Self {
        match &mut self {
            Self::Config(detail) => detail.advice = advice.into(),
            Self::Transient(detail) | Self::Permanent(detail) => {
                detail.message = format!("{}; {}", detail.message, advice.into());
            }
        }
        self
    }

    /// The sentence for a person.
    pub fn message(&self) -> &str {
        match self {
            Self::Transient(detail) | Self::Permanent(detail) => &detail.message,
            Self::Config(detail) => &detail.message,
        }
    }

    /// Where it happened: the location, or the config field.
    pub fn location(&self) -> &str {
        match self {
            Self::Transient(detail) | Self::Permanent(detail) => &detail.location,
            Self::Config(detail) => &detail.field,
        }
    }

    /// Whether trying again may help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient(_))
    }

    /// Whether a person has to change the configuration.
    pub fn is_config(&self) -> bool {
        matches!(self, Self::Config(_))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (location, message) = (self.location(), self.message());
        if location.is_empty() {
            out.write_str(message)?;
        } else {
            write!(out, "{location}: {message}")?;
        }
        match self {
            Self::Config(detail) if !detail.advice.is_empty() => {
                write!(out, " ({})", detail.advice)
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Fault {}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::permanent(error.to_string())
    }
}

impl From<crate::json::Error> for Fault {
    fn from(error: crate::json::Error) -> Self {
        Self::permanent(error.to_string())
    }
}

/// Transient when the operation was interrupted, timed out or would have blocked, permanent otherwise.
impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
        match error.kind() {
            Interrupted | TimedOut | WouldBlock => Self::transient(error.to_string()),
            _ => Self::permanent(error.to_string()),
        }
    }
}

impl From<Fault> for wit::Fault {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Transient(detail) => Self::Transient(detail.into()),
            Fault::Permanent(detail) => Self::Permanent(detail.into()),
            Fault::Config(detail) => Self::Config(wit::ConfigDetail {
                message: detail.message,
                field: detail.field,
                advice: detail.advice,
            }),
        }
    }
}

impl From<Detail> for wit::Detail {
    fn from(detail: Detail) -> Self {
        Self {
            message: detail.message,
            location: detail.location,
            retry_after_ms: detail
                .retry_after
                .map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

impl From<wit::Fault> for Fault {
    fn from(fault: wit::Fault) -> Self {
        match fault {
            wit::Fault::Transient(detail) => Self::Transient(detail.into()),
            wit::Fault::Permanent(detail) => Self::Permanent(detail.into()),
            wit::Fault::Config(detail) => Self::Config(ConfigDetail {
                message: detail.message,
                field: detail.field,
                advice: detail.advice,
            }),
        }
    }
}

impl From<wit::Detail> for Detail {
    fn from(detail: wit::Detail) -> Self {
        Self {
            message: detail.message,
            location: detail.location,
            retry_after: detail.retry_after_ms.map(Duration::from_millis),
        }
    }
}
