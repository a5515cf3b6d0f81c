//! What crossdock promises, through its public command line: one file per promise.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

mod attached;
mod audit;
mod author;
mod bad_input;
mod bad_plugin;
mod c;
mod cassettes;
mod catalogue;
mod catalogue_attacks;
mod chaos;
mod conformance;
mod daemon;
mod damage;
mod dead_letters;
mod demo;
mod dependencies;
mod disks;
mod edifact;
mod enrich;
mod files;
mod fixed_width;
mod golang;
mod guide;
mod hostile;
mod hostile_attacks;
mod hostile_compile;
mod hostile_network;
mod hostile_registry;
mod hostile_zoo;
mod idoc;
mod interop;
mod languages;
mod layering;
mod main_job;
mod market;
mod plugin_dev;
mod readme;
mod registries;
mod registry;
mod resume;
mod secrets;
mod signatures;
mod signatures_interop;
mod signatures_published;
mod soak;
mod storm;
mod supervision;
mod swap;
mod transcript;
mod two_writers;
