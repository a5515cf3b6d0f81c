#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]
//! Write crossdock plugins in Rust.

pub mod arena;
mod batch;
#[doc(hidden)]
pub mod bindings;
mod builder;
pub mod bytes;
pub mod clock;
pub mod config;
mod export;
mod fault;
mod glue;
pub mod http;
mod imports;
pub mod json;
mod lanes;
pub mod log;
pub mod metrics;
mod output;
pub mod random;
mod short;
mod sink;
mod source;
pub mod table;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod transformer;
mod trap;
mod utf8;

pub use batch::{Batch, Form, Op, Record};
pub use builder::{BatchBuilder, RecordParts};
pub use fault::{ConfigDetail, Detail, Fault, Result};
pub use output::Output;
pub use sink::{Sink, Written};
pub use source::{Budget, Page, Read, Source, StreamInfo, Unreadable};
pub use transformer::{Mode, Transformer};

pub use serde;
pub use serde_json;

/// What nearly every plugin needs: `use crossdock_sdk::prelude::*;`
pub mod prelude {
    pub use crate::json::{Object, Value};
    pub use crate::{
        Batch, BatchBuilder, Budget, Fault, Form, Mode, Op, Output, Page, Read, Record,
        RecordParts, Result, Sink, Source, StreamInfo, Transformer, Unreadable, Written,
    };
    pub use crate::{clock, http, json, log, metrics, random, table};
    pub use crate::{debug, error, info, trace, warn};
}

/// What the macros of this crate reach for.
#[doc(hidden)]
pub mod __private {
    pub use crate::bindings;
    pub use crate::export::{ExportSink, ExportSource, ExportTransformer, Home};
    pub use crate::glue::Slot;
    use crate::{Sink, Source, Transformer};

    pub fn is_source<T: Source>() {}
    pub fn is_transformer<T: Transformer>() {}
    pub fn is_sink<T: Sink>() {}
}
