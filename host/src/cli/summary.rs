//! What a run did, for people.

use std::fmt::Write as _;

use super::{
    output::table,
    style::{self, BAD, FAINT, GOOD, Paint, STRONG, WARN, count, counted},
};
use crate::{
    app::{Outcome, RunSummary, StreamCounts},
    flow::visible,
};

/// Exit code of a run that came to an end.
pub(super) fn exit_code(summary: &RunSummary) -> u8 {
    match summary.outcome {
        Outcome::Failed(_) => 1,
        Outcome::Finished | Outcome::Stopped if summary.dead_letters > 0 => 3,
        Outcome::Finished | Outcome::Stopped => 0,
    }
}

/// The whole summary as text.
pub(super) fn render(summary: &RunSummary, paint: Paint) -> String {
    let mut out = headline(summary, paint);
    out.push('\n');
    out.push_str(&streams(summary));
    filtered(summary, &mut out);
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "\n Delivery      {}",
        paint.with(STRONG, summary.delivery.label.as_str())
    );
    for reason in &summary.delivery.reasons {
        let _ = writeln!(out, "               {}", paint.with(FAINT, reason));
    }
    if summary.dead_letters > 0 {
        let number = paint.with(WARN, count(summary.dead_letters));
        let _ = writeln!(
            out,
            " Dead letters  {number}: crossdock dlq list --flow {}",
            summary.flow
        );
    }
    if summary.expired_dead_letters > 0 {
        let _ = writeln!(
            out,
            " Dropped       {} older dead letters, as `dead-letters.keep` and `max-size` say",
            count(summary.expired_dead_letters)
        );
    }
    let resumed = if summary.resumed {
        ", went on from the last run"
    } else {
        ""
    };
    let checkpoints = counted(summary.epochs, "checkpoint");
    let _ = writeln!(
        out,
        " State         {} ({checkpoints}{resumed})",
        style::path(&summary.state_dir)
    );
    out
}

fn headline(summary: &RunSummary, paint: Paint) -> String {
    let flow = paint.with(STRONG, &summary.flow);
    let what = format!(
        "{} read in {} ({})",
        counted(summary.records, "record"),
        style::seconds(summary.seconds),
        style::rate(summary.records_per_second)
    );
    match &summary.outcome {
        Outcome::Finished if summary.dead_letters > 0 => {
            format!(
                "{} {flow} finished with dead letters: {what}\n",
                paint.with(WARN, "!")
            )
        }
        Outcome::Finished => format!("{} {flow} finished: {what}\n", paint.with(GOOD, "✓")),
        Outcome::Stopped => {
            format!(
                "{} {flow} stopped: {what}; the next run goes on from here\n",
                paint.with(WARN, "■")
            )
        }
        Outcome::Failed(reason) => format!(
            "{} {flow} failed: {reason}\n  {what}\n",
            paint.with(BAD, "×")
        ),
    }
}

fn streams(summary: &RunSummary) -> String {
    let total = total(summary);
    // Most runs replay nothing.
    let replays = total.replayed > 0;
    let row = |name: &str, counts: &StreamCounts| {
        let mut cells = vec![
            visible(name).into_owned(),
            count(counts.read),
            count(counts.expanded),
        ];
        if replays {
            cells.push(count(counts.replayed));
        }
        cells.extend([counts.written, counts.filtered, counts.dead].map(count));
        cells
    };
    let mut rows: Vec<Vec<String>> = summary
        .streams
        .iter()
        .map(|(name, counts)| row(name, counts))
        .collect();
    if rows.len() > 1 {
        rows.push(row("total", &total));
    }
    let mut titles = vec!["stream", "read", "expanded", "written", "filtered", "dead"];
    if replays {
        titles.insert(3, "replayed");
    }
    table(&titles, 1, &rows)
}

fn total(summary: &RunSummary) -> StreamCounts {
    let mut total = StreamCounts::default();
    for counts in summary.streams.values() {
        total += *counts;
    }
    total
}

fn filtered(summary: &RunSummary, out: &mut String) {
    let rows: Vec<Vec<String>> = summary
        .filtered
        .iter()
        .flat_map(|(stage, reasons)| {
            let row = |(reason, number): (&String, &u64)| {
                vec![stage.clone(), visible(reason).into_owned(), count(*number)]
            };
            reasons.iter().map(row)
        })
        .collect();
    if !rows.is_empty() {
        out.push('\n');
        out.push_str(&table(&["filtered by", "reason", "records"], 2, &rows));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::app::{Delivery, Label};

    pub(in crate::cli) fn summary(outcome: Outcome, dead: u64) -> RunSummary {
        let counts = |read, written, filtered, dead| StreamCounts {
            read,
            written,
            filtered,
            dead,
            ..StreamCounts::default()
        };
        RunSummary {
            flow: "akeneo-to-spryker".to_owned(),
            run: "r1".to_owned(),
            outcome,
            streams: BTreeMap::from([
                ("categories".to_owned(), counts(30, 30, 0, 0)),
                (
                    "products".to_owned(),
                    counts(12_030, 12_000 - dead, 30, dead),
                ),
            ]),
            filtered: BTreeMap::from([(
                "map-products".to_owned(),
                BTreeMap::from([("not enabled".to_owned(), 20), ("no family".to_owned(), 10)]),
            )]),
            dead_letters: dead,
            expired_dead_letters: dead / 3,
            records: 12_060,
            seconds: 2.5,
            records_per_second: 4_824.0,
            delivery: Delivery {
                label: Label::ExactlyOnce,
                reasons: vec![
                    "sink `spryker-csv` discards what it wrote behind a checkpoint".to_owned(),
                ],
            },
            state_dir: "/srv/shop/.crossdock".into(),
            epochs: 1,
            resumed: true,
        }
    }

    #[test]
    fn a_summary_tells_everything() {
        insta::assert_snapshot!(render(&summary(Outcome::Finished, 3), Paint { on: false }));
        let head = |outcome, dead| headline(&summary(outcome, dead), Paint { on: false });
        insta::assert_snapshot!(
            [
                head(Outcome::Finished, 0),
                head(Outcome::Stopped, 1),
                head(
                    Outcome::Failed("7 of 100 records failed, more than 5 %".to_owned()),
                    7
                ),
            ]
            .concat()
        );
    }

    #[test]
    fn names_of_streams_move_nothing_on_a_terminal() {
        let mut summary = summary(Outcome::Finished, 0);
        let counts = StreamCounts::default();
        summary
            .streams
            .insert("s\u{1b}[31m\u{202e}".to_owned(), counts);
        let text = render(&summary, Paint { on: false });
        assert!(text.contains(r"s\u{1b}[31m\u{202e}"), "{text}");
    }

    #[test]
    fn exit_codes_follow_the_outcome() {
        let code = |outcome, dead| exit_code(&summary(outcome, dead));
        assert_eq!(code(Outcome::Finished, 0), 0);
        assert_eq!(code(Outcome::Stopped, 0), 0);
        assert_eq!(code(Outcome::Finished, 1), 3);
        assert_eq!(code(Outcome::Stopped, 1), 3);
        assert_eq!(code(Outcome::Failed("x".to_owned()), 0), 1);
        assert_eq!(code(Outcome::Failed("x".to_owned()), 5), 1);
    }
}
