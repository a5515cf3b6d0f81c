//! Changed files are taken over while flows run: a flow file, a file that it names, a plugin.
//!
//! Files are looked at a few times a second, which works on every file system, network shares and containers included. A
//! file counts as changed when it has been the same for one more look, so that nothing half-written is read.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Daemon, Inner, flow_files, supervisor::Order};

/// Between two looks.
const EVERY: Duration = Duration::from_millis(200);

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
        let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
        let mut looks = tokio::time::interval(EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let Some(inner) = inner.upgrade() else { return };
            look(&Daemon(inner), &mut seen).await;
        }
    });
}

async fn look(daemon: &Daemon, seen: &mut BTreeMap<String, Seen>) {
    let watched: Vec<_> = daemon
        .read()
        .iter()
        .map(|(name, flow)| {
            let files = flow.files.borrow().clone();
            (name.clone(), files, flow.file.clone(), flow.orders.clone())
        })
        .collect();
    let known: Vec<PathBuf> = watched.iter().map(|(_, _, file, _)| file.clone()).collect();
    let folder = daemon.project().to_owned();
    let found = tokio::task::block_in_place(|| flow_files(&folder)).unwrap_or_default();
    for file in found.iter().filter(|file| !known.contains(file)) {
        tracing::info!("{} is new: it is run", file.display());
        daemon.add(file);
    }
    for (name, files, file, orders) in watched {
        if !found.is_empty() && !found.contains(&file) {
            tracing::info!("{} is gone: its flow ends", file.display());
            remove(&daemon.0, &name).await;
            seen.remove(&name);
            continue;
        }
        let seen = seen.entry(name).or_default();
        if tokio::task::block_in_place(|| seen.changed(&files)) {
            drop(orders.send(Order::Reload).await);
        }
    }
}

/// Ends a flow whose file is gone, without waiting for it to drain.
async fn remove(inner: &Arc<Inner>, name: &str) {
    let flow = Daemon(Arc::clone(inner)).write().remove(name);
    if let Some(flow) = flow {
        drop(flow.orders.send(Order::Shutdown).await);
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
