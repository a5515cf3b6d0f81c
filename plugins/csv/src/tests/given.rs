//! Real files, where they are at hand.

use super::*;
use std::path::{Path, PathBuf};

/// `shared/data` beside the workspace or further up.
fn shared() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .map(|folder| folder.join("shared/data"))
        .find(|folder| folder.is_dir())
}

/// Records of a file, counted by another reader.
fn count(path: &Path, delimiter: u8) -> usize {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .from_path(path)
        .unwrap();
    reader
        .byte_records()
        .inspect(|record| assert!(record.is_ok(), "{record:?}"))
        .count()
}

#[test]
fn catalogues_and_imports_are_read_whole() {
    let Some(shared) = shared() else {
        println!("skipped: there is no shared/data");
        return;
    };
    for (pattern, delimiter) in [
        ("akeneo/*/*.csv", b';'),
        ("spryker-suite/import/**/*.csv", b','),
    ] {
        let pattern = format!("{}/{pattern}", shared.to_str().unwrap());
        let files = file_drop::find::find(std::slice::from_ref(&pattern), true).unwrap();
        if files.is_empty() {
            println!("skipped: nothing matches {pattern}");
            continue;
        }
        let expect: usize = files
            .iter()
            .map(|file| count(Path::new(file), delimiter))
            .sum();
        for setting in [char::from(delimiter).to_string(), "auto".to_owned()] {
            let source = config(&pattern, &json!({ "delimiter": setting }));
            let got = read_on(&source, None, Budget::default()).unwrap().0;
            assert_eq!(
                got.records.len() + got.unreadable.len(),
                expect,
                "{pattern} {setting}"
            );
            println!(
                "{pattern}: {} records, {:?}",
                got.records.len(),
                got.faults()
            );
            if setting != "auto" {
                assert_eq!(read_with_crashes(&source, budget(37, 1 << 20)), got);
            }
        }
    }
}
