//! Numbers, times and colors as people read them.

use std::fmt::Display;

use anstyle::{AnsiColor, Style};

use crate::flow::visible;

/// Green: what is done or added.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// Yellow: what should be looked at.
pub(super) const WARN: Style = AnsiColor::Yellow.on_default();
/// Red: what failed or is removed.
pub(super) const BAD: Style = AnsiColor::Red.on_default();
/// What carries the line.
pub(super) const STRONG: Style = Style::new().bold();
/// What may be skipped.
pub(super) const FAINT: Style = Style::new().dimmed();

/// Paints texts, or leaves them as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Paint {
    pub(super) on: bool,
}

impl Paint {
    pub(super) fn with(self, style: Style, text: impl Display) -> String {
        if self.on {
            format!("{style}{text}{style:#}")
        } else {
            text.to_string()
        }
    }
}

/// `12,345`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `3 records`, `1 record`.
pub(super) fn counted(number: u64, noun: &str) -> String {
    format!(
        "{} {noun}{}",
        count(number),
        if number == 1 { "" } else { "s" }
    )
}

/// `13.2 MiB`.
pub(super) fn bytes(number: u64) -> String {
    indicatif::BinaryBytes(number).to_string()
}

/// `350 ms`, `2.4 s`, `3 min 20 s`, `2 h 5 min`.
pub(super) fn seconds(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "0 ms".to_owned();
    }
    if seconds < 1.0 {
        return format!("{:.0} ms", seconds * 1000.0);
    }
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "finite and not negative; saturates"
    )]
    let whole = seconds.round() as u64;
    match (whole / 3600, whole % 3600 / 60, whole % 60) {
        (0, minutes, rest) => format!("{minutes} min {rest} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// Records per second, whole: `4,309/s`.
pub(super) fn rate(per_second: f64) -> String {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "negative and NaN become 0"
    )]
    let whole = per_second.round() as u64;
    format!("{}/s", count(whole))
}

/// A path as it was meant: relative to the current folder where it lies in it.
pub(super) fn path(path: &std::path::Path) -> String {
    let current = std::env::current_dir().unwrap_or_default();
    match path.strip_prefix(&current) {
        Ok(inside) if inside.as_os_str().is_empty() => ".".to_owned(),
        Ok(inside) => inside.display().to_string(),
        Err(_) => path.display().to_string(),
    }
}

/// A text on one line, cut where it is longer than `limit` characters.
pub(super) fn cut(text: &str, limit: usize) -> String {
    let line = text.replace(['\n', '\r', '\t'], " ");
    let line = visible(&line);
    match line.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_read_easily() {
        assert_eq!(
            [count(0), count(999), count(1_000), count(1_234_567)],
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [counted(1, "record"), counted(2000, "record")],
            ["1 record", "2,000 records"]
        );
        assert_eq!(
            [0.0, 0.35, 2.44, 59.96, 200.0, 7_500.0, f64::NAN].map(seconds),
            [
                "0 ms",
                "350 ms",
                "2.4 s",
                "1 min 0 s",
                "3 min 20 s",
                "2 h 5 min",
                "0 ms"
            ]
        );
        assert_eq!(
            [rate(4_308.7), rate(f64::NAN), rate(-1.0)],
            ["4,309/s", "0/s", "0/s"]
        );
        assert_eq!(bytes(13_841_203), "13.20 MiB");
    }

    #[test]
    fn paint_is_only_there_when_it_is_on() {
        assert_eq!(Paint { on: false }.with(BAD, "x"), "x");
        assert_eq!(Paint { on: true }.with(BAD, "x"), "\u{1b}[31mx\u{1b}[0m");
    }
}
