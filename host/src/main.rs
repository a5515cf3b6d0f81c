//! The thin start: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    forbid_core_dumps();
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
