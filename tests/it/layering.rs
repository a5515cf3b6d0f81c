//! The direction of dependencies between the host's modules, so that the map in `lib.rs` stays true.
