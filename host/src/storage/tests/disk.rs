//! What can go wrong with a folder: locks, permissions, damage, space.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use futures_util::future::join_all;

use super::{
    super::{
        Journal as _, StorageError, Store,
        blob::BlobDir,
        key,
        kv::{Batch, Entry, Kv, MemoryKv},
    },
    changes, checkpoint,
    contract::blob_files,
    dead_letter, letters, save, set,
};

#[tokio::test]
async fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, StorageError::InUse { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains(&format!("(process {})", std::process::id())),
        "{error}"
    );
    drop(store);
    Store::open(dir.path()).unwrap();
}

#[cfg(unix)]
#[test]
fn only_the_owner_reads_the_folder() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/state");
    drop(Store::open(&path).unwrap());
    for folder in [path.clone(), path.join("blobs")] {
        assert_eq!(
            fs::metadata(folder).unwrap().permissions().mode() & 0o777,
            0o700
        );
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let error = Store::open(dir.path().join("file/state")).unwrap_err();
    assert!(matches!(error, StorageError::Io { .. }), "{error}");
    assert!(error.to_string().contains("file/state"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_written_is_named() {
    // Nobody can create files there, not even root.
    let error = Store::open("/proc/self/fd").unwrap_err();
    assert!(
        matches!(error, StorageError::Io { action: "lock", .. }),
        "{error}"
    );
    assert!(error.to_string().contains("/proc/self/fd/lock"), "{error}");
}

/// sled 0.34 reads a snapshot that it was killed in the middle of, and then nothing any more.
#[tokio::test]
async fn a_snapshot_of_the_database_that_was_not_finished_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store
        .commit(save(checkpoint("shop", 1, b"here")))
        .await
        .unwrap();
    drop(store);
    let unfinished = dir.path().join("db/snap.00000000000FFFFF.generating");
    fs::write(&unfinished, b"half of it").unwrap();
    let store = Store::open(dir.path()).unwrap();
    let found = store.checkpoint("shop").unwrap().unwrap();
    assert_eq!(found.epoch, 1);
    assert!(!unfinished.exists());
}

#[tokio::test]
async fn a_store_of_a_newer_format_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store
        .commit(save(checkpoint("shop", 1, b"one")))
        .await
        .unwrap();
    let set_format = |store: &Store, format: u32| {
        let format = Some(format.to_be_bytes().to_vec());
        store
            .shelf
            .kv
            .apply(&Batch::from([(key::STORE_FORMAT.to_vec(), format)]))
            .unwrap();
    };
    set_format(&store, 2);
    drop(store);
    for _ in 0..2 {
        let error = Store::open(dir.path()).unwrap_err();
        assert!(
            matches!(
                error,
                StorageError::TooNew {
                    found: 2,
                    known: 1,
                    ..
                }
            ),
            "{error}"
        );
    }
    assert_eq!(corrupt_copies(dir.path()), 0);
}

#[tokio::test]
async fn a_database_that_was_never_complete_is_made_anew() {
    let whole = tempfile::tempdir().unwrap();
    drop(Store::open(whole.path()).unwrap());
    let conf = fs::read(whole.path().join("db/conf")).unwrap();
    for cut in [0, 1, conf.len() / 2, conf.len() - 1] {
        // Killed while sled wrote its first file.
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("db")).unwrap();
        fs::write(dir.path().join("db/conf"), &conf[..cut]).unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert!(!store.forget("nothing").await.unwrap());
        assert_eq!(corrupt_copies(dir.path()), 0, "{cut}");
    }
}

fn corrupt_copies(dir: &Path) -> usize {
    let names = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    names
        .filter(|name| name.to_string_lossy().starts_with("db.corrupt-"))
        .count()
}

/// Fills a store, closes it, lets `damage` change its database folder, and expects the damage to be seen: an error that
/// says where the old database is, then an empty store. Or the data itself, when the damage did not matter.
async fn damaged(damage: impl Fn(&Path)) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for epoch in 1..=200 {
        store
            .commit(save(checkpoint("shop", epoch, &[7; 5000])))
            .await
            .unwrap();
    }
    drop(store);
    damage(&dir.path().join("db"));
    match Store::open(dir.path()) {
        Ok(store) => {
            let read = store.checkpoint("shop");
            match read {
                Ok(found) => assert_eq!(found, Some(checkpoint("shop", 200, &[7; 5000]))),
                Err(
                    StorageError::Database { .. }
                    | StorageError::Corrupt { .. }
                    | StorageError::Io { .. },
                ) => {
                    return true;
                }
                Err(other) => panic!("{other}"),
            }
            false
        }
        Err(error @ StorageError::Corrupt { .. }) => {
            assert!(error.to_string().contains("db.corrupt-"), "{error}");
            assert!(error.to_string().contains("start again"), "{error}");
            assert_eq!(corrupt_copies(dir.path()), 1);
            let store = Store::open(dir.path()).unwrap();
            assert_eq!(store.list_flows().unwrap(), [""; 0]);
            store
                .commit(save(checkpoint("shop", 1, b"new")))
                .await
                .unwrap();
            true
        }
        Err(error @ StorageError::Io { .. }) => panic!("damage is no matter of the disk: {error}"),
        Err(other) => panic!("{other}"),
    }
}

fn snapshots(db: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(db).unwrap().map(|entry| entry.unwrap().path());
    paths
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("snap"))
        })
        .collect()
}

#[tokio::test]
async fn a_database_that_lost_its_content_is_moved_aside() {
    let empty = |db: &Path| {
        fs::write(db.join("db"), b"").unwrap();
        for path in snapshots(db) {
            fs::remove_file(path).unwrap();
        }
    };
    assert!(damaged(empty).await);
}

#[tokio::test]
async fn a_database_of_noise_is_moved_aside() {
    let noise = |db: &Path| {
        let size = usize::try_from(fs::metadata(db.join("db")).unwrap().len()).unwrap();
        let mut random = fastrand::Rng::with_seed(7);
        fs::write(
            db.join("db"),
            (0..size).map(|_| random.u8(..)).collect::<Vec<_>>(),
        )
        .unwrap();
    };
    assert!(damaged(noise).await);
}

#[tokio::test]
async fn a_database_that_lost_its_end_is_moved_aside() {
    let cut = |db: &Path| {
        let file = fs::OpenOptions::new()
            .write(true)
            .open(db.join("db"))
            .unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        for path in snapshots(db) {
            fs::remove_file(path).unwrap();
        }
    };
    assert!(damaged(cut).await);
}

#[tokio::test]
async fn flipped_bits_anywhere_never_give_an_older_position() {
    let mut noticed = 0;
    for seed in 0..12 {
        let flip = |db: &Path| {
            let mut bytes = fs::read(db.join("db")).unwrap();
            let mut random = fastrand::Rng::with_seed(seed);
            for _ in 0..200 {
                let at = random.usize(..bytes.len());
                bytes[at] ^= 1 << random.u8(..8);
            }
            fs::write(db.join("db"), bytes).unwrap();
        };
        noticed += u8::from(damaged(flip).await);
    }
    assert!(noticed > 0, "no round changed anything that matters");
}

#[test]
fn unused_blobs_are_swept_when_the_store_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    BlobDir::open(dir.path().join("blobs"))
        .unwrap()
        .put(b"of a commit that crashed")
        .unwrap();
    fs::write(dir.path().join("blobs/.tmp-1"), b"half").unwrap();
    drop(Store::open(dir.path()).unwrap());
    assert_eq!(blob_files(dir.path()), 0);
}

#[tokio::test]
async fn a_lost_blob_is_an_error_not_an_empty_value() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store
        .commit(changes(vec![set("t", "k", &[1; 10_000])]))
        .await
        .unwrap();
    for entry in fs::read_dir(dir.path().join("blobs")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let error = store.table_get_many("t", &["k"]).unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
}

/// A database whose writes fail on demand.
#[derive(Clone, Default)]
struct Flaky {
    kv: Arc<MemoryKv>,
    mode: Arc<AtomicU8>,
}

const WORKS: u8 = 0;
const FAILS_BEFORE: u8 = 1;
const FAILS_AFTER: u8 = 2;

impl Kv for Flaky {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.kv.get(key)
    }

    fn scan(&self, prefix: &[u8], after: &[u8], limit: usize) -> Result<Vec<Entry>, StorageError> {
        self.kv.scan(prefix, after, limit)
    }

    fn apply(&self, batch: &Batch) -> Result<(), StorageError> {
        let mode = self.mode.load(Ordering::SeqCst);
        if mode != FAILS_BEFORE {
            self.kv.apply(batch)?;
        }
        if mode == WORKS {
            return Ok(());
        }
        let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
        Err(StorageError::Io {
            action: "write",
            path: PathBuf::from("state"),
            source,
        })
    }
}

#[tokio::test]
async fn a_failed_write_leaves_nothing_and_the_next_one_works() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = BlobDir::open(dir.path().join("blobs")).unwrap();
    let kv = Flaky::default();
    let store = Store::start(None, Box::new(kv.clone()), Some(blobs), None).unwrap();
    store
        .commit(save(checkpoint("shop", 1, &[1; 9000])))
        .await
        .unwrap();
    kv.mode.store(FAILS_BEFORE, Ordering::SeqCst);
    let failing = (2..20).map(|epoch| store.commit(save(checkpoint("shop", epoch, &[2; 9000]))));
    for outcome in join_all(failing).await {
        let error = outcome.unwrap_err();
        assert!(matches!(error, StorageError::Io { .. }), "{error}");
        assert!(error.to_string().contains("state"), "{error}");
    }
    assert!(
        store
            .commit(letters(vec![dead_letter("shop", "bad", b"{}")]))
            .await
            .is_err()
    );
    assert_eq!(
        blob_files(dir.path()),
        1,
        "the blobs of failed commits are gone"
    );
    assert_eq!(store.checkpoint("shop").unwrap().unwrap().epoch, 1);
    kv.mode.store(WORKS, Ordering::SeqCst);
    store
        .commit(letters(vec![dead_letter("shop", "bad", b"{}")]))
        .await
        .unwrap();
    assert_eq!(
        store.dead_letter(1).unwrap().unwrap().id,
        1,
        "an id that nobody has seen is given"
    );
}

#[tokio::test]
async fn a_write_that_failed_after_it_was_done_is_done() {
    let kv = Flaky::default();
    let store = Store::start(None, Box::new(kv.clone()), None, None).unwrap();
    kv.mode.store(FAILS_AFTER, Ordering::SeqCst);
    store
        .commit(save(checkpoint("shop", 5, b"x")))
        .await
        .unwrap();
    assert_eq!(store.checkpoint("shop").unwrap().unwrap().epoch, 5);
}

#[tokio::test]
async fn a_blob_that_cannot_be_written_fails_its_commit_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store
        .commit(changes(vec![set("t", "before", b"1")]))
        .await
        .unwrap();
    fs::remove_dir(dir.path().join("blobs")).unwrap();
    let large = changes(vec![
        set("t", "small", b"1"),
        set("t", "large", &[1; 10_000]),
    ]);
    let (large, small) = tokio::join!(
        store.commit(large),
        store.commit(changes(vec![set("t", "after", b"1")]))
    );
    let error = large.unwrap_err();
    assert!(
        matches!(
            &error,
            StorageError::Io {
                action: "write",
                ..
            }
        ),
        "{error}"
    );
    small.unwrap();
    let keys: Vec<_> = store
        .table_find("t", "", "", 9)
        .unwrap()
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    assert_eq!(keys, ["after", "before"]);
}
