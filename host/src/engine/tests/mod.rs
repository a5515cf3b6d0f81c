//! The engine against stages in memory that fail in every way they may.

mod bisect;
mod bounds;
mod crash;
mod faults;
mod flow;
mod live;
mod memory;
mod steer;
mod swap;
