//! `crossdock dlq`: records that could not be processed.

pub(super) mod arguments;
mod edit;
mod letters;
mod show;

use std::{
    fs::File,
    io::{BufWriter, Write},
};

use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::arguments::{
    DiscardArguments, DlqCommand, ExportArguments, ListArguments, OfFlow, ReplayArguments,
};
use self::letters::{Exported, Letters};
use super::{
    Failure, folders,
    output::Output,
    progress, run,
    style::{self, BAD, GOOD, STRONG, WARN, counted},
};
use crate::{
    api::client::Client,
    app::{
        Action, DeadLetter, DeadLetterDocument, DeadLetterFilter, DeadLetters, Progress, Project,
        ReplayOptions, ReplaySummary, cli_actor,
    },
};

pub(super) async fn dlq(command: DlqCommand, output: Output) -> Result<u8, Failure> {
    match command {
        DlqCommand::List(arguments) => list(arguments, output).await,
        DlqCommand::Search {
            wanted,
            list: mut arguments,
        } => {
            arguments.choice.text = Some(wanted);
            list(arguments, output).await
        }
        DlqCommand::Show { id, state, json } => {
            let letter = Letters::open(state.state).await?.show(id).await?;
            tell(&letter, json, output);
            Ok(0)
        }
        DlqCommand::Edit(arguments) => edit::edit(arguments, output).await,
        DlqCommand::Replay(arguments) => replay(arguments, output).await,
        DlqCommand::Discard(arguments) => discard(arguments, output).await,
        DlqCommand::Export(arguments) => export(arguments, output).await,
    }
}

#[derive(Serialize)]
struct List<'a> {
    ok: bool,
    dead_letters: Vec<DeadLetterDocument<'a>>,
}

#[derive(Serialize)]
struct One<'a> {
    ok: bool,
    dead_letter: DeadLetterDocument<'a>,
}

fn tell(letter: &DeadLetter, json: bool, output: Output) {
    if json {
        output.print_json(&One {
            ok: true,
            dead_letter: DeadLetterDocument::of(letter),
        });
    } else {
        output.print(&show::shown(letter, output.paint));
    }
}

async fn list(arguments: ListArguments, output: Output) -> Result<u8, Failure> {
    let letters = Letters::open(arguments.state.state).await?;
    let filter = DeadLetterFilter {
        flow: arguments.of.flow,
        after: arguments.after,
        limit: arguments.limit,
        // A table shows nothing of the record but its key.
        brief: !arguments.json,
        ..arguments.choice.filter()
    };
    let found = letters.list(&filter).await?;
    if arguments.json {
        output.print_json(&List {
            ok: true,
            dead_letters: found.iter().map(DeadLetterDocument::of).collect(),
        });
    } else {
        output.print(&show::listed(&found, filter.limit));
    }
    Ok(0)
}

/// What a command works on. Everything must be asked for, so that a forgotten filter takes nothing away.
fn chosen(
    filter: DeadLetterFilter,
    of: Option<OfFlow>,
    ids: Vec<u64>,
    all: bool,
) -> Result<DeadLetterFilter, Failure> {
    let filter = DeadLetterFilter {
        flow: of.and_then(|of| of.flow),
        ids: ids.into_iter().collect(),
        ..filter
    };
    if all || !filter.is_all() {
        return Ok(filter);
    }
    Err(Failure::Usage(
        "say which dead letters: their numbers, a filter such as --stage, or --all".to_owned(),
    ))
}

async fn discard(arguments: DiscardArguments, output: Output) -> Result<u8, Failure> {
    let filter = chosen(
        arguments.choice.filter(),
        Some(arguments.of),
        arguments.ids,
        arguments.all,
    )?;
    let discarded = Letters::open(arguments.state.state)
        .await?
        .discard(&filter)
        .await?;
    if arguments.json {
        output.print_json(&json!({ "ok": true, "discarded": discarded }));
    } else {
        let what = counted(discarded, "dead letter");
        output.print(&format!("{what} discarded\n"));
    }
    Ok(0)
}

async fn export(arguments: ExportArguments, output: Output) -> Result<u8, Failure> {
    let filter = chosen(
        arguments.choice.filter(),
        Some(arguments.of),
        arguments.ids,
        true,
    )?;
    let letters = Letters::open(arguments.state.state).await?;
    let Some(file) = arguments.output else {
        letters.export(&filter, &mut std::io::stdout()).await?;
        return Ok(0);
    };
    let made = File::create_new(&file).map_err(|source| {
        let place = style::path(&file);
        Failure::Usage(format!("cannot make {place}: {source}"))
    })?;
    let mut out = BufWriter::new(made);
    let Exported::All(exported) = letters.export(&filter, &mut out).await? else {
        return Ok(0);
    };
    let synced = out.flush().and_then(|()| out.get_ref().sync_all());
    synced.map_err(|source| Failure::Io {
        action: "the dead letters cannot be written",
        source,
    })?;
    output.tell(&format!(
        "{} exported to {}",
        counted(exported, "dead letter"),
        style::path(&file)
    ));
    Ok(0)
}

async fn replay(arguments: ReplayArguments, output: Output) -> Result<u8, Failure> {
    let filter = chosen(
        arguments.choice.filter(),
        None,
        arguments.ids,
        arguments.all,
    )?;
    let project = Project::open(&folders::options(arguments.flow))?;
    let flow = project.plan().name.clone();
    let state = project.state_dir().to_owned();
    if let Some(daemon) = Client::find(&state).await? {
        let summary = letters::replay(&daemon, &flow, &filter, arguments.with).await?;
        return Ok(tell_replay(&summary, arguments.json, output));
    }
    let letters = DeadLetters::open(&folders::existing(Some(state))?)?;
    let stop = CancellationToken::new();
    let (sender, receiver) = watch::channel(Progress::default());
    let shown = (!arguments.quiet && !arguments.json).then(|| {
        let flow = flow.clone();
        tokio::spawn(async move { progress::show(receiver, &flow, output).await })
    });
    let options = ReplayOptions {
        filter,
        with: arguments.with,
        actor: cli_actor(),
        stop: stop.clone(),
        progress: sender,
    };
    let replaying = Box::pin(project.replay(&letters, options));
    let ended = run::until_aborted(replaying, &stop, output).await?;
    if let Some(shown) = shown {
        // It ends with the sender, which is gone with the run; that it panicked changes nothing about the run.
        let _ = shown.await;
    }
    let detail = match &ended {
        None => "aborted; what a checkpoint had settled by then is settled".to_owned(),
        Some(Err(error)) => format!("failed: {error}"),
        Some(Ok(summary)) => format!(
            "{} given again, {} settled",
            summary.records, summary.settled
        ),
    };
    letters::on_record(&letters, Action::DeadLettersReplayed, Some(&flow), detail)?;
    let Some(result) = ended else {
        if arguments.json {
            output.print_json(&run::aborted(&flow));
        }
        output.tell(&format!(
            "{} {flow} aborted; dead letters that were not settled are still there",
            output.paint_errors.with(BAD, "×")
        ));
        return Ok(run::ABORTED);
    };
    let summary = result?;
    Ok(tell_replay(&summary, arguments.json, output))
}

fn tell_replay(summary: &ReplaySummary, json: bool, output: Output) -> u8 {
    if json {
        output.print_json(&Told { ok: true, summary });
    } else {
        output.print(&replayed(summary, output));
    }
    if summary.failed > 0 { 3 } else { 0 }
}

#[derive(Serialize)]
struct Told<'a> {
    ok: bool,
    #[serde(flatten)]
    summary: &'a ReplaySummary,
}

fn replayed(summary: &ReplaySummary, output: Output) -> String {
    let paint = output.paint;
    let flow = paint.with(STRONG, &summary.flow);
    let (style, mark) = if summary.failed > 0 || summary.stopped {
        (WARN, "!")
    } else {
        (GOOD, "✓")
    };
    let mark = paint.with(style, mark);
    let given = counted(summary.records, "dead letter");
    let stopped = if summary.stopped {
        "; stopped before all were given, the rest is still there"
    } else {
        ""
    };
    let (settled, failed) = (summary.settled, summary.failed);
    format!("{mark} {flow} replayed {given}: {settled} settled, {failed} failed again{stopped}\n")
}
