//! The promises of the store, checked in memory and on disk.

mod contract;
mod crash;
mod dead_letters;
mod disk;
mod model;

use std::collections::BTreeMap;

use super::{Checkpoint, Commit, DeadLetter, StageState, TableChange, checkpoint::FORMAT};

/// A checkpoint whose one snapshot is `snapshot`.
fn checkpoint(flow: &str, epoch: u64, snapshot: &[u8]) -> Checkpoint {
    let stage = StageState {
        plugin: "csv".into(),
        version: "1.0.0".into(),
        digest: "sha256:00".into(),
        config_digest: "sha256:01".into(),
        snapshot: snapshot.to_vec(),
    };
    Checkpoint {
        format: FORMAT,
        flow: flow.into(),
        run: "run-1".into(),
        epoch,
        at_ms: 1_700_000_000_000,
        finished: false,
        settled: false,
        stages: BTreeMap::from([("source".to_owned(), stage)]),
        counts: BTreeMap::new(),
        filtered: BTreeMap::new(),
    }
}

fn dead_letter(flow: &str, message: &str, payload: &[u8]) -> DeadLetter {
    DeadLetter {
        id: 0,
        run: "run-1".into(),
        flow: flow.into(),
        payload: payload.to_vec(),
        message: message.into(),
        location: "products.csv:3".into(),
        ..DeadLetter::sample()
    }
}

fn set(table: &str, key: &str, value: &[u8]) -> TableChange {
    TableChange {
        table: table.into(),
        key: key.into(),
        value: Some(value.to_vec()),
    }
}

fn unset(table: &str, key: &str) -> TableChange {
    TableChange {
        table: table.into(),
        key: key.into(),
        value: None,
    }
}

fn save(checkpoint: Checkpoint) -> Commit {
    Commit {
        checkpoint: Some(checkpoint),
        ..Commit::default()
    }
}

fn letters(dead_letters: Vec<DeadLetter>) -> Commit {
    Commit {
        dead_letters,
        ..Commit::default()
    }
}

fn changes(table_changes: Vec<TableChange>) -> Commit {
    Commit {
        table_changes,
        ..Commit::default()
    }
}
