//! The thin start: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    forbid_core_dumps();
    if let Some(code) = crossdock::plugin::compiles_here() {
        return code;
    }
    allow_open_files();
    crossdock::cli::main()
}

/// A core dump would hold the secrets of connections. Who may raise the limit again may read the memory anyway.
#[cfg(unix)]
fn forbid_core_dumps() {
    let none = rustix::process::Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // It only ever lowers a limit, which is always allowed.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    // Where a program takes core dumps (a pipe in `core_pattern`), the kernel does not ask for the limit. A process that
    // is not dumpable is never dumped, and is closed to debuggers of the same user. It may still open what it has open
    // itself by /proc/self/fd; what an ordinary user loses is /proc/self/pagemap, without which used memory of instances
    // is cleared whole.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

#[cfg(not(unix))]
fn forbid_core_dumps() {}

/// As many open files as the system lets this process have: what it starts with is often 1024, and plugins get half of it.
#[cfg(unix)]
fn allow_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where the system refuses, there are fewer.
    let _ = setrlimit(Resource::Nofile, limit);
}

#[cfg(not(unix))]
fn allow_open_files() {}
