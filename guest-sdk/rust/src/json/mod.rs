//! Lazy JSON: find fields without a tree, change them, copy the rest as bytes.
//!
//! [`Object`] remembers where the members of the outermost object are and nothing more. Reading one gives a [`Value`],
//! a view of its bytes; setting, removing or renaming changes the list of members; [`Object::write`] copies everything
//! untouched byte by byte, so numbers stay exactly as they were written. `into_value()` makes a `serde_json::Value`
//! where a tree is wanted.
//!
//! What lazy means for bad input: brackets and strings are matched for the whole text at once, so a truncated text is
//! an error when it is parsed; the *inside* of nested values is checked when it is read. [`validate()`] checks all.
//! Nothing here panics, recurses or reads out of bounds on any input. Nesting deeper than [`MAX_DEPTH`] is an error.
//!
//! Of duplicate keys the last one wins, as in `serde_json`. Keys with escapes (`"\u0061"`) match their plain spelling.

mod error;
mod members;
mod object;
pub(crate) mod scan;
mod text;
mod to_json;
pub mod tree;
mod validate;
mod value;
mod walk;

#[cfg(test)]
mod tests;

pub use error::{Error, Problem};
pub use object::{Members, Object};
pub use text::write_string;
pub use to_json::ToJson;
pub use validate::validate;
pub use value::{Entries, Items, Kind, Value};

/// Containers may be nested this deep, the same as in `serde_json`.
pub const MAX_DEPTH: usize = 127;
