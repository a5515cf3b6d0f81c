//! A real registry for as long as somebody listens: `cargo xtask bench install` publishes to it. It tells where it is on a
//! line, and ends with its standard input. Where there is none on this machine it tells an empty line.

use std::io::{Read as _, Write as _};

use crossdock_tests::registry::TestRegistry;

fn main() -> std::io::Result<()> {
    let registry = TestRegistry::start();
    let host = registry
        .as_ref()
        .map(TestRegistry::host)
        .unwrap_or_default();
    let mut out = std::io::stdout().lock();
    // What was skipped is said on lines of its own.
    writeln!(out, "registry={host}")?;
    out.flush()?;
    let mut rest = Vec::new();
    std::io::stdin().lock().read_to_end(&mut rest)?;
    drop(registry);
    Ok(())
}
