//! Checks of a sink.

use std::collections::BTreeMap;

use super::{
    check::{Check, Found, Wrong, check, during, failed, open, skipped},
    common::{self, positions, tells_faults_apart, unless_promised, unreadable},
    place::{Content, Place},
    record::{Odd, odd_ones, others, packed},
    subject::Subject,
    transformer::{Fate, few, judge, mixed},
};
use crate::{
    catalogue::manifest::Delivery,
    engine::{
        batch::{Batch, Form},
        fault::Fault,
        stage::Sink,
    },
    plugin::Limits,
};

/// Places at which it crashes.
const SPLITS: usize = 6;

/// Every check, in the order in which they run.
pub(super) const CHECKS: &[Check] = &[
    check!(Basic "opens": "It takes the sample config: `check`, `open` and `close` work.", common::opens),
    check!(Basic "refuses-bad-config": "A wrong config is refused, by its schema or by a config fault that names the field.", common::refuses_bad_config),
    check!(Basic "check-has-no-side-effects": "`check` changes nothing.", common::check_has_no_side_effects),
    check!(Basic "any-batch-size-gives-the-same": "Batches of 1, 2, 7, 1000 and no records, and any number of checkpoints, leave the same.", any_batch_size),
    check!(Basic "an-empty-run-works": "A run without records works, and one behind a finished run changes nothing.", empty_run),
    check!(Basic "takes-any-payload": "Unicode, empty, huge, binary, broken: a record is taken or refused, and never a trap.", any_payload),
    check!(Basic "rejects-by-index": "A record that cannot be written is rejected by its position; its neighbours are written.", by_index),
    check!(Basic "tells-faults-apart": "No connection is transient, a refused client is the operator's turn, nonsense is no trap.", tells_faults),
    check!(Resumable "refuses-a-foreign-snapshot": "A snapshot that it cannot use is a config fault.", common::refuses_a_foreign_snapshot),
    check!(Resumable "loses-nothing-after-a-crash": "Opened from a snapshot behind any batch, after a crash, every record is written.", loses_nothing),
    check!(Resumable "commit-may-come-again": "`commit` may come twice and after a crash, and changes nothing the second time.", commit_again),
    check!(Resumable "survives-little-memory": "Out of memory it fails or goes on, but loses nothing.", little_memory),
    check!(Resumable "survives-little-time": "Out of time it fails or goes on, but loses nothing.", little_time),
    check!(ExactlyOnce "a-replay-writes-nothing-twice": "After a crash the same records come again, and what it leaves is as without the crash.", nothing_twice),
    check!(ExactlyOnce "discards-what-came-later": "What was written behind the snapshot is discarded, also when other records follow.", discards),
];

/// What crashes have shown.
#[derive(Debug, Default)]
pub(super) struct Crashed {
    lost: Option<String>,
    differs: Option<String>,
}

async fn write(sink: &mut dyn Sink, place: &Place, batches: &[Batch]) -> Result<usize, Fault> {
    let mut written = 0;
    for batch in batches {
        let answer = sink.write(batch).await?;
        place.keep(sink);
        written += batch.len() - answer.rejected.len();
    }
    Ok(written)
}

async fn checkpoint(sink: &mut dyn Sink, place: &Place) -> Result<Vec<u8>, Fault> {
    let snapshot = sink.snapshot().await?;
    sink.commit(&snapshot).await?;
    place.keep(sink);
    Ok(snapshot)
}

async fn end(sink: &mut dyn Sink, place: &Place) -> Result<Vec<u8>, Wrong> {
    sink.finish().await.map_err(during("`finish`"))?;
    let snapshot = checkpoint(sink, place)
        .await
        .map_err(during("the last checkpoint"))?;
    sink.close().await;
    Ok(snapshot)
}

/// What an undisturbed run leaves. With `often` there is a checkpoint behind every batch.
async fn whole(subject: &Subject, batches: &[Batch], often: bool) -> Result<Content, Wrong> {
    let place = subject.place()?;
    let mut sink = subject.sink(&place, Subject::limits())?.open(None).await?;
    for (at, batch) in batches.iter().enumerate() {
        let what = format!(
            "batch {at} ({} records of `{}`)",
            batch.len(),
            batch.stream()
        );
        let one = std::slice::from_ref(batch);
        write(&mut *sink, &place, one).await.map_err(during(what))?;
        if often {
            checkpoint(&mut *sink, &place)
                .await
                .map_err(during(format!("a checkpoint behind batch {at}")))?;
        }
    }
    end(&mut *sink, &place).await?;
    place.content().map_err(unreadable)
}

/// The sample records, and what they leave.
async fn samples(subject: &Subject) -> Result<(Vec<Batch>, Content), Wrong> {
    let batches = subject.batches(3);
    let place = subject.place()?;
    let mut sink = subject.sink(&place, Subject::limits())?.open(None).await?;
    let written = write(&mut *sink, &place, &batches).await?;
    end(&mut *sink, &place).await?;
    if written == 0 {
        return open(
            "it refuses all of the sample records: conformance.yaml has to give it some that fit",
        );
    }
    Ok((batches, place.content().map_err(unreadable)?))
}

pub(super) async fn own_snapshot(subject: &Subject) -> Result<Vec<u8>, Wrong> {
    let place = subject.place()?;
    let mut sink = subject.sink(&place, Subject::limits())?.open(None).await?;
    write(&mut *sink, &place, &subject.batches(7)).await?;
    Ok(sink.snapshot().await?)
}

/// What is there in one and not in the other, as one sentence.
fn difference(expected: &Content, found: &Content) -> Option<String> {
    if let Some(name) = expected.keys().find(|name| !found.contains_key(*name)) {
        return Some(format!("{name} is missing"));
    }
    if let Some(name) = found.keys().find(|name| !expected.contains_key(*name)) {
        return Some(format!("{name} is there as well"));
    }
    let (name, mine, theirs) = expected.iter().find_map(|(name, mine)| {
        let theirs = found.get(name)?;
        (mine != theirs).then_some((name, mine, theirs))
    })?;
    let line = mine
        .split(|byte| *byte == b'\n')
        .zip(theirs.split(|byte| *byte == b'\n'))
        .position(|(a, b)| a != b);
    let place = line.map_or_else(String::new, |line| format!(", first in line {}", line + 1));
    Some(format!(
        "{name} has {} bytes instead of {}{place}",
        theirs.len(),
        mine.len()
    ))
}

/// What is in one and not in the other, line by line.
fn lost(expected: &Content, found: &Content) -> Option<String> {
    for (name, mine) in expected {
        let Some(theirs) = found.get(name) else {
            return Some(format!("{name} is missing"));
        };
        let mut lines: BTreeMap<&[u8], usize> = BTreeMap::new();
        for line in theirs.split(|byte| *byte == b'\n') {
            *lines.entry(line).or_default() += 1;
        }
        for line in mine.split(|byte| *byte == b'\n') {
            match lines.get_mut(line) {
                Some(count) if *count > 0 => *count -= 1,
                _ => {
                    let line: String = String::from_utf8_lossy(line).chars().take(120).collect();
                    return Some(format!("{name} lacks {line:?}"));
                }
            }
        }
    }
    None
}

async fn any_batch_size(subject: &Subject) -> Found {
    let (_, expected) = samples(subject).await?;
    if let Some(why) = subject.unseen() {
        return skipped(why);
    }
    for (size, often) in [(1, false), (2, true), (7, true), (1000, false)] {
        let batches = subject.batches(size);
        // With an empty one in front of each.
        let all: Vec<Batch> = batches
            .into_iter()
            .flat_map(|batch| {
                [
                    Batch::empty(std::sync::Arc::clone(batch.stream()), Form::Json),
                    batch,
                ]
            })
            .collect();
        let found = whole(subject, &all, often).await?;
        if let Some(difference) = difference(&expected, &found) {
            let often = if often {
                " with a checkpoint behind each"
            } else {
                ""
            };
            return failed(format!("in batches of {size}{often}: {difference}"));
        }
    }
    Ok(())
}

async fn empty_run(subject: &Subject) -> Found {
    whole(subject, &[], true).await?;
    let batches = subject.batches(3);
    let place = subject.place()?;
    let opener = subject.sink(&place, Subject::limits())?;
    let mut sink = opener.open(None).await?;
    write(&mut *sink, &place, &batches).await?;
    let snapshot = end(&mut *sink, &place).await?;
    let before = place.content().map_err(unreadable)?;
    let opened = opener.open(Some(&snapshot)).await;
    let mut later = opened.map_err(during("`open` from the snapshot of a finished run"))?;
    end(&mut *later, &place).await?;
    let after = place.content().map_err(unreadable)?;
    match difference(&before, &after) {
        Some(difference) if subject.unseen().is_none() => failed(format!(
            "a later run that has no records changes the result: {difference}"
        )),
        _ => Ok(()),
    }
}

async fn try_odd(subject: &Subject, odd: &Odd) -> Result<Fate, Wrong> {
    let place = subject.place()?;
    let mut sink = subject.sink(&place, Subject::limits())?.open(None).await?;
    let answer = sink.write(&odd.batch()).await;
    let fate = judge(
        odd.what,
        answer.as_ref().map(|written| written.rejected.as_slice()),
    )?;
    // It has to be in order afterwards, too.
    checkpoint(&mut *sink, &place)
        .await
        .map_err(during(format!("a checkpoint after {}", odd.what)))?;
    Ok(fate)
}

async fn any_payload(subject: &Subject) -> Found {
    for odd in odd_ones(&subject.settings) {
        try_odd(subject, &odd).await?;
    }
    Ok(())
}

async fn by_index(subject: &Subject) -> Found {
    // Also those that it takes: a record that is taken must not cost others their place. A delete may.
    let odd: Vec<Odd> = odd_ones(&subject.settings)
        .into_iter()
        .filter(|odd| odd.form == Form::Json && !odd.row.delete)
        .collect();
    let good = few(subject);
    let (mixed, places) = mixed(&good, odd);
    let expected = whole(subject, &packed(&good, 1000), false).await?;
    let place = subject.place()?;
    let limits = Subject::limits();
    let mut sink = subject.sink(&place, limits)?.open(None).await?;
    for batch in packed(&mixed, 1000) {
        let written = sink.write(&batch).await.map_err(during(format!(
            "records that cannot be written fail all {} of their batch: they have to be rejected by their index",
            batch.len()
        )))?;
        place.keep(&mut *sink);
        let mut at = written.rejected.iter().map(|one| one.index as usize);
        if let Some(wrong) = at.find(|at| !places.contains(at)) {
            return failed(format!(
                "record {wrong} is rejected, though it is in order; the odd ones are at {places:?}"
            ));
        }
    }
    end(&mut *sink, &place).await?;
    let found = place.content().map_err(unreadable)?;
    match lost(&expected, &found) {
        Some(lost) if subject.unseen().is_none() => {
            failed(format!("beside odd records in the same batch: {lost}"))
        }
        _ => Ok(()),
    }
}

async fn tells_faults(subject: &Subject) -> Found {
    let batches = subject.batches(3);
    tells_faults_apart(subject, true, |place| {
        let batches = batches.clone();
        async move {
            let opener = subject.sink(&place, Subject::limits()).ok()?;
            let mut sink = match opener.open(None).await {
                Ok(sink) => sink,
                Err(fault) => return Some(fault),
            };
            for batch in &batches {
                match sink.write(batch).await {
                    Ok(written) => {
                        if let Some(first) = written.rejected.into_iter().next() {
                            return Some(first.fault);
                        }
                    }
                    Err(fault) => return Some(fault),
                }
            }
            // One that sends what it has at the checkpoint.
            checkpoint(&mut *sink, &place).await.err()
        }
    })
    .await
}

/// When a crash comes, seen from the snapshot that is opened afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// The checkpoint was stored, its commit had not come yet.
    BeforeCommit,
    /// The commit had come.
    AfterCommit,
    /// The next snapshot had been made, but not stored.
    AfterNextSnapshot,
}

/// Crashes behind `split` batches, with `lost` written meanwhile, and goes on with the rest.
async fn crash(
    subject: &Subject,
    batches: &[Batch],
    split: usize,
    moment: Moment,
    lost: &[Batch],
) -> Result<Content, Wrong> {
    let place = subject.place()?;
    let opener = subject.sink(&place, Subject::limits())?;
    let (before, rest) = batches.split_at(split);
    let at = format!("behind {split} batches");
    let mut first = opener.open(None).await?;
    write(&mut *first, &place, before).await?;
    let snapshot = first
        .snapshot()
        .await
        .map_err(during(format!("`snapshot` {at}")))?;
    if moment != Moment::BeforeCommit {
        first
            .commit(&snapshot)
            .await
            .map_err(during(format!("`commit` {at}")))?;
    }
    place.keep(&mut *first);
    let tables = place.tables.checkpoint();
    write(&mut *first, &place, lost).await?;
    if moment == Moment::AfterNextSnapshot {
        first.snapshot().await?;
    }
    // Neither `finish` nor `close` comes.
    drop(first);
    place.tables.restore(tables);
    let opened = opener.open(Some(&snapshot)).await;
    let mut second = opened.map_err(during(format!("`open` from the snapshot {at}")))?;
    second
        .commit(&snapshot)
        .await
        .map_err(during(format!("`commit` {at} and a crash")))?;
    write(&mut *second, &place, rest).await?;
    end(&mut *second, &place).await?;
    place.content().map_err(unreadable)
}

const MOMENTS: [Moment; 3] = [
    Moment::BeforeCommit,
    Moment::AfterCommit,
    Moment::AfterNextSnapshot,
];

fn when(split: usize, moment: Moment) -> String {
    let moment = match moment {
        Moment::BeforeCommit => "before its commit",
        Moment::AfterCommit => "after its commit",
        Moment::AfterNextSnapshot => "after the next snapshot, which was not stored",
    };
    format!("a crash behind the checkpoint after {split} batches of 3, {moment}")
}

async fn crashed(subject: &Subject) -> Result<Crashed, Wrong> {
    let (batches, expected) = samples(subject).await?;
    let mut crashed = Crashed::default();
    for split in positions(batches.len(), SPLITS) {
        for moment in MOMENTS {
            let again: Vec<Batch> = batches.iter().skip(split).take(2).cloned().collect();
            let found = crash(subject, &batches, split, moment, &again).await?;
            if let Some(lost) = lost(&expected, &found) {
                crashed
                    .lost
                    .get_or_insert(format!("{}: {lost}", when(split, moment)));
            }
            if let Some(difference) = difference(&expected, &found) {
                crashed
                    .differs
                    .get_or_insert(format!("{}: {difference}", when(split, moment)));
            }
        }
    }
    Ok(crashed)
}

async fn memoized(subject: &Subject) -> Result<&Crashed, Wrong> {
    subject.crashed.get_or_try_init(|| crashed(subject)).await
}

async fn loses_nothing(subject: &Subject) -> Found {
    let crashed = memoized(subject).await?;
    match (&crashed.lost, subject.unseen()) {
        (_, Some(why)) => open(why),
        (Some(lost), None) => failed(lost.clone()),
        (None, None) => Ok(()),
    }
}

async fn nothing_twice(subject: &Subject) -> Found {
    let crashed = memoized(subject).await?;
    let promised = matches!(
        subject.declared(),
        Some(Delivery::ExactlyOnce | Delivery::Idempotent)
    );
    match (&crashed.differs, subject.unseen()) {
        (_, Some(why)) => open(why),
        (Some(difference), None) => unless_promised(promised, "idempotent", difference.clone()),
        (None, None) => Ok(()),
    }
}

async fn discards(subject: &Subject) -> Found {
    if subject.declared() != Some(Delivery::ExactlyOnce) {
        return skipped("its manifest does not promise `exactly-once`");
    }
    if let Some(why) = subject.unseen() {
        return open(why);
    }
    let (batches, expected) = samples(subject).await?;
    let others = others(&batches);
    for split in positions(batches.len(), SPLITS) {
        for moment in MOMENTS {
            let found = crash(subject, &batches, split, moment, &others).await?;
            if let Some(difference) = difference(&expected, &found) {
                return failed(format!(
                    "{}, with other records written in between: {difference}",
                    when(split, moment)
                ));
            }
        }
    }
    Ok(())
}

async fn commit_again(subject: &Subject) -> Found {
    let (batches, expected) = samples(subject).await?;
    let place = subject.place()?;
    let opener = subject.sink(&place, Subject::limits())?;
    let mut sink = opener.open(None).await?;
    for batch in &batches {
        write(&mut *sink, &place, std::slice::from_ref(batch)).await?;
        let snapshot = checkpoint(&mut *sink, &place).await?;
        sink.commit(&snapshot)
            .await
            .map_err(during("`commit` for the second time"))?;
    }
    sink.finish().await?;
    let snapshot = checkpoint(&mut *sink, &place).await?;
    sink.commit(&snapshot)
        .await
        .map_err(during("the last `commit` for the second time"))?;
    // A crash, and the host does not know whether the commit had come.
    drop(sink);
    let opened = opener.open(Some(&snapshot)).await;
    let mut later = opened.map_err(during("`open` from the snapshot of a finished run"))?;
    later
        .commit(&snapshot)
        .await
        .map_err(during("the last `commit` after a crash"))?;
    later.close().await;
    let found = place.content().map_err(unreadable)?;
    match (difference(&expected, &found), subject.unseen()) {
        (Some(difference), None) => failed(format!("with every commit twice: {difference}")),
        _ => Ok(()),
    }
}

/// Writes with these limits until it fails, then with the usual ones from the last snapshot.
async fn under(
    subject: &Subject,
    batches: &[Batch],
    expected: &Content,
    limits: Limits,
    what: String,
) -> Found {
    let place = subject.place()?;
    let mut from = (0, None);
    if let Ok(mut sink) = subject.sink(&place, limits)?.open(None).await {
        for (at, batch) in batches.iter().enumerate() {
            let tables = place.tables.checkpoint();
            let done = match write(&mut *sink, &place, std::slice::from_ref(batch)).await {
                Ok(_) => sink.snapshot().await,
                Err(fault) => Err(fault),
            };
            let Ok(snapshot) = done else {
                place.tables.restore(tables);
                break;
            };
            let committed = sink.commit(&snapshot).await;
            from = (at + 1, Some(snapshot));
            if committed.is_err() {
                break;
            }
        }
    }
    let opener = subject.sink(&place, Subject::limits())?;
    let opened = opener.open(from.1.as_deref()).await;
    let mut sink = opened.map_err(during(format!("reopened after a failure {what}")))?;
    if let Some(snapshot) = &from.1 {
        sink.commit(snapshot).await?;
    }
    let rest: Vec<Batch> = batches.iter().skip(from.0).cloned().collect();
    write(&mut *sink, &place, &rest).await?;
    end(&mut *sink, &place).await?;
    let found = place.content().map_err(unreadable)?;
    match (lost(expected, &found), subject.unseen()) {
        (Some(lost), None) => failed(format!("{what}: {lost}")),
        _ => Ok(()),
    }
}

async fn little_memory(subject: &Subject) -> Found {
    let (batches, expected) = samples(subject).await?;
    let place = subject.place()?;
    let mut sink = subject.sink(&place, Subject::limits())?.open(None).await?;
    write(&mut *sink, &place, &batches).await?;
    let used = sink.wear().memory;
    drop(sink);
    common::with_little_memory(used, |limits, what| {
        under(subject, &batches, &expected, limits, what)
    })
    .await
}

async fn little_time(subject: &Subject) -> Found {
    let (batches, expected) = samples(subject).await?;
    common::with_little_time(|limits, what| under(subject, &batches, &expected, limits, what)).await
}
