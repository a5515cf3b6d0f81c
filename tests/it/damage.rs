//! The store is damaged or its disk is full: that is noticed, the checkpoint before is used where there is one, and the
//! output is never another one.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::Path,
};

use crossdock_tests::{
    host::{TestHost, program},
    mount::can_mount,
};
use serde_json::Value;

use super::resume::{ROWS, project, undisturbed};

fn database(host: &TestHost) -> File {
    let path = host.state().join("db/db");
    File::options().read(true).write(true).open(path).unwrap()
}

fn copy(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).unwrap();
    }
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn a_store_that_lost_its_end_is_moved_aside_and_says_what_happens_next() {
    let (host, gate) = project("replace", "nobody");
    gate.open();
    host.run("gated").finished();
    let output = host.bytes("out/all.jsonl");
    let file = database(&host);
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    for name in host.list(".crossdock/db") {
        if name.starts_with("snap") {
            fs::remove_file(host.state().join("db").join(name)).unwrap();
        }
    }
    host.run("gated").no_panic().exits(1).tells(&[
        "the state database in",
        "it was moved to",
        "db.corrupt-",
        "start again to go on with an empty store: flows then start from the beginning",
    ]);
    assert!(host.bytes("out/all.jsonl") == output, "nothing is touched");
    let names = host.list(".crossdock");
    assert!(
        names.iter().any(|name| name.starts_with("db.corrupt-")),
        "{names:?}"
    );
    let again = host.run("gated").finished();
    assert_eq!(
        (&again["resumed"], &again["records"]),
        (&false.into(), &ROWS.into())
    );
    assert!(host.bytes("out/all.jsonl") == output);
}

#[test]
fn a_torn_write_gives_the_checkpoint_before_or_a_clear_refusal() {
    let (host, gate) = project("replace", "S04321");
    let mut running = host.start("gated");
    let _held = gate.arrival(&mut running);
    running.kill();
    gate.open();
    let (state, out) = (host.path("kept/state"), host.path("kept/out"));
    copy(&host.state(), &state);
    copy(&host.path("out"), &out);
    let expected = undisturbed("replace");
    let mut earlier = 0;
    let mut whole = None;
    for (torn, cut) in [
        (0, true),
        (1, true),
        (700, true),
        (5_000, true),
        (700, false),
        (4_000, false),
    ] {
        copy(&state, &host.state());
        copy(&out, &host.path("out"));
        let file = database(&host);
        let length = file.metadata().unwrap().len();
        // As much of the end as a write had not brought to the disk yet is missing, or is something else.
        if cut {
            file.set_len(length - torn).unwrap();
        } else {
            let noise = vec![0xA5; usize::try_from(torn).unwrap()];
            file.write_all_at(&noise, length - torn).unwrap();
        }
        drop(file);
        let ended = host.run("gated");
        let says_so = ended.stderr.contains("its last commits are lost");
        let summary = if ended.code() == Some(0) {
            ended.finished()
        } else {
            // What cannot be read is named and kept, and then the flow begins anew.
            ended
                .no_panic()
                .exits(1)
                .tells(&["the state database in", "start again"]);
            host.run("gated").finished()
        };
        let read = summary["records"].as_u64().unwrap();
        let most = *whole.get_or_insert(read);
        assert!(
            read >= most,
            "nothing after the last checkpoint is taken for done"
        );
        assert_eq!(
            says_so,
            read > most && summary["resumed"] == true,
            "torn {torn}, cut {cut}: {ended}"
        );
        earlier += u32::from(says_so);
        println!("the end of {torn} bytes torn (cut: {cut}): {read} records read again");
        assert_eq!(summary["streams"]["products"]["written"], ROWS);
        assert!(
            host.bytes("out/all.jsonl") == expected,
            "torn {torn}, cut {cut}"
        );
        assert_eq!(host.list("out"), ["all.jsonl"]);
    }
    println!("{earlier} of the damages reached a checkpoint");
}

#[test]
fn a_disk_that_fills_up_costs_nothing_but_the_last_epochs() {
    if !can_mount() {
        return;
    }
    let (host, gate) = project("replace", "S03210");
    fs::create_dir(host.state()).unwrap();
    let run = format!("{} run flows/gated.yaml --json", program().display());
    let script = format!(
        "mount -t tmpfs -o size=64m tmpfs .crossdock
         {run} > full.json; code=$?
         rm .crossdock/filler
         {run} > after.json || exit 8
         exit $code"
    );
    let mut running = host
        .command("unshare")
        .args(["-Urm", "sh", "-c", &script])
        .start();
    // Another program takes the room away while the flow runs. The disk is seen by who runs there only.
    let arrival = gate.arrival(&mut running);
    let seen = format!("/proc/{}/root{}", running.id(), host.state().display());
    let mut filler = File::create(Path::new(&seen).join("filler")).unwrap();
    while filler.write_all(&[0; 1 << 14]).is_ok() {}
    drop(filler);
    gate.open();
    arrival.pass();
    running.end().no_panic().exits(1);
    let full: Value = serde_json::from_str(&host.text("full.json")).unwrap();
    let error = full["error"].as_str().unwrap();
    assert!(error.contains("free some space and run again"), "{error}");
    let after: Value = serde_json::from_str(&host.text("after.json")).unwrap();
    assert_eq!(after["resumed"], true, "the checkpoint before is used");
    assert!(after["records"].as_u64().unwrap() < ROWS as u64);
    assert_eq!(after["streams"]["products"]["written"], ROWS, "{after}");
    assert!(host.bytes("out/all.jsonl") == undisturbed("replace"));
}

#[test]
fn a_state_that_is_looked_at_on_a_full_disk_is_left_as_it_is() {
    if !can_mount() {
        return;
    }
    let host = TestHost::new();
    host.flow(
        "many",
        "
source: { plugin: generate, config: { stream: live, records: 3000 } }
sinks:
  - plugin: jsonl
    config: { file: out/many.jsonl, mode: append }
    grants: { files: { write: [out] } }
checkpoint: { records: 20 }
batch: { records: 10 }
",
    );
    fs::create_dir(host.state()).unwrap();
    // The database has more than one of sled's segments: opening it moves entries.
    let script = format!(
        "mount -t tmpfs -o size=64m tmpfs .crossdock
         for _ in 1 2 3; do {program} run flows/many.yaml --from-start --json > run.json || exit 9; done
         dd if=/dev/zero of=.crossdock/filler bs=4k 2> /dev/null
         cp -r .crossdock/db before; {program} dlq list > full.txt 2>&1; code=$?; diff -r before .crossdock/db || exit 7
         rm .crossdock/filler
         {program} dlq list >&2 || exit 8
         {program} run flows/many.yaml --json > after.json || exit 6
         exit $code",
        program = program().display()
    );
    let ended = host
        .command("unshare")
        .args(["-Urm", "sh", "-c", &script])
        .end();
    ended.no_panic().exits(1);
    let told = host.text("full.txt");
    assert!(told.contains("free some space and run again"), "{told}");
    let after: Value = serde_json::from_str(&host.text("after.json")).unwrap();
    assert_eq!(after["records"], 0, "it goes on behind the last record");
    let lines = host.text("out/many.jsonl");
    assert_eq!(lines.lines().count(), 9000);
}

/// Writes format 9 where a value says that it is of format 1, as a host of the future would have.
fn from_the_future(host: &TestHost, wanted: &[u8]) {
    let old = b"\"format\":1,";
    let db = sled::open(host.state().join("db")).unwrap();
    let mut changed = 0;
    for entry in db.iter() {
        let (key, value) = entry.unwrap();
        let mut value = value.to_vec();
        let at = value.windows(old.len()).position(|part| part == old);
        if let Some(at) = at.filter(|_| value.windows(wanted.len()).any(|part| part == wanted)) {
            value[at + old.len() - 2] = b'9';
            db.insert(key, value).unwrap();
            changed += 1;
        }
    }
    db.flush().unwrap();
    assert_eq!(changed, 1, "the one checkpoint");
}

#[test]
fn a_checkpoint_of_a_newer_host_is_refused_with_advice_and_left_alone() {
    let (host, gate) = project("replace", "nobody");
    gate.open();
    host.run("gated").finished();
    let output = host.bytes("out/all.jsonl");
    from_the_future(&host, b"\"epoch\"");
    for _ in 0..2 {
        host.run("gated").no_panic().exits(1).tells(&[
            "the checkpoint of flow gated",
            "format 9",
            "up to 1",
            "upgrade crossdock",
        ]);
        assert!(host.bytes("out/all.jsonl") == output, "nothing is touched");
    }
}
