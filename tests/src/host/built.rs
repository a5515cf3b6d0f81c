//! Where what is tested lies: the repository, what is built of it, the data beside it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

#[path = "../../../xtask/src/nested.rs"]
mod nested;

/// `cargo` in a folder, as a person would start it there: nothing that is built already is built again.
pub fn cargo(folder: &Path) -> Command {
    nested::cargo(folder)
}

/// The root of the repository.
pub fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Where cargo puts what it builds: the folder that this very program was built into, so that a target folder that was
/// copied or moved serves the tests of the place it is in.
pub fn target() -> &'static Path {
    static TARGET: OnceLock<PathBuf> = OnceLock::new();
    TARGET.get_or_init(|| {
        let program = std::env::current_exe().expect("the kernel tells the program");
        // Cargo marks its folder with this file.
        let built_into = program
            .ancestors()
            .find(|folder| folder.join("CACHEDIR.TAG").is_file());
        match (built_into, std::env::var_os("CARGO_TARGET_DIR")) {
            (Some(folder), _) => folder.to_owned(),
            (None, Some(named)) => workspace().join(named),
            (None, None) => workspace().join("target"),
        }
    })
}

/// The component of a plugin of this repository.
pub fn plugin(name: &str) -> PathBuf {
    target().join("plugins").join(format!("{name}.wasm"))
}

/// The component of a plugin that is there for tests.
pub fn test_plugin(name: &str) -> PathBuf {
    target().join("test-plugins").join(format!("{name}.wasm"))
}

/// A folder of the test data that lies beside some checkouts, or in the folder that `CROSSDOCK_TEST_DATA` names. Where it
/// is not, the test says so and has nothing to look at.
#[allow(clippy::print_stdout, reason = "people see what was not tested")]
pub fn test_data(name: &str) -> Option<PathBuf> {
    let given = std::env::var_os("CROSSDOCK_TEST_DATA").map(PathBuf::from);
    let beside = workspace()
        .ancestors()
        .map(|above| above.join("shared/data"));
    let found = given
        .into_iter()
        .chain(beside)
        .map(|data| data.join(name))
        .find(|folder| folder.is_dir());
    if found.is_none() {
        println!(
            "skipped: ../shared/data/{name} is not there, CROSSDOCK_TEST_DATA may name its folder"
        );
    }
    found
}

/// The program under test: `CROSSDOCK_BIN`, else the one of this workspace, built when it is not up to date.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match std::env::var_os("CROSSDOCK_BIN") {
        Some(given) => given.into(),
        None => build(),
    })
}

/// Asks cargo for the program, once per test run also where every test is a process of its own.
fn build() -> PathBuf {
    let program = target().join("debug").join("crossdock");
    let folder = target().join("it");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    let lock = File::create(folder.join("build.lock")).expect("the target folder can be written");
    lock.lock().expect("files can be locked");
    let stamp = folder.join("built-by");
    let run = std::env::var("NEXTEST_RUN_ID").ok();
    if run.is_some() && fs::read_to_string(&stamp).ok() == run && program.is_file() {
        return program;
    }
    let done = cargo(workspace())
        // As `cargo xtask` builds it, so that neither makes the other build anew.
        .args(["build", "--quiet", "--workspace", "--bins"])
        .status()
        .expect("cargo starts");
    assert!(done.success(), "crossdock does not build");
    fs::write(stamp, run.unwrap_or_default()).expect("the target folder can be written");
    program
}
