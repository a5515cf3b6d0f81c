//! The time of a call: how long the guest could run, without the waiting that is not its own.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Ticks (of 5 ms) of guest code between two yields to the other tasks of the thread.
pub(super) const SLICE: u64 = 2;
/// How much later than the interruption of guest code the watchdog ends a call that sits in a host function.
const GRACE: Duration = Duration::from_millis(250);

/// The call took too long. It is the error inside the trap, and what the watchdog gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TimeUp {
    /// The guest had its time.
    #[error("the call took longer than its limit of {}", show(*.0))]
    Call(Duration),
    /// The waiting for answers took too long.
    #[error("the call waited longer for HTTP answers than its limit of {}", show(*.0))]
    Wait(Duration),
}

/// `30 s`, `250 ms`.
fn show(time: Duration) -> String {
    if time.subsec_millis() == 0 {
        format!("{} s", time.as_secs())
    } else {
        format!("{} ms", time.as_millis())
    }
}

/// Shared by a call's watchdog, its epoch callback and the host functions that wait.
#[derive(Debug, Clone)]
pub(super) struct Meter(Arc<Mutex<Times>>);

#[derive(Debug)]
struct Times {
    started: Instant,
    limit: Duration,
    wait_limit: Duration,
    /// Time of this call that is not the guest's, finished pauses only.
    paused: Duration,
    /// Part of `paused` that was waiting for answers.
    waited: Duration,
    /// The pause under way. Host functions of one instance never overlap.
    pause: Option<Instant>,
}

impl Times {
    fn spent(&self) -> Duration {
        let pause = self.pause.map_or(Duration::ZERO, |since| since.elapsed());
        self.started.elapsed().saturating_sub(self.paused + pause)
    }
}

impl Meter {
    pub(super) fn new(wait_limit: Duration) -> Self {
        Self(Arc::new(Mutex::new(Times {
            started: Instant::now(),
            limit: Duration::ZERO,
            wait_limit,
            paused: Duration::ZERO,
            waited: Duration::ZERO,
            pause: None,
        })))
    }

    fn times(&self) -> std::sync::MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call with this limit starts.
    pub(super) fn start(&self, limit: Duration) {
        let mut times = self.times();
        *times = Times {
            started: Instant::now(),
            limit,
            wait_limit: times.wait_limit,
            paused: Duration::ZERO,
            waited: Duration::ZERO,
            pause: None,
        };
    }

    /// Whether the guest's time is over. Asked between two slices.
    pub(super) fn check(&self) -> Result<(), TimeUp> {
        let times = self.times();
        if times.spent() >= times.limit {
            Err(TimeUp::Call(times.limit))
        } else {
            Ok(())
        }
    }

    /// Gives the thread to other tasks; that time is not the guest's.
    pub(super) async fn yield_now(self) {
        let pause = self.pause();
        tokio::task::yield_now().await;
        drop(pause);
    }

    /// Waits for an answer from outside; that time is not the guest's, but has its own limit.
    pub(super) async fn wait<T>(&self, answer: impl Future<Output = T>) -> Result<T, TimeUp> {
        let (limit, left) = {
            let times = self.times();
            (
                times.wait_limit,
                times.wait_limit.saturating_sub(times.waited),
            )
        };
        let since = Instant::now();
        let pause = self.pause();
        let outcome = tokio::time::timeout(left, answer).await;
        drop(pause);
        self.times().waited += since.elapsed();
        outcome.map_err(|_| TimeUp::Wait(limit))
    }

    fn pause(&self) -> Pause<'_> {
        self.times().pause = Some(Instant::now());
        Pause(self)
    }

    /// Runs a call to its end, or to the end of its time when it sits in a host function (a guest that sleeps, a file
    /// that does not answer), where no epoch reaches it.
    pub(super) async fn watch<T>(&self, call: impl Future<Output = T>) -> Result<T, TimeUp> {
        tokio::select! {
            biased;
            outcome = call => Ok(outcome),
            limit = self.overdue() => Err(TimeUp::Call(limit)),
        }
    }

    async fn overdue(&self) -> Duration {
        loop {
            let (limit, left) = {
                let times = self.times();
                (
                    times.limit,
                    (times.limit + GRACE).saturating_sub(times.spent()),
                )
            };
            if left.is_zero() {
                return limit;
            }
            tokio::time::sleep(left).await;
        }
    }
}

/// A pause; it ends when dropped, also when the call is cancelled.
struct Pause<'a>(&'a Meter);

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        let mut times = self.0.times();
        if let Some(since) = times.pause.take() {
            times.paused += since.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_is_not_the_guests_time_but_has_a_limit() {
        let meter = Meter::new(Duration::from_millis(30));
        meter.start(Duration::from_millis(10));
        let never = std::future::pending::<()>();
        assert_eq!(
            meter.wait(never).await,
            Err(TimeUp::Wait(Duration::from_millis(30)))
        );
        assert!(meter.times().paused >= Duration::from_millis(30));
        assert!(meter.times().spent() < Duration::from_millis(30));
        // What was waited counts for the whole call.
        assert!(meter.wait(std::future::pending::<()>()).await.is_err());
        assert!(meter.times().paused < Duration::from_millis(60));
    }

    #[tokio::test]
    async fn a_call_that_sits_in_a_host_function_is_ended() {
        let meter = Meter::new(Duration::ZERO);
        meter.start(Duration::from_millis(5));
        let outcome = meter.watch(std::future::pending::<()>()).await;
        assert_eq!(outcome, Err(TimeUp::Call(Duration::from_millis(5))));
        assert!(meter.check().is_err());
    }

    #[test]
    fn limits_read_well() {
        assert_eq!(
            TimeUp::Call(Duration::from_secs(30)).to_string(),
            "the call took longer than its limit of 30 s"
        );
        assert!(
            TimeUp::Wait(Duration::from_millis(1500))
                .to_string()
                .ends_with("1500 ms")
        );
    }
}
