//! For authors of plugins: a new project, and a component of one.
//!
//! | file | what it does |
//! |---|---|
//! | `new.rs` | writes a project: what all languages share, and what one brings along |
//! | `build.rs` | runs a language's tools, makes a component, embeds the manifest, checks it |
//! | `language/` | one file per language, behind the trait [`language::Language`] |
//! | `contract.rs` | the contract's WIT, as it is written into projects and embedded into modules |
//! | `componentize.rs` | a component of a core module |
//! | `section.rs` | sections of a component: the manifest in, names and debug information out |
//! | `tool.rs` | programs of a tool chain, and what to do when they are missing |
//!
//! # A further language
//! 1. `guest-sdk/LANG/`: its guest library, and `guest-sdk/LANG/template/`: what a project has beyond the shared
//!    `guest-sdk/template/` (manifest, README, WIT). In every file `{{name}}` is the plugin's name, `{{Type}}` the same
//!    as a type, `{{snake}}` as an identifier. All three kinds do what their shared `plugin.json` says: the source reads
//!    `GET {path}?after={id}&limit={page}` until the list is empty, the transformer changes the letters of a field,
//!    the sink puts each record to `{path}/{key}`. So one conformance setting fits every language.
//! 2. `language/LANG.rs`: a type that implements [`language::Language`]. `files` gives the template and the library, with
//!    [`files::embedded!`] so that they are in the program. `build` runs the language's tools in the project with
//!    [`tool::Tool`] and gives either a component or a core module; the rest is done here, the same for all: a core
//!    module gets the contract's types (unless bindings have embedded them already) and the adapter for WASI preview 1,
//!    then the manifest is embedded, and the outside of the component is checked against it and against this host.
//! 3. One line in [`language::ALL`].

pub mod build;
mod componentize;
mod contract;
mod error;
mod files;
pub mod language;
pub mod new;
mod section;
mod tool;

pub use build::{Built, Order, build, component};
pub use error::AuthorError;
pub use new::{Created, create};

#[cfg(test)]
mod tests;
