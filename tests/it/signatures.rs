//! Who made a plugin: keys, signatures of files, and `trust.yaml`, through the command line.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use crossdock_tests::host::{TestHost, plugin};
use serde_json::{Value, json};

/// A project with a plugin's file and a key.
pub(crate) fn with_key() -> TestHost {
    let host = TestHost::new();
    host.write("csv.wasm", fs::read(plugin("csv")).unwrap());
    let made = host
        .crossdock(["key", "new", "--out", "keys/acme.key", "--json"])
        .end();
    let made = made.finished();
    assert_eq!(made["encrypted"], false, "{made:#}");
    let mode = fs::metadata(host.path("keys/acme.key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    host
}

pub(crate) fn sign(host: &TestHost) -> Value {
    host.crossdock([
        "plugin",
        "sign",
        "csv.wasm",
        "--key",
        "keys/acme.key",
        "--json",
    ])
    .end()
    .finished()
}

const TRUST: &str = "publishers: [{ publisher: acme, keys: [{ file: keys/acme.pub }] }]\n";

#[test]
fn a_signed_file_is_told_from_one_that_was_changed_or_signed_by_somebody_else() {
    let host = with_key();
    let verify = || {
        host.crossdock(["plugin", "verify", "csv.wasm", "--json"])
            .end()
    };
    // Nobody is known: a mistake of the project, not of the file.
    assert!(
        verify().exits(2).json()["error"]
            .as_str()
            .unwrap()
            .contains("nobody is known")
    );
    host.write("trust.yaml", TRUST);
    let unsigned = verify().exits(1).json();
    assert_eq!(
        unsigned["error"], "it is not signed (trust.yaml wants one by a known publisher)",
        "{unsigned:#}"
    );

    let signed = sign(&host);
    let good = verify().finished();
    assert_eq!(
        (&good["publisher"], &good["key"]),
        (&json!("acme"), &signed["key"]),
        "{good:#}"
    );
    assert_eq!(good["digest"], signed["digest"]);
    let shown = host
        .crossdock(["plugin", "verify", "csv.wasm", "--key", "keys/acme.pub"])
        .end();
    assert!(
        shown.exits(0).text().contains("✓ csv 0.1.0: signed by"),
        "{shown}"
    );

    host.crossdock(["key", "new", "--out", "keys/evil.key"])
        .end()
        .exits(0);
    let other = host
        .crossdock([
            "plugin",
            "verify",
            "csv.wasm",
            "--key",
            "keys/evil.pub",
            "--json",
        ])
        .end();
    assert!(
        other.exits(1).json()["error"]
            .as_str()
            .unwrap()
            .contains("none of the known keys made it"),
        "{other}"
    );
    // Another file with the signature of this one.
    host.write("csv.wasm", fs::read(plugin("jsonl")).unwrap());
    let moved = verify().exits(1).json();
    assert_eq!(moved["decision"], "refused");
    assert!(
        moved["error"]
            .as_str()
            .unwrap()
            .contains("it was moved here from another version or plugin"),
        "{moved:#}"
    );
    // Signed by somebody else.
    host.write("csv.wasm", fs::read(plugin("csv")).unwrap());
    host.crossdock(["plugin", "sign", "csv.wasm"])
        .env("CROSSDOCK_SIGNING_KEY", "keys/evil.key")
        .end()
        .exits(0);
    assert!(
        verify().exits(1).json()["notes"][0]
            .as_str()
            .unwrap()
            .contains("none of the known keys")
    );
    // A key that counts no more.
    sign(&host);
    host.write(
        "trust.yaml",
        TRUST.replace("acme.pub", "acme.pub, not-after: 2020-12-31"),
    );
    let late = verify().exits(1).json();
    assert!(
        late["error"]
            .as_str()
            .unwrap()
            .contains("counts no more since 2021-01-01"),
        "{late:#}"
    );
    // A mistake in the file is told at its line.
    host.write(
        "trust.yaml",
        TRUST.replace("keys/acme.pub", "keys/none.pub"),
    );
    let wrong = verify().exits(2).json();
    assert_eq!(wrong["findings"][0]["location"]["line"], 1, "{wrong:#}");
    assert!(
        wrong["findings"][0]["message"]
            .as_str()
            .unwrap()
            .contains("keys/none.pub"),
        "{wrong:#}"
    );
}

#[test]
fn a_key_with_a_passphrase_is_used_with_it_only() {
    let host = TestHost::new().with("CROSSDOCK_KEY_PASSPHRASE_FILE", "passphrase");
    host.write("passphrase", "correct horse battery\n");
    host.write("csv.wasm", fs::read(plugin("csv")).unwrap());
    let made = host.crossdock(["key", "new", "--json"]).end().finished();
    assert_eq!(made["encrypted"], true, "{made:#}");
    // Outside of the project, where the user's things are.
    let private = PathBuf::from(made["private"].as_str().unwrap());
    assert_eq!(private, host.path(".config/crossdock/publisher.key"));
    host.crossdock(["plugin", "sign", "csv.wasm"])
        .end()
        .exits(0);
    let without = host
        .crossdock(["plugin", "sign", "csv.wasm"])
        .env("CROSSDOCK_KEY_PASSPHRASE_FILE", "")
        .end();
    assert!(
        without.exits(2).stderr.contains("CROSSDOCK_KEY_PASSPHRASE"),
        "{without}"
    );
    host.write("passphrase", "wrong");
    let wrong = host.crossdock(["plugin", "sign", "csv.wasm"]).end();
    assert!(
        wrong
            .exits(2)
            .stderr
            .contains("the passphrase does not open the key"),
        "{wrong}"
    );
    // The public key needs none.
    let shown = host.crossdock(["key", "show", "--json"]).end().finished();
    assert_eq!(shown["key"], made["key"]);
    // Nothing is overwritten.
    let again = host.crossdock(["key", "new"]).end();
    assert!(
        again.exits(2).stderr.contains("never overwritten"),
        "{again}"
    );
}

#[test]
fn what_is_no_plugin_is_not_signed_and_no_key_is_told() {
    let host = TestHost::new();
    host.write("text.wasm", "hello");
    host.write("csv.wasm", fs::read(plugin("csv")).unwrap());
    let text = host.crossdock(["plugin", "sign", "text.wasm"]).end();
    assert!(text.exits(2).stderr.contains("no WebAssembly"), "{text}");
    let none = host.crossdock(["plugin", "sign", "csv.wasm"]).end();
    assert!(none.exits(2).stderr.contains("crossdock key new"), "{none}");
    let schema = host.crossdock(["schema", "trust"]).end();
    assert_eq!(schema.exits(0).json()["title"], "crossdock trust");
}
