//! Tests of the whole language.

mod lazy;
mod readme;
mod sample;
mod tables;
