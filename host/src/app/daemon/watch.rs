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

/// What of a file tells that it is another one.
type Stamp = Option<(SystemTime, u64)>;

fn stamp(path: &Path) -> Stamp {
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
}

/// One flow's files as they were when they were taken over, and as they were seen last.
#[derive(Default)]
struct Seen {
    taken: BTreeMap<PathBuf, Stamp>,
    last: BTreeMap<PathBuf, Stamp>,
}

impl Seen {
    /// Whether the files have changed since they were taken over and have come to rest.
    fn changed(&mut self, files: &[PathBuf]) -> bool {
        let now: BTreeMap<PathBuf, Stamp> = files
            .iter()
            .map(|path| (path.clone(), stamp(path)))
            .collect();
        let rests = now == self.last;
        self.last.clone_from(&now);
        if self.taken.is_empty() {
            self.taken = now;
            return false;
        }
        // Files that are named now and were not are no change: the flow was planned with them.
        for (path, stamp) in &now {
            self.taken.entry(path.clone()).or_insert(*stamp);
        }
        self.taken.retain(|path, _| now.contains_key(path));
        let changed = rests && now != self.taken;
        if changed {
            self.taken = now;
        }
        changed
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
        let mut seen = Seen::default();
        let files = [path.clone()];
        write("1");
        assert!(!seen.changed(&files) && !seen.changed(&files));
        write("12");
        assert!(!seen.changed(&files), "it may still be written");
        write("123");
        assert!(!seen.changed(&files));
        assert!(seen.changed(&files) && !seen.changed(&files));
        let other = dir.path().join("b.yaml");
        std::fs::write(&other, "").unwrap();
        assert!(!seen.changed(&[path.clone(), other.clone()]));
        assert!(!seen.changed(&[path, other]));
    }
}
