//! A report as `JUnit` XML, which every build server shows.

use std::fmt::Write as _;

use super::report::{Outcome, Report};

/// The report as one XML document.
#[allow(clippy::cast_precision_loss, reason = "milliseconds as seconds")]
pub fn junit(report: &Report) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for kind in &report.kinds {
        let millis: u64 = kind.checks.iter().map(|check| check.millis).sum();
        let skipped = kind.checks.iter();
        let skipped = skipped
            .filter(|check| matches!(check.outcome, Outcome::Skipped(_) | Outcome::Open(_)))
            .count();
        let suite = text(&format!(
            "{} {} as {}",
            report.plugin, report.version, kind.kind
        ));
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(
            out,
            "  <testsuite name=\"{suite}\" tests=\"{}\" failures=\"{}\" skipped=\"{skipped}\" time=\"{:.3}\">",
            kind.checks.len(),
            kind.failures().count(),
            millis as f64 / 1000.0,
        );
        for check in &kind.checks {
            let _ = write!(
                out,
                "    <testcase classname=\"{suite}\" name=\"{}\" time=\"{:.3}\"",
                text(check.name),
                check.millis as f64 / 1000.0,
            );
            let _ = match &check.outcome {
                Outcome::Passed => writeln!(out, "/>"),
                Outcome::Failed(why) => writeln!(
                    out,
                    "><failure message=\"{}\">{}</failure></testcase>",
                    text(check.about),
                    text(why)
                ),
                Outcome::Skipped(why) | Outcome::Open(why) => {
                    writeln!(out, "><skipped message=\"{}\"/></testcase>", text(why))
                }
            };
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

/// Text and attributes of XML; what XML cannot hold at all is shown as a question mark.
fn text(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}' => {
                out.push(c);
            }
            _ => out.push('?'),
        }
    }
    out
}
