//! Finding the record that kills a plugin: how many calls that takes, and what becomes of its neighbours.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use proptest::prelude::*;

use super::memory::{batch, payloads};
use crate::engine::{
    batch::Batch,
    bisect::{Piece, Worker, work_off},
    fault::{Fault, FaultKind},
    retry::RetryPolicy,
    stage::Rejection,
};

/// Fails on every batch with one of the records, and counts.
struct Killed {
    by: BTreeSet<usize>,
    kind: FaultKind,
    calls: usize,
}

#[async_trait]
impl Worker for Killed {
    type Answer = ();

    async fn call(&mut self, batch: &Arc<Batch>) -> Result<(), Fault> {
        self.calls += 1;
        let found = payloads(batch)
            .iter()
            .any(|p| self.by.contains(&p.parse().unwrap()));
        if found {
            return Err(Fault::new(self.kind, "killed"));
        }
        Ok(())
    }

    fn rejected((): &()) -> &[Rejection] {
        &[]
    }

    fn weight((): &()) -> usize {
        0
    }

    fn repeatable(&self) -> bool {
        true
    }

    fn is_lost(&self) -> bool {
        false
    }
}

/// Works off a batch of `len` records, and gives the number of calls after checking what became of every record.
fn isolate(len: usize, by: &BTreeSet<usize>, kind: FaultKind) -> usize {
    let all = Arc::new(batch("s", (0..len).map(|n| n.to_string())));
    let mut worker = Killed {
        by: by.clone(),
        kind,
        calls: 0,
    };
    let policy = RetryPolicy {
        attempts: 3,
        ..RetryPolicy::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let pieces = runtime
        .block_on(work_off(&mut worker, all, &policy))
        .unwrap();
    let (mut through, mut dead) = (Vec::new(), Vec::new());
    for piece in pieces {
        let (part, place, into) = match &piece {
            Piece::Done { part, place, .. } => (part, place, &mut through),
            Piece::Dead { part, place, fault } => {
                assert_eq!((part.len(), fault.kind), (1, kind));
                (part, place, &mut dead)
            }
        };
        for (at, payload) in (0..).zip(payloads(part)) {
            let number: usize = payload.parse().unwrap();
            assert_eq!(
                place.of(at) as usize,
                number,
                "its place in the whole batch"
            );
            into.push(number);
        }
    }
    assert!(dead.iter().eq(by.iter()), "{dead:?}");
    let neighbours = (0..len).filter(|n| !by.contains(n));
    assert!(through.into_iter().eq(neighbours), "in order, each once");
    worker.calls
}

/// Halving: one call for the whole, and for every level of halves at most two for each record at fault.
fn most_calls(len: usize, faulty: usize) -> usize {
    1 + 2 * faulty * len.next_power_of_two().ilog2() as usize
}

#[test]
fn one_record_of_a_thousand_is_found_in_twenty_one_calls() {
    assert_eq!(most_calls(1000, 1), 21);
    for kind in [
        FaultKind::Trap,
        FaultKind::Time,
        FaultKind::Memory,
        FaultKind::Permanent,
        FaultKind::Contract,
    ] {
        for at in [0, 1, 499, 500, 537, 998, 999] {
            let calls = isolate(1000, &[at].into(), kind);
            assert!(calls <= 21, "{calls} calls for record {at} ({kind})");
        }
    }
    assert_eq!(isolate(1000, &BTreeSet::new(), FaultKind::Trap), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_calls_grow_with_the_logarithm(
        len in 1..1500_usize,
        faulty in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
    ) {
        let by: BTreeSet<usize> = faulty.iter().map(|index| index.index(len)).collect();
        let calls = isolate(len, &by, FaultKind::Trap);
        prop_assert!(calls <= most_calls(len, by.len()), "{} calls", calls);
    }
}
