//! Plugins between projects and a real registry: published once, judged before anything runs, installed by digest.

use std::fs;

use crossdock_tests::{
    host::{Ended, TestHost, plugin},
    registry::{Access, TestRegistry},
    variant,
};
use serde_json::Value;

/// A project with a flow from csv to jsonl, without any folder of plugins.
fn project() -> TestHost {
    let host = TestHost::new().with("CROSSDOCK_PLUGINS", "");
    host.write("in/a.csv", "sku\nx\n");
    for name in ["csv", "jsonl"] {
        for version in ["1.0.0", "1.2.0", "2.0.0"] {
            host.write(
                format!("built/{name}-{version}.wasm"),
                variant::version(&plugin(name), version),
            );
        }
    }
    host
}

fn flow(host: &TestHost, csv: &str) {
    host.flow(
        "copy",
        &format!(
            "
source: {{ plugin: {csv}, config: {{ files: in/*.csv }}, grants: {{ files: {{ read: [in] }} }} }}
sinks: [{{ plugin: jsonl, config: {{ file: out/a.jsonl }}, grants: {{ files: {{ write: [out] }} }} }}]
"
        ),
    );
}

fn publish(host: &TestHost, registry: &TestRegistry, name: &str, version: &str) -> Ended {
    let place = registry.reference(&format!("shop/{name}"));
    let file = format!("built/{name}-{version}.wasm");
    host.crossdock(["plugin", "publish", &place, &file, "--plain-http", "--json"])
        .end()
}

/// `crossdock plugin install PLACE --plain-http`, answered with yes.
fn install(host: &TestHost, registry: &TestRegistry, what: &str) -> Ended {
    let place = registry.reference(&format!("shop/{what}"));
    host.crossdock(["plugin", "install", &place, "--plain-http"])
        .input("y\n")
        .end()
}

#[test]
fn what_is_published_is_judged_installed_and_run_by_its_digest() {
    let Some(registry) = TestRegistry::start() else {
        return;
    };
    let host = project();
    for version in ["1.0.0", "1.2.0", "2.0.0"] {
        publish(&host, &registry, "csv", version).exits(0);
    }
    publish(&host, &registry, "jsonl", "1.0.0").exits(0);

    // A version never changes; the same again is the same.
    let again = publish(&host, &registry, "csv", "1.2.0").finished();
    assert_eq!(again["published"]["was_there"], true);
    host.write(
        "built/csv-1.2.0.wasm",
        variant::with_manifest(&plugin("csv"), |manifest| {
            manifest["version"] = "1.2.0".into();
            manifest["description"] = "another".into();
        }),
    );
    publish(&host, &registry, "csv", "1.2.0")
        .exits(1)
        .tells(&["csv@1.2.0 is there already", "publish a higher one"]);
    let place = registry.reference("shop/else");
    host.crossdock([
        "plugin",
        "publish",
        &place,
        "built/csv-1.0.0.wasm",
        "--plain-http",
    ])
    .end()
    .exits(2)
    .tells(&["the plugin is called `csv`", "one that ends in `/csv`"]);

    // What it is, is shown before anybody says yes, and nobody is a no.
    let asked = registry.reference("shop/csv@^1");
    let shown = host
        .crossdock(["plugin", "install", &asked, "--plain-http"])
        .end();
    shown.exits(1).tells(&[
        "csv 1.2.0",
        "asks for",
        "read files",
        "install csv 1.2.0? [y/N]",
        "nobody agreed",
    ]);
    assert!(!host.path("plugins.lock").exists());
    install(&host, &registry, "csv@^1")
        .exits(0)
        .tells(&["csv 1.2.0 is installed"]);
    install(&host, &registry, "jsonl").exits(0);
    let lock = host.text("plugins.lock");
    assert!(
        lock.contains("version: \"1.2.0\"") && lock.contains("wanted: \"^1\""),
        "{lock}"
    );

    flow(&host, "csv@^1.1");
    host.run("copy").finished();
    assert_eq!(host.text("out/a.jsonl"), "{\"sku\":\"x\"}\n");
    flow(&host, "csv@^2");
    host.check("copy").exits(2).tells(&[
        "there is no `csv` ^2",
        "is 1.2.0",
        "crossdock plugin install",
    ]);
    flow(&host, "csv");

    // Another version: what is different is shown, and older ones are refused unless that is meant.
    install(&host, &registry, "csv@2.0.0")
        .exits(0)
        .tells(&["compared with csv 1.2.0", "asks for nothing else"]);
    install(&host, &registry, "csv@1.0.0")
        .exits(2)
        .tells(&["csv 2.0.0 is installed, and 1.0.0 is older"]);
    let listed = host
        .crossdock(["plugin", "list", "--json"])
        .end()
        .finished();
    assert_eq!(listed["plugins"][0]["version"], "2.0.0");
    assert_eq!(listed["plugins"][0]["before"], serde_json::json!(["1.2.0"]));
    host.crossdock(["plugin", "info", "csv"])
        .end()
        .exits(0)
        .tells(&["csv 2.0.0", "asks for", "a way back to 1.2.0"]);

    // A clone of the project has the lock and no components: they are fetched by digest.
    fs::remove_dir_all(host.state()).unwrap();
    host.check("copy")
        .exits(2)
        .tells(&["its component is not here"]);
    host.crossdock(["plugin", "install", "--plain-http"])
        .end()
        .exits(0)
        .tells(&["csv 2.0.0 fetched", "jsonl 1.0.0 fetched"]);
    host.run("copy").finished();

    // A component that was changed where it lies is not run.
    let digest = listed["plugins"][0]["digest"].as_str().unwrap();
    let file = host.path(format!(
        ".crossdock/installed/{}.wasm",
        digest.replace(':', "-")
    ));
    fs::remove_file(&file).unwrap();
    fs::copy(plugin("csv"), &file).unwrap();
    host.check("copy")
        .exits(2)
        .tells(&["is not the component that was installed as `csv`"]);

    host.crossdock(["plugin", "remove", "csv"]).end().exits(0);
    assert!(!file.exists());
    let left = host
        .crossdock(["plugin", "list", "--json"])
        .end()
        .finished();
    assert_eq!(left["plugins"].as_array().unwrap().len(), 1, "{left}");
}

#[test]
fn an_unattended_install_needs_grants_that_are_written_down() {
    let Some(registry) = TestRegistry::start() else {
        return;
    };
    let host = project();
    publish(&host, &registry, "csv", "1.0.0").exits(0);
    let place = registry.reference("shop/csv");
    let install = || {
        let arguments = [
            "plugin",
            "install",
            &place,
            "--yes",
            "--plain-http",
            "--json",
        ];
        host.crossdock(arguments).end()
    };
    install()
        .exits(2)
        .tells(&["--yes needs", "grants/csv.yaml", "not granted: read files"]);
    assert!(!host.path("plugins.lock").exists());
    host.write(
        "grants/csv.yaml",
        "plugin: csv\ngrants: { files: { read: [in] } }\n",
    );
    let done = install().finished();
    assert_eq!(done["installed"]["name"], "csv");
    let audit = host.crossdock(["audit", "--json"]).end().finished();
    let entries = audit["entries"].as_array().unwrap();
    assert!(
        entries
            .iter()
            .any(|entry| entry["action"] == "plugin-installed"),
        "{audit}"
    );
}

#[test]
fn credentials_are_those_of_docker_login_and_its_helpers() {
    let Some(registry) = TestRegistry::start_with(Access::Password) else {
        return;
    };
    let host = project();
    publish(&host, &registry, "csv", "1.0.0")
        .exits(1)
        .tells(&["does not let anybody without a login read", "docker login"]);
    let auth = |password: &str| {
        let config = format!(
            "{{\"auths\":{{\"{}\":{{\"username\":\"ann\",\"password\":\"{password}\"}}}}}}",
            registry.host()
        );
        host.write(".docker/config.json", config);
    };
    auth("wrong");
    publish(&host, &registry, "csv", "1.0.0")
        .exits(1)
        .tells(&["does not let `ann` read", "an account that may"]);
    auth("secret");
    publish(&host, &registry, "csv", "1.0.0").exits(0);

    // A helper is a program that is asked.
    let helper = host.write(
        "bin/docker-credential-test",
        "#!/bin/sh\nread host\nprintf '{\"ServerURL\":\"%s\",\"Username\":\"ann\",\"Secret\":\"secret\"}' \"$host\"\n",
    );
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(helper, mode).unwrap();
    let config = format!("{{\"credHelpers\":{{\"{}\":\"test\"}}}}", registry.host());
    host.write(".docker/config.json", config);
    let path = format!(
        "{}:{}",
        host.path("bin").display(),
        std::env::var("PATH").unwrap()
    );
    let place = registry.reference("shop/csv");
    let info = || host.crossdock(["plugin", "info", &place, "--plain-http", "--json"]);
    let found = info().env("PATH", path).end().finished();
    assert_eq!(found["manifest"]["version"], "1.0.0");
    info().end().exits(1).tells(&["docker-credential-test"]);
}

#[test]
fn the_layout_is_the_standard_one_and_the_same_every_time() {
    let (Some(one), Some(two)) = (TestRegistry::start(), TestRegistry::start()) else {
        return;
    };
    let host = project();
    let digest = |registry: &TestRegistry| {
        let done = publish(&host, registry, "csv", "1.0.0").finished();
        done["published"]["manifest"].as_str().unwrap().to_owned()
    };
    let (first, second) = (digest(&one), digest(&two));
    assert_eq!(first, second);
    let manifest: Value = serde_json::from_slice(&fs::read(one.blob(&first)).unwrap()).unwrap();
    assert_eq!(
        manifest["mediaType"],
        "application/vnd.oci.image.manifest.v1+json"
    );
    assert_eq!(
        manifest["config"]["mediaType"],
        "application/vnd.wasm.config.v0+json"
    );
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
    assert_eq!(manifest["layers"][0]["mediaType"], "application/wasm");
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    assert_eq!(
        fs::read(one.blob(layer)).unwrap(),
        host.bytes("built/csv-1.0.0.wasm")
    );
    let config = manifest["config"]["digest"].as_str().unwrap();
    let config: Value = serde_json::from_slice(&fs::read(one.blob(config)).unwrap()).unwrap();
    assert_eq!(config["architecture"], "wasm");
    assert_eq!(config["layerDigests"], serde_json::json!([layer]));
    assert!(
        config["component"]["exports"][0]
            .as_str()
            .unwrap()
            .starts_with("crossdock:plugin/")
    );
}

/// Publishes csv with this version and these permissions beside its own.
fn publish_with(host: &TestHost, registry: &TestRegistry, version: &str, more: &Value) {
    let file = host.write(
        format!("built/csv-{version}.wasm"),
        variant::with_manifest(&plugin("csv"), |manifest| {
            manifest["version"] = version.into();
            if let Some(more) = more.as_object() {
                for (name, wishes) in more {
                    manifest["permissions"][name] = wishes.clone();
                }
            }
        }),
    );
    let place = registry.reference("shop/csv");
    host.crossdock(["plugin", "publish", &place, "--plain-http"])
        .arg(file)
        .end()
        .exits(0);
}

#[test]
fn upgrades_are_judged_wait_for_consent_and_have_a_way_back() {
    let Some(registry) = TestRegistry::start() else {
        return;
    };
    let host = project();
    let same = serde_json::json!({});
    publish_with(&host, &registry, "1.0.0", &same);
    install(&host, &registry, "csv@^1").exits(0);
    publish_with(&host, &registry, "1.0.1", &same);
    publish_with(&host, &registry, "2.0.0", &same);
    let ask = |arguments: &[&str]| {
        host.crossdock(["plugin"])
            .args(arguments)
            .arg("--plain-http")
            .end()
    };
    ask(&["outdated"])
        .exits(0)
        .tells(&["csv 1.0.0 1.0.1 2.0.0 ^1"]);
    let lock = host.text("plugins.lock");
    ask(&["upgrade", "--dry-run"]).exits(0).tells(&[
        "patch: nothing that",
        "1.0.0 → 1.0.1 would be installed (patch)",
    ]);
    assert_eq!(host.text("plugins.lock"), lock);
    let done = ask(&["upgrade", "--yes", "--json"]).finished();
    assert_eq!(done["plugins"][0]["state"], "upgraded");
    ask(&["upgrade"])
        .exits(0)
        .tells(&["1.0.1 stays: ^1 allows no newer one; there is 2.0.0"]);

    // More is asked for: without a grant the old one stays.
    let http = serde_json::json!({ "http": [{ "url": "https://api.example.com/", "reason": "asks for prices" }] });
    publish_with(&host, &registry, "1.0.2", &http);
    let waits = ask(&["upgrade", "--yes"]);
    waits.exits(1).tells(&[
        "asks to send requests to https://api.example.com/",
        "minor: what worked goes on working",
        "its number promises less than that",
        "1.0.1 stays: 1.0.2 asks to",
    ]);
    ask(&["upgrade"])
        .exits(1)
        .tells(&["nobody agreed to 1.0.2"]);
    assert!(
        host.text("plugins.lock")
            .contains("version: \"1.0.1\"\n    digest")
    );
    host.write(
        "grants/csv.yaml",
        "plugin: csv\ngrants: { files: { read: [in] }, http: [\"https://api.example.com/\"] }\n",
    );
    ask(&["upgrade", "--yes"])
        .exits(0)
        .tells(&["1.0.1 → 1.0.2 is installed"]);

    let local = |arguments: &[&str]| host.crossdock(["plugin"]).args(arguments).end();
    local(&["rollback", "csv"])
        .exits(0)
        .tells(&["csv 1.0.1 is back"]);
    local(&["rollback", "csv", "--to", "1.0.0"])
        .exits(0)
        .tells(&["csv 1.0.0 is back"]);
    local(&["rollback", "csv", "--to", "0.9.0"])
        .exits(2)
        .tells(&["there is a way back to 1.0.1, 1.0.2"]);
    local(&["pin", "csv"]).exits(0);
    ask(&["upgrade", "--yes"])
        .exits(0)
        .tells(&["1.0.0 stays: it is pinned"]);
    install(&host, &registry, "csv@2.0.0")
        .exits(2)
        .tells(&["csv 1.0.0 is pinned"]);
    local(&["pin", "csv", "--off"])
        .exits(0)
        .tells(&["may change again"]);

    install_jsonl_and_why(&host, &registry);
    local(&["remove", "csvv"])
        .exits(2)
        .tells(&["did you mean `csv`?"]);
}

fn install_jsonl_and_why(host: &TestHost, registry: &TestRegistry) {
    publish(host, registry, "jsonl", "1.0.0").exits(0);
    install(host, registry, "jsonl").exits(0);
    flow(host, "csv@^1");
    host.write("flows/broken.yaml", "flow: broken\n");
    host.crossdock(["plugin", "why", "csv"])
        .end()
        .exits(0)
        .tells(&[
            "copy csv source csv@^1 flows/copy.yaml",
            "flows/broken.yaml cannot be read",
        ]);
    // What runs is what the lock names, after a way back too.
    host.run("copy").finished();
}

#[test]
fn a_bundle_brings_plugins_to_where_no_registry_is() {
    let Some(registry) = TestRegistry::start() else {
        return;
    };
    let host = project();
    for name in ["csv", "jsonl"] {
        publish(&host, &registry, name, "1.0.0").exits(0);
        install(&host, &registry, name).exits(0);
    }
    let made = host
        .crossdock(["plugin", "bundle", "all.tar", "--plain-http", "--json"])
        .end()
        .finished();
    assert_eq!(
        made["bundle"]["plugins"],
        serde_json::json!(["csv 1.0.0", "jsonl 1.0.0"])
    );
    let bytes = host.bytes("all.tar");
    drop(registry);

    let island = TestHost::new().with("CROSSDOCK_PLUGINS", "");
    island.write("in/a.csv", "sku\nx\n");
    island.write("all.tar", &bytes);
    flow(&island, "csv@1.0.0");
    let install = |answers: &str| {
        island
            .crossdock(["plugin", "install", "all.tar"])
            .input(answers)
            .end()
    };
    install("y\ny\n")
        .exits(0)
        .tells(&["csv 1.0.0", "asks for", "jsonl 1.0.0 is installed"]);
    assert_eq!(island.text("plugins.lock"), host.text("plugins.lock"));
    island.run("copy").finished();
    install("").exits(0).tells(&["is installed already"]);

    // Changed on its way.
    let other = TestHost::new();
    let mut changed = bytes.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    for (bytes, said) in [
        (changed, "was tampered with, or is damaged"),
        (
            bytes[..bytes.len() / 2].to_vec(),
            "ends in the middle of a file",
        ),
        (b"PK\x03\x04".repeat(300), "it is no tar archive"),
    ] {
        other.write("all.tar", bytes);
        other
            .crossdock(["plugin", "install", "all.tar"])
            .input("y\ny\n")
            .end()
            .exits(1)
            .tells(&[said]);
        assert!(!other.path("plugins.lock").exists());
    }
}
