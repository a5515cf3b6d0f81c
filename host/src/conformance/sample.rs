//! What a plugin makes of the sample records, for people who change it.

use std::{sync::Arc, time::Duration};

use super::{
    check::{Wrong, told},
    record::{Row, output, packed, rows},
    settings::Settings,
    subject::Subject,
};
use crate::{
    catalogue::Kind,
    engine::stage::{Budget, Read},
    plugin::{HttpSend, Plugin},
};

/// What became of one record, or one thing that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The record that went in, or the name of what was written.
    pub before: Option<String>,
    /// What came out.
    pub after: Vec<String>,
}

/// Runs the first sample records, at most `most`. A source gives its first ones.
///
/// # Errors
/// What the plugin failed with.
pub async fn sample(
    plugin: &Arc<Plugin>,
    kind: Kind,
    settings: &Settings,
    network: Option<Arc<dyn HttpSend>>,
    most: usize,
) -> Result<Vec<Shown>, String> {
    let subject = Subject::new(Arc::clone(plugin), kind, settings.kind(kind), network);
    let shown = match kind {
        Kind::Source => source(&subject, most).await,
        Kind::Transformer => transformer(&subject, most).await,
        Kind::Sink => sink(&subject, most).await,
    };
    shown.map_err(|wrong| {
        let (Wrong::Failed(why) | Wrong::Skipped(why) | Wrong::Open(why)) = wrong;
        why
    })
}

async fn source(subject: &Subject, most: usize) -> Result<Vec<Shown>, Wrong> {
    let place = subject.place()?;
    let mut source = subject
        .source(&place, Subject::limits())?
        .open(None)
        .await?;
    let budget = Budget {
        records: u32::try_from(most).unwrap_or(u32::MAX),
        bytes: 1 << 20,
        time: Duration::from_secs(1),
    };
    let mut shown = Vec::new();
    while shown.len() < most {
        let Read::Page {
            records,
            unreadable,
        } = source.read(budget).await?
        else {
            break;
        };
        shown.extend(rows(&records).map(|row| Shown {
            before: None,
            after: vec![row.shown()],
        }));
        shown.extend(unreadable.into_iter().map(|one| {
            Shown {
                before: Some(
                    String::from_utf8_lossy(&one.data)
                        .chars()
                        .take(120)
                        .collect(),
                ),
                after: vec![format!("unreadable: {}", one.fault)],
            }
        }));
    }
    shown.truncate(most);
    source.close().await;
    Ok(shown)
}

/// The first sample records, one by one.
fn firsts(subject: &Subject, most: usize) -> Vec<Row> {
    let all = subject.batches(1);
    all.iter().flat_map(rows).take(most).collect()
}

async fn transformer(subject: &Subject, most: usize) -> Result<Vec<Shown>, Wrong> {
    let place = subject.place()?;
    let opener = subject.transformer(&place, Subject::limits())?;
    let mut transformer = opener.open(None).await?;
    let mut shown = Vec::new();
    for row in firsts(subject, most) {
        let mut after = Vec::new();
        for batch in packed(std::slice::from_ref(&row), 1) {
            match transformer.apply(&batch).await {
                Ok(applied) => {
                    after.extend(output(&batch, &applied).iter().map(Row::shown));
                    let rejected = applied.rejected.iter();
                    after.extend(rejected.map(|one| format!("rejected: {}", one.fault)));
                    let filtered = applied.filtered.iter();
                    after.extend(filtered.map(|tally| format!("filtered: {}", tally.reason)));
                }
                Err(fault) => {
                    after.push(told(&fault));
                    transformer = opener.open(None).await?;
                }
            }
            place.keep(&mut *transformer);
        }
        shown.push(Shown {
            before: Some(row.shown()),
            after,
        });
    }
    Ok(shown)
}

async fn sink(subject: &Subject, most: usize) -> Result<Vec<Shown>, Wrong> {
    let place = subject.place()?;
    let mut sink = subject.sink(&place, Subject::limits())?.open(None).await?;
    let mut shown = Vec::new();
    for batch in packed(&firsts(subject, most), 1000) {
        let written = sink.write(&batch).await?;
        place.keep(&mut *sink);
        for one in written.rejected {
            let row = rows(&batch).nth(one.index as usize);
            shown.push(Shown {
                before: row.map(|row| row.shown()),
                after: vec![format!("rejected: {}", one.fault)],
            });
        }
    }
    sink.finish().await?;
    let snapshot = sink.snapshot().await?;
    sink.commit(&snapshot).await?;
    sink.close().await;
    let content = place.content().map_err(super::common::unreadable)?;
    shown.extend(content.into_iter().map(|(name, bytes)| {
        Shown {
            before: Some(name),
            after: String::from_utf8_lossy(&bytes)
                .lines()
                .take(most)
                .map(str::to_owned)
                .collect(),
        }
    }));
    Ok(shown)
}
