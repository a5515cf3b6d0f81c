//! `cargo xtask demo`, as a stranger meets it.

use std::{ffi::OsStr, fs, path::Path};

use crossdock_tests::host::{Invocation, TestHost, workspace};
use serde_json::{Value, json};

/// `cargo xtask demo` with these arguments. What it builds is there already.
pub(crate) fn demo<A: AsRef<OsStr>>(
    host: &TestHost,
    arguments: impl IntoIterator<Item = A>,
) -> Invocation {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // A process group of its own, as a shell makes it: Ctrl-C goes to all of it.
    let invocation = host.command("setsid").arg(cargo).args([
        "run",
        "--quiet",
        "--manifest-path",
        &workspace().join("Cargo.toml").display().to_string(),
        "--package",
        "xtask",
        "--",
        "demo",
    ]);
    surroundings(invocation).args(arguments)
}

/// What cargo needs of the surroundings that `TestHost` clears.
fn surroundings(invocation: Invocation) -> Invocation {
    let kept = [
        "HOME",
        "CARGO_HOME",
        "RUSTUP_HOME",
        "RUSTUP_TOOLCHAIN",
        "CARGO_TARGET_DIR",
    ];
    kept.into_iter()
        .filter_map(|name| Some((name, std::env::var_os(name)?)))
        .fold(invocation, |invocation, (name, value)| {
            invocation.env(name, value)
        })
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

#[test]
fn it_ends_with_one_object_and_the_files_where_it_was_told() {
    let host = TestHost::new();
    let arguments = ["--products", "60", "--out", "shop", "--json"];
    let ended = demo(&host, arguments).end();
    let document = ended.no_panic().exits(0).json();
    assert_eq!(keys(&document), ["label", "outputs", "seconds", "streams"]);
    assert_eq!(document["label"], "exactly-once");
    assert!(document["seconds"].as_f64().unwrap() > 0.0);
    for (name, counts) in document["streams"].as_object().unwrap() {
        assert_eq!(
            keys(counts),
            ["dead", "filtered", "read", "written"],
            "{name}"
        );
        assert_eq!(counts["dead"], 0, "{name}");
    }
    // The rows that it tells are those of the files.
    let outputs = document["outputs"].as_object().unwrap();
    let names: Vec<&str> = outputs.keys().map(String::as_str).collect();
    assert_eq!(host.list("shop/spryker-import"), names);
    for (name, rows) in outputs {
        let bytes = host.bytes(format!("shop/spryker-import/{name}"));
        let counted = if Path::new(name).extension().is_some_and(|e| e == "csv") {
            csv::Reader::from_reader(bytes.as_slice())
                .byte_records()
                .count()
        } else {
            bytes.split(|byte| *byte == b'\n').count() - 1
        };
        assert_eq!(*rows, json!(counted), "{name}");
    }
    // Again, for people: the same files, and where they are.
    let ended = demo(&host, &arguments[..4]).end();
    ended.no_panic().exits(0).tells(&[
        "records/s, delivery: exactly-once",
        "files: shop/spryker-import",
        "state: shop/.crossdock",
        "product_concrete.csv",
    ]);
}

#[test]
fn what_cannot_be_served_or_written_is_said_in_a_line() {
    let host = TestHost::new();
    let ended = demo(&host, ["--catalogue", "nowhere"]).end();
    ended
        .no_panic()
        .exits(1)
        .tells(&["nowhere", "did not start"]);
    // A folder that holds something else.
    host.write("in/readme.txt", "hello");
    let ended = demo(&host, ["--catalogue", "in"]).end();
    ended
        .no_panic()
        .exits(1)
        .tells(&["in holds no", "is no folder of Akeneo CSV files"]);
    // A folder that cannot be made, whoever asks.
    host.write("file", "x");
    let ended = demo(&host, ["--products", "10", "--out", "file/shop"]).end();
    ended.no_panic().exits(1).tells(&["file/shop", "--out"]);
    for arguments in [
        &["--products", "many"][..],
        &["--products", "10", "--catalogue", "in"],
        &["--produtcs", "10"],
    ] {
        demo(&host, arguments).end().no_panic().exits(2);
    }
}

#[test]
fn ctrl_c_stops_it_and_nothing_half_written_is_in_place() {
    let host = TestHost::new();
    let mut running = demo(&host, ["--products", "50000", "--out", "shop"]).start();
    running.says("serves the catalogue on");
    let group = format!("-{}", running.id());
    let sent = host.command("kill").args(["-INT", "--", &group]).end();
    sent.exits(0);
    let ended = running.end();
    ended.no_panic().exits(130);
    let files = fs::read_dir(host.path("shop/spryker-import")).unwrap();
    let seen: Vec<_> = files
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect();
    assert_eq!(seen, [] as [String; 0]);
}
