//! Checks of a transformer.

use std::{sync::Arc, time::Duration};

use super::{
    check::{Check, Found, Wrong, check, during, failed, open, skipped, told},
    common::{self, positions, tells_faults_apart, unless_promised},
    place::Place,
    record::{Difference, Odd, Row, by_stream, odd_ones, output, packed, rows},
    subject::Subject,
};
use crate::{
    catalogue::manifest::Delivery,
    engine::{
        batch::{Batch, Form},
        fault::{Fault, FaultKind},
        stage::{Mode, Rejection, Transformer},
    },
    plugin::Limits,
};

/// Places at which it is replaced.
const SPLITS: usize = 10;

/// Every check, in the order in which they run.
pub(super) const CHECKS: &[Check] = &[
    check!(Basic "opens": "It takes the sample config: `check`, `open` and `close` work.", common::opens),
    check!(Basic "refuses-bad-config": "A wrong config is refused, by its schema or by a config fault that names the field.", common::refuses_bad_config),
    check!(Basic "check-has-no-side-effects": "`check` changes nothing.", common::check_has_no_side_effects),
    check!(Basic "any-batch-size-gives-the-same": "Batches of 1, 2, 7, 1000 and no records give the same.", any_batch_size),
    check!(Basic "no-output-without-input": "An empty batch and an empty run give nothing.", no_output),
    check!(Basic "takes-any-payload": "Unicode, empty, huge, binary, broken: a record is taken or refused, and never a trap.", any_payload),
    check!(Basic "rejects-by-index": "A record that cannot be processed is rejected by its position; its neighbours go on.", by_index),
    check!(Basic "tells-faults-apart": "No connection is transient, a refused client is the operator's turn, nonsense is no trap.", tells_faults),
    check!(Resumable "refuses-a-foreign-snapshot": "A snapshot that it cannot use is a config fault.", common::refuses_a_foreign_snapshot),
    check!(Resumable "continues-from-its-snapshot": "Replaced behind any batch, also after a crash, it gives the same.", continues),
    check!(Resumable "is-stateless-as-it-says": "Where it says `stateless`, a new instance for every batch gives the same.", stateless),
    check!(Resumable "survives-little-memory": "Out of memory it fails or goes on, but loses nothing.", little_memory),
    check!(Resumable "survives-little-time": "Out of time it fails or goes on, but loses nothing.", little_time),
    check!(ExactlyOnce "gives-the-same-again": "The same records give the same again.", same_again),
];

/// What came of some batches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Ran {
    rows: Vec<Row>,
    /// Keys of the records that were rejected.
    rejected: Vec<Vec<u8>>,
}

impl Ran {
    fn difference(&self, found: &Self) -> Option<String> {
        let (mine, theirs) = (by_stream(&self.rows), by_stream(&found.rows));
        if let Some(difference) = Difference::of(&mine, &theirs) {
            return Some(difference.shown());
        }
        (self.rejected != found.rejected).then(|| {
            format!(
                "{} records rejected instead of {}",
                found.rejected.len(),
                self.rejected.len()
            )
        })
    }
}

async fn apply(
    transformer: &mut dyn Transformer,
    place: &Place,
    batch: &Batch,
    into: &mut Ran,
) -> Result<(), Fault> {
    let applied = transformer.apply(batch).await?;
    place.keep(transformer);
    into.rows.extend(output(batch, &applied));
    let mut rejected: Vec<u32> = applied.rejected.iter().map(|one| one.index).collect();
    rejected.sort_unstable();
    let keys = rejected
        .into_iter()
        .filter_map(|at| batch.record(at as usize));
    into.rejected.extend(keys.map(|record| record.key.to_vec()));
    Ok(())
}

async fn finish(
    transformer: &mut dyn Transformer,
    place: &Place,
    into: &mut Ran,
) -> Result<(), Fault> {
    for batch in transformer.finish().await? {
        into.rows.extend(rows(&batch));
    }
    place.keep(transformer);
    transformer.close().await;
    Ok(())
}

async fn whole(subject: &Subject, batches: &[Batch]) -> Result<Ran, Wrong> {
    let place = subject.place()?;
    let mut transformer = subject
        .transformer(&place, Subject::limits())?
        .open(None)
        .await?;
    let mut ran = Ran::default();
    for (at, batch) in batches.iter().enumerate() {
        let applied = apply(&mut *transformer, &place, batch, &mut ran).await;
        applied.map_err(during(format!(
            "batch {at} ({} records of `{}`)",
            batch.len(),
            batch.stream()
        )))?;
    }
    finish(&mut *transformer, &place, &mut ran)
        .await
        .map_err(during("`finish`"))?;
    Ok(ran)
}

async fn expected(subject: &Subject) -> Result<Ran, Wrong> {
    let ran = whole(subject, &subject.batches(1000)).await?;
    if ran.rows.is_empty() {
        return open(
            "nothing comes of the sample records: conformance.yaml has to give it some that fit",
        );
    }
    Ok(ran)
}

pub(super) async fn own_snapshot(subject: &Subject) -> Result<Vec<u8>, Wrong> {
    let place = subject.place()?;
    let mut transformer = subject
        .transformer(&place, Subject::limits())?
        .open(None)
        .await?;
    for batch in subject.batches(7) {
        apply(&mut *transformer, &place, &batch, &mut Ran::default()).await?;
    }
    Ok(transformer.snapshot().await?)
}

async fn any_batch_size(subject: &Subject) -> Found {
    let expected = expected(subject).await?;
    for size in [1, 2, 7] {
        let batches = subject.batches(size);
        // With an empty one in front of each.
        let all: Vec<Batch> = batches
            .into_iter()
            .flat_map(|batch| [Batch::empty(Arc::clone(batch.stream()), Form::Json), batch])
            .collect();
        let found = whole(subject, &all).await?;
        if let Some(difference) = expected.difference(&found) {
            return failed(format!("in batches of {size}: {difference}"));
        }
    }
    Ok(())
}

async fn no_output(subject: &Subject) -> Found {
    let nothing = whole(subject, &[]).await?;
    if let Some(row) = nothing.rows.first() {
        return failed(format!("a run without records gives {}", row.shown()));
    }
    for form in [Form::Json, Form::Bytes] {
        let streams = subject.batches(1000);
        let stream = streams
            .first()
            .map_or_else(|| "items".into(), |batch| Arc::clone(batch.stream()));
        let nothing = whole(subject, &[Batch::empty(stream, form)]).await?;
        if let Some(row) = nothing.rows.first() {
            return failed(format!("an empty batch gives {}", row.shown()));
        }
    }
    Ok(())
}

/// What became of an odd record.
pub(super) enum Fate {
    Taken,
    /// Rejected by its index.
    Rejected,
    /// The whole batch, which it is alone in, is a permanent fault.
    Refused,
}

/// Judges the answer to one odd record.
pub(super) fn judge(what: &str, answer: Result<&[Rejection], &Fault>) -> Result<Fate, Wrong> {
    let wrong = |fault: &Fault| {
        let why = match fault.kind {
            kind if kind.is_lethal() => "it dies of a record",
            FaultKind::Config => {
                "a record is no reason to stop the run: that is what a config fault does"
            }
            _ => "the host would try this record again and again: a permanent fault is due",
        };
        failed(format!("{what}: {why}: {}", told(fault)))
    };
    match answer {
        Ok([]) => Ok(Fate::Taken),
        Ok([one, ..]) if one.fault.kind == FaultKind::Permanent => Ok(Fate::Rejected),
        Ok([one, ..]) => wrong(&one.fault),
        Err(fault) if fault.kind == FaultKind::Permanent => Ok(Fate::Refused),
        Err(fault) => wrong(fault),
    }
}

async fn try_odd(subject: &Subject, odd: &Odd) -> Result<Fate, Wrong> {
    let place = subject.place()?;
    let mut transformer = subject
        .transformer(&place, Subject::limits())?
        .open(None)
        .await?;
    let answer = transformer.apply(&odd.batch()).await;
    let rejected = answer.as_ref().map(|applied| applied.rejected.as_slice());
    let fate = judge(odd.what, rejected)?;
    // It has to be in order afterwards, too.
    transformer
        .snapshot()
        .await
        .map_err(during(format!("`snapshot` after {}", odd.what)))?;
    Ok(fate)
}

async fn any_payload(subject: &Subject) -> Found {
    for odd in odd_ones(&subject.settings) {
        try_odd(subject, &odd).await?;
    }
    Ok(())
}

/// Good records with all the odd ones in between, and where those are.
pub(super) fn mixed(good: &[Row], odd: Vec<Odd>) -> (Vec<Row>, Vec<usize>) {
    let (mut mixed, mut places) = (Vec::new(), Vec::new());
    let gaps = good.len().saturating_sub(1).max(1);
    let between = odd.len().div_ceil(gaps);
    let mut odd = odd.into_iter();
    for row in good {
        mixed.push(row.clone());
        for odd in odd.by_ref().take(between) {
            places.push(mixed.len());
            mixed.push(odd.row);
        }
    }
    (mixed, places)
}

/// Sample records of the first stream, as many as make a point.
pub(super) fn few(subject: &Subject) -> Vec<Row> {
    let first = subject.batches(5).into_iter().next();
    first.iter().flat_map(rows).collect()
}

async fn by_index(subject: &Subject) -> Found {
    let mut refused = Vec::new();
    for odd in odd_ones(&subject.settings) {
        let fits = odd.form == Form::Json;
        if fits && !matches!(try_odd(subject, &odd).await, Ok(Fate::Taken) | Err(_)) {
            refused.push(odd);
        }
    }
    if refused.is_empty() {
        return skipped("it refuses none of the odd records");
    }
    let good = few(subject);
    let what: Vec<&str> = refused.iter().map(|odd| odd.what).collect();
    let what = what.join(", ");
    let (mixed, places) = mixed(&good, refused);
    let expected = whole(subject, &packed(&good, 1000)).await?;
    let place = subject.place()?;
    let mut transformer = subject
        .transformer(&place, Subject::limits())?
        .open(None)
        .await?;
    let mut found = Ran::default();
    for batch in packed(&mixed, 1000) {
        let applied = transformer.apply(&batch).await.map_err(during(format!(
            "one record that cannot be processed ({what}) fails all {} of its batch: it has to be rejected by its index",
            batch.len()
        )))?;
        let at: Vec<usize> = applied
            .rejected
            .iter()
            .map(|one| one.index as usize)
            .collect();
        if let Some(wrong) = at.iter().find(|at| !places.contains(at)) {
            return failed(format!(
                "record {wrong} is rejected, though it is in order; the odd ones are at {places:?}"
            ));
        }
        place.keep(&mut *transformer);
        found.rows.extend(output(&batch, &applied));
    }
    finish(&mut *transformer, &place, &mut found).await?;
    let (mine, theirs) = (by_stream(&expected.rows), by_stream(&found.rows));
    match Difference::of(&mine, &theirs) {
        None => Ok(()),
        Some(difference) => failed(format!(
            "beside records that are rejected ({what}): {}",
            difference.shown()
        )),
    }
}

async fn tells_faults(subject: &Subject) -> Found {
    let batches = subject.batches(5);
    tells_faults_apart(subject, false, |place| {
        let batches = batches.clone();
        async move {
            let opener = subject.transformer(&place, Subject::limits()).ok()?;
            let mut transformer = match opener.open(None).await {
                Ok(transformer) => transformer,
                Err(fault) => return Some(fault),
            };
            for batch in &batches {
                match transformer.apply(batch).await {
                    Ok(applied) => {
                        if let Some(first) = applied.rejected.into_iter().next() {
                            return Some(first.fault);
                        }
                    }
                    Err(fault) => return Some(fault),
                }
            }
            None
        }
    })
    .await
}

async fn same_again(subject: &Subject) -> Found {
    let first = expected(subject).await?;
    // So that a clock that is looked at shows.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let again = expected(subject).await?;
    let promised = subject.declared() == Some(Delivery::Deterministic);
    match first.difference(&again) {
        None => Ok(()),
        Some(difference) => unless_promised(promised, "deterministic", difference),
    }
}

async fn continues(subject: &Subject) -> Found {
    let batches = subject.batches(2);
    let expected = whole(subject, &batches).await?;
    for split in positions(batches.len(), SPLITS) {
        let place = subject.place()?;
        let opener = subject.transformer(&place, Subject::limits())?;
        let (before, rest) = batches.split_at(split);
        let mut found = Ran::default();
        let mut first = opener.open(None).await?;
        for batch in before {
            apply(&mut *first, &place, batch, &mut found).await?;
        }
        let at = format!("behind {split} batches of 2");
        let snapshot = first
            .snapshot()
            .await
            .map_err(during(format!("`snapshot` {at}")))?;
        let tables = place.tables.checkpoint();
        // What is worked on behind the snapshot is lost, and `close` does not come.
        for batch in rest.iter().take(2) {
            apply(&mut *first, &place, batch, &mut Ran::default()).await?;
        }
        drop(first);
        place.tables.restore(tables);
        let opened = opener.open(Some(&snapshot)).await;
        let mut second = opened.map_err(during(format!("`open` from the snapshot {at}")))?;
        for batch in rest {
            apply(&mut *second, &place, batch, &mut found).await?;
        }
        finish(&mut *second, &place, &mut found).await?;
        if let Some(difference) = expected.difference(&found) {
            return failed(format!("replaced {at}: {difference}"));
        }
    }
    Ok(())
}

async fn stateless(subject: &Subject) -> Found {
    let place = subject.place()?;
    let opener = subject.transformer(&place, Subject::limits())?;
    let batches = subject.batches(2);
    let expected = whole(subject, &batches).await?;
    let mut found = Ran::default();
    for batch in &batches {
        let mut one = opener.open(None).await?;
        if one.mode() == Mode::Stateful {
            return skipped("it says that it is stateful");
        }
        apply(&mut *one, &place, batch, &mut found).await?;
        finish(&mut *one, &place, &mut found).await?;
    }
    match expected.difference(&found) {
        None => Ok(()),
        Some(difference) => failed(format!(
            "it says that it is stateless, but with a new instance for every batch: {difference}"
        )),
    }
}

/// Works with these limits until it fails, then with the usual ones from the last snapshot.
async fn under(subject: &Subject, expected: &Ran, limits: Limits, what: String) -> Found {
    let place = subject.place()?;
    let batches = subject.batches(5);
    let mut found = Ran::default();
    let mut from = (0, None);
    if let Ok(mut transformer) = subject.transformer(&place, limits)?.open(None).await {
        for (at, batch) in batches.iter().enumerate() {
            let tables = place.tables.checkpoint();
            let mut one = Ran::default();
            let done = match apply(&mut *transformer, &place, batch, &mut one).await {
                Ok(()) => transformer.snapshot().await,
                Err(fault) => Err(fault),
            };
            let Ok(snapshot) = done else {
                place.tables.restore(tables);
                break;
            };
            from = (at + 1, Some(snapshot));
            found.rows.extend(one.rows);
            found.rejected.extend(one.rejected);
        }
    }
    let opener = subject.transformer(&place, Subject::limits())?;
    let opened = opener.open(from.1.as_deref()).await;
    let mut transformer = opened.map_err(during(format!("reopened after a failure {what}")))?;
    for batch in batches.iter().skip(from.0) {
        apply(&mut *transformer, &place, batch, &mut found).await?;
    }
    finish(&mut *transformer, &place, &mut found).await?;
    match expected.difference(&found) {
        None => Ok(()),
        Some(difference) => failed(format!("{what}: {difference}")),
    }
}

async fn little_memory(subject: &Subject) -> Found {
    let expected = expected(subject).await?;
    let place = subject.place()?;
    let mut transformer = subject
        .transformer(&place, Subject::limits())?
        .open(None)
        .await?;
    for batch in subject.batches(5) {
        apply(&mut *transformer, &place, &batch, &mut Ran::default()).await?;
    }
    let used = transformer.wear().memory;
    drop(transformer);
    common::with_little_memory(used, |limits, what| under(subject, &expected, limits, what)).await
}

async fn little_time(subject: &Subject) -> Found {
    let expected = expected(subject).await?;
    common::with_little_time(|limits, what| under(subject, &expected, limits, what)).await
}
