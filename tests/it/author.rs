//! The first hour of a connector author: what `guest-sdk/rust/README.md` says to write is a plugin, its tests pass, and it
//! runs in a flow.

use std::{fs, path::Path};

use crossdock_tests::host::{self, TestHost, target, workspace};

/// The only block of the README in this language.
fn block(readme: &str, language: &str) -> String {
    let start = format!("```{language}\n");
    let parts: Vec<&str> = readme.split(start.as_str()).skip(1).collect();
    let [part] = parts[..] else {
        panic!("{} blocks of {language}", parts.len());
    };
    part.split_once("```\n").unwrap().0.to_owned()
}

/// `cargo` in the author's folder, with what is built kept for the next time. Fails with what it told.
fn run_cargo(folder: &Path, arguments: &[&str]) {
    let done = host::cargo(folder)
        .args(arguments)
        // As the README says; without the registry, since all of it is in the repository's lock file.
        .args(["--offline", "--quiet"])
        .env("CARGO_TARGET_DIR", target().join("it").join("author"))
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+simd128")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&done.stderr) + String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{arguments:?}\n{told}");
    assert!(!told.contains("warning"), "{arguments:?}\n{told}");
}

#[test]
fn the_plugin_of_the_readme_is_tested_built_inspected_and_run() {
    let readme = fs::read_to_string(workspace().join("guest-sdk/rust/README.md")).unwrap();
    let host = TestHost::new();
    let sdk = workspace().join("guest-sdk/rust").display().to_string();
    let manifest = block(&readme, "toml");
    let shown = "../crossdock/guest-sdk/rust";
    assert!(manifest.contains(shown), "{manifest}");
    host.write("tidy/Cargo.toml", manifest.replace(shown, &sdk));
    host.write("tidy/plugin.json", block(&readme, "json"));
    host.write("tidy/src/lib.rs", block(&readme, "rust"));
    let lock = fs::read(workspace().join("Cargo.lock")).unwrap();
    host.write("tidy/Cargo.lock", lock);

    let folder = host.path("tidy");
    native_tests(&folder);
    run_cargo(
        &folder,
        &["build", "--release", "--target", "wasm32-wasip2"],
    );
    let built = target().join("it/author/wasm32-wasip2/release/tidy_price.wasm");
    let component = host.path("target/wasm32-wasip2/release/tidy_price.wasm");
    fs::create_dir_all(component.parent().unwrap()).unwrap();
    fs::copy(built, &component).unwrap();

    let inspected = host
        .crossdock(["plugin", "inspect"])
        .arg(&component)
        .arg("--json")
        .end();
    let document = inspected.finished();
    assert_eq!(document["manifest"]["name"], "tidy-price", "{document:#}");

    host.write("in/prices.csv", "sku,net\nA,9.90\nB,\nC,many\n");
    host.write("flows/tidy.yaml", block(&readme, "yaml"));
    // The price that is no number is a dead letter of the source; the one without any is filtered by the plugin.
    let ended = host.run("tidy");
    let summary = ended.exits(3).json();
    assert_eq!(
        host.text("out/prices.jsonl"),
        "{\"sku\":\"A\",\"amount\":9.90,\"currency\":\"EUR\"}\n",
        "{ended}"
    );
    assert_eq!(summary["streams"]["prices"]["dead"], 1, "{ended}");
}

/// Without the flags of the sandbox, which this machine's compiler does not know.
fn native_tests(folder: &Path) {
    let done = host::cargo(folder)
        .args(["test", "--offline", "--quiet"])
        .env("CARGO_TARGET_DIR", target().join("it").join("author"))
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&done.stdout);
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{told}\n{error}");
    assert!(told.contains("1 passed"), "{told}");
}
