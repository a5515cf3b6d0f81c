//! What one instance of a plugin may use, and how much that is when the flow file does not say.

use std::time::Duration;

use serde::Serialize;

use super::spec::LimitsSpec;

const DEFAULT_MEMORY: u64 = 256 << 20;
const DEFAULT_CALL_TIME: Duration = Duration::from_secs(30);
const DEFAULT_OPEN_TIME: Duration = Duration::from_mins(1);
const DEFAULT_COMMIT_TIME: Duration = Duration::from_mins(2);
const DEFAULT_RECYCLE_RECORDS: u64 = 1_000_000;
const DEFAULT_WAIT_TIME: Duration = Duration::from_mins(10);
const DEFAULT_OUTPUT: u64 = 64 << 20;
const DEFAULT_SNAPSHOT: u64 = 1 << 20;
const DEFAULT_TABLE_ELEMENTS: usize = 200_000;
const DEFAULT_MODULES: usize = 32;
const DEFAULT_OPEN_REQUESTS: usize = 64;
const DEFAULT_LOG_LINES: u32 = 1000;
const DEFAULT_LOG_BYTES: u64 = 1 << 20;

/// What one instance may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: u64,
    /// Time for one call.
    pub call_time: Duration,
    /// Time for opening it.
    pub open_time: Duration,
    /// Time for a snapshot, a commit, and its end.
    pub commit_time: Duration,
    /// Waiting for answers of other systems in one call.
    pub wait_time: Duration,
    /// Bytes that one call may return or hand over.
    pub output: u64,
    /// Bytes of a snapshot.
    pub snapshot: u64,
    /// Elements of a table of functions.
    pub table_elements: usize,
    /// Core modules of a component.
    pub modules: usize,
    /// Requests and raw connections open at the same time.
    pub open_requests: usize,
    /// Log lines in one second.
    pub log_lines: u32,
    /// Bytes of log lines in one second.
    pub log_bytes: u64,
    /// A new instance takes over after this many records.
    pub recycle_after_records: u64,
    /// A new instance takes over at this many bytes of memory. Less than `memory`.
    pub recycle_after_memory: u64,
}

/// The limits of a stage with the defaults filled.
pub(super) fn limits(spec: &LimitsSpec) -> Limits {
    let memory = spec.memory.map_or(DEFAULT_MEMORY, |size| size.0);
    Limits {
        memory,
        call_time: spec.call_time.map_or(DEFAULT_CALL_TIME, |time| time.0),
        open_time: spec.open_time.map_or(DEFAULT_OPEN_TIME, |time| time.0),
        commit_time: spec.commit_time.map_or(DEFAULT_COMMIT_TIME, |time| time.0),
        wait_time: spec.wait_time.map_or(DEFAULT_WAIT_TIME, |time| time.0),
        output: spec.output.map_or(DEFAULT_OUTPUT, |size| size.0),
        snapshot: spec.snapshot.map_or(DEFAULT_SNAPSHOT, |size| size.0),
        table_elements: spec.table_elements.unwrap_or(DEFAULT_TABLE_ELEMENTS),
        modules: spec.modules.unwrap_or(DEFAULT_MODULES),
        open_requests: spec.open_requests.unwrap_or(DEFAULT_OPEN_REQUESTS),
        log_lines: spec.log_lines.unwrap_or(DEFAULT_LOG_LINES),
        log_bytes: spec.log_bytes.map_or(DEFAULT_LOG_BYTES, |size| size.0),
        recycle_after_records: spec
            .recycle_after_records
            .unwrap_or(DEFAULT_RECYCLE_RECORDS),
        recycle_after_memory: spec
            .recycle_after_memory
            .map_or(memory / 4 * 3, |size| size.0),
    }
}
