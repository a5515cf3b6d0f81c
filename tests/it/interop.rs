//! What other clients of registries make of what we publish, and we of what they push.
//!
//! `wkg`, the client of the WebAssembly world, is a program of some hundred crates that nobody has as a binary: `cargo xtask
//! ci` builds it once, elsewhere it is run when it is installed. What it writes and what it wants to read is also
//! written down here, letter by letter, and held against ours, so that every run of the tests sees it. oras, the general
//! client, is run too.

use std::{fs, path::PathBuf, process::Command};

use crossdock_tests::{
    host::{TestHost, plugin, target},
    registry::{MANIFEST, RawArtifact, TestRegistry, digest},
    variant,
};
use serde_json::{Value, json};

const CONFIG: &str = "application/vnd.wasm.config.v0+json";
const LAYER: &str = "application/wasm";

/// A project with a built plugin.
fn project() -> TestHost {
    let host = TestHost::new().with("CROSSDOCK_PLUGINS", "");
    host.write("csv.wasm", variant::version(&plugin("csv"), "1.0.0"));
    host
}

fn install(host: &TestHost, registry: &TestRegistry, version: &str) {
    let place = registry.reference(&format!("shop/csv@{version}"));
    host.crossdock(["plugin", "install", &place, "--plain-http"])
        .input("y\n")
        .end()
        .exits(0)
        .tells(&["csv 1.0.0 is installed"]);
}

/// Publishes the plugin of the project and gives what is said of it.
fn publish(host: &TestHost, registry: &TestRegistry) -> Value {
    let place = registry.reference("shop/csv");
    let done = host
        .crossdock([
            "plugin",
            "publish",
            &place,
            "csv.wasm",
            "--plain-http",
            "--json",
        ])
        .end()
        .finished();
    done["published"].clone()
}

/// wkg, where `cargo xtask ci` has put it or where it is installed. Where it is not the test says so; in CI it fails.
fn wkg() -> Option<PathBuf> {
    let own = target().join("tools/wkg/bin/wkg");
    let all = [own, PathBuf::from("wkg")];
    let found = all.into_iter().find(|program| {
        let told = Command::new(program).arg("--version").output();
        told.is_ok_and(|told| told.status.success())
    });
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "there is no wkg");
        println!("skipped: wkg is not installed (`cargo install --locked wkg`)");
    }
    found
}

#[test]
fn wkg_pulls_what_we_publish_and_we_install_what_it_pushes() {
    let Some(wkg) = wkg() else { return };
    let Some(registry) = TestRegistry::start() else {
        return;
    };
    let host = project();
    let wkg = |registry: &TestRegistry, arguments: &[&str]| {
        let done = Command::new(&wkg)
            .current_dir(host.path(""))
            .args(arguments)
            .args(["--insecure", registry.host()])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{told}");
    };
    let place = format!("{}/shop/csv:1.0.0", registry.host());
    wkg(&registry, &["oci", "push", &place, "csv.wasm"]);
    install(&host, &registry, "1.0.0");
    let lock = host.text("plugins.lock");
    assert!(lock.contains(&digest(&host.bytes("csv.wasm"))), "{lock}");

    let Some(registry) = TestRegistry::start() else {
        return;
    };
    publish(&host, &registry);
    let place = format!("{}/shop/csv:1.0.0", registry.host());
    wkg(&registry, &["oci", "pull", &place, "-o", "pulled.wasm"]);
    assert_eq!(host.bytes("pulled.wasm"), host.bytes("csv.wasm"));
}

#[test]
fn what_wkg_pushes_is_installed() {
    let Some(registry) = TestRegistry::start() else {
        return;
    };
    let host = project();
    let component = host.bytes("csv.wasm");
    // As `wkg oci push HOST/shop/csv:1.0.0 csv.wasm --annotation k=v` of 0.16 writes them: a time, an author, and the world of
    // the component in the config; no title at the layer.
    let config = json!({
        "created": "2026-05-01T10:00:00.123456789Z", "author": null, "architecture": "wasm", "os": "wasip2",
        "layerDigests": [digest(&component)],
        "component": { "exports": ["crossdock:plugin/source@0.1.0"], "imports": [], "target": null },
    })
    .to_string();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": { "mediaType": CONFIG, "digest": digest(config.as_bytes()), "size": config.len() },
        "layers": [{ "mediaType": LAYER, "digest": digest(&component), "size": component.len() }],
        "annotations": { "k": "v" },
    })
    .to_string();
    let artifact = RawArtifact {
        manifest: manifest.as_bytes(),
        media_type: MANIFEST,
        blobs: &[config.as_bytes(), &component],
    };
    registry.push("shop/csv", "1.0.0", &artifact);
    install(&host, &registry, "^1");
    assert!(host.text("plugins.lock").contains(&digest(&component)));
    // It is the same component: publishing it again is no other version.
    let again = publish(&host, &registry);
    assert_eq!(again["was_there"], true);
}

#[test]
fn what_we_publish_is_what_wkg_wants() {
    let Some(registry) = TestRegistry::start() else {
        return;
    };
    let host = project();
    let published = publish(&host, &registry);
    let manifest = registry.document(published["manifest"].as_str().unwrap());
    // It refuses another manifest or config, and more than one layer.
    assert_eq!(manifest["mediaType"], MANIFEST);
    assert_eq!(manifest["config"]["mediaType"], CONFIG);
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!((layers.len(), &layers[0]["mediaType"]), (1, &json!(LAYER)));
    // What it reads of the config, with the types that it reads.
    let config = registry.document(manifest["config"]["digest"].as_str().unwrap());
    assert_eq!(config["created"], "1970-01-01T00:00:00Z");
    assert_eq!(
        (&config["architecture"], &config["os"]),
        (&json!("wasm"), &json!("wasip2"))
    );
    assert_eq!(config["layerDigests"], json!([layers[0]["digest"]]));
    let texts = |value: &Value| value.as_array().unwrap().iter().all(Value::is_string);
    assert!(texts(&config["component"]["exports"]) && texts(&config["component"]["imports"]));
    // Signatures and other things that belong to it are in no tag that is a version.
    let tags = registry.repositories().join("shop/csv/_manifests/tags");
    let versions = fs::read_dir(tags).unwrap().filter(|tag| {
        !tag.as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with("sha256-")
    });
    assert_eq!(versions.count(), 1);
}

/// Pushes and pulls with oras, as its own documentation has it.
const ORAS: &str = "
import sys
import oras.client
verb, host, target, path, config = sys.argv[1:6]
client = oras.client.OrasClient(hostname=host, insecure=True)
if verb == 'pull':
    for file in client.pull(target=target, outdir=path):
        print(file)
else:
    client.push(target=target, files=[path + ':application/wasm'], manifest_config=config, disable_path_validation=True)
";

/// oras for Python, from its ordinary registry into the target folder, once. Where it cannot be had the test says so; in CI
/// it fails.
fn oras() -> Option<PathBuf> {
    let folder = target().join("it/oras");
    fs::create_dir_all(&folder).unwrap();
    let lock = fs::File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    fs::write(folder.join("client.py"), ORAS).unwrap();
    let (python, stamp) = (folder.join("venv/bin/python"), folder.join("installed"));
    let package = "oras==0.2.43";
    // Programs of an environment point to where it was made.
    let wanted = format!("{package} in {}", folder.display());
    if fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == wanted) && python.is_file() {
        return Some(folder);
    }
    let run = |command: &mut Command| command.output().is_ok_and(|done| done.status.success());
    let done = run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(folder.join("venv")))
        && run(Command::new(&python).args(["-m", "pip", "install", "--quiet", package]));
    if !done {
        assert!(
            std::env::var_os("CI").is_none(),
            "pip cannot install {package}"
        );
        println!("skipped: pip cannot install {package}");
        return None;
    }
    fs::write(stamp, wanted).unwrap();
    Some(folder)
}

#[test]
fn oras_pulls_what_we_publish_and_we_install_what_it_pushes() {
    let Some(folder) = oras() else { return };
    let Some(registry) = TestRegistry::start() else {
        return;
    };
    let host = project();
    let oras = |registry: &TestRegistry, verb: &str, path: &str, config: &str| {
        let target = format!("{}/shop/csv:1.0.0", registry.host());
        let done = Command::new(folder.join("venv/bin/python"))
            .current_dir(host.path(""))
            .arg(folder.join("client.py"))
            .args([verb, registry.host(), &target, path, config])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{told}");
    };
    host.write(
        "config.json",
        "{\"architecture\":\"wasm\",\"os\":\"wasip2\"}",
    );
    oras(
        &registry,
        "push",
        "csv.wasm",
        &format!("config.json:{CONFIG}"),
    );
    install(&host, &registry, "1.0.0");

    let Some(registry) = TestRegistry::start() else {
        return;
    };
    publish(&host, &registry);
    oras(&registry, "pull", "pulled", "");
    assert_eq!(host.bytes("pulled/csv.wasm"), host.bytes("csv.wasm"));
}
