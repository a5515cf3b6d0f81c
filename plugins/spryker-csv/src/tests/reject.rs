//! Records that do not fit, and configs and folders that do not work.

use super::*;

/// The fault of one record.
fn fault(stream: &str, record: Value) -> Fault {
    let folder = tempfile::tempdir().unwrap();
    let mut driver = Driver::open(config(folder.path(), json!({ "stores": [] })), None).unwrap();
    let (mut rejected, _) = driver.write(batch(stream, &[record])).unwrap();
    assert_eq!(rejected.len(), 1);
    let fault = rejected.remove(0).1;
    driver.end().unwrap();
    assert_eq!(
        files(folder.path()),
        BTreeMap::new(),
        "a rejected record leaves nothing"
    );
    fault
}

#[test]
fn a_record_that_does_not_fit_is_rejected_with_its_field() {
    let cases = [
        (
            "prices",
            json!({ "abstract_sku": "a", "store": "DE", "currency": "EUR", "value_gross": 19.99 }),
            "/value_gross: expected a whole number, found `19.99`: prices are counted in minor units, 19.99 EUR is 1999",
        ),
        (
            "prices",
            json!({ "abstract_sku": "a", "store": "DE", "currency": "EUR", "value_net": -1 }),
            "/value_net: expected an amount of at least 0, found `-1`",
        ),
        (
            "prices",
            json!({ "abstract_sku": "a", "store": "DE" }),
            "/currency: `currency` is missing",
        ),
        (
            "prices",
            json!({ "abstract_sku": "a", "currency": "EUR" }),
            "/store: `store` is missing; the sink's `stores` would stand in",
        ),
        (
            "prices",
            json!({ "store": "DE", "currency": "EUR" }),
            "exactly one of `abstract_sku` and `concrete_sku` must be filled",
        ),
        (
            "images",
            json!({ "abstract_sku": "a", "concrete_sku": "b" }),
            "exactly one of `abstract_sku` and `concrete_sku` must be filled",
        ),
        (
            "stocks",
            json!({ "concrete_sku": "a", "quantity": "many" }),
            "/quantity: expected a whole number, found `many`",
        ),
        (
            "stocks",
            json!({ "sku": "a" }),
            "/sku: `stocks` have no field `sku`; they have concrete_sku, name, quantity, is_never_out_of_stock, is_bundle",
        ),
        (
            "categories",
            json!({ "name": "n" }),
            "/category_key: `category_key` is missing",
        ),
        (
            "categories",
            json!({ "category_key": "a", "name": { "fr_FR": "n" } }),
            "/name: `name` has no text in any of en_US, de_DE; `fallback-locales` may help",
        ),
        (
            "categories",
            json!({ "category_key": "a", "name": "n", "is_active": "maybe" }),
            "/is_active: expected true or false, found `maybe`",
        ),
        (
            "categories",
            json!({ "category_key": "a", "name": { "en_US": { "x": 1 } } }),
            "/name: en_US: expected a text, found an object",
        ),
        (
            "category-stores",
            json!({ "category_key": "a", "included_store_names": ["D,E"] }),
            "/included_store_names: `D,E` contains a comma, which separates the items of this cell",
        ),
        (
            "abstracts",
            json!({ "abstract_sku": "a", "name": "n", "new_from": "soon" }),
            "/new_from: expected a date like 2017-06-01, found `soon`",
        ),
        (
            "abstracts",
            json!({ "abstract_sku": "a", "name": "n", "url": "/en/a" }),
            "/url: expected one URL per locale, found a text",
        ),
        (
            "abstracts",
            json!({ "abstract_sku": "a", "name": "n", "attributes": { "x": [[1]] } }),
            "/attributes: `x`: expected a text, found a list",
        ),
        (
            "abstracts",
            json!({ "abstract_sku": "a", "name": "n", "categories": [{ "order": 1 }] }),
            "/categories: a category without `category_key`",
        ),
        (
            "concretes",
            json!({ "abstract_sku": "a", "concrete_sku": "b", "name": "n", "bundled": [{}] }),
            "/bundled: an item without `sku`",
        ),
        (
            "attributes",
            json!({ "attribute_key": "a", "values": ["x,y"] }),
            "/values: `x,y` contains a comma, which separates the values in their cell",
        ),
        (
            "attributes",
            json!({ "attribute_key": "a", "super": true }),
            "/super: `attributes` have no field `super`; they have attribute_key, is_super, input_type, allow_input, is_multiple, visibility, key_translation, values",
        ),
        (
            "attribute-values",
            json!({ "attribute_key": "a" }),
            "/value: `value` is missing",
        ),
    ];
    for (stream, record, expected) in cases {
        let fault = fault(stream, record);
        assert!(matches!(fault, Fault::Permanent(_)));
        assert_eq!(fault.to_string(), expected);
    }
    assert!(matches!(fault("stocks", json!([1])), Fault::Permanent(_)));
}

#[test]
fn other_records_of_the_batch_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut driver = Driver::open(config(folder.path(), json!({})), None).unwrap();
    let records = [
        json!({ "concrete_sku": "1" }),
        json!({}),
        json!({ "concrete_sku": "2" }),
    ];
    let (rejected, _) = driver.write(batch("stocks", &records)).unwrap();
    assert_eq!(rejected.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [1]);
    driver.end().unwrap();
    assert_eq!(files(folder.path())["product_stock.csv"].lines().count(), 3);
}

#[test]
fn deletions_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut driver = Driver::open(config(folder.path(), json!({})), None).unwrap();
    let mut builder = BatchBuilder::json("stocks");
    builder.push_record(RecordParts {
        key: b"1",
        headers: b"",
        payload: br#"{"concrete_sku":"1"}"#,
        op: Op::Delete,
        origin: None,
    });
    let (rejected, _) = driver.write(builder.finish()).unwrap();
    assert_eq!(rejected[0].1.message(), "an import CSV cannot delete");
}

#[test]
fn an_unknown_stream_stops_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut driver = Driver::open(config(folder.path(), json!({})), None).unwrap();
    let fault = driver.write(batch("products", &[json!({})])).unwrap_err();
    assert!(
        fault.is_config() && fault.to_string().contains("abstracts"),
        "{fault}"
    );
}

#[test]
fn a_folder_that_cannot_be_written_is_a_matter_of_config() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for faulty in [
        Driver::check(config(&file, json!({}))).err(),
        Driver::open(config(&file, json!({})), None).err(),
    ] {
        let Some(Fault::Config(detail)) = faulty else {
            panic!()
        };
        assert_eq!(detail.field, "/directory");
        assert!(!detail.advice.is_empty());
    }
    Driver::check(config(&folder.path().join("new"), json!({}))).unwrap();
}

#[test]
fn a_disk_that_fails_in_the_middle_stops_the_instance() {
    let folder = tempfile::tempdir().unwrap();
    let mut driver = Driver::open(config(folder.path(), json!({})), None).unwrap();
    fs::remove_dir_all(folder.path()).unwrap();
    let stock = || batch("stocks", &[json!({ "concrete_sku": "1" })]);
    assert!(driver.write(stock()).unwrap_err().is_config());
    assert!(
        driver
            .write(stock())
            .unwrap_err()
            .message()
            .contains("open the sink from its snapshot")
    );
    assert!(driver.snapshot().is_err() && driver.finish().is_err());
}

#[test]
fn bad_configs_name_their_field() {
    let field = |more: Value| match Driver::check(config(Path::new("out"), more)) {
        Err(Fault::Config(detail)) => detail.field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(json!({ "directory": "" })), "/directory");
    assert_eq!(field(json!({ "locales": [] })), "/locales");
    assert_eq!(
        field(json!({ "locales": ["en_US", "en_US"] })),
        "/locales/1"
    );
    assert_eq!(field(json!({ "stores": ["D,E"] })), "/stores/0");
    assert_eq!(
        field(json!({ "import-yaml": "../import.yml" })),
        "/import-yaml"
    );
    assert_eq!(field(json!({ "duplicates": "first" })), "/duplicates");
    assert_eq!(
        Driver::check(r#"{"directory":"x","locale":[]}"#)
            .unwrap_err()
            .location(),
        "/locale"
    );
}
