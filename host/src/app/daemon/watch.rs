//! Changed files are taken over while flows run: a flow file, a file that it names, a plugin.
//!
//! Files are looked at a few times a second, which works on every file system, network shares and containers included. A
//! file counts as changed when it has been the same for one more look, so that nothing half-written is read.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Daemon, flow_files, supervisor::Order};

/// Between two looks.
const EVERY: Duration = Duration::from_millis(200);
/// A file that is not there for so many looks is gone.
const LOOKS: u32 = 3;

/// What of a file tells that it is another one; `None` when it is not there.
type Stamp = Option<(SystemTime, u64)>;

/// Files as they are at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stamps(BTreeMap<PathBuf, Stamp>);

impl Stamps {
    /// Of these files now. Blocks. Taken before the files are read, so that a change in between is one.
    pub(super) fn take(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let stamp = |path: &Path| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.modified().ok()?, found.len()))
        };
        let stamps = files.into_iter().map(|path| {
            let stamp = stamp(&path);
            (path, stamp)
        });
        Self(stamps.collect())
    }

    fn again(&self) -> Self {
        Self::take(self.0.keys().cloned())
    }
}

/// How one flow's files were seen last.
#[derive(Default)]
struct Seen {
    last: Stamps,
    /// The flow was told of them like this.
    told: Option<Stamps>,
}

impl Seen {
    /// Whether the files have changed since the flow was planned with them, have come to rest, and it does not know.
    fn changed(&mut self, planned: &Stamps) -> bool {
        let now = planned.again();
        let rests = now == self.last;
        self.last = now.clone();
        let is_news = rests && now != *planned && self.told.as_ref() != Some(&now);
        if is_news {
            self.told = Some(now);
        }
        is_news
    }
}

/// Looks until the daemon is gone.
pub(super) fn start(daemon: &Daemon) {
    let inner = Arc::downgrade(&daemon.0);
    tokio::spawn(async move {
        let mut watcher = Watcher::default();
        let mut looks = tokio::time::interval(EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let Some(inner) = inner.upgrade() else { return };
            watcher.look(&Daemon(inner)).await;
        }
    });
}

/// What is known from the looks before.
#[derive(Default)]
struct Watcher {
    seen: BTreeMap<String, Seen>,
    /// Flows whose file was not there, and for how many looks: editors take a file away and put another one in its place.
    missing: BTreeMap<String, u32>,
    /// Files that are waiting for their name, so that it is said once.
    waiting: BTreeSet<PathBuf>,
}

impl Watcher {
    async fn look(&mut self, daemon: &Daemon) {
        // A flow stays known until it has drained: nothing else may run under its name before that.
        daemon.write().retain(|_, flow| !flow.task.is_finished());
        let watched: Vec<_> = daemon
            .read()
            .iter()
            .map(|(name, flow)| {
                let files = flow.files.borrow().clone();
                (name.clone(), files, flow.file.clone(), flow.orders.clone())
            })
            .collect();
        let folder = daemon.project().to_owned();
        let Ok(found) = tokio::task::block_in_place(|| flow_files(&folder)) else {
            // The folder itself is not there: that is no wish to end everything.
            return;
        };
        for file in &found {
            if watched.iter().all(|(_, _, known, _)| known != file) {
                let is_news = self.waiting.insert(file.clone());
                if is_news {
                    tracing::info!("{} is new", file.display());
                }
                // It reads the file and all that it names.
                if tokio::task::block_in_place(|| daemon.add(file, is_news)) {
                    self.waiting.remove(file);
                }
            }
        }
        self.seen
            .retain(|name, _| watched.iter().any(|(known, ..)| known == name));
        for (name, files, file, orders) in watched {
            if found.contains(&file) {
                self.missing.remove(&name);
                let seen = self.seen.entry(name).or_default();
                if tokio::task::block_in_place(|| seen.changed(&files)) {
                    drop(orders.send(Order::Reload).await);
                }
                continue;
            }
            let looks = self.missing.entry(name).or_default();
            *looks += 1;
            if *looks == LOOKS {
                tracing::info!("{} is gone: its flow ends", file.display());
                // One whose queue is full is asked again.
                if orders.try_send(Order::Shutdown).is_err() {
                    *looks -= 1;
                }
            }
        }
        let daemon_knows = daemon.read();
        self.missing
            .retain(|name, _| daemon_knows.contains_key(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_counts_as_changed_when_it_has_come_to_rest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("1");
        let planned = Stamps::take([path.clone(), dir.path().join("b.yaml")]);
        let mut seen = Seen::default();
        assert!(!seen.changed(&planned) && !seen.changed(&planned));
        write("12");
        assert!(!seen.changed(&planned), "it may still be written");
        write("123");
        assert!(!seen.changed(&planned));
        assert!(seen.changed(&planned));
        assert!(!seen.changed(&planned), "it is told once");
        std::fs::write(dir.path().join("b.yaml"), "").unwrap();
        assert!(!seen.changed(&planned));
        assert!(seen.changed(&planned), "a file that was missing is there");
        let planned = planned.again();
        assert!(!seen.changed(&planned) && !seen.changed(&planned));
    }
}
