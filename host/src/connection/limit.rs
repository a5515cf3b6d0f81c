//! How many requests at a time and per second.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep_until},
};

/// The limits of one connection.
pub(super) struct Limiter {
    places: Semaphore,
    /// Time between two requests.
    interval: Duration,
    /// When the next request may start.
    next: Mutex<Option<Instant>>,
}

impl Limiter {
    pub(super) fn new(max_concurrent: u32, requests_per_second: Option<f64>) -> Self {
        let interval = requests_per_second
            .filter(|rate| *rate > 0.0)
            .and_then(|rate| Duration::try_from_secs_f64(1.0 / rate).ok())
            .unwrap_or_default();
        let places = usize::try_from(max_concurrent)
            .unwrap_or(1)
            .clamp(1, Semaphore::MAX_PERMITS);
        Self {
            places: Semaphore::new(places),
            interval,
            next: Mutex::new(None),
        }
    }

    /// Waits for a place and for the turn. The place is free again when the permit is dropped.
    pub(super) async fn enter(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed, so there is always a permit.
        let permit = self.places.acquire().await.ok();
        // A pause may come while this request waits for its turn, so the turn is looked at again after the wait.
        while let Some(turn) = self.turn() {
            sleep_until(turn).await;
        }
        permit
    }

    /// Takes the turn when it is here; else says when it will be.
    fn turn(&self) -> Option<Instant> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match *next {
            Some(turn) if turn > now => Some(turn),
            last => {
                // A turn that was missed by a moment does not slow the rate down.
                let from = last
                    .filter(|turn| now.duration_since(*turn) < self.interval)
                    .unwrap_or(now);
                *next = Some(from + self.interval);
                None
            }
        }
    }

    /// No request starts for this long: the server has asked for it.
    pub(super) fn pause(&self, wait: Duration) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let until = Instant::now() + wait;
        *next = Some(next.map_or(until, |turn| turn.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use futures_util::future::join_all;
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_are_spread_over_the_second() {
        let limiter = Limiter::new(100, Some(10.0));
        let start = Instant::now();
        let enter = async || {
            limiter.enter().await;
            start.elapsed().as_millis()
        };
        let mut times = join_all((0..5).map(|_| enter())).await;
        times.sort_unstable();
        assert_eq!(times, [0, 100, 200, 300, 400]);
        // A quiet time is not saved up for a burst.
        sleep(Duration::from_secs(10)).await;
        let start = Instant::now();
        join_all((0..3).map(|_| limiter.enter())).await;
        assert_eq!(start.elapsed().as_millis(), 200);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_allowed_run_at_a_time() {
        let limiter = Arc::new(Limiter::new(3, None));
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        join_all((0..20).map(async |_| {
            let _permit = limiter.enter().await;
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            sleep(Duration::from_millis(10)).await;
            running.fetch_sub(1, Ordering::SeqCst);
        }))
        .await;
        assert_eq!(most.into_inner(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_everybody_back() {
        let limiter = Limiter::new(3, None);
        limiter.pause(Duration::from_secs(60));
        limiter.pause(Duration::from_secs(1));
        let start = Instant::now();
        join_all((0..3).map(|_| limiter.enter())).await;
        assert_eq!(start.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_gives_up_frees_its_place() {
        let limiter = Limiter::new(1, Some(1.0));
        drop(limiter.enter().await);
        assert!(
            tokio::time::timeout(Duration::from_millis(10), limiter.enter())
                .await
                .is_err()
        );
        assert!(limiter.enter().await.is_some());
    }
}
