//! The plugin driven as the host drives it.

use std::time::Duration;

use crossdock_sdk::prelude::{Budget, Fault, Read};
use crossdock_sdk::testing::{Host, SourceDriver};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::source::GenerateSource;

type Driver = SourceDriver<GenerateSource>;

/// Keys and payloads; with `crash` a new instance for every page.
fn read(config: &Value, records: usize, crash: bool) -> Vec<(String, String)> {
    let budget = Budget {
        records,
        ..Budget::default()
    };
    let mut driver = Driver::open(config, None).unwrap();
    let mut got = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    while let Read::Page(page) = driver.read(budget).unwrap() {
        assert!(page.records.len() <= records && !page.records.is_empty());
        got.extend(
            page.records
                .records()
                .map(|record| (text(record.key()), text(record.payload()))),
        );
        if crash {
            let snapshot = driver.snapshot().unwrap();
            driver = Driver::open(config, Some(&snapshot)).unwrap();
        }
    }
    got
}

#[test]
fn the_manifest_fits() {
    crossdock_sdk::testing::check_manifest(
        env!("CARGO_PKG_VERSION"),
        include_str!("../plugin.json"),
    );
}

#[test]
fn records_hold_what_the_template_says() {
    let fields = json!({
        "n": { "kind": "sequence" },
        "sku": { "kind": "sequence", "prefix": "S\"", "digits": 4 },
        "stock": { "kind": "integer", "min": -2, "max": 2 },
        "price": { "kind": "decimal", "min": -1, "max": 1, "digits": 3 },
        "on": { "kind": "boolean" },
        "name": { "kind": "words", "count": 2 },
        "size": { "kind": "choice", "of": ["S", 2, null] },
        "day": { "kind": "date" },
        "id": { "kind": "id" },
    });
    let got = read(
        &json!({ "records": 300, "fields": fields, "key": "id" }),
        64,
        false,
    );
    assert_eq!(got.len(), 300);
    let mut stocks = std::collections::BTreeSet::new();
    for (number, (key, payload)) in got.iter().enumerate() {
        let value: Value = serde_json::from_str(payload).unwrap();
        assert_eq!(
            (value["n"].as_u64(), value["sku"].as_str()),
            (Some(number as u64), Some(&*format!("S\"{number:04}")))
        );
        assert_eq!(value["id"], json!(key));
        assert!(value["price"].as_f64().unwrap().abs() <= 1.0, "{payload}");
        assert!(
            value["on"].is_boolean() && value["name"].as_str().unwrap().contains(' '),
            "{payload}"
        );
        assert!(
            ["S".into(), Value::from(2), Value::Null].contains(&value["size"]),
            "{payload}"
        );
        assert_eq!(value["day"].as_str().unwrap().len(), 10);
        stocks.insert(value["stock"].as_i64().unwrap());
    }
    assert_eq!(stocks.into_iter().collect::<Vec<_>>(), [-2, -1, 0, 1, 2]);
    let first = &got[0].1;
    assert!(
        first.starts_with("{\"day\":"),
        "fields are in the order of their names: {first}"
    );
}

#[test]
fn the_pace_is_kept_by_the_clock() {
    let host = Host::new();
    host.set_clock(1_000_000);
    let mut driver = Driver::open(json!({ "records": 10, "rate": 4.0 }), None).unwrap();
    let mut read = |now: u64| {
        host.set_clock(now);
        match driver.read(Budget::default()).unwrap() {
            Read::Page(page) => Ok(page.records.len()),
            Read::Idle(wait) => Err(Some(wait)),
            Read::End => Err(None),
        }
    };
    assert_eq!(read(1_000_000), Err(Some(Duration::from_millis(250))));
    assert_eq!(read(1_000_250), Ok(1));
    assert_eq!(read(1_000_300), Err(Some(Duration::from_millis(200))));
    assert_eq!(read(1_001_000), Ok(3));
    assert_eq!(read(1_100_000), Ok(6));
    assert_eq!(read(1_100_000), Err(None));
}

#[test]
fn configs_that_do_not_fit_are_named() {
    for (config, field) in [
        (json!({ "records": 1, "rate": 0.0 }), "/rate"),
        (json!({ "records": 1, "bytes": 1 << 30 }), "/bytes"),
        (json!({ "records": 1, "key": "x" }), "/key"),
        (
            json!({ "records": 1, "fields": { "a/b": { "kind": "integer", "min": 2, "max": 1 } } }),
            "/fields/a~1b",
        ),
        (
            json!({ "records": 1, "fields": { "a": { "kind": "choice", "of": [] } } }),
            "/fields/a",
        ),
        (
            json!({ "records": 1, "fields": { "a": { "kind": "decimal", "digits": 10 } } }),
            "/fields/a",
        ),
        (json!({ "record": 1 }), "/record"),
    ] {
        let fault: Fault = Driver::open(&config, None).unwrap_err();
        assert!(fault.is_config(), "{config}: {fault}");
        assert_eq!(fault.location(), field, "{fault}");
    }
    assert!(
        Driver::open(json!({ "records": 1 }), Some(b"junk"))
            .unwrap_err()
            .is_config()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The same config gives the same records, in any pieces and with a crash behind every page.
    #[test]
    fn records_follow_from_the_config(
        seed in any::<u64>(), records in 0u64..40, bytes in 180usize..600, page in 1usize..9,
    ) {
        let config = json!({ "records": records, "seed": seed, "bytes": bytes });
        let whole = read(&config, 1000, false);
        prop_assert_eq!(whole.len() as u64, records);
        prop_assert!(whole.iter().all(|(_, payload)| payload.len() == bytes), "{whole:?}");
        prop_assert_eq!(&read(&config, page, true), &whole);
        let other = read(&json!({ "records": records, "seed": seed ^ 1, "bytes": bytes }), 1000, false);
        prop_assert!(records == 0 || other != whole);
    }
}
