//! The source against a small stand-in of Akeneo.

mod pim;

use std::collections::HashSet;
use std::time::Duration;

use crossdock_sdk::http::{Error, Response};
use crossdock_sdk::prelude::*;
use crossdock_sdk::testing::{Host, check_manifest};
use proptest::prelude::*;

use pim::{ALL, Driver, Pim, budget, config, host, read_to_end};

#[test]
fn the_manifest_is_sound_and_the_example_of_its_schema_opens() {
    let manifest = include_str!("../../plugin.json");
    check_manifest(env!("CARGO_PKG_VERSION"), manifest);
    let manifest: serde_json::Value = serde_json::from_str(manifest).unwrap();
    let properties = manifest["kinds"]["source"]["config"]["properties"]
        .as_object()
        .unwrap();
    // Every default of the schema is accepted, and nothing else is: the two agree on the names of fields.
    let mut all: serde_json::Map<String, serde_json::Value> = properties
        .iter()
        .filter_map(|(name, schema)| Some((name.clone(), schema.get("default")?.clone())))
        .collect();
    all.insert("connection".into(), "pim".into());
    all.insert("channel".into(), "ecommerce".into());
    assert_eq!(all.len(), properties.len());
    Driver::open(serde_json::Value::Object(all), None).unwrap();
    for name in properties.keys() {
        assert!(
            include_str!("../../README.md").contains(&format!("`{name}`")),
            "README lacks {name}"
        );
    }
}

#[test]
fn reads_every_stream_in_order() {
    let (_host, _pim) = host(Pim::catalogue());
    let mut driver = Driver::open(config(""), None).unwrap();
    assert_eq!(read_to_end(&mut driver, 1000), ALL);
    assert_eq!(driver.read(budget(10)).unwrap(), Read::End);
}

#[test]
fn items_are_copied_as_they_are_and_variants_learn_their_family() {
    let (_host, _pim) = host(Pim::catalogue());
    let mut driver =
        Driver::open(config(r#","streams":["family-variants","products"]"#), None).unwrap();
    let mut payloads = Vec::new();
    loop {
        match driver.read(budget(100)).unwrap() {
            Read::Page(page) => payloads.extend(
                page.records
                    .records()
                    .map(|record| String::from_utf8(record.payload().to_vec()).unwrap()),
            ),
            Read::Idle(_) => {}
            Read::End => break,
        }
    }
    assert_eq!(payloads[0], r#"{"family":"shoes","code": "shoes_size"}"#);
    assert_eq!(
        payloads[3],
        r#"{ "identifier":"p0", "values":{"w":[{"data":0.50}]}, "updated":"2026-01-01T10:00:00+02:00" }"#
    );
}

#[test]
fn a_snapshot_at_any_record_continues_behind_it() {
    for cut in 0..=ALL.len() {
        let (_host, _pim) = host(Pim::catalogue());
        let mut first = Driver::open(config(""), None).unwrap();
        let mut seen = Vec::new();
        while seen.len() < cut {
            if let Read::Page(page) = first.read(budget(1)).unwrap() {
                seen.extend(
                    page.records
                        .records()
                        .map(|record| format!("{}/{}", record.stream(), record.key_str().unwrap())),
                );
            }
        }
        let snapshot = first.snapshot().unwrap();
        let mut second = Driver::open(config(""), Some(&snapshot)).unwrap();
        assert_eq!(
            second.snapshot().unwrap(),
            snapshot,
            "opening and asking again gives the same place"
        );
        seen.extend(read_to_end(&mut second, 1000));
        assert_eq!(seen, ALL, "cut at {cut}");
    }
}

#[test]
fn only_links_are_followed() {
    let (host, _pim) = host(Pim::catalogue());
    read_to_end(&mut Driver::open(config(""), None).unwrap(), 1000);
    let urls: Vec<String> = host
        .requests()
        .iter()
        .map(|request| request.url().to_owned())
        .collect();
    let first_pages = urls.iter().filter(|url| !url.contains("cursor="));
    let distinct: HashSet<&String> = urls.iter().collect();
    // Families and attributes are listed once for themselves and once for what they own.
    assert_eq!(urls.len() - distinct.len(), 4);
    for url in first_pages {
        assert!(
            url.starts_with("/api/rest/v1/") && !url.contains("&page="),
            "{url}"
        );
    }
    let models = urls
        .iter()
        .find(|url| url.contains("product-models"))
        .unwrap();
    assert_eq!(
        models,
        "/api/rest/v1/product-models?limit=2&pagination_type=search_after"
    );
    let options: Vec<&String> = urls.iter().filter(|url| url.contains("/options")).collect();
    assert!(
        options
            .iter()
            .all(|url| url.contains("/color/") || url.contains("/tags/")),
        "{options:?}"
    );
}

#[test]
fn values_are_narrowed_by_the_config() {
    let (host, _pim) = host(Pim::catalogue());
    let more = r#","streams":["products"],"channel":"e commerce","locales":["en_US","de_DE"],"attributes":["name"],
        "with-attribute-options":true,"filters":{"products":{"enabled":[{"operator":"=","value":true}]}}"#;
    read_to_end(&mut Driver::open(config(more), None).unwrap(), 1000);
    assert_eq!(
        host.requests()[0].url(),
        "/api/rest/v1/products?limit=2&pagination_type=search_after&scope=e%20commerce&locales=en_US%2Cde_DE\
         &attributes=name&with_attribute_options=true&search=%7B%22enabled%22%3A%5B%7B%22operator%22%3A%22%3D%22%2C\
         %22value%22%3Atrue%7D%5D%7D"
    );
}

#[test]
fn products_can_be_keyed_by_uuid_and_measurement_families_have_no_pages() {
    let host = Host::new();
    host.on_http(|request| {
        Ok(Response::new(
            200,
            if request.url().contains("products-uuid") {
                r#"{"_links":{},"_embedded":{"items":[{"uuid":"25566245-55c3","values":{}}]}}"#
            } else {
                assert_eq!(request.url(), "/api/rest/v1/measurement-families");
                r#" [{"code":"Weight"}, {"code":"Length"}]"#
            },
        ))
    });
    let more =
        r#","streams":["measurement-families","products"],"products-endpoint":"products-uuid""#;
    let mut driver = Driver::open(config(more), None).unwrap();
    assert_eq!(
        read_to_end(&mut driver, 10),
        [
            "measurement-families/Weight",
            "measurement-families/Length",
            "products/25566245-55c3"
        ]
    );
}

/// Reads until the trouble shows, checks the fault, and that reading again goes on without loss.
fn after_trouble(trouble: Result<Response, Error>, before: usize) -> Fault {
    let (_host, pim) = host(Pim::catalogue());
    let mut driver = Driver::open(config(""), None).unwrap();
    for _ in 0..before {
        pim.borrow_mut().trouble.push(Ok(Response::new(299, "")));
    }
    pim.borrow_mut().trouble.push(trouble);
    let mut seen = Vec::new();
    let fault = loop {
        match driver.read(budget(1000)) {
            Ok(Read::Page(page)) => seen.extend(
                page.records
                    .records()
                    .map(|record| format!("{}/{}", record.stream(), record.key_str().unwrap())),
            ),
            Ok(Read::Idle(_)) => {}
            Ok(Read::End) => panic!("no fault"),
            Err(fault) => break fault,
        }
    };
    seen.extend(read_to_end(&mut driver, 1000));
    assert_eq!(seen, ALL);
    fault
}

#[test]
fn what_passes_is_transient() {
    let limited = Response::new(429, r#"{"code":429,"message":"Too many requests"}"#)
        .with_header("retry-after", "7");
    let Fault::Transient(detail) = after_trouble(Ok(limited), 0) else {
        panic!()
    };
    assert_eq!(detail.retry_after, Some(Duration::from_secs(7)));
    assert_eq!(detail.message, "Akeneo answers 429: Too many requests");
    for before in [1, 2, 11] {
        assert!(
            after_trouble(Ok(Response::new(502, "<html>Bad\nGateway</html>")), before)
                .is_transient()
        );
        assert!(
            after_trouble(
                Ok(Response::new(200, r#"{"_embedded":{"items":[{"code""#)),
                before
            )
            .is_transient()
        );
    }
    let fault = after_trouble(Err(Error::Unreachable("connection reset".into())), 3);
    assert!(fault.is_transient(), "{fault}");
}

#[test]
fn what_a_person_must_change_says_so() {
    let fault = |status: u16, body: &str| after_trouble(Ok(Response::new(status, body)), 0);
    let invalid = fault(
        422,
        r#"{"code":422,"message":"Validation failed.","errors":[{"property":"search","message":"no such channel"}]}"#,
    );
    assert!(invalid.is_config());
    assert_eq!(
        invalid.message(),
        "Akeneo refuses /api/rest/v1/families?limit=2 (422): Validation failed.; search: no such channel"
    );
    for status in [401, 403, 404] {
        let Fault::Config(detail) = fault(status, "{}") else {
            panic!("{status}")
        };
        assert_eq!(detail.field, "/connection");
        assert!(!detail.advice.is_empty());
    }
    assert!(matches!(fault(302, ""), Fault::Permanent(_)));
    assert!(matches!(
        fault(200, r#"{"hello":"world"}"#),
        Fault::Permanent(_)
    ));
}

#[test]
fn a_parent_that_vanished_owns_nothing() {
    let mut pim = Pim::catalogue();
    pim.lists.remove("families/shoes/variants");
    let (host, _pim) = host(pim);
    let mut driver = Driver::open(config(r#","streams":["family-variants"]"#), None).unwrap();
    assert_eq!(read_to_end(&mut driver, 10), ["family-variants/bags_color"]);
    assert_eq!(
        host.logs()[0].1,
        "shoes is gone, its family-variants are left out"
    );
}

#[test]
fn an_item_without_key_is_unreadable() {
    let mut pim = Pim::catalogue();
    pim.put(
        "categories",
        vec![
            r#"{"code":"a"}"#.into(),
            r#"{"label":1}"#.into(),
            "7".into(),
            r#"{"code":"b"}"#.into(),
        ],
    );
    let (_host, _pim) = host(pim);
    let mut driver =
        Driver::open(r#"{"connection":"pim","streams":["categories"]}"#, None).unwrap();
    let Read::Page(page) = driver.read(budget(10)).unwrap() else {
        panic!()
    };
    assert_eq!(page.records.len(), 2);
    assert_eq!(page.unreadable[0].data, br#"{"label":1}"#);
    assert_eq!(page.unreadable[1].fault.location(), "categories[2]");
}

/// Reads `records` records, one at a time, and answers the snapshot.
fn snapshot_after(config: &str, records: usize) -> Vec<u8> {
    let mut driver = Driver::open(config, None).unwrap();
    for _ in 0..records {
        assert!(matches!(driver.read(budget(1)).unwrap(), Read::Page(_)));
    }
    driver.snapshot().unwrap()
}

#[test]
fn an_expired_cursor_starts_the_stream_again() {
    let (host, pim) = host(Pim::catalogue());
    let config = config(r#","streams":["categories","products"]"#);
    let snapshot = snapshot_after(&config, 5 + 3);
    pim.borrow_mut().cursors.clear();
    let mut driver = Driver::open(&config, Some(&snapshot)).unwrap();
    assert_eq!(read_to_end(&mut driver, 10), ALL[21..]);
    assert!(
        host.logs()[0].1.contains("no longer valid"),
        "{:?}",
        host.logs()
    );
}

#[test]
fn a_cursor_that_is_refused_during_a_run_is_a_fault() {
    let (_host, pim) = host(Pim::catalogue());
    let mut driver = Driver::open(config(r#","streams":["products"]"#), None).unwrap();
    assert!(matches!(driver.read(budget(2)).unwrap(), Read::Page(_)));
    pim.borrow_mut().cursors.clear();
    assert!(driver.read(budget(2)).unwrap_err().is_config());
}

#[test]
fn a_page_that_changed_is_continued_behind_its_last_record() {
    let (_host, pim) = host(Pim::catalogue());
    let config = r#"{"connection":"pim","streams":["categories"]}"#;
    let snapshot = snapshot_after(config, 3);
    pim.borrow_mut()
        .lists
        .get_mut("categories")
        .unwrap()
        .insert(0, r#"{"code":"added"}"#.into());
    let mut driver = Driver::open(config, Some(&snapshot)).unwrap();
    assert_eq!(
        read_to_end(&mut driver, 10),
        ["categories/hats", "categories/sale"]
    );
    pim.borrow_mut()
        .lists
        .get_mut("categories")
        .unwrap()
        .remove(3);
    let mut driver = Driver::open(config, Some(&snapshot)).unwrap();
    assert_eq!(
        read_to_end(&mut driver, 10).len(),
        5,
        "without its last record the page is read again"
    );
}

#[test]
fn a_family_that_vanished_starts_its_stream_again() {
    let (_host, pim) = host(Pim::catalogue());
    let config = config(r#","streams":["family-variants"]"#);
    let snapshot = snapshot_after(&config, 1);
    pim.borrow_mut()
        .lists
        .get_mut("families")
        .unwrap()
        .remove(0);
    let mut driver = Driver::open(&config, Some(&snapshot)).unwrap();
    assert_eq!(read_to_end(&mut driver, 10), ["family-variants/bags_color"]);
}

#[test]
fn a_later_run_asks_for_changes() {
    let (host, pim) = host(Pim::catalogue());
    pim.borrow_mut().date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
    let config =
        config(r#","streams":["categories","products"],"incremental":true,"overlap-seconds":60"#);
    let mut first = Driver::open(&config, None).unwrap();
    read_to_end(&mut first, 10);
    let snapshot = first.snapshot().unwrap();
    let before = host.requests().len();
    let mut second = Driver::open(&config, Some(&snapshot)).unwrap();
    assert_eq!(read_to_end(&mut second, 10).len(), 5 + 7);
    let urls: Vec<String> = host.requests()[before..]
        .iter()
        .map(|request| request.url().to_owned())
        .collect();
    assert_eq!(
        urls[0], "/api/rest/v1/categories?limit=2",
        "small streams are read in full"
    );
    // The server's dates are at +02:00, so one hour of overlap is added: 08:49:37 - 1 min + 2 h - 1 h.
    let search = urls
        .iter()
        .find(|url| url.contains("/products?"))
        .unwrap()
        .split("search=")
        .nth(1)
        .unwrap();
    let search = percent_encoding::percent_decode_str(search)
        .decode_utf8()
        .unwrap();
    assert_eq!(
        search,
        r#"{"updated":[{"operator":">","value":"1994-11-06 09:48:37"}]}"#
    );
    // A crash in the middle of the later run keeps what it asks for.
    let mut third = Driver::open(&config, Some(&second.snapshot().unwrap())).unwrap();
    assert!(matches!(third.read(budget(1)).unwrap(), Read::Page(_)));
    let state: serde_json::Value = serde_json::from_slice(&third.snapshot().unwrap()).unwrap();
    assert_eq!(state["marks"]["products"]["since"], 784_111_777_000_i64);
}

#[test]
fn a_later_run_can_leave_the_small_streams_out() {
    let (_host, _pim) = host(Pim::catalogue());
    let config = config(
        r#","streams":["categories","products"],"incremental":true,"other-streams":"skip",
           "filters":{"products":{"updated":[{"operator":"<","value":"2030-01-01 00:00:00"}]}}"#,
    );
    let mut first = Driver::open(&config, None).unwrap();
    assert_eq!(read_to_end(&mut first, 10).len(), 12);
    let mut second = Driver::open(&config, Some(&first.snapshot().unwrap())).unwrap();
    assert_eq!(read_to_end(&mut second, 10), ALL[21..]);
}

#[test]
fn without_incremental_a_later_run_reads_everything() {
    let (_host, _pim) = host(Pim::catalogue());
    let mut first = Driver::open(config(""), None).unwrap();
    read_to_end(&mut first, 10);
    let mut second = Driver::open(config(""), Some(&first.snapshot().unwrap())).unwrap();
    assert_eq!(read_to_end(&mut second, 10), ALL);
}

#[test]
fn bad_configs_and_snapshots_are_refused() {
    let field = |text: &str| match Driver::open(text, None) {
        Err(Fault::Config(detail)) => detail.field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(r#"{"connection":""}"#), "/connection");
    assert_eq!(field(r#"{"connection":"p","page-size":101}"#), "/page-size");
    assert_eq!(
        field(r#"{"connection":"p","streams":["products","products"]}"#),
        "/streams/1"
    );
    assert_eq!(
        field(r#"{"connection":"p","streams":["product"]}"#),
        "/streams/0"
    );
    assert_eq!(
        field(r#"{"connection":"p","incremental-streams":["locales"]}"#),
        "/incremental-streams/0"
    );
    assert_eq!(
        field(r#"{"connection":"p","filters":{"channels":{}}}"#),
        "/filters/channels"
    );
    for snapshot in ["", "{}", r#"{"version":9}"#] {
        assert!(
            Driver::open(config(""), Some(snapshot.as_bytes()))
                .unwrap_err()
                .is_config(),
            "{snapshot}"
        );
    }
}

#[test]
fn check_asks_for_one_item_of_each_stream() {
    let (host, pim) = host(Pim::catalogue());
    Driver::check(config("")).unwrap();
    let urls: Vec<String> = host
        .requests()
        .iter()
        .map(|request| request.url().to_owned())
        .collect();
    assert_eq!(urls.len(), 7 + 1, "{urls:?}");
    assert!(urls.iter().all(|url| url.contains("limit=1")));
    pim.borrow_mut().lists.remove("categories");
    assert!(Driver::check(config("")).unwrap_err().is_config());
    let filter = r#","streams":["products"],"filters":{"products":{"x":[]}}"#;
    pim.borrow_mut().trouble.push(Ok(Response::new(
        422,
        r#"{"code":422,"message":"no filter x"}"#,
    )));
    assert_eq!(
        Driver::check(config(filter)).unwrap_err().location(),
        "/filters/products"
    );
}

#[test]
fn lists_without_items_do_not_hold_the_host_up() {
    let (_host, pim) = host(Pim::catalogue());
    pim.borrow_mut().put("families/shoes/variants", vec![]);
    let config = r#"{"connection":"pim","page-size":1,"streams":["family-variants"]}"#;
    let mut driver = Driver::open(config, None).unwrap();
    let none = Budget {
        records: 10,
        bytes: 1 << 20,
        time: Duration::ZERO,
    };
    assert_eq!(driver.read(none).unwrap(), Read::Idle(Duration::ZERO));
    assert_eq!(read_to_end(&mut driver, 10), ["family-variants/bags_color"]);
}

#[test]
fn streams_are_described() {
    let streams = Driver::streams(config(r#","incremental":true"#)).unwrap();
    let names: Vec<&str> = streams.iter().map(|stream| stream.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "families",
            "family-variants",
            "attributes",
            "attribute-options",
            "categories",
            "product-models",
            "products"
        ]
    );
    assert_eq!(streams[3].key, ["attribute", "code"]);
    assert!(streams[6].incremental && !streams[4].incremental);
    for stream in streams {
        let schema: serde_json::Value = serde_json::from_str(&stream.schema).unwrap();
        assert_eq!(schema["type"], "object");
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_or_repeated(
        sizes in proptest::collection::vec(0..9_usize, 1..6),
        page in 1..5_usize,
        budgets in proptest::collection::vec(1..7_usize, 1..12),
    ) {
        let mut pim = Pim::default();
        let mut expected = Vec::new();
        pim.put("families", (0..sizes.len()).map(|n| format!(r#"{{"code":"f{n}"}}"#)).collect());
        for (family, size) in sizes.iter().enumerate() {
            let codes: Vec<String> = (0..*size).map(|n| format!("v{family}_{n}")).collect();
            expected.extend(codes.iter().map(|code| format!("family-variants/{code}")));
            pim.put(
                &format!("families/f{family}/variants"),
                codes.iter().map(|code| format!(r#"{{"code":"{code}"}}"#)).collect(),
            );
        }
        let (_host, _pim) = host(pim);
        let config = format!(r#"{{"connection":"pim","page-size":{page},"streams":["family-variants"]}}"#);
        let mut driver = Driver::open(&config, None).unwrap();
        let mut seen = Vec::new();
        // A new instance for each of the first reads, from the snapshot of the one before.
        for records in budgets {
            if let Read::Page(page) = driver.read(budget(records)).unwrap() {
                prop_assert!(page.records.len() <= records);
                seen.extend(page.records.records().map(|record| format!("family-variants/{}", record.key_str().unwrap())));
            }
            if seen.len() == expected.len() {
                break;
            }
            let snapshot = driver.snapshot().unwrap();
            driver = Driver::open(&config, Some(&snapshot)).unwrap();
        }
        seen.extend(read_to_end(&mut driver, 3));
        prop_assert_eq!(seen, expected);
    }
}
