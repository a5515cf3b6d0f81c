//! How long to wait before a transient fault is tried again.

use std::time::Duration;

use super::fault::Fault;

/// Longest `retry-after` of the other side that is honoured.
const LONGEST_ASKED: Duration = Duration::from_mins(5);

/// Exponential backoff with full jitter, bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often a call is made at most, the first time included. At least 1.
    pub attempts: u32,
    /// The longest first wait.
    pub initial: Duration,
    /// The longest wait.
    pub max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 5,
            initial: Duration::from_millis(200),
            max: Duration::from_secs(30),
        }
    }
}

impl RetryPolicy {
    /// The wait before attempt number `next` (the first retry is number 2), or `None` when there is none left.
    pub fn wait(&self, next: u32, fault: &Fault) -> Option<Duration> {
        if next > self.attempts {
            return None;
        }
        if let Some(asked) = fault.retry_after {
            return Some(asked.min(LONGEST_ASKED));
        }
        let doublings = next.saturating_sub(2).min(20);
        let ceiling = self.initial.saturating_mul(1 << doublings).min(self.max);
        Some(ceiling.mul_f64(fastrand::f64().max(0.1)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fault::FaultKind;
    use super::*;

    #[test]
    fn waits_grow_stay_bounded_and_end() {
        let policy = RetryPolicy {
            attempts: 4,
            initial: Duration::from_millis(100),
            max: Duration::from_millis(250),
        };
        let fault = Fault::new(FaultKind::Transient, "busy");
        for (next, ceiling) in [(2, 100), (3, 200), (4, 250)] {
            let wait = policy.wait(next, &fault).unwrap();
            assert!(wait <= Duration::from_millis(ceiling), "{next}: {wait:?}");
            assert!(wait >= Duration::from_millis(10));
        }
        assert_eq!(policy.wait(5, &fault), None);
    }

    #[test]
    fn the_other_side_is_heard() {
        let mut fault = Fault::new(FaultKind::Transient, "busy");
        fault.retry_after = Some(Duration::from_secs(7));
        assert_eq!(
            RetryPolicy::default().wait(2, &fault),
            Some(Duration::from_secs(7))
        );
        fault.retry_after = Some(Duration::from_secs(100_000));
        assert_eq!(RetryPolicy::default().wait(2, &fault), Some(LONGEST_ASKED));
    }
}
