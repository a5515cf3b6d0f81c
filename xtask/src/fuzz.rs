//! `fuzz`: builds `tests/fuzz` with counters in the project's own crates, on a stable compiler, and runs it.

use std::{
    env,
    ffi::OsString,
    process::{Command, ExitCode},
};

use clap::Args;

use crate::{cargo, execute, guests, workspace};

/// Says that this program stands in for the compiler.
const WRAPS: &str = "CROSSDOCK_XTASK_COVERAGE";
/// The crates whose code leads the search.
const LED_BY: [&str; 5] = [
    "crossdock",
    "crossdock_sdk",
    "native_csv",
    "native_mapper",
    "file_drop",
];
/// What puts a counter at every edge. It is a pass of LLVM, so no nightly is needed.
const COUNTERS: [&str; 4] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=3",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Ccodegen-units=1",
];

#[derive(Args)]
pub(crate) struct Options {
    /// The target; all of them when it is left out
    target: Option<String>,
    /// Seconds for each target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Put inputs that reached new code into `tests/fuzz/corpus`
    #[arg(long)]
    keep: bool,
}

impl Options {
    /// For every change: all targets, seconds each.
    pub(crate) fn short() -> Self {
        Self {
            target: None,
            seconds: 6,
            keep: false,
        }
    }
}

pub(crate) fn run(options: &Options) -> Result<(), String> {
    let me = env::current_exe().map_err(|e| format!("this program is not there: {e}"))?;
    // Built anew while it runs, by `ci`: the kernel says so, and the new one is at the same place.
    let me = me.display().to_string();
    let me = me.strip_suffix(" (deleted)").unwrap_or(&me);
    let mut build = cargo();
    build
        .args(["build", "--quiet", "--workspace", "--bin", "crossdock-fuzz"])
        // Only members of the workspace are built anew; what they depend on stays as it is.
        .env("RUSTC_WORKSPACE_WRAPPER", me)
        .env(WRAPS, "1");
    execute(&mut build)?;
    let program = guests::target_dir(&workspace()).join("debug/crossdock-fuzz");
    let mut fuzz = Command::new(program);
    fuzz.args(options.target.as_ref());
    fuzz.args(["--seconds", &options.seconds.to_string()]);
    if options.keep {
        fuzz.arg("--keep");
    }
    execute(&mut fuzz)
}

/// Stands in for the compiler when cargo was told so: the arguments are the compiler's, with counters for some crates.
pub(crate) fn compile_instead() -> Option<ExitCode> {
    env::var_os(WRAPS)?;
    let mut arguments = env::args_os().skip(1);
    let compiler = arguments.next()?;
    let arguments: Vec<OsString> = arguments.collect();
    let named = arguments.iter().position(|one| one == "--crate-name");
    let name = named.and_then(|at| arguments.get(at + 1)?.to_str());
    let mut compile = Command::new(compiler);
    compile.args(&arguments);
    if name.is_some_and(|name| LED_BY.contains(&name)) {
        compile.args(COUNTERS);
    }
    let code = compile.status().ok()?.code()?;
    Some(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
