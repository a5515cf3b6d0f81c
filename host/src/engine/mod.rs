//! How records move: one loop per run over batches, through stages that it knows only as traits.
//!
//! ```text
//! intake ── batch ──► chain (a task per batch; transformers, in parallel where they are stateless)
//!    │                  │
//!    └── barrier ──►  the lane: an ordered, bounded buffer ──► settle: sinks, counts, checkpoint
//! ```
//!
//! A barrier is an entry of the lane like a batch: it passes the transformers behind the last batch of its epoch and
//! reaches the sinks behind it, so the source reads the next epoch while the one before is still on its way.

pub mod batch;
pub mod bisect;
pub mod chain;
pub mod conductor;
pub mod dead_letter;
pub mod delivery;
pub mod fault;
pub mod intake;
pub mod keeper;
pub mod lane;
pub mod ledger;
pub mod mark;
pub mod meter;
pub mod outcome;
pub mod overlay;
pub mod pool;
pub mod process;
pub mod replay;
pub mod retry;
pub mod run;
pub mod settle;
pub mod shadow;
pub mod sink_lane;
pub mod stage;
pub mod swap;
pub mod swapping;
pub(crate) mod tables;
pub mod trial;

#[cfg(test)]
mod tests;
