//! Disks that a test mounts for itself, in a namespace of its own.

use std::process::Command;

/// Whether this machine lets a test mount one. Says it where not, since the test then proves nothing.
#[allow(clippy::print_stdout, reason = "people see what was not tested")]
pub fn can_mount() -> bool {
    let tried = Command::new("unshare")
        .args(["-Urm", "mount", "-t", "tmpfs", "tmpfs", "/tmp"])
        .output();
    let can = tried.is_ok_and(|done| done.status.success());
    if !can {
        println!("skipped: this machine does not let a test mount a file system of its own");
    }
    can
}
