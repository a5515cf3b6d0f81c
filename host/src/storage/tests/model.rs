//! Random commits and reopens against a model that is two maps.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    super::{Commit, DeadLetterFilter, Journal as _, Store, TableChange},
    changes, checkpoint,
    contract::blob_files,
    dead_letter, save,
};

#[derive(Debug, Clone)]
enum Step {
    /// Sizes of values per key; 0 removes.
    Change(Vec<(u8, u32)>),
    Checkpoint(u8, u32),
    Forget(u8),
    DeadLetter(u8, u32),
    RemoveDeadLetter(u64),
    Reopen,
}

fn size() -> impl Strategy<Value = u32> {
    // Around and far from the size from which a value is a blob.
    prop_oneof![Just(0), 1..100_u32, 8_190..8_195_u32, 20_000..60_000_u32]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec((0..6_u8, size()), 1..6).prop_map(Step::Change),
        2 => (0..3_u8, size()).prop_map(|(flow, size)| Step::Checkpoint(flow, size)),
        1 => (0..3_u8).prop_map(Step::Forget),
        2 => (0..3_u8, size()).prop_map(|(flow, size)| Step::DeadLetter(flow, size)),
        1 => (1..10_u64).prop_map(Step::RemoveDeadLetter),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Default)]
struct Model {
    table: BTreeMap<String, Vec<u8>>,
    checkpoints: BTreeMap<String, u32>,
    letters: BTreeMap<u64, (String, u32)>,
    last_letter: u64,
}

fn bytes(size: u32) -> Vec<u8> {
    vec![b'0' + u8::try_from(size % 10).unwrap(); size as usize]
}

async fn take(store: &Store, model: &mut Model, step: &Step) {
    match step {
        Step::Change(entries) => {
            let mut made = Vec::new();
            for (key, size) in entries {
                let (key, value) = (key.to_string(), (*size > 0).then(|| bytes(*size)));
                match &value {
                    Some(value) => model.table.insert(key.clone(), value.clone()),
                    None => model.table.remove(&key),
                };
                made.push(TableChange {
                    table: "t".into(),
                    key,
                    value,
                });
            }
            store.commit(changes(made)).await.unwrap();
        }
        Step::Checkpoint(flow, size) => {
            store
                .commit(save(checkpoint(&flow.to_string(), 1, &bytes(*size))))
                .await
                .unwrap();
            model.checkpoints.insert(flow.to_string(), *size);
        }
        Step::Forget(flow) => {
            let was_there = model.checkpoints.remove(&flow.to_string()).is_some();
            assert_eq!(store.forget(&flow.to_string()).await.unwrap(), was_there);
        }
        Step::DeadLetter(flow, size) => {
            let dead_letters = vec![dead_letter(&flow.to_string(), "bad", &bytes(*size))];
            store
                .commit(Commit {
                    dead_letters,
                    ..Commit::default()
                })
                .await
                .unwrap();
            model.last_letter += 1;
            model
                .letters
                .insert(model.last_letter, (flow.to_string(), *size));
        }
        Step::RemoveDeadLetter(id) => {
            let removed = u64::from(model.letters.remove(id).is_some());
            assert_eq!(store.remove_dead_letters(&[*id]).await.unwrap(), removed);
        }
        Step::Reopen => {}
    }
}

fn check(store: &Store, model: &Model) {
    let table: BTreeMap<_, _> = store
        .table_find("t", "", "", 100)
        .unwrap()
        .into_iter()
        .collect();
    assert_eq!(table, model.table);
    for flow in ["0", "1", "2"] {
        let expected = model
            .checkpoints
            .get(flow)
            .map(|size| checkpoint(flow, 1, &bytes(*size)));
        assert_eq!(store.checkpoint(flow).unwrap(), expected);
    }
    let found = store.dead_letters(&DeadLetterFilter::default()).unwrap();
    let found: BTreeMap<_, _> = found
        .into_iter()
        .map(|letter| {
            (
                letter.id,
                (letter.flow, u32::try_from(letter.payload.len()).unwrap()),
            )
        })
        .collect();
    assert_eq!(found, model.letters);
    let mut counts = BTreeMap::new();
    for (flow, _) in model.letters.values() {
        *counts.entry(flow.clone()).or_insert(0) += 1;
    }
    assert_eq!(store.count_dead_letters().unwrap(), counts);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_store_is_its_model(steps in prop::collection::vec(step(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (mut store, mut model) = (Store::open(dir.path()).unwrap(), Model::default());
        for step in &steps {
            if matches!(step, Step::Reopen) {
                drop(store);
                store = Store::open(dir.path()).unwrap();
            }
            runtime.block_on(take(&store, &mut model, step));
            check(&store, &model);
        }
        // Nothing is left behind: every blob is content that somebody still has.
        drop(store);
        let used = blob_files(dir.path());
        drop(Store::open(dir.path()).unwrap());
        prop_assert_eq!(blob_files(dir.path()), used);
    }
}
