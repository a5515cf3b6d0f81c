//! `log`: lines of a plugin go to the tracing target `plugin`, bounded in size and rate.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    super::{
        state::State,
        tape::{Given, Import},
    },
    contract::log,
};
use crate::flow::steers;

/// Bytes of one line; the rest of it is cut.
pub(crate) const LINE_BYTES: usize = 8 << 10;
const WINDOW: Duration = Duration::from_secs(1);
const DROPPED: &str =
    "log lines above the stage's `log-lines` and `log-bytes` a second were dropped";

pub(crate) use log::Level;

/// Where the lines of a stage's instances go.
#[derive(Debug)]
pub(crate) struct Log {
    flow: String,
    stage: String,
    plugin: String,
    gate: Mutex<Gate>,
}

impl Log {
    /// `lines` and `bytes` are what may pass in one second; more is counted and dropped.
    pub(crate) fn new(flow: &str, stage: &str, plugin: &str, lines: u32, bytes: usize) -> Self {
        Self {
            flow: flow.to_owned(),
            stage: stage.to_owned(),
            plugin: plugin.to_owned(),
            gate: Mutex::new(Gate::new(Instant::now(), lines, bytes)),
        }
    }

    pub(crate) fn write(&self, level: Level, message: &str) {
        let message = one_line(message);
        let pass = self
            .gate
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pass(Instant::now(), message.len());
        let Self {
            flow,
            stage,
            plugin,
            ..
        } = self;
        if let Some(dropped) = pass.dropped_before {
            tracing::warn!(target: "plugin", flow, stage, plugin, dropped, "{DROPPED}");
        }
        if !pass.open {
            return;
        }
        match level {
            Level::Trace => tracing::trace!(target: "plugin", flow, stage, plugin, "{message}"),
            Level::Debug => tracing::debug!(target: "plugin", flow, stage, plugin, "{message}"),
            Level::Info => tracing::info!(target: "plugin", flow, stage, plugin, "{message}"),
            Level::Warn => tracing::warn!(target: "plugin", flow, stage, plugin, "{message}"),
            Level::Error => tracing::error!(target: "plugin", flow, stage, plugin, "{message}"),
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let dropped = self
            .gate
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .dropped;
        if dropped > 0 {
            let Self {
                flow,
                stage,
                plugin,
                ..
            } = &*self;
            tracing::warn!(target: "plugin", flow, stage, plugin, dropped, "{DROPPED}");
        }
    }
}

/// As the contract calls it.
fn name(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

/// One line of at most [`LINE_BYTES`]: line breaks become spaces, other control characters go.
fn one_line(message: &str) -> String {
    let mut end = message.len().min(LINE_BYTES);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    let mut line: String = message[..end]
        .chars()
        .map(|c| {
            if matches!(c, '\n' | '\r' | '\t') {
                ' '
            } else {
                c
            }
        })
        .filter(|c| !steers(*c))
        .collect();
    if end < message.len() {
        line.push('…');
    }
    line
}

#[derive(Debug)]
struct Gate {
    window: Instant,
    most_lines: u32,
    most_bytes: usize,
    lines: u32,
    bytes: usize,
    dropped: u64,
}

struct Pass {
    open: bool,
    dropped_before: Option<u64>,
}

impl Gate {
    fn new(now: Instant, most_lines: u32, most_bytes: usize) -> Self {
        Self {
            window: now,
            most_lines,
            most_bytes,
            lines: 0,
            bytes: 0,
            dropped: 0,
        }
    }

    fn pass(&mut self, now: Instant, bytes: usize) -> Pass {
        let mut dropped_before = None;
        if now.duration_since(self.window) >= WINDOW {
            dropped_before = Some(std::mem::take(&mut self.dropped)).filter(|&dropped| dropped > 0);
            self.window = now;
            self.lines = 0;
            self.bytes = 0;
        }
        let open =
            self.lines < self.most_lines && self.bytes.saturating_add(bytes) <= self.most_bytes;
        if open {
            self.lines += 1;
            self.bytes += bytes;
        } else {
            self.dropped += 1;
        }
        Pass {
            open,
            dropped_before,
        }
    }
}

impl log::Host for State {
    fn write(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        self.told(
            || Import::Log {
                level: name(level).to_owned(),
                message: message.clone(),
            },
            |state| {
                state.log.write(level, &message);
                if level == Level::Error {
                    state.last_error = Some(one_line(&message));
                }
            },
            |()| Given::Done,
            |_| (),
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_one_line_and_bounded() {
        assert_eq!(one_line("a\r\nb\u{1b}[31mc"), "a  b[31mc");
        let long = one_line(&"é".repeat(LINE_BYTES));
        assert!(long.len() <= LINE_BYTES + '…'.len_utf8() && long.ends_with('…'));
    }

    #[test]
    fn a_flood_is_counted_and_said_once() {
        let start = Instant::now();
        let mut gate = Gate::new(start, 10, 100);
        let open = (0..15).filter(|_| gate.pass(start, 1).open).count();
        assert_eq!(open, 10);
        let next = gate.pass(start + WINDOW, 60);
        assert!(next.open && next.dropped_before == Some(5));
        // Bytes are bounded as lines are.
        assert!(!gate.pass(start + WINDOW, 60).open);
        assert!(gate.pass(start + WINDOW, 40).open);
        assert_eq!(gate.pass(start + WINDOW * 2, 1).dropped_before, Some(1));
        assert_eq!(gate.pass(start + WINDOW * 2, 1).dropped_before, None);
        assert_eq!(gate.pass(start + WINDOW * 4, 1).dropped_before, None);
    }
}
