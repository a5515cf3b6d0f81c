//! The sink, driven as the host drives it, on a folder of its own.

mod crash;
mod reject;
mod schema;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crossdock_sdk::prelude::*;
use crossdock_sdk::testing::{Host, SinkDriver, batch, check_manifest};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::SprykerSink;

type Driver = SinkDriver<SprykerSink>;

/// A config that writes to this folder, with fields replaced or added.
fn config(folder: &Path, more: Value) -> String {
    let mut config = json!({
        "directory": folder,
        "locales": ["en_US", "de_DE"],
        "fallback-locales": ["en_US"],
        "stores": ["DE", "AT"],
        "import-path": "data/import/pim",
        "tax-set": "Standard",
    });
    let Value::Object(more) = more else {
        panic!("an object")
    };
    config.as_object_mut().unwrap().extend(more);
    config.to_string()
}

fn records() -> Vec<(String, Value)> {
    serde_json::from_str(include_str!("golden/input.json")).unwrap()
}

fn write(driver: &mut Driver, stream: &str, record: &Value) {
    let (rejected, receipts) = driver
        .write(batch(stream, std::slice::from_ref(record)))
        .unwrap();
    assert_eq!(rejected, []);
    assert_eq!(receipts, None);
}

fn write_all(driver: &mut Driver, records: &[(String, Value)]) {
    for (stream, record) in records {
        write(driver, stream, record);
    }
}

/// Writes records as one run.
fn run(config: &str, records: &[(String, Value)]) {
    let mut driver = Driver::open(config, None).unwrap();
    write_all(&mut driver, records);
    driver.end().unwrap();
}

/// All files of a folder with their texts.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
        })
        .collect()
}

#[test]
fn the_set_is_as_written_down() {
    let folder = tempfile::tempdir().unwrap();
    run(&config(folder.path(), json!({})), &records());
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/golden");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        for (name, text) in files(folder.path()) {
            fs::write(golden.join(name), text).unwrap();
        }
    }
    let mut expected = files(&golden);
    expected.remove("input.json").unwrap();
    let written = files(folder.path());
    assert_eq!(
        written.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>()
    );
    for (name, text) in &expected {
        assert_eq!(&written[name], text, "{name}");
    }
}

#[test]
fn the_manifest_is_sound_and_agrees_with_config_and_readme() {
    let manifest = include_str!("../../plugin.json");
    let readme = include_str!("../../README.md");
    check_manifest(env!("CARGO_PKG_VERSION"), manifest);
    let manifest: Value = serde_json::from_str(manifest).unwrap();
    let properties = manifest["kinds"]["sink"]["config"]["properties"]
        .as_object()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut all = json!({ "directory": folder.path(), "locales": ["en_US"], "import-path": "x" });
    for (name, schema) in properties {
        if let Some(default) = schema.get("default") {
            all[name] = default.clone();
        }
        assert!(readme.contains(&format!("`{name}`")), "README lacks {name}");
    }
    assert_eq!(all.as_object().unwrap().len(), properties.len());
    Driver::open(&all, None).unwrap();
    for sheet in &crate::sheet::SHEETS {
        for text in [sheet.stream, sheet.file]
            .into_iter()
            .chain(sheet.columns.iter().map(|column| column.name))
        {
            assert!(
                readme.contains(&format!("`{text}`")),
                "README lacks {text} of {}",
                sheet.stream
            );
        }
    }
}

#[test]
fn a_run_without_records_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("import.yml"), "mine").unwrap();
    run(&config(folder.path(), json!({})), &[]);
    assert_eq!(
        files(folder.path()),
        BTreeMap::from([("import.yml".to_owned(), "mine".to_owned())])
    );
}

#[test]
fn streams_without_records_have_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let records = [("stocks".to_owned(), json!({ "concrete_sku": "1" }))];
    run(
        &config(folder.path(), json!({ "import-yaml": null })),
        &records,
    );
    assert_eq!(
        files(folder.path()),
        BTreeMap::from([(
            "product_stock.csv".to_owned(),
            "concrete_sku,name,quantity,is_never_out_of_stock,is_bundle\n1,Warehouse1,0,0,0\n"
                .to_owned()
        )])
    );
}

#[test]
fn the_last_record_of_a_key_wins_and_decides_the_number_of_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new();
    let concrete = |sku: &str, attributes: Value| {
        let record = json!({ "abstract_sku": "A", "concrete_sku": sku, "name": "n", "attributes": attributes });
        ("concretes".to_owned(), record)
    };
    let records = [
        concrete("1", json!({ "a": 1, "b": 2, "c": { "en_US": 3 } })),
        concrete("2", json!({ "a": 1 })),
        concrete("1", json!({ "a": 4 })),
        concrete("1", json!({ "a": 5 })),
    ];
    run(
        &config(
            folder.path(),
            json!({ "locales": ["en_US"], "import-yaml": null }),
        ),
        &records,
    );
    assert_eq!(
        files(folder.path())["product_concrete.csv"],
        "abstract_sku,concrete_sku,name.en_US,description.en_US,is_searchable.en_US,bundled,is_quantity_splittable,\
         is_active,attribute_key_1,value_1\nA,2,n,,1,,1,1,a,1\nA,1,n,,1,,1,1,a,5\n"
    );
    assert!(
        host.logs()
            .iter()
            .any(|(_, line)| line.starts_with("2 rows of concretes were replaced"))
    );
}

#[test]
fn a_star_among_the_fallbacks_takes_any_locale() {
    let folder = tempfile::tempdir().unwrap();
    let stars = json!({ "fallback-locales": ["en_US", "*"], "import-yaml": null });
    let name = json!({ "it_IT": "", "fr_FR": "Chemise", "de_DE": "Hemd" });
    let record = json!({ "category_key": "c", "name": name });
    let only = json!({ "category_key": "d", "name": { "fr_FR": "Robe" } });
    let records = [
        ("categories".to_owned(), record),
        ("categories".to_owned(), only),
    ];
    run(&config(folder.path(), stars), &records);
    let text = &files(folder.path())["category.csv"];
    // The object of a test is ordered by name, so German comes first.
    assert!(
        text.contains("\nc,,Hemd,Hemd,") && text.contains("\nd,,Robe,Robe,"),
        "{text}"
    );
}

#[test]
fn references_that_lead_nowhere_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let records = [
        (
            "categories".to_owned(),
            json!({ "category_key": "c", "parent_category_key": "demoshop", "name": "C" }),
        ),
        (
            "abstracts".to_owned(),
            json!({ "abstract_sku": "A", "name": "A", "categories": ["c", "gone", "demoshop"] }),
        ),
        (
            "concretes".to_owned(),
            json!({ "abstract_sku": "B", "concrete_sku": "B-1", "name": "B" }),
        ),
        (
            "attribute-values".to_owned(),
            json!({ "attribute_key": "x", "value": "y" }),
        ),
    ];
    let host = Host::new();
    run(
        &config(folder.path(), json!({ "known-categories": ["demoshop"] })),
        &records,
    );
    let warnings: Vec<String> = host
        .logs()
        .into_iter()
        .map(|(_, line)| line)
        .filter(|line| line.contains("never"))
        .collect();
    assert_eq!(
        warnings,
        [
            "1 of attribute-values refer to attributes that never came: x.y (to x)",
            "1 of abstracts refer to categories that never came: A (to gone)",
            "1 of concretes refer to abstracts that never came: B-1 (to B)",
        ]
    );
    assert_eq!(host.counter("unresolved_references"), 3);
    assert!(
        files(folder.path())["product_concrete.csv"].contains("B,B-1"),
        "the row is written all the same"
    );

    let mut driver = Driver::open(
        config(
            folder.path(),
            json!({ "unresolved": "fail", "known-categories": ["demoshop"] }),
        ),
        None,
    )
    .unwrap();
    write_all(&mut driver, &records);
    assert!(
        driver
            .finish()
            .unwrap_err()
            .message()
            .contains("never came")
    );
}

#[test]
fn a_flow_without_abstracts_may_refer_to_those_of_the_shop() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new();
    let records = [(
        "concretes".to_owned(),
        json!({ "abstract_sku": "B", "concrete_sku": "B-1", "name": "B" }),
    )];
    run(
        &config(folder.path(), json!({ "unresolved": "fail" })),
        &records,
    );
    assert_eq!(host.counter("unresolved_references"), 0);
}

#[test]
fn a_sku_with_a_comma_is_one_reference() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new();
    let records = [
        ("abstracts", json!({ "abstract_sku": "A,1", "name": "A" })),
        (
            "concretes",
            json!({ "abstract_sku": "A,1", "concrete_sku": "A,1-1", "name": "A" }),
        ),
        ("stocks", json!({ "concrete_sku": "A,1-1" })),
    ]
    .map(|(stream, record)| (stream.to_owned(), record));
    run(
        &config(folder.path(), json!({ "unresolved": "fail" })),
        &records,
    );
    assert_eq!(host.counter("unresolved_references"), 0);
}

#[test]
fn categories_need_their_parents() {
    let folder = tempfile::tempdir().unwrap();
    let fault = |list: &[(&str, &str)]| {
        let mut driver = Driver::open(config(folder.path(), json!({})), None).unwrap();
        for (key, parent) in list {
            let record = json!({ "category_key": key, "parent_category_key": parent, "name": "n" });
            write(&mut driver, "categories", &record);
        }
        driver.finish().unwrap_err().to_string()
    };
    let missing = fault(&[("a", "b"), ("c", "")]);
    assert!(
        missing.contains("categories whose parent never came: a (parent b)"),
        "{missing}"
    );
    let cycle = fault(&[("a", "b"), ("b", "a")]);
    assert!(
        cycle.contains("categories that are their own ancestors: a, b"),
        "{cycle}"
    );
    assert_eq!(
        files_of_set(folder.path()),
        Vec::<String>::new(),
        "nothing half-written is in place"
    );
}

#[test]
fn a_parent_in_another_case_is_written_as_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let record = |key: &str, parent: &str| {
        let record = json!({ "category_key": key, "parent_category_key": parent, "name": "n,\"n" });
        ("categories".to_owned(), record)
    };
    let records = [record("a \"b\", c", "ROOT, 1"), record("root, 1", "")];
    run(&config(folder.path(), json!({})), &records);
    let text = &files(folder.path())["category.csv"];
    let rows: Vec<csv::StringRecord> = csv::Reader::from_reader(text.as_bytes())
        .records()
        .map(Result::unwrap)
        .collect();
    assert_eq!(
        (&rows[1][0], &rows[1][1], &rows[1][2]),
        ("a \"b\", c", "root, 1", "n,\"n")
    );
}

/// Names of the visible files.
fn files_of_set(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with('.')).collect()
}

/// A text as hostile as CSV can meet.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,6}", "[a-z ,;\"'\n\té€😀|]{1,12}"]
}

fn attributes() -> impl Strategy<Value = Value> {
    let value = prop_oneof![
        text().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        Just(Value::Null),
        Just(json!("")),
        Just(json!([])),
        proptest::collection::vec(text(), 1..3).prop_map(Value::from),
        text().prop_map(|text| json!({ "de_DE": text })),
        (text(), text()).prop_map(|(english, german)| json!({ "en_US": english, "de_DE": german })),
        Just(json!({ "fr_FR": "ailleurs" })),
    ];
    proptest::collection::btree_map("[a-z_]{1,8}", value, 0..8).prop_map(|map| json!(map))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn pairs_have_no_gaps_and_rows_fit_the_header(products in proptest::collection::vec((text(), attributes()), 1..12)) {
        let folder = tempfile::tempdir().unwrap();
        let records: Vec<(String, Value)> = products
            .iter()
            .enumerate()
            .map(|(at, (name, attributes))| {
                let record = json!({ "abstract_sku": format!("S{at}"), "name": name, "attributes": attributes });
                ("abstracts".to_owned(), record)
            })
            .collect();
        run(&config(folder.path(), json!({})), &records);
        let text = &files(folder.path())["product_abstract.csv"];
        let plain = text.starts_with("category_key,") && text.ends_with('\n') && !text.contains('\r');
        prop_assert!(plain, "UTF-8 without byte order mark, lines end with LF");
        // The reader refuses rows whose number of cells is not that of the header.
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        let column = |name: &str| header.iter().position(|cell| cell == name);
        let numbers = |suffix: &str| {
            (1..1000)
.take_while(|number| {
                column(&format!("attribute_key_{number}{suffix}")).is_some() && column(&format!("value_{number}{suffix}")).is_some()
            }).count()
        };
        let (plain, localised) = (numbers(""), numbers(".de_DE"));
        prop_assert_eq!(numbers(".en_US"), localised);
        let pair_columns = header.iter().filter(|name| name.starts_with("attribute_key_")).count();
        prop_assert_eq!(pair_columns, plain + 2 * localised, "numbers have no gaps");
        let mut most = (0, 0);
        for (row, (name, attributes)) in reader.records().zip(&products) {
            let row = row.unwrap();
            prop_assert_eq!(&row[column("name.en_US").unwrap()], name);
            let pairs = |suffix: &str, count: usize| -> Vec<(String, String)> {
                (1..=count).map(|number| (
                    row[column(&format!("attribute_key_{number}{suffix}")).unwrap()].to_owned(),
                    row[column(&format!("value_{number}{suffix}")).unwrap()].to_owned(),
                )).collect()
            };
            let expected: Vec<(String, String)> = attributes.as_object().unwrap().iter().filter_map(|(key, value)| {
                let text = match value {
                    Value::String(text) => text.clone(),
                    Value::Number(number) => number.to_string(),
                    Value::Array(list) => list.iter().map(|item| item.as_str().unwrap()).collect::<Vec<_>>().join(", "),
                    _ => return None,
                };
                (!text.is_empty()).then(|| (key.clone(), text))
            }).collect();
            let found = pairs("", plain);
            let filled = found.iter().take_while(|(key, _)| !key.is_empty()).count();
            prop_assert!(found[filled..].iter().all(|(key, value)| key.is_empty() && value.is_empty()));
            prop_assert_eq!(&found[..filled], expected);
            let german = attributes.as_object().unwrap().values().filter(|value| value.get("de_DE").is_some()).count();
            most = (most.0.max(filled), most.1.max(german));
        }
        prop_assert_eq!(most, (plain, localised), "as many pairs as the largest record needs");
    }
}
