//! The thin start: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    crossdock::cli::main()
}
