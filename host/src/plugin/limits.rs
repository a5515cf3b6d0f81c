//! How much a stage may use.

use std::time::Duration;

use wasmtime::ResourceLimiter;

/// Most elements of a table of functions, for which room is reserved; the largest language runtimes stay below.
pub(super) const TABLE_ELEMENTS: usize = 200_000;
/// Most core modules of a component: language runtimes and adapters are several.
pub(super) const MODULES: usize = 32;

/// How much one instance of a stage may use, where it does not say otherwise. Exceeding one is a fault of the call; it never takes anything else down.
///
/// The time of a call is the time in which the guest could run: wall-clock time without the waiting in `http-client`
/// and without the pauses in which other tasks had the thread. Waiting in `http-client` is bounded by the connection's
/// timeout per request and by [`Limits::host_wait`] per call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: u64,
    /// One step: `read`, `apply`, `write`.
    pub call: Duration,
    /// `open`, `check`, `streams`.
    pub open: Duration,
    /// `snapshot`, `commit`, `committed`, `finish`, `close`.
    pub commit: Duration,
    /// Waiting for answers in `http-client` during one call, all together.
    pub host_wait: Duration,
    /// Bytes that one call may return, or hand to one host function.
    pub output: usize,
    /// Bytes of a snapshot.
    pub snapshot: usize,
    /// Elements of one table of functions; at most 200,000.
    pub table_elements: usize,
    /// Core modules, memories and tables of the component, each; at most 32.
    pub modules: usize,
    /// Requests, lookups of names and raw connections open at the same time, of all instances of the stage together.
    pub open_requests: usize,
    /// Log lines in one second, of all instances of the stage; more are counted and dropped.
    pub log_lines: u32,
    /// Bytes of them.
    pub log_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            call: Duration::from_secs(30),
            open: Duration::from_mins(1),
            commit: Duration::from_mins(2),
            host_wait: Duration::from_mins(10),
            output: 64 << 20,
            snapshot: 1 << 20,
            table_elements: TABLE_ELEMENTS,
            modules: MODULES,
            open_requests: 64,
            log_lines: 1000,
            log_bytes: 1 << 20,
        }
    }
}

/// Counts an instance's memory and refuses growth beyond its limit, remembering that it did: that tells a memory limit
/// apart from any other trap.
#[derive(Debug)]
pub(super) struct Limiter {
    limit: u64,
    table_elements: usize,
    modules: usize,
    used: u64,
    last_growth: u64,
    refused: Option<u64>,
}

impl Limiter {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            limit: limits.memory,
            table_elements: limits.table_elements.min(TABLE_ELEMENTS),
            modules: limits.modules.min(MODULES),
            used: 0,
            last_growth: 0,
            refused: None,
        }
    }

    /// Bytes of all its memories.
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// A call starts: what was refused in the last one is forgotten.
    pub(super) fn reset(&mut self) {
        self.refused = None;
    }

    /// How many bytes it wanted, when that was too much.
    pub(super) fn refused(&self) -> Option<u64> {
        self.refused
    }

    /// The limit in bytes.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current) as u64;
        let wanted = self.used.saturating_add(growth);
        if wanted > self.limit {
            self.refused = Some(wanted);
            return Ok(false);
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.used = wanted;
        self.last_growth = growth;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.used -= std::mem::take(&mut self.last_growth).min(self.used);
        Ok(())
    }

    fn table_growing(
        &mut self,
        _: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= self.table_elements)
    }

    fn instances(&self) -> usize {
        self.modules
    }

    fn tables(&self) -> usize {
        self.modules
    }

    fn memories(&self) -> usize {
        self.modules
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(memory: u64) -> Limiter {
        Limiter::new(&Limits {
            memory,
            table_elements: 10,
            ..Limits::default()
        })
    }

    #[test]
    fn tables_are_bounded() {
        let mut limiter = limiter(100);
        assert!(limiter.table_growing(0, 10, None).unwrap());
        assert!(!limiter.table_growing(10, 11, None).unwrap());
    }

    #[test]
    fn memory_is_counted_over_all_memories_and_refusals_are_remembered() {
        let mut limiter = limiter(100);
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(limiter.memory_growing(0, 40, None).unwrap());
        assert_eq!(limiter.used(), 100);
        assert!(!limiter.memory_growing(40, 41, None).unwrap());
        assert_eq!(limiter.refused(), Some(101));
        assert_eq!(limiter.used(), 100);
        limiter.reset();
        assert_eq!(limiter.refused(), None);
    }

    #[test]
    fn growth_that_the_system_refuses_is_taken_back() {
        let mut limiter = limiter(100);
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        limiter
            .memory_grow_failed(wasmtime::Error::msg("no memory"))
            .unwrap();
        assert_eq!(limiter.used(), 0);
    }

    #[test]
    fn growth_beyond_the_guests_own_maximum_is_no_refusal_of_ours() {
        let mut limiter = limiter(100);
        assert!(!limiter.memory_growing(0, 60, Some(50)).unwrap());
        assert_eq!((limiter.used(), limiter.refused()), (0, None));
    }
}
