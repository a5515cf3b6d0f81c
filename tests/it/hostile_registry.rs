//! Registries that lie, stall or break off: one clear line, nothing half installed, and what is installed goes on.

use std::{fs, time::Duration};

use crossdock_tests::{
    host::{TestHost, plugin},
    hostile_registry::{HostileRegistry, Wrong},
    registry::TestRegistry,
    variant,
};

/// A project in which jsonl 1.0.0 is installed, from a real registry.
fn project(registry: &TestRegistry) -> TestHost {
    let host = TestHost::new();
    host.write("in/a.csv", "sku\nx\n");
    let file = host.write("jsonl.wasm", variant::version(&plugin("jsonl"), "1.0.0"));
    let place = registry.reference("shop/jsonl");
    host.crossdock(["plugin", "publish", &place])
        .args([file.as_os_str(), "--plain-http".as_ref()])
        .end()
        .exits(0);
    host.crossdock(["plugin", "install", &place, "--plain-http"])
        .input("y\n")
        .end()
        .exits(0);
    host.flow(
        "copy",
        "
source: { plugin: csv, config: { files: in/*.csv }, grants: { files: { read: [in] } } }
sinks: [{ plugin: jsonl, config: { file: out/a.jsonl }, grants: { files: { write: [out] } } }]
",
    );
    host
}

#[test]
fn whatever_a_registry_does_nothing_is_half_installed() {
    let Some(real) = TestRegistry::start() else {
        return;
    };
    let host = project(&real);
    let component = variant::version(&plugin("csv"), "9.0.0");
    let lock = host.text("plugins.lock");
    let installed = host.list(".crossdock/installed");
    let cases: &[(Wrong, &[&str])] = &[
        (
            Wrong::TamperedBlob,
            &["gives another blob", "its digest is sha256:"],
        ),
        (Wrong::TamperedManifest, &["gives another manifest 9.0.0"]),
        (Wrong::Silent, &["did not answer within 300 ms"]),
        (Wrong::Stalls, &["did not go on sending within 300 ms"]),
        (Wrong::Status(429), &["answers 429 to GET"]),
        (Wrong::Status(500), &["answers 500 to GET"]),
        (Wrong::Status(503), &["answers 503 to GET"]),
        (Wrong::Truncated, &["broke off the blob", "of", "bytes"]),
        (Wrong::Circles, &["redirects more than 5 times"]),
        (
            Wrong::Redirects("ftp://127.0.0.1/"),
            &["redirects to what is no HTTP"],
        ),
        (Wrong::HugeLayer, &["gives more than 67108864 bytes"]),
        (Wrong::EndlessLayer, &["gives more than", "as blob"]),
        (
            Wrong::EndlessManifest,
            &["gives more than 4194304 bytes as manifest 9.0.0"],
        ),
        (Wrong::TwoLayers, &["it has 2 layers, and a plugin is one"]),
        (
            Wrong::OtherType,
            &["`application/zip`, and a plugin is `application/wasm`"],
        ),
        (Wrong::Garbage, &["gives no usable plugin 9.0.0"]),
    ];
    std::thread::scope(|scope| {
        for (wrong, said) in cases {
            let (host, component) = (&host, component.clone());
            scope.spawn(move || {
                let registry = HostileRegistry::start(component, *wrong);
                let place = registry.reference("shop/csv@9.0.0");
                let ended = host
                    .crossdock([
                        "plugin",
                        "install",
                        &place,
                        "--plain-http",
                        "--timeout",
                        "300ms",
                    ])
                    .input("y\n")
                    .end();
                ended.exits(1).no_panic().tells(said);
                assert_eq!(ended.stderr.lines().count(), 1, "{wrong:?}\n{ended}");
                assert!(
                    registry.requests() <= 12,
                    "{wrong:?}: {}",
                    registry.requests()
                );
            });
        }
    });
    // A version under the tag of another one, and one that is there although the component is called otherwise.
    for (component, place, found) in [
        (
            variant::version(&plugin("csv"), "1.0.0"),
            "shop/csv@9.0.0",
            "csv 1.0.0",
        ),
        (component.clone(), "shop/jsonl@9.0.0", "csv 9.0.0"),
    ] {
        let registry = HostileRegistry::start(component, Wrong::Retagged);
        let place = registry.reference(place);
        host.crossdock(["plugin", "install", &place, "--plain-http"])
            .input("y\n")
            .end()
            .exits(1)
            .tells(&["was put there under another name or version", found]);
    }
    assert_eq!(host.text("plugins.lock"), lock);
    assert_eq!(host.list(".crossdock/installed"), installed);
    host.run("copy").finished();
}

#[test]
fn what_passes_is_tried_again() {
    let host = TestHost::new();
    let component = variant::version(&plugin("csv"), "9.0.0");
    let registry = HostileRegistry::start(component, Wrong::Recovers(503));
    let place = registry.reference("shop/csv");
    host.crossdock(["plugin", "install", &place, "--plain-http"])
        .input("y\n")
        .end()
        .exits(0);
    assert_eq!(host.list(".crossdock/installed").len(), 2);
}

#[test]
fn two_installs_at_once_and_one_that_is_killed_leave_a_whole_project() {
    let Some(real) = TestRegistry::start() else {
        return;
    };
    let host = project(&real);
    let mut names = vec!["jsonl".to_owned()];
    for name in ["csv", "mapper", "generate"] {
        let place = real.reference(&format!("shop/{name}"));
        host.crossdock(["plugin", "publish", &place])
            .args([plugin(name).as_os_str(), "--plain-http".as_ref()])
            .end()
            .exits(0);
        names.push(name.to_owned());
    }
    names.sort();
    let install = |name: &str| {
        let place = real.reference(&format!("shop/{name}"));
        host.crossdock(["plugin", "install", &place, "--plain-http"])
            .input("y\n")
    };
    // Killed after a while that is another one every time: what is there is whole each time.
    let list = || {
        let listed = host
            .crossdock(["plugin", "list", "--json"])
            .end()
            .finished();
        listed["plugins"].as_array().unwrap().clone()
    };
    for millis in [5, 20, 40, 60, 80, 120] {
        let mut running = install("csv").start();
        let ended = running.ends_within(Duration::from_millis(millis));
        drop(running.kill());
        for one in list() {
            assert_eq!(
                one["here"], true,
                "after {millis} ms (ended: {ended}): {one}"
            );
        }
    }
    let all: Vec<_> = ["csv", "mapper", "generate"]
        .into_iter()
        .map(|name| install(name).start())
        .collect();
    for one in all {
        one.end().exits(0);
    }
    let found: Vec<_> = list()
        .iter()
        .map(|one| {
            assert_eq!(one["here"], true, "{one}");
            one["name"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(found, names);
    // Nothing that a kill left behind is left.
    let files = host.list(".crossdock/installed");
    assert_eq!(files.len(), names.len() + 1, "{files:?}");
    assert!(
        fs::read_dir(host.path("."))
            .unwrap()
            .flatten()
            .all(|entry| { !entry.file_name().to_string_lossy().starts_with(".new-") })
    );
}
