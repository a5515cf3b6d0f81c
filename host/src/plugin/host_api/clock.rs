//! `clock`: the time of day in milliseconds; and the clocks of WASI, which are no finer unless that is granted. A fine
//! clock tells a plugin about its neighbours and the machine.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wasmtime_wasi::{HostMonotonicClock, HostWallClock};

use super::{
    super::{
        senses::Senses,
        state::State,
        tape::{Given, Import},
    },
    contract::clock,
};

/// The step of clocks that are not granted to be finer.
const STEP: Duration = Duration::from_millis(1);

/// A clock of WASI in steps of a millisecond.
pub(in crate::plugin) struct Coarse(Instant);

impl Coarse {
    pub(in crate::plugin) fn new() -> Self {
        Self(Instant::now())
    }
}

/// Whole milliseconds only.
fn coarse(time: Duration) -> Duration {
    Duration::new(time.as_secs(), time.subsec_millis() * 1_000_000)
}

impl HostWallClock for Coarse {
    fn resolution(&self) -> Duration {
        STEP
    }

    fn now(&self) -> Duration {
        coarse(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        )
    }
}

impl HostMonotonicClock for Coarse {
    fn resolution(&self) -> u64 {
        1_000_000
    }

    /// Since the instance was made, so that it does not tell how long the machine runs. Never zero: Go takes that for a
    /// clock that is broken, and does not start.
    fn now(&self) -> u64 {
        u64::try_from(coarse(self.0.elapsed() + STEP).as_nanos()).unwrap_or(u64::MAX)
    }
}

impl clock::Host for State {
    fn now_ms(&mut self) -> wasmtime::Result<u64> {
        if let Some(now) = self.senses.as_ref().map(Senses::now_ms) {
            return Ok(self.told(
                || Import::Now,
                |_| now,
                Given::Number,
                |seen| seen.number(now),
            ));
        }
        // A clock set before 1970 reads as 1970.
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Ok(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coarse_clock_has_no_microseconds() {
        assert_eq!(
            coarse(Duration::new(7, 123_456_789)),
            Duration::new(7, 123_000_000)
        );
        let clock = Coarse::new();
        assert_eq!(HostWallClock::now(&clock).subsec_nanos() % 1_000_000, 0);
        assert_eq!(HostMonotonicClock::now(&clock) % 1_000_000, 0);
        assert!(HostMonotonicClock::now(&clock) >= 1_000_000);
    }
}
