//! Checks of a source.

use std::{sync::Arc, time::Duration};

use super::{
    check::{Check, Found, Wrong, check, during, failed, open},
    common::{self, positions, tells_faults_apart, unless_promised},
    place::Place,
    record::{Difference, Row, rows},
    subject::Subject,
};
use crate::{
    catalogue::manifest::Delivery,
    engine::{
        batch::Form,
        fault::Fault,
        stage::{Budget, Read, Source},
    },
    plugin::Limits,
};

/// More records are not looked at: a source that never ends is cut here.
const CAP: usize = 2000;
/// A source that has nothing this often in a row has ended for the kit.
const IDLE: usize = 20;
/// Longest pause that it may make of it.
const PAUSE: Duration = Duration::from_millis(20);
/// Places at which it is interrupted.
const SPLITS: usize = 14;
/// The stream under which unreadable input is compared.
const UNREADABLE: &str = "(unreadable)";

/// Every check, in the order in which they run.
pub(super) const CHECKS: &[Check] = &[
    check!(Basic "opens": "It takes the sample config: `check`, `open` and `close` work.", common::opens),
    check!(Basic "refuses-bad-config": "A wrong config is refused, by its schema or by a config fault that names the field.", common::refuses_bad_config),
    check!(Basic "check-has-no-side-effects": "`check` and `streams` change nothing.", common::check_has_no_side_effects),
    check!(Basic "keeps-to-its-streams": "Records are of the streams that `streams` names, with a key where it says so.", keeps_to_its_streams),
    check!(Basic "payloads-are-json": "Payloads of the form `json` are JSON.", payloads_are_json),
    check!(Basic "any-budget-gives-the-same": "Pages of 1, 2, 7 and 1000 records and of few bytes give the same records, and keep to the budget.", any_budget),
    check!(Basic "tells-faults-apart": "No connection is transient, a refused client is the operator's turn, nonsense is no trap.", tells_faults),
    check!(Resumable "gives-the-same-again": "Read twice, it gives the same records in the same order.", same_again),
    check!(Resumable "refuses-a-foreign-snapshot": "A snapshot that it cannot use is a config fault.", common::refuses_a_foreign_snapshot),
    check!(Resumable "resumes-without-gap": "Opened from a snapshot after any page, also after a crash, no record is left out.", without_gap),
    check!(Resumable "committed-may-come-again": "`committed` may come twice and after a crash, and changes nothing of what is read.", committed_again),
    check!(Resumable "survives-little-memory": "Out of memory it fails or goes on, but loses nothing.", little_memory),
    check!(Resumable "survives-little-time": "Out of time it fails or goes on, but loses nothing.", little_time),
    check!(ExactlyOnce "resumes-without-overlap": "Opened from a snapshot, no record comes again.", without_overlap),
    check!(ExactlyOnce "ends-for-good": "Opened from the snapshot at its end, an incremental stream gives nothing that it gave before.", ends_for_good),
];

/// What the resumptions have shown.
#[derive(Debug, Default)]
pub(super) struct Resumed {
    gap: Option<String>,
    overlap: Option<String>,
}

fn budget(records: usize) -> Budget {
    Budget {
        records: u32::try_from(records).unwrap_or(u32::MAX),
        bytes: 1 << 20,
        time: Duration::from_secs(1),
    }
}

/// How the records differ, and how the unreadable input does: a page does not say where between its records that was.
fn differ(expected: &[Row], found: &[Row]) -> Option<Difference> {
    let apart = |rows: &[Row]| {
        let (mut records, unreadable): (Vec<Row>, Vec<Row>) = rows
            .iter()
            .cloned()
            .partition(|row| &*row.stream != UNREADABLE);
        records.extend(unreadable);
        records
    };
    Difference::of(&apart(expected), &apart(found))
}

/// Reads up to this many pages, or all. Gives whether it has ended.
async fn read(
    source: &mut dyn Source,
    place: &Place,
    budget: Budget,
    pages: usize,
    into: &mut Vec<Row>,
) -> Result<bool, Fault> {
    let mut idle = 0;
    let mut read = 0;
    while read < pages && into.len() < CAP && idle < IDLE {
        match source.read(budget).await? {
            Read::End => return Ok(true),
            Read::Idle(pause) => {
                idle += 1;
                tokio::time::sleep(pause.min(PAUSE)).await;
            }
            Read::Page {
                records,
                unreadable,
            } => {
                place.keep(source);
                idle = 0;
                read += 1;
                into.extend(rows(&records));
                into.extend(unreadable.into_iter().map(|one| Row {
                    stream: UNREADABLE.into(),
                    key: one.fault.message.into_bytes(),
                    headers: one.fault.location.into_bytes(),
                    payload: one.data,
                    delete: false,
                }));
            }
        }
    }
    Ok(false)
}

/// Everything that it gives, in pages of this budget, and whether it has ended.
async fn whole(subject: &Subject, budget: Budget) -> Result<(Vec<Row>, bool), Wrong> {
    let place = subject.place()?;
    let mut source = subject
        .source(&place, Subject::limits())?
        .open(None)
        .await?;
    let mut all = Vec::new();
    let ended = read(&mut *source, &place, budget, usize::MAX, &mut all).await?;
    source.close().await;
    all.truncate(CAP);
    Ok((all, ended))
}

async fn some(subject: &Subject) -> Result<Vec<Row>, Wrong> {
    let (all, _) = whole(subject, budget(1000)).await?;
    if all.is_empty() {
        return open("it gives no records: conformance.yaml has to give it some");
    }
    Ok(all)
}

pub(super) async fn own_snapshot(subject: &Subject) -> Result<Vec<u8>, Wrong> {
    let place = subject.place()?;
    let mut source = subject
        .source(&place, Subject::limits())?
        .open(None)
        .await?;
    read(&mut *source, &place, budget(1), 1, &mut Vec::new()).await?;
    Ok(source.snapshot().await?)
}

async fn keeps_to_its_streams(subject: &Subject) -> Found {
    let place = subject.place()?;
    let context = subject.context(&place, Subject::limits());
    let known = subject.plugin.streams(&context).await?;
    let records = some(subject).await?;
    // A source that cannot know its streams names none.
    if known.is_empty() {
        return Ok(());
    }
    for row in records.iter().filter(|row| &*row.stream != UNREADABLE) {
        let Some(info) = known.iter().find(|info| *info.name == *row.stream) else {
            return failed(format!(
                "`streams` does not name the stream of {}",
                row.shown()
            ));
        };
        if !info.key.is_empty() && row.key.is_empty() {
            return failed(format!(
                "`streams` says that records have a key ({}), but this one has none: {}",
                info.key.join(", "),
                row.shown()
            ));
        }
    }
    Ok(())
}

async fn payloads_are_json(subject: &Subject) -> Found {
    let place = subject.place()?;
    let mut source = subject
        .source(&place, Subject::limits())?
        .open(None)
        .await?;
    let mut seen = 0;
    loop {
        match source.read(budget(1000)).await? {
            Read::Page { records, .. } if seen < CAP => {
                seen += records.len().max(1);
                if records.form() != Form::Json {
                    continue;
                }
                for row in rows(&records) {
                    let read = serde_json::from_slice::<serde::de::IgnoredAny>(&row.payload);
                    if let Err(error) = read {
                        return failed(format!("{error} in {}", row.shown()));
                    }
                    let headers = row.headers.is_empty()
                        || serde_json::from_slice::<std::collections::BTreeMap<String, String>>(
                            &row.headers,
                        )
                        .is_ok();
                    if !headers {
                        return failed(format!(
                            "the headers are no object of texts in {}",
                            row.shown()
                        ));
                    }
                }
            }
            _ => return Ok(()),
        }
    }
}

async fn any_budget(subject: &Subject) -> Found {
    let expected = some(subject).await?;
    let few_bytes = Budget {
        bytes: 1,
        ..budget(1000)
    };
    for (what, tight) in [
        ("1 record", budget(1)),
        ("2 records", budget(2)),
        ("7 records", budget(7)),
        ("1 byte", few_bytes),
    ] {
        let place = subject.place()?;
        let mut source = subject
            .source(&place, Subject::limits())?
            .open(None)
            .await?;
        let mut found = Vec::new();
        loop {
            let before = found.len();
            let ended = read(&mut *source, &place, tight, 1, &mut found).await?;
            let page = &found[before..];
            let page: Vec<&Row> = page
                .iter()
                .filter(|row| &*row.stream != UNREADABLE)
                .collect();
            if page.len() > tight.records as usize {
                return failed(format!(
                    "asked for {what}, it gives a page of {}",
                    page.len()
                ));
            }
            let bytes = |row: &&Row| row.key.len() + row.headers.len() + row.payload.len();
            let without_last = page.len().saturating_sub(1);
            if page.iter().take(without_last).map(bytes).sum::<usize>() >= tight.bytes as usize {
                return failed(format!(
                    "asked for {what}, it adds records though the page is full: {} of them",
                    page.len()
                ));
            }
            // An idle round gives nothing as well; `read` has waited for long enough then.
            if ended || found.len() == before || found.len() >= CAP {
                break;
            }
        }
        found.truncate(CAP);
        if let Some(difference) = differ(&expected, &found) {
            return failed(format!("in pages of {what}: {}", difference.shown()));
        }
    }
    Ok(())
}

async fn tells_faults(subject: &Subject) -> Found {
    tells_faults_apart(subject, true, |place| async move {
        let opener = subject.source(&place, Subject::limits()).ok()?;
        let mut source = match opener.open(None).await {
            Ok(source) => source,
            Err(fault) => return Some(fault),
        };
        let mut all = Vec::new();
        read(&mut *source, &place, budget(1000), usize::MAX, &mut all)
            .await
            .err()
    })
    .await
}

fn promised(subject: &Subject) -> bool {
    subject.declared() == Some(Delivery::Replayable)
}

async fn same_again(subject: &Subject) -> Found {
    let expected = some(subject).await?;
    // So that a clock that is looked at shows.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let again = some(subject).await?;
    match differ(&expected, &again) {
        None => Ok(()),
        Some(difference) => unless_promised(promised(subject), "replayable", difference.shown()),
    }
}

/// Interrupts it at many places, in the middle of an epoch, with a crash.
async fn resumed(subject: &Subject) -> Result<Resumed, Wrong> {
    let expected = some(subject).await?;
    let small = expected.len().div_ceil(24);
    let pages = expected.len().div_ceil(small);
    let mut resumed = Resumed::default();
    for split in positions(pages, SPLITS) {
        let found = crash(subject, budget(small), split, expected.len()).await?;
        let Some(difference) = differ(&expected, &found) else {
            continue;
        };
        let what = format!(
            "after a snapshot behind {split} pages of {small}: {}",
            difference.shown()
        );
        if difference.missing.is_some() {
            resumed.gap.get_or_insert(what);
        } else {
            resumed.overlap.get_or_insert(what);
        }
    }
    Ok(resumed)
}

async fn crash(
    subject: &Subject,
    small: Budget,
    split: usize,
    expected: usize,
) -> Result<Vec<Row>, Wrong> {
    let place = subject.place()?;
    let opener = subject.source(&place, Subject::limits())?;
    let mut seen = Vec::new();
    let mut first = opener.open(None).await?;
    read(&mut *first, &place, small, split, &mut seen).await?;
    let at = format!("after {split} pages");
    let snapshot = first
        .snapshot()
        .await
        .map_err(during(format!("`snapshot` {at}")))?;
    let tables = place.tables.checkpoint();
    // What is read behind the snapshot is lost, and `close` does not come.
    read(&mut *first, &place, small, 2, &mut Vec::new()).await?;
    drop(first);
    place.tables.restore(tables);
    let opened = opener.open(Some(&snapshot)).await;
    let mut second = opened.map_err(during(format!("`open` from the snapshot {at}")))?;
    second
        .committed(&snapshot)
        .await
        .map_err(during(format!("`committed` {at} and a crash")))?;
    // What comes again is to be seen, so not only as many as are missing.
    read(&mut *second, &place, budget(1000), usize::MAX, &mut seen).await?;
    second.close().await;
    if expected >= CAP {
        seen.truncate(CAP);
    }
    Ok(seen)
}

async fn memoized(subject: &Subject) -> Result<&Resumed, Wrong> {
    subject.resumed.get_or_try_init(|| resumed(subject)).await
}

async fn without_gap(subject: &Subject) -> Found {
    match &memoized(subject).await?.gap {
        None => Ok(()),
        Some(gap) => unless_promised(promised(subject), "replayable", gap.clone()),
    }
}

async fn without_overlap(subject: &Subject) -> Found {
    match &memoized(subject).await?.overlap {
        None => Ok(()),
        Some(overlap) => unless_promised(promised(subject), "replayable", overlap.clone()),
    }
}

async fn ends_for_good(subject: &Subject) -> Found {
    let place = subject.place()?;
    let opener = subject.source(&place, Subject::limits())?;
    let mut source = opener.open(None).await?;
    let mut all = Vec::new();
    if !read(&mut *source, &place, budget(1000), usize::MAX, &mut all).await? {
        return open("it does not end");
    }
    let end = source
        .snapshot()
        .await
        .map_err(during("`snapshot` at the end"))?;
    source
        .committed(&end)
        .await
        .map_err(during("`committed` at the end"))?;
    source.close().await;
    let mut later = opener
        .open(Some(&end))
        .await
        .map_err(during("`open` from the snapshot at the end"))?;
    let mut more = Vec::new();
    read(&mut *later, &place, budget(1000), usize::MAX, &mut more).await?;
    later.close().await;
    // A stream that is not incremental is read whole by every run.
    let context = subject.context(&place, Subject::limits());
    let known = subject.plugin.streams(&context).await?;
    let whole = |row: &Row| {
        let info = known.iter().find(|info| *info.name == *row.stream);
        info.is_some_and(|info| !info.incremental)
    };
    match more.iter().find(|row| !whole(row) && all.contains(row)) {
        None => Ok(()),
        Some(row) => unless_promised(
            promised(subject),
            "replayable",
            format!("a later run gives it again: {}", row.shown()),
        ),
    }
}

async fn committed_again(subject: &Subject) -> Found {
    let expected = some(subject).await?;
    let place = subject.place()?;
    let opener = subject.source(&place, Subject::limits())?;
    let mut source = opener.open(None).await?;
    let mut found = Vec::new();
    loop {
        let before = found.len();
        let ended = read(
            &mut *source,
            &place,
            budget(expected.len().div_ceil(4)),
            1,
            &mut found,
        )
        .await?;
        let snapshot = source.snapshot().await?;
        for time in ["once", "again"] {
            let told = source.committed(&snapshot).await;
            told.map_err(during(format!(
                "`committed` {time}, after {} records",
                found.len()
            )))?;
        }
        if ended || found.len() == before || found.len() >= CAP {
            source.close().await;
            let mut later = opener.open(Some(&snapshot)).await?;
            later
                .committed(&snapshot)
                .await
                .map_err(during("`committed` after a restart"))?;
            later.close().await;
            break;
        }
    }
    found.truncate(CAP);
    match differ(&expected, &found) {
        None => Ok(()),
        Some(difference) => failed(format!(
            "with `committed` after every page: {}",
            difference.shown()
        )),
    }
}

/// Reads with these limits until it fails, then with the usual ones from the last snapshot.
async fn under(subject: &Subject, expected: &[Row], limits: Limits, what: String) -> Found {
    let place = subject.place()?;
    let opener = subject.source(&place, limits)?;
    let mut found = Vec::new();
    let (mut snapshot, mut done) = (None, false);
    if let Ok(mut source) = opener.open(None).await {
        let small = budget(expected.len().div_ceil(4));
        loop {
            let before = found.len();
            let ended = read(&mut *source, &place, small, 1, &mut found).await;
            let at = match ended {
                Ok(ended) => source.snapshot().await.map(|at| (at, ended)),
                Err(fault) => Err(fault),
            };
            // What is behind the last snapshot is read again.
            let Ok((at, ended)) = at else {
                found.truncate(before);
                break;
            };
            snapshot = Some(at);
            done = ended;
            if ended || found.len() == before || found.len() >= CAP {
                break;
            }
        }
    }
    if !done {
        let opener = subject.source(&place, Subject::limits())?;
        let opened = opener.open(snapshot.as_deref()).await;
        let mut source = opened.map_err(during(format!("reopened after a failure {what}")))?;
        read(&mut *source, &place, budget(1000), usize::MAX, &mut found).await?;
        source.close().await;
    }
    found.truncate(CAP);
    match differ(expected, &found) {
        None => Ok(()),
        Some(difference) => failed(format!("{what}: {}", difference.shown())),
    }
}

async fn little_memory(subject: &Subject) -> Found {
    let expected = Arc::new(some(subject).await?);
    let place = subject.place()?;
    let mut source = subject
        .source(&place, Subject::limits())?
        .open(None)
        .await?;
    read(
        &mut *source,
        &place,
        budget(1000),
        usize::MAX,
        &mut Vec::new(),
    )
    .await?;
    let used = source.wear().memory;
    drop(source);
    common::with_little_memory(used, |limits, what| under(subject, &expected, limits, what)).await
}

async fn little_time(subject: &Subject) -> Found {
    let expected = some(subject).await?;
    common::with_little_time(|limits, what| under(subject, &expected, limits, what)).await
}
