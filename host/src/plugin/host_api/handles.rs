//! What an instance holds open of the host's process: files, raw connections, listings of folders, and the folders that it
//! was granted.
//!
//! A process may have few files open, and every flow needs some, so that plugins get a part of them: a stage so many, all
//! its instances together, and all stages at most half of what the process may have. What is still open is seen in the
//! file itself, since a stream of a file keeps it when the file's own handle is gone.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicUsize, Ordering},
};

use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::{
    filesystem::Descriptor,
    p2::bindings::{filesystem::types::DirectoryEntryStream, sockets::tcp::TcpSocket},
};

/// Files and connections that the instances of a stage may have open.
const OF_STAGE: usize = 256;
/// Which part of them only granted folders may have.
const FOR_FOLDERS: usize = 4;
/// Stages that can have as many at the same time, where the process may have few.
const STAGES: usize = 4;
/// Files of the process where the system has no limit, or one that is as good as none.
const OF_PROCESS: usize = 1 << 16;

/// How many files may be open, of one stage or of all of them.
#[derive(Debug)]
pub(in crate::plugin) struct Budget {
    most: usize,
    taken: AtomicUsize,
}

impl Budget {
    fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            taken: AtomicUsize::new(0),
        })
    }

    /// Half of what the process may have open.
    pub(in crate::plugin) fn of_process() -> Arc<Self> {
        Self::new((open_files() / 2).min(OF_PROCESS))
    }

    /// What one stage may have of that.
    pub(in crate::plugin) fn of_stage(process: &Self) -> Arc<Self> {
        Self::new((process.most / STAGES).min(OF_STAGE))
    }

    fn take(self: &Arc<Self>) -> Option<Permit> {
        self.take_of(self.most)
    }

    /// One more when there are fewer than so many.
    fn take_of(self: &Arc<Self>, most: usize) -> Option<Permit> {
        let more = |taken| (taken < most).then_some(taken + 1);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()
            .map(|_| Permit(Arc::clone(self)))
    }
}

/// One open file.
#[derive(Debug)]
struct Permit(Arc<Budget>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Files that this process may have open now.
#[cfg(unix)]
fn open_files() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

#[cfg(not(unix))]
fn open_files() -> usize {
    usize::MAX
}

/// There are too many open files. It ends the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::plugin) enum Full {
    /// Of the stage.
    #[error("the plugin holds more than {0} files, streams and connections open")]
    Stage(usize),
    /// Of all stages. It is nobody's fault.
    #[error("no more files can be opened: plugins of this process hold {0}")]
    Process(usize),
}

/// What one instance has open.
#[derive(Debug)]
pub(in crate::plugin) struct Handles {
    stage: Arc<Budget>,
    process: Arc<Budget>,
    open: Vec<(Open, Permits)>,
    /// For what is open as long as the instance is there: the folders that it was granted.
    kept: Vec<Permits>,
    listings: Vec<(u32, usize)>,
}

#[derive(Debug)]
enum Open {
    /// A file or folder, as long as somebody has it.
    File(Weak<std::fs::File>),
    /// A socket, as long as it is in the table.
    Socket(u32),
}

/// One file of the stage, and of the process.
#[derive(Debug)]
pub(in crate::plugin) struct Permits {
    _of_stage: Permit,
    _of_process: Permit,
}

impl Handles {
    pub(in crate::plugin) fn new(stage: &Arc<Budget>, process: &Arc<Budget>) -> Self {
        Self {
            stage: Arc::clone(stage),
            process: Arc::clone(process),
            open: Vec::new(),
            kept: Vec::new(),
            listings: Vec::new(),
        }
    }

    /// Lets go of what is closed.
    pub(in crate::plugin) fn sweep(&mut self, table: &ResourceTable) {
        self.open.retain(|(open, _)| match open {
            Open::File(file) => file.strong_count() > 0,
            Open::Socket(rep) => table.get(&Resource::<TcpSocket>::new_borrow(*rep)).is_ok(),
        });
        self.listings.retain(|(rep, _)| {
            let listing = Resource::<DirectoryEntryStream>::new_borrow(*rep);
            table.get(&listing).is_ok()
        });
    }

    /// Room for one more file or socket, before it is opened. Some of the stage's are left to the folders of instances that
    /// are made anew.
    pub(in crate::plugin) fn room(&mut self, table: &ResourceTable) -> Result<Permits, Full> {
        self.sweep(table);
        self.place(self.stage.most - self.stage.most / FOR_FOLDERS)
    }

    /// Room for one more of the granted folders, before it is opened.
    pub(in crate::plugin) fn folder(&self) -> Result<Permits, Full> {
        self.place(self.stage.most)
    }

    fn place(&self, most: usize) -> Result<Permits, Full> {
        let stage = self.stage.take_of(most).ok_or(Full::Stage(most))?;
        let process = self
            .process
            .take()
            .ok_or(Full::Process(self.process.most))?;
        Ok(Permits {
            _of_stage: stage,
            _of_process: process,
        })
    }

    /// A folder was opened that stays open until the instance ends.
    pub(in crate::plugin) fn keeps(&mut self, permits: Permits) {
        self.kept.push(permits);
    }

    /// A file or folder was opened.
    pub(in crate::plugin) fn opened(&mut self, file: &Descriptor, permits: Permits) {
        let file = match file {
            Descriptor::File(file) => &file.file,
            Descriptor::Dir(folder) => &folder.dir,
        };
        self.open.push((Open::File(Arc::downgrade(file)), permits));
    }

    /// A socket was made.
    pub(in crate::plugin) fn connects(&mut self, rep: u32, permits: Permits) {
        self.open.push((Open::Socket(rep), permits));
    }

    /// Bytes of the listings of folders that are open.
    pub(in crate::plugin) fn listed(&self) -> usize {
        self.listings.iter().map(|(_, bytes)| bytes).sum()
    }

    /// A folder was listed.
    pub(in crate::plugin) fn lists(&mut self, rep: u32, bytes: usize) {
        self.listings.push((rep, bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_taken_and_given_back() {
        let process = Budget::new(8);
        let stage = Budget::of_stage(&process);
        assert_eq!(stage.most, 2);
        let mut handles = Handles::new(&stage, &process);
        let table = ResourceTable::new();
        let first = handles.room(&table).unwrap();
        let second = handles.room(&table).unwrap();
        assert_eq!(handles.room(&table).unwrap_err(), Full::Stage(2));
        drop(first);
        let others: Vec<_> = (0..7).map(|_| process.take().unwrap()).collect();
        assert_eq!(handles.room(&table).unwrap_err(), Full::Process(8));
        handles.keeps(second);
        drop(others);
        handles.sweep(&table);
        assert_eq!(stage.taken.load(Ordering::Relaxed), 1, "it is kept");
        drop(handles);
        assert_eq!(stage.taken.load(Ordering::Relaxed), 0);
        assert_eq!(process.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_file_counts_as_long_as_somebody_has_it() {
        let process = Budget::new(100);
        let stage = Budget::of_stage(&process);
        let mut handles = Handles::new(&stage, &process);
        let table = ResourceTable::new();
        let file = Arc::new(tempfile::tempfile().unwrap());
        let permits = handles.room(&table).unwrap();
        handles
            .open
            .push((Open::File(Arc::downgrade(&file)), permits));
        let socket = handles.room(&table).unwrap();
        handles.connects(7, socket);
        let of_stream = Arc::clone(&file);
        drop(file);
        handles.sweep(&table);
        assert_eq!(
            stage.taken.load(Ordering::Relaxed),
            1,
            "no socket is in the table"
        );
        drop(of_stream);
        handles.sweep(&table);
        assert_eq!(stage.taken.load(Ordering::Relaxed), 0);
    }
}
