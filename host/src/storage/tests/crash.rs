//! The process dies, or the disk refuses, while commits are made. A child process does the committing.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use super::{
    super::{Commit, Journal as _, Retention, Store},
    checkpoint, dead_letter, set,
};

const DIR: &str = "CROSSDOCK_TEST_CRASH_DIR";

/// One epoch: every part of it says its number, small or as a blob.
fn epoch_commit(epoch: u64) -> Commit {
    let size = if epoch.is_multiple_of(3) { 20_000 } else { 100 };
    Commit {
        checkpoint: Some(checkpoint(
            "shop",
            epoch,
            &vec![u8::try_from(epoch % 251).unwrap(); size],
        )),
        dead_letters: vec![dead_letter("shop", &epoch.to_string(), b"{}")],
        table_changes: vec![set("t", "epoch", epoch.to_string().as_bytes())],
        removed_dead_letters: vec![],
        retention: Retention::default(),
    }
}

/// Checks that the store is at one epoch with all its parts, and returns it.
fn whole_epoch(store: &Store) -> u64 {
    let Some(found) = store.checkpoint("shop").unwrap() else {
        assert_eq!(store.table_get_many("t", &["epoch"]).unwrap(), [None]);
        assert!(store.count_dead_letters().unwrap().is_empty());
        return 0;
    };
    let expected = epoch_commit(found.epoch);
    assert_eq!(Some(&found), expected.checkpoint.as_ref());
    let in_table = store
        .table_get_many("t", &["epoch"])
        .unwrap()
        .remove(0)
        .unwrap();
    assert_eq!(in_table, found.epoch.to_string().as_bytes());
    assert_eq!(store.count_dead_letters().unwrap()["shop"], found.epoch);
    assert_eq!(
        store.dead_letter(found.epoch).unwrap().unwrap().message,
        found.epoch.to_string()
    );
    found.epoch
}

fn child(test: &str, dir: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", "--test-threads=1"]);
    command
        .arg(format!("storage::tests::crash::{test}"))
        .env(DIR, dir)
        .stdout(Stdio::piped());
    command
}

#[test]
#[ignore = "the child process of `what_was_acknowledged_survives_kill_9`"]
fn commits_until_it_is_killed() {
    let Some(dir) = env::var_os(DIR) else { return };
    let store = Store::open(dir).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let start = whole_epoch(&store);
    let mut out = std::io::stdout();
    writeln!(out, "\nready").unwrap();
    for epoch in start + 1.. {
        runtime.block_on(store.commit(epoch_commit(epoch))).unwrap();
        writeln!(out, "acknowledged {epoch}").unwrap();
        out.flush().unwrap();
    }
}

/// Lets the child acknowledge some commits, kills it in the middle of the next, and returns the last number it said.
fn kill_after(mut child: Child, commits: usize) -> u64 {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut last = 0;
    let number = |line: &str| {
        line.strip_prefix("acknowledged ")
            .map(|number| number.parse().unwrap())
    };
    let mut seen = 0;
    while seen < commits {
        let line = lines
            .next()
            .expect("the child goes on until it is killed")
            .unwrap();
        if let Some(epoch) = number(&line) {
            last = epoch;
            seen += 1;
        }
    }
    child.kill().unwrap();
    for line in lines.map_while(Result::ok) {
        // The last line may be torn; whole ones count.
        last = line
            .strip_prefix("acknowledged ")
            .and_then(|number| number.parse().ok())
            .unwrap_or(last)
            .max(last);
    }
    child.wait().unwrap();
    last
}

// Invariant 2: what an epoch produced is durable as a whole, or not at all.
#[test]
fn what_was_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(4711);
    let mut before = 0;
    for round in 0..20 {
        let child = child("commits_until_it_is_killed", dir.path())
            .spawn()
            .unwrap();
        let acknowledged = kill_after(child, random.usize(1..60));
        let store = Store::open(dir.path()).unwrap();
        let found = whole_epoch(&store);
        assert!(
            acknowledged > before,
            "round {round}: the child went on from {before}"
        );
        // One commit may be durable without its acknowledgement having been said.
        assert!(
            found == acknowledged || found == acknowledged + 1,
            "round {round}: {acknowledged} acknowledged, {found} found"
        );
        before = found;
    }
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "the child process of `a_full_disk_stops_commits_until_there_is_space_again`"]
fn commits_until_the_disk_refuses_and_goes_on_with_space() {
    let Some(dir) = env::var_os(DIR) else { return };
    let store = Store::open(dir).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let commit = |epoch| runtime.block_on(store.commit(epoch_commit(epoch)));
    let (refused, error) = (1..)
        .find_map(|epoch| commit(epoch).err().map(|error| (epoch, error)))
        .unwrap();
    assert!(
        refused > 10,
        "the limit was reached before anything worked: {error}"
    );
    assert!(
        matches!(error, super::super::StorageError::Io { .. }),
        "{error}"
    );
    // Asking again is no worse. sled may not even open while it cannot write; if it does, nothing of the refused commit
    // is seen.
    for _ in 0..3 {
        assert!(commit(refused).is_err());
        if let Ok(found) = store.checkpoint("shop") {
            assert_eq!(found.unwrap().epoch, refused - 1);
        }
    }
    let free = Command::new("prlimit")
        .args([
            "--pid",
            &std::process::id().to_string(),
            "--fsize=unlimited",
        ])
        .status();
    assert!(free.unwrap().success());
    assert_eq!(whole_epoch(&store), refused - 1);
    for epoch in refused..refused + 50 {
        commit(epoch).unwrap();
    }
    assert_eq!(whole_epoch(&store), refused + 49);
    println!("\nwent on at {refused}");
}

/// A limit on the size of files stands for a full disk: the file system refuses in the middle of a write.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_stops_commits_until_there_is_space_again() {
    let dir = tempfile::tempdir().unwrap();
    let direct = child(
        "commits_until_the_disk_refuses_and_goes_on_with_space",
        dir.path(),
    );
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -S -f 1500; exec \"$0\" \"$@\""]);
    limited
        .arg(direct.get_program())
        .args(direct.get_args())
        .env(DIR, dir.path());
    let output = limited.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let refused: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix("went on at "))
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(whole_epoch(&Store::open(dir.path()).unwrap()), refused + 49);
}
