//! The audit log: every denial, grant change, swap, secret and start, with who and where.
//!
//! It is a folder of JSON lines beside the database: a line that was written stays readable when the process or the
//! database dies, other processes can append to it and read it while a daemon runs, and no code rewrites a line.
//! Two series of files are kept apart, so that a plugin that floods the log with denials never pushes out what an
//! operator did:
//!
//! | file | what | kept |
//! |---|---|---|
//! | `actions.jsonl`, `actions.1.jsonl`, ... | everything but denials | 32 MiB |
//! | `denied.jsonl`, `denied.1.jsonl`, ... | denials, the same ones counted | 16 MiB |
//!
//! Both are bounded: the oldest file of a series goes when a new one is begun.

mod files;
mod queue;
#[cfg(test)]
mod tests;

use std::{
    fmt, mem,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StorageError;
use files::Files;
use queue::Shared;

/// Characters of each text of an entry; more are cut.
const MAX_TEXT: usize = 500;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Action {
    /// A plugin tried to reach what it was not granted.
    Denied,
    /// Somebody asked the admin API for something without its token.
    AccessRefused,
    /// A flow has other grants than in its last run.
    GrantChanged,
    /// A swap of a stage began.
    SwapStarted,
    /// The new version took over.
    SwapSwitched,
    /// The new version stays.
    SwapDone,
    /// A swap ended before the new version took over.
    SwapFailed,
    /// The old version is back.
    RolledBack,
    /// A secret was added or its value replaced.
    SecretSet,
    /// The key of the secret store was replaced.
    SecretRotated,
    /// A secret was removed.
    SecretRemoved,
    /// A plugin was installed.
    PluginInstalled,
    /// A plugin was removed.
    PluginRemoved,
    /// Dead letters were removed without another try.
    DeadLettersDiscarded,
    /// A dead letter was changed before another try.
    DeadLetterEdited,
    /// Dead letters were given to their flow again.
    DeadLettersReplayed,
    /// A checkpoint was thrown away.
    CheckpointForgotten,
    /// A table was written by hand.
    TableChanged,
    /// The files of a project were applied to a running host.
    Applied,
    /// A run began.
    FlowStarted,
    /// A run ended.
    FlowStopped,
    /// A flow is not started any more until it is resumed, or it was resumed.
    FlowPaused,
    /// Entries were lost, because there were too many or the disk did not take them.
    EntriesLost,
    /// Written by a newer crossdock.
    #[serde(other)]
    Unknown,
}

impl Action {
    /// All of them but [`Self::Unknown`].
    pub const ALL: [Self; 23] = [
        Self::Denied,
        Self::AccessRefused,
        Self::GrantChanged,
        Self::SwapStarted,
        Self::SwapSwitched,
        Self::SwapDone,
        Self::SwapFailed,
        Self::RolledBack,
        Self::SecretSet,
        Self::SecretRotated,
        Self::SecretRemoved,
        Self::PluginInstalled,
        Self::PluginRemoved,
        Self::DeadLettersDiscarded,
        Self::DeadLetterEdited,
        Self::DeadLettersReplayed,
        Self::CheckpointForgotten,
        Self::TableChanged,
        Self::Applied,
        Self::FlowStarted,
        Self::FlowStopped,
        Self::FlowPaused,
        Self::EntriesLost,
    ];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::AccessRefused => "access-refused",
            Self::GrantChanged => "grant-changed",
            Self::SwapStarted => "swap-started",
            Self::SwapSwitched => "swap-switched",
            Self::SwapDone => "swap-done",
            Self::SwapFailed => "swap-failed",
            Self::RolledBack => "rolled-back",
            Self::SecretSet => "secret-set",
            Self::SecretRotated => "secret-rotated",
            Self::SecretRemoved => "secret-removed",
            Self::PluginInstalled => "plugin-installed",
            Self::PluginRemoved => "plugin-removed",
            Self::DeadLettersDiscarded => "dead-letters-discarded",
            Self::DeadLetterEdited => "dead-letter-edited",
            Self::DeadLettersReplayed => "dead-letters-replayed",
            Self::CheckpointForgotten => "checkpoint-forgotten",
            Self::TableChanged => "table-changed",
            Self::Applied => "applied",
            Self::FlowStarted => "flow-started",
            Self::FlowStopped => "flow-stopped",
            Self::FlowPaused => "flow-paused",
            Self::EntriesLost => "entries-lost",
            Self::Unknown => "unknown",
        }
    }

    /// Whether others than operators cause it, as often as they like: the same is counted, not repeated.
    fn may_flood(self) -> bool {
        matches!(self, Self::Denied | Self::AccessRefused)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Action {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|action| action.as_str() == text);
        known.ok_or_else(|| {
            let all: Vec<_> = Self::ALL.iter().map(|action| action.as_str()).collect();
            format!("is none of {}", all.join(", "))
        })
    }
}

/// One line of the audit log. Fields that do not apply are empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When, in milliseconds since 1970; a text as in `2026-01-31T12:00:00.5Z` where it is written. Of the first one
    /// when there are several.
    #[serde(rename = "at", with = "instant")]
    pub at_ms: u64,
    /// What was done.
    pub action: Action,
    /// Who did it: `plugin`, `host`, `cli:USER`, `api:TOKEN`.
    pub actor: String,
    /// The flow.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub flow: String,
    /// The stage.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stage: String,
    /// The plugin.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub plugin: String,
    /// The plugin's version.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// `sha256:…` of the plugin's component.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// What it was done to: `url https://…`, a secret's name, a stage.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// More about it. Never a secret.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// How often, since the line about the same before this one.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u64,
}

fn one() -> u64 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_one(count: &u64) -> bool {
    *count == 1
}

impl AuditEntry {
    /// It is done now, by this actor.
    pub fn new(action: Action, actor: impl Into<String>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            at_ms: now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX)),
            action,
            actor: actor.into(),
            flow: String::new(),
            stage: String::new(),
            plugin: String::new(),
            version: String::new(),
            digest: String::new(),
            target: String::new(),
            detail: String::new(),
            count: 1,
        }
    }

    /// In this flow.
    #[must_use]
    pub fn flow(mut self, flow: impl Into<String>) -> Self {
        self.flow = flow.into();
        self
    }

    /// In this stage.
    #[must_use]
    pub fn stage(mut self, stage: impl Into<String>) -> Self {
        self.stage = stage.into();
        self
    }

    /// With this plugin: its name, version and digest.
    #[must_use]
    pub fn plugin(
        mut self,
        name: impl Into<String>,
        version: impl Into<String>,
        digest: impl Into<String>,
    ) -> Self {
        self.plugin = name.into();
        self.version = version.into();
        self.digest = digest.into();
        self
    }

    /// To this.
    #[must_use]
    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.target = target.into();
        self
    }

    /// More about it, for people. Never a secret.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// Texts of strangers become short ones without control characters.
    fn tidy(&mut self) {
        let Self {
            actor,
            flow,
            stage,
            plugin,
            version,
            digest,
            target,
            detail,
            ..
        } = self;
        for text in [actor, flow, stage, plugin, version, digest, target, detail] {
            let is_long = text.len() > MAX_TEXT;
            if is_long || text.chars().any(char::is_control) {
                let all = mem::take(text);
                let seen = all.chars().filter(|c| !c.is_control());
                *text = seen.take(MAX_TEXT).collect();
            }
        }
    }
}

/// Times as people read them.
mod instant {
    use super::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(at_ms: &u64, to: S) -> Result<S::Ok, S::Error> {
        let millis = i64::try_from(*at_ms).unwrap_or(i64::MAX);
        let stamp = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX);
        to.collect_str(&stamp)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let stamp: Timestamp = String::deserialize(from)?
            .parse()
            .map_err(D::Error::custom)?;
        u64::try_from(stamp.as_millisecond()).map_err(D::Error::custom)
    }
}

/// Which entries to list. The default is the last 100 of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only of this flow.
    pub flow: Option<String>,
    /// Only of this plugin.
    pub plugin: Option<String>,
    /// Only these actions; all when it is empty.
    pub actions: Vec<Action>,
    /// Only from this time on, in milliseconds since 1970.
    pub since_ms: u64,
    /// At most this many, the latest.
    pub limit: usize,
}

impl Default for AuditFilter {
    fn default() -> Self {
        Self {
            flow: None,
            plugin: None,
            actions: Vec::new(),
            since_ms: 0,
            limit: 100,
        }
    }
}

impl AuditFilter {
    /// Whether an entry is asked for, by everything but `limit`.
    pub fn matches(&self, entry: &AuditEntry) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found)
        };
        is(&self.flow, &entry.flow)
            && is(&self.plugin, &entry.plugin)
            && (self.actions.is_empty() || self.actions.contains(&entry.action))
            && entry.at_ms >= self.since_ms
    }
}

/// What was found in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditPage {
    /// Oldest first.
    pub entries: Vec<AuditEntry>,
    /// Lines that cannot be read: cut by a crash, or changed by somebody.
    pub damaged: u64,
}

/// Writes the audit log. Cheap to clone; all clones are one. Dropping the last one writes what waits, which blocks for
/// that long.
#[derive(Clone)]
pub struct Audit(Option<Arc<Inner>>);

struct Inner {
    dir: PathBuf,
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dir = self.0.as_ref().map(|inner| &inner.dir);
        f.debug_tuple("Audit").field(&dir).finish()
    }
}

impl Audit {
    /// Opens the log of a state folder, makes it when there is none. Any number of processes may have it open.
    ///
    /// # Errors
    /// [`StorageError::Io`] when the folder cannot be made.
    pub fn open(state: &Path) -> Result<Self, StorageError> {
        let files = Files::open(folder(state))?;
        let dir = files.dir().to_path_buf();
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("crossdock-audit".into())
            .spawn(move || theirs.write_until_closed(&files))
            .map_err(|error| StorageError::io("start the writer of", &dir, error))?;
        Ok(Self(Some(Arc::new(Inner {
            dir,
            shared,
            thread: Some(thread),
        }))))
    }

    /// A log that keeps nothing, for what runs without a state folder.
    pub fn off() -> Self {
        Self(None)
    }

    /// Notes an entry. It is on the disk a moment later. Never blocks on the disk: when the disk does not follow,
    /// entries are lost, and that is an entry of its own.
    pub fn record(&self, entry: AuditEntry) {
        if let Some(inner) = &self.0 {
            inner.shared.record(entry);
        }
    }

    /// Waits until everything that was recorded before is on the disk. Blocks: not for asynchronous code.
    ///
    /// # Errors
    /// [`StorageError::Io`] when the disk does not take it now. It is tried again later.
    pub fn flush(&self) -> Result<(), StorageError> {
        match &self.0 {
            Some(inner) => inner
                .shared
                .wait_until_written()
                .map_err(|error| StorageError::io("write", &inner.dir, error)),
            None => Ok(()),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the writer of the audit log panicked");
        }
    }
}

/// The log of a state folder, whether or not a process has it open.
///
/// # Errors
/// [`StorageError::Io`] when there is one that cannot be read.
pub fn read(state: &Path, filter: &AuditFilter) -> Result<AuditPage, StorageError> {
    files::read(&folder(state), filter)
}

fn folder(state: &Path) -> PathBuf {
    state.join("audit")
}
