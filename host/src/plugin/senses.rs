//! What a plugin cannot know by itself, made to repeat: time that goes on by a millisecond with every look, and random
//! numbers from a seed. For recordings that are played back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use wasmtime_wasi::{HostMonotonicClock, HostWallClock, random::Deterministic};

/// Bytes of a stream of random numbers until they come again.
const STREAM: u64 = 64 << 10;

/// Time and random numbers that are the same in every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedSenses {
    /// Milliseconds since 1970 at the first look.
    pub start_ms: u64,
    /// Another seed gives other numbers.
    pub seed: u64,
}

/// Those of one instance.
#[derive(Debug, Clone)]
pub(super) struct Senses {
    fixed: FixedSenses,
    looks: Arc<AtomicU64>,
    numbers: Arc<AtomicU64>,
}

impl Senses {
    pub(super) fn new(fixed: FixedSenses) -> Self {
        Self {
            fixed,
            looks: Arc::default(),
            numbers: Arc::default(),
        }
    }

    fn elapsed(&self) -> u64 {
        self.looks.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.fixed.start_ms.saturating_add(self.elapsed())
    }

    /// Random bytes for WASI. Other ones with each call.
    pub(super) fn stream(&self) -> Deterministic {
        let bytes = (0..STREAM / 8).flat_map(|_| self.random().to_le_bytes());
        Deterministic::new(bytes.collect())
    }

    /// Splitmix64.
    pub(super) fn random(&self) -> u64 {
        let step = self.numbers.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let mut z = self
            .fixed
            .seed
            .wrapping_add(step.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

impl HostWallClock for Senses {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.now_ms())
    }
}

impl HostMonotonicClock for Senses {
    fn resolution(&self) -> u64 {
        1_000_000
    }

    /// Never zero: Go takes that for a clock that is broken, and does not start.
    fn now(&self) -> u64 {
        self.elapsed().saturating_add(1).saturating_mul(1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_the_same_in_every_run_and_never_stand_still() {
        let fixed = FixedSenses {
            start_ms: 1_000,
            seed: 7,
        };
        let run = || {
            let senses = Senses::new(fixed);
            [
                senses.now_ms(),
                senses.now_ms(),
                senses.random(),
                senses.random(),
            ]
        };
        let [first, second, one, other] = run();
        assert_eq!([first, second, one, other], run());
        assert_eq!((first, second), (1_000, 1_001));
        assert_ne!(one, other);
    }
}
