//! What a stage has open at the same time: requests, lookups of names and raw connections, counted together and over
//! all of its instances. The operator's `open-requests` says how much that may be.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is said when all places are taken by what does not end by itself.
pub(super) const TOO_MANY: &str = "too many requests and connections are open at the same time: `open-requests` in the stage's `limits`";

/// The places of one stage.
#[derive(Debug)]
pub(super) struct Open {
    places: Arc<Semaphore>,
    /// Requests that end by themselves and have a place, or wait for one.
    passing: Mutex<usize>,
}

/// Something that is open. Its place is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
}

/// A request that ends by itself.
pub(super) struct Passing<'a> {
    open: &'a Open,
    place: Option<Place>,
}

impl Open {
    pub(super) fn new(most: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS))),
            passing: Mutex::default(),
        }
    }

    fn passing(&self) -> MutexGuard<'_, usize> {
        self.passing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for what stays open as long as the plugin likes: it has no way to wait for one.
    pub(super) fn stay(&self) -> Option<Place> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Place { _permit: permit })
    }

    /// A place for a request that ends by itself. It waits for others of that kind; `None`: there are none to wait
    /// for, and whoever has the places may never give one back.
    pub(super) async fn pass(&self) -> Option<Passing<'_>> {
        let mut passing = {
            // Taking a place and being counted are one step. So where somebody is counted, either they have a place, or
            // they stand in the line behind somebody who has one and will leave it to them.
            let mut count = self.passing();
            let place = self.stay();
            if place.is_none() && *count == 0 {
                return None;
            }
            *count += 1;
            Passing { open: self, place }
        };
        if passing.place.is_none() {
            // It is never closed.
            let permit = Arc::clone(&self.places).acquire_owned().await.ok()?;
            passing.place = Some(Place { _permit: permit });
        }
        Some(passing)
    }
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        let mut count = self.open.passing();
        self.place = None;
        *count -= 1;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, future::join_all};

    use super::*;

    #[tokio::test]
    async fn everything_that_is_open_has_one_of_the_places() {
        let open = Open::new(3);
        let stays = [open.stay().unwrap(), open.stay().unwrap()];
        let passes = open.pass().await.unwrap();
        assert!(open.stay().is_none());
        // There is somebody to wait for.
        assert!(open.pass().now_or_never().is_none());
        drop(passes);
        let third = open.stay().unwrap();
        // Nobody has to give a place back.
        assert!(open.pass().now_or_never().unwrap().is_none());
        drop((stays, third));
        assert!(open.pass().now_or_never().unwrap().is_some());
    }

    #[tokio::test]
    async fn all_who_wait_get_their_turn_beside_what_stays() {
        let open = Open::new(2);
        let _stays = open.stay().unwrap();
        let turns = join_all((0..100).map(async |_| {
            let passes = open.pass().await;
            tokio::task::yield_now().await;
            passes.is_some()
        }))
        .await;
        assert!(turns.into_iter().all(|turn| turn));
        assert_eq!(*open.passing(), 0);
        assert!(open.stay().is_some());
    }

    #[tokio::test]
    async fn who_gives_up_is_not_waited_for() {
        let open = Open::new(1);
        let first = open.pass().await.unwrap();
        let second = open.pass();
        let mut third = Box::pin(open.pass());
        assert!(second.now_or_never().is_none());
        assert!((&mut third).now_or_never().is_none());
        drop(first);
        assert!(third.now_or_never().unwrap().is_some());
        let _stays = open.stay().unwrap();
        assert!(open.pass().await.is_none());
    }
}
