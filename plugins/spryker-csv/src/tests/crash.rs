//! A crash at any point: opened again from the last stored snapshot, the set comes out the same.

use super::*;

/// What an uninterrupted run writes.
fn expected() -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    run(&config(folder.path(), json!({})), &records());
    files(folder.path())
}

#[test]
fn rows_behind_the_snapshot_are_discarded() {
    let (records, expected) = (records(), expected());
    for cut in (0..=records.len()).step_by(3) {
        for finished in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let config = config(folder.path(), json!({}));
            let mut first = Driver::open(&config, None).unwrap();
            write_all(&mut first, &records[..cut]);
            let snapshot = first.snapshot().unwrap();
            first.commit(&snapshot).unwrap();
            // What comes now is lost in the crash, whether it reached the disk or not.
            write_all(&mut first, &records[cut..]);
            if finished {
                first.finish().unwrap();
                first.snapshot().unwrap();
            }
            drop(first);
            assert_eq!(
                files_of_set(folder.path()),
                Vec::<String>::new(),
                "nothing is visible before the commit"
            );
            let mut second = Driver::open(&config, Some(&snapshot)).unwrap();
            write_all(&mut second, &records[cut..]);
            second.end().unwrap();
            assert_eq!(files(folder.path()), expected, "cut at {cut}");
        }
    }
}

#[test]
fn a_commit_is_completed_from_any_point() {
    let expected = expected();
    // Stops before the file at `moved`; one more step removes the folder of finished files, one more part of the rest.
    for moved in 0..=expected.len() + 2 {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), json!({}));
        let mut first = Driver::open(&config, None).unwrap();
        write_all(&mut first, &records());
        first.finish().unwrap();
        let snapshot = first.snapshot().unwrap();
        drop(first);
        let (work, ready) = (
            folder.path().join(".spryker-csv-work"),
            folder.path().join(".spryker-csv-work/ready"),
        );
        for name in expected.keys().take(moved) {
            fs::rename(ready.join(name), folder.path().join(name)).unwrap();
        }
        if moved > expected.len() {
            fs::remove_dir(&ready).unwrap();
        }
        if moved > expected.len() + 1 {
            fs::remove_file(work.join("abstracts.rows")).unwrap();
        }
        let mut second = Driver::open(&config, Some(&snapshot)).unwrap();
        assert_eq!(second.snapshot().unwrap(), snapshot);
        second.commit(&snapshot).unwrap();
        assert_eq!(files(folder.path()), expected, "{moved} files were moved");
        // Once more, by this instance and by another one, also when the files were taken away in the meantime.
        second.commit(&snapshot).unwrap();
        fs::remove_file(folder.path().join("category.csv")).unwrap();
        Driver::open(&config, Some(&snapshot))
            .unwrap()
            .commit(&snapshot)
            .unwrap();
        assert!(!folder.path().join("category.csv").exists());
    }
}

#[test]
fn a_record_after_a_finished_set_begins_the_next_one() {
    for committed in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), json!({ "import-yaml": null }));
        let stock = |sku: &str| json!({ "concrete_sku": sku });
        let mut first = Driver::open(&config, None).unwrap();
        write(&mut first, "stocks", &stock("one"));
        first.finish().unwrap();
        let snapshot = first.snapshot().unwrap();
        drop(first);
        let mut second = Driver::open(&config, Some(&snapshot)).unwrap();
        if committed {
            second.commit(&snapshot).unwrap();
        }
        write(&mut second, "stocks", &stock("two"));
        assert!(
            files_text(folder.path()).contains("one"),
            "the first set took its place"
        );
        second.commit(&snapshot).unwrap();
        let middle = second.snapshot().unwrap();
        drop(second);
        let mut third = Driver::open(&config, Some(&middle)).unwrap();
        write(&mut third, "stocks", &stock("three"));
        third.end().unwrap();
        let text = files_text(folder.path());
        assert!(
            !text.contains("one") && text.contains("two") && text.contains("three"),
            "{text}"
        );
    }
}

fn files_text(folder: &Path) -> String {
    fs::read_to_string(folder.join("product_stock.csv")).unwrap()
}

#[test]
fn a_run_from_the_start_forgets_what_was_collected() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), json!({ "import-yaml": null }));
    let mut first = Driver::open(&config, None).unwrap();
    write(&mut first, "stocks", &json!({ "concrete_sku": "old" }));
    first.snapshot().unwrap();
    drop(first);
    run(
        &config,
        &[("stocks".to_owned(), json!({ "concrete_sku": "new" }))],
    );
    assert!(!files_text(folder.path()).contains("old"));
}

#[test]
fn what_does_not_fit_the_snapshot_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let here = config(folder.path(), json!({}));
    let mut first = Driver::open(&here, None).unwrap();
    write(&mut first, "stocks", &json!({ "concrete_sku": "1" }));
    let snapshot = first.snapshot().unwrap();
    drop(first);
    let other = config(folder.path(), json!({ "locales": ["en_US"] }));
    assert_eq!(
        Driver::open(other, Some(&snapshot)).unwrap_err().location(),
        "/locales"
    );
    for bytes in ["", "{}", r#"{"version":7,"locales":[]}"#] {
        assert!(
            Driver::open(&here, Some(bytes.as_bytes()))
                .unwrap_err()
                .is_config()
        );
    }
    fs::remove_file(folder.path().join(".spryker-csv-work/stocks.rows")).unwrap();
    let fault = Driver::open(&here, Some(&snapshot)).unwrap_err();
    assert!(
        fault.is_config() && fault.to_string().contains("from its start"),
        "{fault}"
    );
}

#[test]
fn duplicates_are_known_again_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), json!({ "duplicates": "reject" }));
    let stock = || batch("stocks", &[json!({ "concrete_sku": "1" })]);
    let mut first = Driver::open(&config, None).unwrap();
    assert_eq!(first.write(stock()).unwrap().0, []);
    assert_eq!(first.write(stock()).unwrap().0.len(), 1);
    let snapshot = first.snapshot().unwrap();
    drop(first);
    let mut second = Driver::open(&config, Some(&snapshot)).unwrap();
    let (rejected, _) = second.write(stock()).unwrap();
    assert_eq!(
        rejected[0].1.message(),
        "a record of `stocks` with the key `1,Warehouse1` came before"
    );
}

#[test]
fn a_set_takes_away_what_the_one_before_it_left_and_nothing_else() {
    let stock = [("stocks".to_owned(), json!({ "concrete_sku": "1" }))];
    let alone = {
        let folder = tempfile::tempdir().unwrap();
        run(&config(folder.path(), json!({})), &stock);
        files(folder.path())
    };
    let foreign = [
        ("notes.csv", "mine"),
        ("other.yml", "mine"),
        ("product_abstract.csv.bak", "mine"),
    ];
    let mut expected = alone.clone();
    expected.extend(foreign.map(|(name, text)| (name.to_owned(), text.to_owned())));
    let old = self::expected();
    // A crash of the commit after so many of its steps: files moved, then old ones removed.
    let leftover: Vec<&String> = old
        .keys()
        .filter(|name| !alone.contains_key(*name))
        .collect();
    assert!(leftover.len() > 8, "{leftover:?}");
    for steps in 0..=alone.len() + leftover.len() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), json!({}));
        run(&config, &records());
        for (name, text) in foreign {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let mut sink = Driver::open(&config, None).unwrap();
        write_all(&mut sink, &stock);
        sink.finish().unwrap();
        let snapshot = sink.snapshot().unwrap();
        drop(sink);
        let seen = files_of_set(folder.path());
        assert!(
            leftover.iter().all(|name| seen.contains(name)),
            "nothing goes before the commit"
        );
        for name in alone.keys().take(steps) {
            let ready = folder.path().join(".spryker-csv-work/ready");
            fs::rename(ready.join(name), folder.path().join(name)).unwrap();
        }
        for name in leftover.iter().take(steps.saturating_sub(alone.len())) {
            fs::remove_file(folder.path().join(name)).unwrap();
        }
        let mut again = Driver::open(&config, Some(&snapshot)).unwrap();
        again.commit(&snapshot).unwrap();
        assert_eq!(files(folder.path()), expected, "crash after {steps} steps");
        // What came into the folder after the commit was done stays, however often it is called again.
        fs::write(folder.path().join("category.csv"), "later").unwrap();
        again.commit(&snapshot).unwrap();
        drop(again);
        let mut third = Driver::open(&config, Some(&snapshot)).unwrap();
        third.commit(&snapshot).unwrap();
        assert_eq!(files(folder.path())["category.csv"], "later");
    }
}

#[test]
fn a_folder_named_like_an_old_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), json!({}));
    fs::create_dir(folder.path().join("category.csv")).unwrap();
    run(
        &config,
        &[("stocks".to_owned(), json!({ "concrete_sku": "1" }))],
    );
    assert!(folder.path().join("category.csv").is_dir());
}
