//! How records move: one loop per run over batches, through stages that it knows only as traits.

pub mod batch;
pub mod fault;
pub mod stage;
