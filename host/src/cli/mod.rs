//! The command line: one file per command.

use std::process::ExitCode;

/// Runs the command line and gives the exit code.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
