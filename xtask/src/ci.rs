//! `test` and `ci`.

use std::{fs, process::Command};

use crate::{bench, build, cargo, execute, guests, print, say, workspace};

/// Every test: with nextest where it is installed, with `cargo test` elsewhere, and the examples in the docs.
pub(crate) fn test(arguments: &[String]) -> Result<(), String> {
    guests::ensure_target()?;
    let built = build(false)?;
    let nextest = installed("cargo-nextest");
    let mut tests = cargo();
    if nextest {
        tests.args(["nextest", "run", "--workspace", "--no-fail-fast"]);
    } else {
        tests.args(["test", "--workspace", "--no-fail-fast"]);
    }
    // The integration tests run this host instead of asking cargo for one in every process.
    tests.args(arguments).env("CROSSDOCK_BIN", &built.crossdock);
    execute(&mut tests)?;
    if nextest && arguments.is_empty() {
        execute(cargo().args(["test", "--quiet", "--workspace", "--doc"]))?;
    }
    Ok(())
}

/// Explores the model of the engine's protocol, which is a workspace of its own.
pub(crate) fn model() -> Result<(), String> {
    let root = crate::workspace();
    let mut explore = cargo();
    explore.args(["test", "--manifest-path", "tests/model/Cargo.toml"]);
    explore
        .arg("--target-dir")
        .arg(guests::target_dir(&root))
        .args(["--", "--nocapture", "--test-threads", "1"]);
    execute(&mut explore)
}

/// What has to pass before a change lands.
pub(crate) fn run() -> Result<(), String> {
    step("format", || {
        execute(cargo().args(["fmt", "--all", "--check"]))
    })?;
    step("plugins and host", || build(false).map(drop))?;
    step("lints of the host", || {
        let mut lints = cargo();
        lints.args(["clippy", "--quiet", "--workspace", "--all-targets"]);
        execute(lints.args(DENY_WARNINGS))
    })?;
    step("lints of the plugins", lint_plugins)?;
    step("docs", || {
        let mut docs = cargo();
        docs.args(["doc", "--quiet", "--workspace", "--no-deps"]);
        // Modules are private and say what they are to who works on them: their links are checked too.
        docs.arg("--document-private-items");
        execute(docs.env(
            "RUSTDOCFLAGS",
            "-D warnings -A rustdoc::private_intra_doc_links",
        ))
    })?;
    step("dependencies", dependencies)?;
    step("the model of the protocol", model)?;
    step("fuzz", || crate::fuzz::run(&crate::fuzz::Options::short()))?;
    step("wkg", wkg)?;
    step("tests", || test(&[]))?;
    // With what the tests have built: it costs some seconds.
    step("benches run", bench::smoke)?;
    print("ci passed");
    Ok(())
}

/// The client of registries of the WebAssembly world, which a test publishes to and installs from. Nobody has it as a
/// binary, so it is built here, once per target folder, and not by each run of the tests.
const WKG: &str = "0.16.1";

fn wkg() -> Result<(), String> {
    let folder = guests::target_dir(&workspace()).join("tools").join("wkg");
    let told = Command::new(folder.join("bin/wkg"))
        .arg("--version")
        .output();
    let wanted = format!("wkg {WKG}");
    if told.is_ok_and(|told| String::from_utf8_lossy(&told.stdout).trim() == wanted) {
        return Ok(());
    }
    let build = folder.join("build");
    let mut install = cargo();
    install.args(["install", "--quiet", "--locked", "--debug", "wkg"]);
    install.args(["--version", WKG, "--root"]).arg(&folder);
    install
        .env("CARGO_TARGET_DIR", &build)
        .env("CARGO_PROFILE_DEV_DEBUG", "0");
    execute(&mut install)?;
    fs::remove_dir_all(&build).map_err(|e| format!("{}: {e}", build.display()))
}

const DENY_WARNINGS: [&str; 3] = ["--", "-D", "warnings"];

/// What is compiled for the sandbox only is seen by no lint of the host.
fn lint_plugins() -> Result<(), String> {
    let mut lints = cargo();
    lints.args(["clippy", "--quiet", "--workspace", "--lib"]);
    // These are no guests.
    for host in [
        "crossdock",
        "crossdock-tests",
        "crossdock-bench",
        "crossdock-fuzz",
        "crossdock-native-csv",
        "crossdock-native-mapper",
        "xtask",
    ] {
        lints.args(["--exclude", host]);
    }
    lints.args(["--profile", "guest", "--target", guests::TARGET]);
    lints
        .arg("--target-dir")
        .arg(guests::target_dir(&workspace()).join("guests"));
    execute(lints.args(DENY_WARNINGS))
}

/// Licences, bans and sources. Where the tool is missing, a test of `deny.toml` looks at most of it.
fn dependencies() -> Result<(), String> {
    if installed("cargo-deny") {
        let checks = ["check", "licenses", "bans", "sources"];
        execute(cargo().args(["deny", "--workspace"]).args(checks))
    } else {
        say(
            "cargo-deny is not installed: `dependencies` among the tests checks licences, bans and sources",
        );
        Ok(())
    }
}

fn step(name: &str, work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let started = std::time::Instant::now();
    say(&format!("── {name}"));
    work()?;
    say(&format!(
        "── {name}: {:.0} s",
        started.elapsed().as_secs_f64()
    ));
    Ok(())
}

fn installed(tool: &str) -> bool {
    Command::new(tool)
        .arg("--version")
        .output()
        .is_ok_and(|done| done.status.success())
}
