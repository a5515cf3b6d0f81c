//! The versions of the contract that this host offers. The one place to add another: its own file beside
//! `since_v0_1.rs`, a line in [`OFFERED`], its imports in [`link`] and its case in `runtime`.

pub(super) mod since_v0_1;

use semver::Version;
use wasmtime::component::{HasSelf, Linker};

use super::state::State;

/// What plugins may be built for, oldest first.
pub(super) const OFFERED: [Version; 1] = [since_v0_1::VERSION];

/// [`OFFERED`] for people.
pub(super) fn offered() -> String {
    OFFERED.each_ref().map(ToString::to_string).join(", ")
}

/// Name of an interface of the contract in import and export names.
pub(super) fn interface(name: &str, version: &Version) -> String {
    format!("crossdock:plugin/{name}@{version}")
}

/// Links the imports of every offered version.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    since_v0_1::host::Imports::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}
