//! Why a plugin cannot be loaded or used.

use std::path::PathBuf;

use crate::catalogue::{InspectError, Kind};

/// Why a plugin cannot be loaded or used. One sentence for a person, with what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// The file cannot be read.
    #[error("cannot read the plugin {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// It is no component.
    #[error("{origin}: {source}")]
    Inspect {
        /// The file.
        origin: String,
        /// What it is instead.
        source: InspectError,
    },
    /// It exports nothing of the contract.
    #[error(
        "{origin} is a component but no plugin: it exports none of `crossdock:plugin/source`, `transformer`, `sink` \
         (it exports: {exports}); build it for a world of wit/v0.1, as the projects of `crossdock plugin new` do"
    )]
    NoPlugin {
        /// The file.
        origin: String,
        /// What it exports.
        exports: String,
    },
    /// It is built for a contract that this host does not have.
    #[error("{origin} is built for contract {wanted}; this host offers {offered}: {advice}")]
    Contract {
        /// The file.
        origin: String,
        /// What it is built for.
        wanted: String,
        /// What there is.
        offered: String,
        /// What to do.
        advice: &'static str,
    },
    /// It exports a kind, but not all of its functions.
    #[error(
        "{origin} is no whole {kind}: its `{interface}` lacks {missing}; build it with the guest library of its language, or \
         export every function of wit/v0.1/{kind}.wit"
    )]
    Lacks {
        /// The file.
        origin: String,
        /// The kind.
        kind: Kind,
        /// Its interface.
        interface: String,
        /// The functions that are not there.
        missing: String,
    },
    /// It imports something that this host does not have.
    #[error("{origin} imports `{import}`, which is not offered by this host: {advice}")]
    Import {
        /// The file.
        origin: String,
        /// The first such import.
        import: String,
        /// What to do.
        advice: &'static str,
    },
    /// It is not of this kind.
    #[error("the plugin `{plugin}` is no {kind}: it is {kinds}")]
    NotA {
        /// The plugin.
        plugin: String,
        /// What was wanted.
        kind: Kind,
        /// What it is.
        kinds: String,
    },
    /// Its code is not valid, or its exports are not of the contract's types.
    #[error("{origin} cannot be compiled or linked: {message}")]
    Compile {
        /// The file.
        origin: String,
        /// What the compiler says.
        message: String,
    },
    /// The sandbox engine could not be set up on this machine.
    #[error("the WebAssembly engine cannot start: {0}")]
    Engine(String),
}

/// All causes of a wasmtime error in one line. Not for the error of a call: one of its causes is the backtrace, whose text
/// has no bound.
pub(super) fn one_line(error: &wasmtime::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.contains(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(cause.trim_end());
    }
    text.replace('\n', " ")
}
