//! What can be typed behind `crossdock dlq`.

use std::{
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::{Args, Subcommand, builder::PossibleValuesParser};
use jiff::{Timestamp, civil::Date, tz::TimeZone};

use crate::{
    app::{DeadLetterFilter, FaultKind},
    cli::arguments::{FlowArguments, StateFolder},
    flow::quantity::Time,
};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum DlqCommand {
    /// List dead letters, oldest first
    #[command(after_help = "\
Examples:
  crossdock dlq list
  crossdock dlq list --flow prices --stage map --since 2h
  crossdock dlq list --fault trap --limit 10 --json")]
    List(ListArguments),
    /// List dead letters that contain a text in their message, key or payload
    #[command(after_help = "\
Examples:
  crossdock dlq search 'expected a number'
  crossdock dlq search SKU-4711 --flow prices --json")]
    Search {
        /// The text; ASCII letters match in either case
        #[arg(value_name = "TEXT")]
        wanted: String,
        #[command(flatten)]
        list: ListArguments,
    },
    /// Show one dead letter with its record
    #[command(after_help = "\
Example:
  crossdock dlq show 17")]
    Show {
        /// Its number, from `crossdock dlq list`
        id: u64,
        #[command(flatten)]
        state: StateFolder,
        /// Print it as one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Change the record of a dead letter before it is replayed
    #[command(after_help = "\
Examples:
  crossdock dlq edit 17                          # opens the payload in $VISUAL or $EDITOR
  crossdock dlq edit 17 --payload mended.json
  jq '.price = 12.5' bad.json | crossdock dlq edit 17 --payload -
  crossdock dlq edit 17 --key SKU-4711")]
    Edit(EditArguments),
    /// Give dead letters to their flow again, from the stage that could not process them
    #[command(after_help = "\
Examples:
  crossdock dlq replay flows/prices.yaml 17 18
  crossdock dlq replay flows/prices.yaml --stage map --since 2h
  crossdock dlq replay flows/prices.yaml --all
  crossdock dlq replay flows/prices.yaml --stage map --all --with mapper@./mapper-2.wasm

The source is not read. Records keep their key, headers and operation, so that a sink that writes by key has each once.
A dead letter is gone when its record is settled; a record that fails again is a new dead letter. A sink that puts its
result in place at the end of a run does so at the end of the flow's next run.

Exit codes: 0 all settled, 1 failed, 2 usage or configuration error, 3 some failed again")]
    Replay(ReplayArguments),
    /// Remove dead letters for good
    #[command(after_help = "\
Examples:
  crossdock dlq discard 17 18
  crossdock dlq discard --flow prices --until 2026-01-31
  crossdock dlq discard --all")]
    Discard(DiscardArguments),
    /// Print dead letters as JSON lines, to keep them or to work on them
    #[command(after_help = "\
Examples:
  crossdock dlq export --flow prices --output dead.jsonl
  crossdock dlq export --fault permanent | jq -c .payload")]
    Export(ExportArguments),
}

impl DlqCommand {
    pub(in crate::cli) fn wants_json(&self) -> bool {
        match self {
            Self::List(list) | Self::Search { list, .. } => list.json,
            Self::Show { json, .. } => *json,
            Self::Edit(edit) => edit.json,
            Self::Replay(replay) => replay.json,
            Self::Discard(discard) => discard.json,
            Self::Export(_) => false,
        }
    }
}

/// Which dead letters.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which dead letters")]
pub(in crate::cli) struct Choice {
    /// Only those of this run
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) run: Option<String>,
    /// Only those of this stage
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) stage: Option<String>,
    /// Only those of this plugin
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) plugin: Option<String>,
    /// Only those of this version of the plugin
    #[arg(long, value_name = "VERSION")]
    pub(in crate::cli) plugin_version: Option<String>,
    /// Only those with this kind of fault
    #[arg(long, value_name = "KIND", value_parser = faults())]
    pub(in crate::cli) fault: Option<String>,
    /// Only those of this stream
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) stream: Option<String>,
    /// Only those made since then: a time (`2026-01-31T08:00:00Z`), a day (UTC), or how long ago (`2h`, `7d`)
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub(in crate::cli) since: Option<u64>,
    /// Only those made before then, written in the same way
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub(in crate::cli) until: Option<u64>,
    /// Only those with this text in their message, key or payload
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) text: Option<String>,
}

impl Choice {
    /// The filter, of all flows and without a limit.
    pub(in crate::cli) fn filter(self) -> DeadLetterFilter {
        DeadLetterFilter {
            run: self.run,
            stage: self.stage,
            plugin: self.plugin,
            version: self.plugin_version,
            fault: self.fault,
            stream: self.stream,
            since_ms: self.since,
            until_ms: self.until,
            text: self.text,
            limit: usize::MAX,
            ..DeadLetterFilter::default()
        }
    }
}

/// Those of which flow.
#[derive(Debug, Args)]
pub(in crate::cli) struct OfFlow {
    /// Only those of this flow
    #[arg(long, value_name = "NAME", help_heading = "Which dead letters")]
    pub(in crate::cli) flow: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ListArguments {
    #[command(flatten)]
    pub(in crate::cli) of: OfFlow,
    #[command(flatten)]
    pub(in crate::cli) choice: Choice,
    /// Only those behind this number
    #[arg(long, value_name = "ID", default_value_t = 0)]
    pub(in crate::cli) after: u64,
    /// At most this many
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub(in crate::cli) limit: usize,
    #[command(flatten)]
    pub(in crate::cli) state: StateFolder,
    /// Print them as one JSON document
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct EditArguments {
    /// Its number, from `crossdock dlq list`
    pub(in crate::cli) id: u64,
    /// The new payload: a file, or `-` for stdin
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) payload: Option<PathBuf>,
    /// The new key
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) key: Option<String>,
    /// The new headers
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) headers: Option<String>,
    /// What the payload is now
    #[arg(long, value_name = "FORM", value_parser = PossibleValuesParser::new(["json", "bytes"]))]
    pub(in crate::cli) form: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) state: StateFolder,
    /// Print what it is now as one JSON document
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ReplayArguments {
    #[command(flatten)]
    pub(in crate::cli) flow: FlowArguments,
    /// Their numbers, from `crossdock dlq list`
    pub(in crate::cli) ids: Vec<u64>,
    #[command(flatten)]
    pub(in crate::cli) choice: Choice,
    /// All of the flow that nothing else excludes
    #[arg(long, help_heading = "Which dead letters")]
    pub(in crate::cli) all: bool,
    /// Another version of their stage's plugin: a path (`new.wasm`, `mapper@new.wasm`) or the name of an installed one
    #[arg(long, value_name = "PLUGIN")]
    pub(in crate::cli) with: Option<String>,
    /// Print what came of it as one JSON document, and no progress
    #[arg(long)]
    pub(in crate::cli) json: bool,
    /// Print no progress
    #[arg(long, short)]
    pub(in crate::cli) quiet: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DiscardArguments {
    /// Their numbers, from `crossdock dlq list`
    pub(in crate::cli) ids: Vec<u64>,
    #[command(flatten)]
    pub(in crate::cli) of: OfFlow,
    #[command(flatten)]
    pub(in crate::cli) choice: Choice,
    /// All that nothing else excludes
    #[arg(long, help_heading = "Which dead letters")]
    pub(in crate::cli) all: bool,
    #[command(flatten)]
    pub(in crate::cli) state: StateFolder,
    /// Print how many they were as one JSON document
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArguments {
    /// Their numbers, from `crossdock dlq list`; all when none is given
    pub(in crate::cli) ids: Vec<u64>,
    #[command(flatten)]
    pub(in crate::cli) of: OfFlow,
    #[command(flatten)]
    pub(in crate::cli) choice: Choice,
    /// Write them to this file, which must not be there, instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub(in crate::cli) output: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) state: StateFolder,
}

/// What a dead letter can have as its fault.
fn faults() -> PossibleValuesParser {
    PossibleValuesParser::new(FaultKind::ALL.map(FaultKind::as_str))
}

/// A time, a day, or how long ago, as milliseconds since 1970.
fn moment(text: &str) -> Result<u64, String> {
    let millis = |stamp: Timestamp| u64::try_from(stamp.as_millisecond()).unwrap_or(0);
    if let Ok(stamp) = text.parse::<Timestamp>() {
        return Ok(millis(stamp));
    }
    if let Ok(day) = text.parse::<Date>()
        && let Ok(start) = day.to_zoned(TimeZone::UTC)
    {
        return Ok(millis(start.timestamp()));
    }
    let ago = text.parse::<Time>().map_err(|_| {
        "expected a time (`2026-01-31T08:00:00Z`), a day (`2026-01-31`), or how long ago (`2h`, `7d`)"
    })?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let then = now.saturating_sub(ago.0).as_millis();
    Ok(u64::try_from(then).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read() {
        assert_eq!(moment("1970-01-02"), Ok(86_400_000));
        assert_eq!(moment("1970-01-01T00:00:01Z"), Ok(1000));
        assert_eq!(moment("1970-01-01T01:00:00+01:00"), Ok(0));
        let hour_ago = moment("1h").unwrap();
        let now = moment("0s").unwrap();
        assert!((3_600_000..3_610_000).contains(&(now - hour_ago)));
        for wrong in ["yesterday", "", "2026-13-01", "12"] {
            assert!(moment(wrong).unwrap_err().contains("2026-01-31"), "{wrong}");
        }
    }
}
