//! Dead letters wherever they are: in the store of a state folder, or with the daemon that holds it.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use serde_json::{Value, json};

use crate::{
    api::{Choice, client::Client},
    app::{
        self, Action, AuditEntry, DeadLetter, DeadLetterDocument, DeadLetterFilter, DeadLetters,
        Edit, ReplaySummary,
    },
    cli::{Failure, folders, style::counted},
};

/// Dead letters that one question to a daemon brings.
const PAGE: usize = 250;

/// See the module's documentation.
pub(super) enum Letters {
    /// Nobody else has the store.
    Own(DeadLetters),
    /// The daemon has it.
    Daemon(Client),
}

impl Letters {
    /// Those of a state folder.
    pub(super) async fn open(state: Option<PathBuf>) -> Result<Self, Failure> {
        let folder = folders::existing(state)?;
        match Client::find(&folder).await? {
            Some(daemon) => Ok(Self::Daemon(daemon)),
            None => Ok(Self::Own(DeadLetters::open(&folder)?)),
        }
    }

    pub(super) async fn list(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetter>, Failure> {
        let daemon = match self {
            Self::Own(letters) => return Ok(letters.list(filter)?),
            Self::Daemon(daemon) => daemon,
        };
        let (mut found, mut filter) = (Vec::new(), filter.clone());
        let mut left = filter.limit;
        while left > 0 {
            filter.limit = left.min(PAGE);
            let page = page(daemon, &filter).await?;
            left -= page.len().min(left);
            // A page may end before its limit: what is in it is bounded as well.
            let Some(last) = page.last() else { break };
            filter.after = last.id;
            found.extend(page);
        }
        Ok(found)
    }

    pub(super) async fn show(&self, id: u64) -> Result<DeadLetter, Failure> {
        match self {
            Self::Own(letters) => Ok(letters.show(id)?),
            Self::Daemon(daemon) => Ok(daemon
                .get(&format!("dead-letters/{id}?stored=true"))
                .await?),
        }
    }

    pub(super) async fn edit(&self, id: u64, edit: Edit) -> Result<DeadLetter, Failure> {
        match self {
            Self::Own(letters) => {
                let letter = letters.edit(id, edit.clone()).await?;
                let entry = app::edited(&letter, &edit, &app::cli_actor());
                noted(letters, entry)?;
                Ok(letter)
            }
            Self::Daemon(daemon) => {
                let asked = format!("dead-letters/{id}?stored=true");
                Ok(daemon.patch(&asked, &edit).await?)
            }
        }
    }

    pub(super) async fn discard(&self, filter: &DeadLetterFilter) -> Result<u64, Failure> {
        match self {
            Self::Own(letters) => {
                let discarded = letters.discard(filter).await?;
                let detail = counted(discarded, "dead letter");
                on_record(
                    letters,
                    Action::DeadLettersDiscarded,
                    filter.flow.as_deref(),
                    detail,
                )?;
                Ok(discarded)
            }
            Self::Daemon(daemon) => {
                let mut choice = serde_json::to_value(Choice::of(filter)).unwrap_or_default();
                // The command line has made sure of what is meant.
                choice["all"] = Value::Bool(true);
                let done: Value = daemon.post("dead-letters/discard", &choice).await?;
                Ok(done["discarded"].as_u64().unwrap_or(0))
            }
        }
    }

    pub(super) async fn export(
        &self,
        filter: &DeadLetterFilter,
        out: &mut (dyn Write + Send),
    ) -> Result<Exported, Failure> {
        let daemon = match self {
            Self::Own(letters) => {
                return match letters.export(filter, out).await {
                    Err(error) if error.is_broken_pipe() => Ok(Exported::NobodyReads),
                    exported => Ok(Exported::All(exported?)),
                };
            }
            Self::Daemon(daemon) => daemon,
        };
        for id in &filter.ids {
            self.show(*id).await?;
        }
        let (mut filter, mut written) = (filter.clone(), 0);
        let mut left = filter.limit;
        while left > 0 {
            filter.limit = left.min(PAGE);
            let page = page(daemon, &filter).await?;
            let Some(last) = page.last() else { break };
            filter.after = last.id;
            for letter in &page {
                match DeadLetterDocument::of(letter).write_line(out) {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                        return Ok(Exported::NobodyReads);
                    }
                    written_line => written_line.map_err(unwritten)?,
                }
                written += 1;
            }
            left -= page.len().min(left);
        }
        out.flush().map_err(unwritten)?;
        Ok(Exported::All(written))
    }
}

/// What came of an export.
pub(super) enum Exported {
    /// This many were written.
    All(u64),
    /// Whoever read it has gone (`| head`).
    NobodyReads,
}

fn unwritten(source: io::Error) -> Failure {
    Failure::Io {
        action: "the dead letters cannot be written",
        source,
    }
}

async fn page(daemon: &Client, filter: &DeadLetterFilter) -> Result<Vec<DeadLetter>, Failure> {
    let asked = format!("dead-letters?{}&stored=true", Choice::of(filter).query());
    Ok(daemon.get(&asked).await?)
}

/// Gives dead letters of a flow to the daemon's run of it.
pub(super) async fn replay(
    daemon: &Client,
    flow: &str,
    filter: &DeadLetterFilter,
    with: Option<String>,
) -> Result<ReplaySummary, Failure> {
    let mut body = serde_json::to_value(Choice::of(filter)).unwrap_or_default();
    if let Some(with) = with {
        body["with"] = json!(with);
    }
    let asked = crate::cli::flow::path(flow, "/replay");
    Ok(daemon.post(&asked, &body).await?)
}

/// Puts what was done into the audit log. A daemon does it itself.
pub(super) fn on_record(
    letters: &DeadLetters,
    action: Action,
    flow: Option<&str>,
    detail: String,
) -> Result<(), Failure> {
    let entry = AuditEntry::new(action, app::cli_actor());
    noted(letters, entry.flow(flow.unwrap_or_default()).detail(detail))
}

fn noted(letters: &DeadLetters, entry: AuditEntry) -> Result<(), Failure> {
    match letters.store().path() {
        Some(state) => Ok(app::note(state, entry)?),
        None => Ok(()),
    }
}
