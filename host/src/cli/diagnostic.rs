//! Findings as people read them: the line of the file, a caret, what to do.

use std::{collections::HashMap, fmt, fs, path::PathBuf};

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode,
    SourceSpan,
};

use super::style::{self, Paint};
use crate::flow::{Finding, Severity};

const WIDTH: usize = 110;
/// A file with a longer line, in bytes, is named and not shown.
const LONGEST: usize = 2_000;

/// One finding with the file that it is about.
struct Shown<'a> {
    finding: &'a Finding,
    source: Option<&'a NamedSource<String>>,
}

/// Renders findings, one after the other, and a line with their number.
pub(super) fn render(findings: &[Finding], paint: Paint) -> String {
    let mut files: HashMap<PathBuf, Option<NamedSource<String>>> = HashMap::new();
    for at in findings
        .iter()
        .filter_map(|finding| finding.location.as_ref())
    {
        // A file that is gone by now, or has become binary, is only named.
        files.entry(at.file.clone()).or_insert_with(|| {
            let text = fs::read_to_string(&at.file).ok()?;
            let text = text
                .strip_prefix('\u{FEFF}')
                .map(str::to_owned)
                .unwrap_or(text);
            Some(NamedSource::new(style::path(&at.file), text))
        });
    }
    let theme = if paint.on {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(WIDTH)
        .with_links(false)
        .with_context_lines(1);
    let mut out = String::new();
    for finding in findings {
        let source = finding
            .location
            .as_ref()
            .and_then(|at| files.get(&at.file)?.as_ref().map(|source| (at, source)))
            .filter(|(at, source)| is_short(source.inner(), at.line))
            .map(|(_, source)| source);
        let shown = Shown { finding, source };
        if handler.render_report(&mut out, &shown).is_err() {
            out.push_str(&finding.to_string());
        }
        out.push('\n');
    }
    out.push_str(&total(findings));
    out
}

/// Whether people can read what would be shown around a line: what a program wrote may be one line as long as the file.
fn is_short(text: &str, line: u32) -> bool {
    let first = line.saturating_sub(2) as usize;
    let mut shown = text.lines().skip(first).take(3);
    shown.all(|line| line.len() <= LONGEST)
}

/// `2 errors, 1 warning`.
fn total(findings: &[Finding]) -> String {
    let of = |severity| {
        findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count() as u64
    };
    let parts = [
        (of(Severity::Error), "error"),
        (of(Severity::Warning), "warning"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, noun)| style::counted(*count, noun))
        .collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!("{}\n", parts.join(", "))
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the text of the file the place must be told.
        match (&self.finding.location, self.source) {
            (Some(location), None) => write!(f, "{location}: {}", self.finding.message),
            _ => f.write_str(&self.finding.message),
        }
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Shown<'_> {}

impl Diagnostic for Shown<'_> {
    fn code<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        Some(Box::new(&self.finding.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.finding.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        self.finding
            .advice
            .as_ref()
            .map(|advice| Box::new(advice) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let at = self.finding.location.as_ref()?;
        let size = self.source?.inner().len();
        // The file may have changed since it was read.
        let offset = at.offset.min(size);
        let span = SourceSpan::new(offset.into(), at.length.min(size - offset));
        Some(Box::new(std::iter::once(
            LabeledSpan::new_primary_with_span(None, span),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Plan, Variables};

    fn rendered(text: &str, paint: Paint) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prices.yaml");
        fs::write(&file, text).unwrap();
        let findings = Plan::load(&file, &Variables::default()).unwrap_err();
        render(&findings, paint).replace(&folder.path().display().to_string(), "FOLDER")
    }

    #[test]
    fn findings_show_the_line_and_the_advice() {
        let text = "\u{FEFF}flow: größe\nsource: { plugin: csv, confg: {} }\nsinks:\n  - plugin: ${SINK}\n";
        insta::assert_snapshot!(rendered(text, Paint { on: false }));
        assert!(rendered(text, Paint { on: true }).contains("\u{1b}["));
    }

    #[test]
    fn a_line_that_nobody_can_read_is_not_shown() {
        let long = "x".repeat(100_000);
        let shown = rendered(&format!("flow: {long}\nsorce: a\n"), Paint { on: false });
        assert!(shown.contains("prices.yaml:2:1"), "{shown:.2000}");
        assert!(shown.len() < 5_000, "{}", shown.len());
    }

    #[test]
    fn a_finding_without_its_file_tells_the_place() {
        let at = crate::flow::Location {
            file: "gone.yaml".into(),
            line: 3,
            column: 7,
            offset: 40,
            length: 2,
        };
        let finding = Finding::warning("flow.repeated", "`data` is granted twice")
            .at(at)
            .advice("remove one");
        insta::assert_snapshot!(render(&[finding], Paint { on: false }));
        assert_eq!(render(&[], Paint { on: false }), "");
    }
}
