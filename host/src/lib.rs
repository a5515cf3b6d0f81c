//! crossdock moves records between systems: a source reads them, transformers change them, sinks write them, each in a
//! WebAssembly sandbox of its own, replaced while records flow.
//!
//! # The map
//! | module | what it is |
//! |---|---|
//! | [`flow`] | WHAT runs: the flow file, its findings, the plan. Pure: no tokio, no WebAssembly |
//! | [`engine`] | HOW records move: one loop per run over batches, barriers, retries, dead letters. Knows no WebAssembly |
//! | [`plugin`] | the only module that knows wasmtime: components as the engine's stages, host imports, limits |
//! | [`catalogue`] | plugins on disk and in registries: what a file says of itself, where names are found, what is installed |
//! | [`storage`] | the only module that knows sled: checkpoints, dead letters, tables |
//! | [`connection`] | remote systems: authentication, limits, the one outgoing HTTP client |
//! | `names` | names become addresses, on few threads of their own |
//! | [`api`] | the admin API of a daemon, and its client |
//! | [`conformance`] | the contract as checks of a built component |
//! | [`author`] | for authors of plugins: new projects, components of them |
//! | [`app`] | the composition root: the only file that knows every module |
//! | [`cli`] | one file per command |
//!
//! # The path of a record
//! ```text
//! flow.yaml ─► flow::spec ─► flow::plan ─► engine::run ── read ─► apply ─► write ─► settle ──┐
//!                                              ▲                                              │ every epoch:
//!                                              └────────────── next batch ◄───────────────────┘ barrier ► snapshots
//!                                                                   ► one commit ► sink.commit ► source.committed
//! ```
//!
//! # The invariants
//! Cited at the line that keeps them (`// Invariant 2`) and in the test that proves them.
//!
//! 1. A source is told `committed` only after a checkpoint that covers the records is durable and every sink has
//!    committed it.
//! 2. All that an epoch produced (stage snapshots, counts, dead letters, table writes) becomes durable in one atomic
//!    write, or not at all.
//! 3. Records of a run reach every sink in the order in which the source gave them, whatever ran in parallel.
//! 4. Counts balance: read + expanded + replayed = written + filtered + dead-lettered, at every checkpoint. A run that
//!    does not balance is a failed run.
//! 5. A record that fails is a dead letter or is retried; its neighbours go on.
//! 6. Everything that waits is bounded, in bytes and in batches.
//! 7. A plugin sees nothing that was not granted, and no secret ever.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a failing test says enough"
    )
)]

pub mod api;
pub mod app;
pub mod author;
pub mod catalogue;
pub mod cli;
pub mod conformance;
pub mod connection;
pub mod engine;
pub mod flow;
mod names;
pub mod plugin;
pub mod storage;
