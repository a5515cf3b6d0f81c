//! Disks that are full or may not be written: the failure says so, nothing half-written is in place, and the next run
//! with room ends the work, with every row once.

use std::{
    fs::{self, File},
    io::Write as _,
};

use crossdock_tests::{
    host::{Invocation, TestHost, program},
    mount::can_mount,
};

use super::bad_input::{copy, copy_with};

/// Runs a flow with another file system mounted on a folder of the project; `None` where that is not allowed.
fn with_mount(host: &TestHost, folder: &str, options: &str, flow: &str) -> Option<Invocation> {
    if !can_mount() {
        return None;
    }
    let script = format!(
        "mount -t tmpfs -o {options} tmpfs {folder} && {} run flows/{flow}.yaml --json; code=$?; ls -A {folder} >&2; \
         exit $code",
        program().display()
    );
    Some(host.command("unshare").args(["-Urm", "sh", "-c", &script]))
}

/// Enough for any small disk.
fn many_rows(host: &TestHost) {
    let mut file = File::create(host.path("in/a.csv")).unwrap();
    let rows: Vec<String> = (0..40_000)
        .map(|row| format!("{row},{}\n", "x".repeat(50)))
        .collect();
    file.write_all(b"id,name\n").unwrap();
    file.write_all(rows.concat().as_bytes()).unwrap();
}

#[test]
fn a_full_disk() {
    let host = copy();
    many_rows(&host);
    let Some(run) = with_mount(&host, "out", "size=512k", "copy") else {
        return;
    };
    let ended = run.end();
    ended
        .no_panic()
        .exits(1)
        .tells(&["stage `jsonl`", "cannot write to `out/", "disk full"]);
    assert!(
        !ended.stderr.lines().any(|line| line == "a.jsonl"),
        "half a file is in place\n{ended}"
    );
    // On a disk with room the next run ends it, with every row once.
    let ended = host.run("copy");
    ended.finished();
    assert_eq!(host.text("out/a.jsonl").lines().count(), 40_000);
}

#[test]
fn a_full_disk_under_an_import_set() {
    let host = TestHost::new();
    let mut file = File::create(host.path("in/stocks.csv")).unwrap();
    let rows: Vec<String> = (0..40_000)
        .map(|row| format!("SKU-{row:060},{}\n", row % 9))
        .collect();
    file.write_all(b"concrete_sku,quantity\n").unwrap();
    file.write_all(rows.concat().as_bytes()).unwrap();
    host.flow(
        "copy",
        "
source:
  plugin: csv
  config: { files: in/*.csv, key: concrete_sku }
  grants: { files: { read: [in] } }
sinks:
  - plugin: spryker-csv
    config: { directory: out, locales: [en_US] }
    grants: { files: { write: [out] } }
retry: { attempts: 2, initial: 1ms }
",
    );
    // One disk has no room for the rows, the other none for the finished file beside them.
    for size in ["size=1m", "size=11m"] {
        let Some(run) = with_mount(&host, "out", size, "copy") else {
            return;
        };
        let ended = run.end();
        ended.no_panic().exits(1).tells(&[
            "stage `spryker-csv`",
            "cannot write to `out/.spryker-csv-work",
            "disk full",
        ]);
        assert!(
            !ended.stderr.lines().any(|line| line == "product_stock.csv"),
            "a part of a set is in place\n{ended}"
        );
    }
    host.run_with("copy", ["--from-start"]).finished();
    assert_eq!(host.text("out/product_stock.csv").lines().count(), 40_001);
    assert_eq!(host.list("out"), ["import.yml", "product_stock.csv"]);
}

#[test]
fn a_full_disk_under_the_state_folder() {
    let host = copy_with("retry:", "checkpoint: { records: 500 }\nretry:");
    many_rows(&host);
    fs::create_dir(host.state()).unwrap();
    let Some(run) = with_mount(&host, ".crossdock", "size=64k", "copy") else {
        return;
    };
    run.end().no_panic().exits(1).tells(&["space"]);
    assert!(!host.path("out/a.jsonl").exists());
    host.run("copy").finished();
    assert_eq!(host.text("out/a.jsonl").lines().count(), 40_000);
}

#[test]
fn an_output_folder_that_cannot_be_written() {
    let host = copy();
    if let Some(run) = with_mount(&host, "out", "ro", "copy") {
        run.end()
            .no_panic()
            .exits(1)
            .tells(&["stage `jsonl`", "out/", "cannot write to"]);
    }
    // One that is granted and is not there is made.
    fs::remove_dir_all(host.path("out")).unwrap();
    host.run_with("copy", ["--from-start"]).finished();
    assert_eq!(host.text("out/a.jsonl").lines().count(), 2);
    fs::remove_dir_all(host.path("out")).unwrap();
    // And one that is a file.
    host.write("out", "x");
    host.run("copy").no_panic().exits(2).tells(&["out"]);
    assert_eq!(host.text("out"), "x");
}
