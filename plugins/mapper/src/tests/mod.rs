//! Tests of the whole language.

mod errors;
mod lazy;
mod plugin;
mod readme;
mod sample;
