//! Lines for the operator. Use the macros [`info!`](crate::info), [`warn!`](crate::warn) and so on.

use std::fmt;

use crate::imports;

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Every step, for whoever develops the plugin.
    Trace,
    /// What helps to find a fault.
    Debug,
    /// What an operator wants to see once.
    Info,
    /// Something is odd; the run goes on.
    Warn,
    /// Something failed.
    Error,
}

/// Writes one line. The host adds flow, stage and plugin, and limits size and rate.
pub fn write(level: Level, message: fmt::Arguments<'_>) {
    match message.as_str() {
        Some(text) => imports::log(level, text),
        None => imports::log(level, &message.to_string()),
    }
}

/// Logs a line at level trace, formatted like `format!`.
#[macro_export]
macro_rules! trace {
    ($($line:tt)+) => { $crate::log::write($crate::log::Level::Trace, ::std::format_args!($($line)+)) };
}

/// Logs a line at level debug, formatted like `format!`.
#[macro_export]
macro_rules! debug {
    ($($line:tt)+) => { $crate::log::write($crate::log::Level::Debug, ::std::format_args!($($line)+)) };
}

/// Logs a line at level info, formatted like `format!`.
#[macro_export]
macro_rules! info {
    ($($line:tt)+) => { $crate::log::write($crate::log::Level::Info, ::std::format_args!($($line)+)) };
}

/// Logs a line at level warn, formatted like `format!`.
#[macro_export]
macro_rules! warn {
    ($($line:tt)+) => { $crate::log::write($crate::log::Level::Warn, ::std::format_args!($($line)+)) };
}

/// Logs a line at level error, formatted like `format!`.
#[macro_export]
macro_rules! error {
    ($($line:tt)+) => { $crate::log::write($crate::log::Level::Error, ::std::format_args!($($line)+)) };
}
