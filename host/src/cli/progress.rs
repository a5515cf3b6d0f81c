//! How a run goes, live: lines that are redrawn on a terminal, one line every few seconds elsewhere.

use std::{
    io::{self, Write},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};
use tracing_subscriber::fmt::MakeWriter;

use super::{
    output::Output,
    style::{self, FAINT, Paint, STRONG, WARN, count},
};
use crate::app::{Phase, Progress, StageProgress};

/// Between two redrawn screens.
const LIVE: Duration = Duration::from_millis(125);
/// Between two plain lines.
const PLAIN: Duration = Duration::from_secs(5);

/// The lines on the terminal now. Log lines are put above them.
static SCREEN: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// Shows progress until the sender is gone or the future is dropped.
pub(super) async fn show(mut progress: watch::Receiver<Progress>, flow: &str, output: Output) {
    if output.live {
        let screen = Screen::open(flow, output.paint_errors);
        let mut tick = interval(LIVE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while progress.has_changed().is_ok() {
            tick.tick().await;
            screen.draw(&progress.borrow_and_update().clone());
        }
    } else {
        let mut next = Instant::now() + PLAIN;
        loop {
            tokio::select! {
                changed = progress.changed() => if changed.is_err() { return },
                () = tokio::time::sleep_until(next) => {
                    next += PLAIN;
                    let now = progress.borrow_and_update().clone();
                    output.tell(&plain(flow, &now));
                }
            }
        }
    }
}

/// Before there are stages.
const OPENING: &str = "opening the plugins; the first time they are compiled";

/// One line about everything.
fn plain(flow: &str, progress: &Progress) -> String {
    if progress.stages.is_empty() {
        return format!("{flow}: {OPENING}");
    }
    let stages: Vec<String> = progress
        .stages
        .iter()
        .enumerate()
        .map(|(position, stage)| {
            let rejected = match stage.rejected {
                0 => String::new(),
                rejected => format!(" ({} rejected)", count(rejected)),
            };
            format!(
                "{} {}{rejected}",
                stage.name,
                count(if position == 0 {
                    stage.records_out
                } else {
                    stage.records_in
                })
            )
        })
        .collect();
    format!(
        "{flow}: {} ({}), {}, checkpoint {}",
        phase(progress.phase),
        style::seconds(progress.seconds),
        stages.join(", "),
        progress.epoch
    )
}

/// The first line and one per stage, aligned.
fn lines(flow: &str, progress: &Progress, paint: Paint) -> Vec<String> {
    if progress.stages.is_empty() {
        return vec![format!("{} {OPENING}", paint.with(STRONG, flow))];
    }
    let mut lines = vec![format!(
        "{} {} · {} · checkpoint {} · {} in flight ({})",
        paint.with(STRONG, flow),
        phase(progress.phase),
        style::seconds(progress.seconds),
        progress.epoch,
        match progress.in_flight_batches {
            1 => "1 batch".to_owned(),
            batches => format!("{} batches", count(batches as u64)),
        },
        style::bytes(progress.in_flight_bytes as u64),
    )];
    let width = |text: fn(&StageProgress) -> &str| {
        progress
            .stages
            .iter()
            .map(|stage| text(stage).chars().count())
            .max()
            .unwrap_or_default()
    };
    let (names, plugins) = (width(|stage| &stage.name), width(|stage| &stage.plugin));
    for (position, stage) in progress.stages.iter().enumerate() {
        let last = position + 1 == progress.stages.len();
        let records = if position == 0 {
            stage.records_out
        } else {
            stage.records_in
        };
        #[allow(clippy::cast_precision_loss, reason = "shown rounded")]
        let rate = if progress.seconds > 0.0 {
            records as f64 / progress.seconds
        } else {
            0.0
        };
        let mut line = format!(
            "{} {:names$}  {}  {:>12}  {:>11}  {:>11}",
            if last { "└" } else { "├" },
            stage.name,
            paint.with(FAINT, format!("{:plugins$}", stage.plugin)),
            count(records),
            style::rate(rate),
            style::bytes(stage.bytes),
        );
        if stage.rejected > 0 {
            let rejected = format!("{} rejected", count(stage.rejected));
            line = format!("{line}  {}", paint.with(WARN, rejected));
        }
        lines.push(line);
    }
    lines
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Opening => "opening",
        Phase::Running => "running",
        Phase::Waiting => "waiting for records",
        Phase::Paused => "paused",
        Phase::Draining => "draining",
        Phase::Done => "done",
    }
}

/// Lines on the terminal that are redrawn, and gone when this is dropped.
struct Screen {
    multi: MultiProgress,
    lines: Mutex<Vec<ProgressBar>>,
    flow: String,
    paint: Paint,
}

impl Screen {
    fn open(flow: &str, paint: Paint) -> Self {
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        *SCREEN.lock().unwrap_or_else(PoisonError::into_inner) = Some(multi.clone());
        Self {
            multi,
            lines: Mutex::new(Vec::new()),
            flow: flow.to_owned(),
            paint,
        }
    }

    fn draw(&self, progress: &Progress) {
        let mut bars = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        for (position, line) in lines(&self.flow, progress, self.paint)
            .into_iter()
            .enumerate()
        {
            if bars.len() <= position {
                let bar = ProgressBar::new_spinner();
                // The template is a constant that is known to parse; the default one would show a spinner only.
                if let Ok(style) = ProgressStyle::with_template("{msg}") {
                    bar.set_style(style);
                }
                bars.push(self.multi.add(bar));
            }
            if let Some(bar) = bars.get(position) {
                bar.set_message(line);
                bar.tick();
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        *SCREEN.lock().unwrap_or_else(PoisonError::into_inner) = None;
        // A terminal that is gone needs no cleaning.
        let _ = self.multi.clear();
    }
}

/// Writes log lines to stderr, above the live lines when there are some.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let screen = SCREEN
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match screen {
            Some(screen) => screen.suspend(|| io::stderr().lock().write(bytes)),
            None => io::stderr().lock().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

impl MakeWriter<'_> for LogWriter {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress() -> Progress {
        let stage = |name: &str, plugin: &str, records_in, records_out, rejected| StageProgress {
            name: name.to_owned(),
            plugin: plugin.to_owned(),
            records_in,
            records_out,
            rejected,
            batches: 12,
            bytes: 3_500_000,
        };
        Progress {
            phase: Phase::Running,
            stages: vec![
                stage("akeneo", "akeneo", 0, 12_060, 0),
                stage("map-products", "mapper", 11_000, 10_990, 3),
                stage("spryker-csv", "spryker-csv", 10_500, 0, 0),
            ],
            epoch: 4,
            in_flight_batches: 1,
            in_flight_bytes: 1_048_576,
            seconds: 2.5,
        }
    }

    #[test]
    fn progress_is_shown_in_lines() {
        insta::assert_snapshot!(
            lines("akeneo-to-spryker", &progress(), Paint { on: false }).join("\n")
        );
        insta::assert_snapshot!(plain("akeneo-to-spryker", &progress()));
        let paint = Paint { on: false };
        insta::assert_snapshot!(lines("a", &Progress::default(), paint).join("\n"));
        insta::assert_snapshot!(plain("a", &Progress::default()));
    }

    #[tokio::test]
    async fn showing_ends_with_the_run() {
        let (sender, receiver) = watch::channel(progress());
        let paint = Paint { on: false };
        let output = Output {
            paint,
            paint_errors: paint,
            live: false,
        };
        let shown = tokio::spawn(show(receiver, "a", output));
        drop(sender);
        shown.await.unwrap();
    }
}
