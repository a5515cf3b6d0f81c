//! What an instance can hold open of the process.

use std::fs;

use super::*;
use crate::{catalogue::Kind, plugin::tests::guest::ANSWER};

/// A guest of the WASI of most languages, which may read the folder at descriptor 3. It traps when it gets an error.
fn reading(body: &str) -> Guest {
    let preview = "wasi_snapshot_preview1";
    Guest::new(Kind::Transformer)
        .wasi()
        .import(
            preview,
            "path_open",
            "$open",
            "(param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)",
        )
        .import(preview, "fd_close", "$shut", "(param i32) (result i32)")
        .import(
            preview,
            "fd_readdir",
            "$list",
            "(param i32 i32 i32 i64 i32) (result i32)",
        )
        .extra(
            r#"(data (i32.const 2048) "a.csv")
            (func $open_one (result i32)
                (if (call $open (i32.const 3) (i32.const 0) (i32.const 2048) (i32.const 5) (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 4096))
                    (then (unreachable)))
                (i32.load (i32.const 4096)))"#,
        )
        .body("apply", &format!("{body} (i32.const {ANSWER})"))
}

fn may_read(folder: &std::path::Path, output: usize) -> StageContext {
    let base = context();
    StageContext {
        grants: Grants {
            read: vec![folder.display().to_string()],
            ..Grants::default()
        },
        limits: Limits {
            output,
            ..base.limits
        },
        ..base
    }
}

/// Each instance may hold a hundred and more; all of a stage together may not hold all that a process can have.
#[tokio::test]
async fn all_instances_of_a_stage_together_hold_a_bounded_number_of_files() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.csv"), "x").unwrap();
    let hundred = reading(
        "(local.set $x (i32.const 100))
        (loop $l
            (drop (call $open_one))
            (br_if $l (local.tee $x (i32.sub (local.get $x) (i32.const 1)))))",
    );
    let opener = load(&hundred).await;
    let opener = opener.transformer(may_read(dir.path(), 1 << 20)).unwrap();
    let mut holding = Vec::new();
    let refused = loop {
        assert!(holding.len() < 5, "five instances have 500 files");
        let mut instance = opener.open(None).await.unwrap();
        match instance.apply(&batch(1)).await {
            Ok(_) => holding.push(instance),
            Err(fault) => break fault,
        }
    };
    assert_eq!(refused.kind, FaultKind::Contract, "{refused}");
    assert!(
        refused
            .message
            .contains("files, streams and connections open in `apply`"),
        "{refused}"
    );
    // What is closed can be opened by others.
    holding.clear();
    let mut instance = opener.open(None).await.unwrap();
    instance.apply(&batch(1)).await.unwrap();
}

/// The folders of a grant are open files of the process, too.
#[tokio::test]
async fn the_folders_of_all_instances_of_a_stage_are_bounded() {
    const FOLDERS: usize = 20;
    let dir = tempfile::tempdir().unwrap();
    let folder = |name: String| {
        let path = dir.path().join(name);
        fs::create_dir(&path).unwrap();
        path.display().to_string()
    };
    let grants = Grants {
        read: (0..FOLDERS / 2)
            .map(|at| folder(format!("r{at}")))
            .collect(),
        write: (0..FOLDERS / 2)
            .map(|at| folder(format!("w{at}")))
            .collect(),
        ..Grants::default()
    };
    let plugin = load(&Guest::new(Kind::Transformer).wasi()).await;
    let opener = plugin
        .transformer(StageContext {
            grants: grants.clone(),
            ..context()
        })
        .unwrap();
    let mut holding = Vec::new();
    let refused = loop {
        assert!(holding.len() < 13, "13 instances have 260 folders");
        match opener.open(None).await {
            Ok(instance) => holding.push(instance),
            Err(fault) => break fault,
        }
    };
    // It may work when another instance has ended.
    assert_eq!(refused.kind, FaultKind::Transient, "{refused}");
    assert!(
        refused
            .message
            .contains("of stage `stage` cannot be opened")
            && refused.message.contains("files and folders open, and have"),
        "{refused}"
    );
    assert!(refused.advice.contains("ulimit -n"), "{refused}");
    // What was opened for the one that was refused is closed, and each that ends makes room for one.
    for _ in 0..3 {
        holding.pop().unwrap();
        holding.push(opener.open(None).await.unwrap());
    }
    let full = opener.open(None).await.err().unwrap();
    assert_eq!(full.message, refused.message);
    drop(holding);
    drop(opener);

    // More than one instance may have: nothing but another grant helps.
    let read = (0..300).map(|at| folder(format!("many{at}"))).collect();
    let opener = plugin
        .transformer(StageContext {
            grants: Grants {
                read,
                ..Grants::default()
            },
            ..context()
        })
        .unwrap();
    let refused = opener.open(None).await.err().unwrap();
    assert_eq!(refused.kind, FaultKind::Config, "{refused}");
    assert!(
        refused.message.contains("the stage is granted 300 folders"),
        "{refused}"
    );
}

#[tokio::test]
async fn files_that_are_closed_do_not_count() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.csv"), "x").unwrap();
    let thousand = reading(
        "(local.set $x (i32.const 1000))
        (loop $l
            (drop (call $shut (call $open_one)))
            (br_if $l (local.tee $x (i32.sub (local.get $x) (i32.const 1)))))",
    );
    let mut instance = transformer(&thousand, may_read(dir.path(), 1 << 20)).await;
    for _ in 0..3 {
        instance.apply(&batch(1)).await.unwrap();
    }
}

#[tokio::test]
async fn a_listing_that_is_larger_than_what_may_be_handed_over_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let list = "(if (call $list (i32.const 3) (i32.const 8192) (i32.const 4096) (i64.const 0) (i32.const 4096)) (then (unreachable)))";
    for at in 0..100 {
        fs::write(dir.path().join(format!("{at}.csv")), "x").unwrap();
    }
    let mut instance = transformer(&reading(list), may_read(dir.path(), 64 << 10)).await;
    instance.apply(&batch(1)).await.unwrap();
    for at in 100..1000 {
        fs::write(dir.path().join(format!("{at}.csv")), "x").unwrap();
    }
    let mut instance = transformer(&reading(list), may_read(dir.path(), 64 << 10)).await;
    let refused = fault(instance.apply(&batch(1)).await);
    assert_eq!(refused.kind, FaultKind::Trap, "{refused}");
    let mut instance = transformer(&reading(list), may_read(dir.path(), 1 << 20)).await;
    instance.apply(&batch(1)).await.unwrap();
}
