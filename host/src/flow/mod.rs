//! What runs: the flow file, its findings, the plan. Pure: no tokio, no WebAssembly.
//!
//! ```text
//! text ─► document (YAML with places, variables, `$file`) ─► schema (every violation) ─► spec ─► check ─► plan
//! ```
//! Everything that is wrong with a file is reported at once, each at its line, see [`Finding`].

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

pub mod budget;
pub mod check;
pub mod document;
pub mod egress;
pub mod finding;
pub mod grants;
pub mod installed;
pub mod place;
pub mod plan;
pub mod project;
pub mod quantity;
pub mod schema;
pub mod spec;
pub mod variable;

mod digest;
mod inline;
mod limits;
mod near;
mod plugin_ref;
mod visible;
mod yaml;

#[cfg(test)]
mod tests;

pub use budget::Budget;
pub use document::Document;
pub use egress::{Egress, TcpGrant, UrlGrant};
pub use finding::{Finding, Location, Severity, has_errors};
pub use grants::Grants;
pub use plan::{Plan, Planned, PluginRef, StageKind, StagePlan};
pub use variable::Variables;
pub use visible::{steers, visible, visible_but};
