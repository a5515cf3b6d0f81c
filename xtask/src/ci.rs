//! `test` and `ci`.

use std::process::Command;

use crate::{build, cargo, execute, guests, print, say};

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
    step("the model of the protocol", model)?;
    step("tests", || test(&[]))?;
    print("ci passed");
    Ok(())
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
