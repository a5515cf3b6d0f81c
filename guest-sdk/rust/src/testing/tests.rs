//! Small plugins of all three kinds, driven as the host drives them.

use std::cell::RefCell;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::{
    Drive, Host, SinkDriver, SourceDriver, TransformerDriver, check_manifest, run_transformer,
};
use crate::Detail;
use crate::http::{self, Request, Response};
use crate::prelude::*;

/// Counts from 1 to `to`; multiples of `bad` cannot be read.
struct Count {
    at: u64,
    to: u64,
    bad: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CountConfig {
    to: u64,
    #[serde(default)]
    bad: u64,
}

impl Source for Count {
    type Config = CountConfig;

    fn streams(_config: CountConfig) -> Result<Vec<StreamInfo>> {
        Ok(vec![
            StreamInfo::new("numbers")
                .key(["n"])
                .schema("{}")
                .incremental(true),
        ])
    }

    fn open(config: CountConfig, snapshot: Option<&[u8]>) -> Result<Self> {
        let at = match snapshot {
            None => 0,
            Some(bytes) => serde_json::from_slice(bytes)
                .map_err(|_| Fault::config("the snapshot is of another plugin"))?,
        };
        Ok(Self {
            at,
            to: config.to,
            bad: config.bad,
        })
    }

    fn read(&mut self, budget: Budget) -> Result<Read> {
        if self.at == self.to {
            return Ok(Read::End);
        }
        let mut page = BatchBuilder::json("numbers");
        let mut unreadable = Vec::new();
        while self.at < self.to && !budget.is_full(&page) {
            self.at += 1;
            if self.bad > 0 && self.at.is_multiple_of(self.bad) {
                let fault = Fault::permanent("a bad number").at(format!("line {}", self.at));
                unreadable.push(Unreadable {
                    data: self.at.to_string().into_bytes(),
                    fault,
                });
                continue;
            }
            page.push_value(self.at.to_string().as_bytes(), &json!({"n": self.at}))?;
        }
        Ok(Read::Page(Page {
            records: page.finish(),
            unreadable,
        }))
    }

    fn snapshot(&mut self) -> Result<Vec<u8>> {
        Ok(serde_json::to_vec(&self.at)?)
    }
}

/// The same, but it forgets the last page.
struct Forgetful(Count, u64);

impl Source for Forgetful {
    type Config = CountConfig;

    fn open(config: CountConfig, snapshot: Option<&[u8]>) -> Result<Self> {
        Count::open(config, snapshot).map(|count| Self(count, 0))
    }

    fn read(&mut self, budget: Budget) -> Result<Read> {
        self.1 = self.0.at;
        self.0.read(budget)
    }

    fn snapshot(&mut self) -> Result<Vec<u8>> {
        Ok(serde_json::to_vec(&self.1)?)
    }
}

/// Numbers records through batches; refuses texts, leaves `false` out, stops at `null`.
struct Number(u64);

impl Transformer for Number {
    type Config = serde_json::Value;

    fn open(_config: serde_json::Value, snapshot: Option<&[u8]>) -> Result<Self> {
        Ok(Self(snapshot.map_or(Ok(0), serde_json::from_slice)?))
    }

    fn mode(&self) -> Mode {
        Mode::Stateful
    }

    fn map(&mut self, record: Record<'_>, out: &mut Output<'_>) -> Result<()> {
        let mut object = record.object()?;
        let value = object.original("v");
        match value.map(|value| value.kind()) {
            Some(json::Kind::Null) => return Err(Fault::config("null is not mapped").field("/v")),
            Some(json::Kind::String) => {
                out.emit("leak", b"", b"{}");
                return Err(Fault::permanent("a text"));
            }
            Some(json::Kind::Bool) => out.filter("a boolean"),
            _ => {
                self.0 += 1;
                object.set("number", self.0);
                out.emit_object(record.stream(), record.key(), &object);
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Vec<Batch>> {
        let mut last = BatchBuilder::json("total");
        last.push_value(b"", &json!({"total": self.0}))?;
        Ok(vec![last.finish()])
    }

    fn snapshot(&mut self) -> Result<Vec<u8>> {
        Ok(serde_json::to_vec(&self.0)?)
    }
}

thread_local! {
    /// A target: what is written and what is visible.
    static TARGET: RefCell<(Vec<String>, Vec<String>)> = RefCell::default();
}

/// Writes to `TARGET`, correctly when `CAREFUL`.
struct Lines<const CAREFUL: bool>;

impl<const CAREFUL: bool> Sink for Lines<CAREFUL> {
    type Config = serde_json::Value;

    fn open(_config: serde_json::Value, snapshot: Option<&[u8]>) -> Result<Self> {
        let length: usize = snapshot.map_or(Ok(0), serde_json::from_slice)?;
        if CAREFUL {
            TARGET.with_borrow_mut(|(written, _)| written.truncate(length));
        }
        Ok(Self)
    }

    fn write_record(&mut self, record: Record<'_>) -> Result<()> {
        let line = String::from_utf8_lossy(record.payload()).into_owned();
        if line.contains("refuse") {
            return Err(Fault::transient("later").retry_after(Duration::from_secs(3)));
        }
        TARGET.with_borrow_mut(|(written, _)| written.push(line));
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<u8>> {
        Ok(serde_json::to_vec(
            &TARGET.with_borrow(|(written, _)| written.len()),
        )?)
    }

    fn commit(&mut self, snapshot: &[u8]) -> Result<()> {
        let length: usize = serde_json::from_slice(snapshot)?;
        TARGET.with_borrow_mut(|(written, visible)| *visible = written[..length].to_vec());
        Ok(())
    }
}

#[test]
fn a_source_is_read_through_the_glue() {
    let streams = SourceDriver::<Count>::streams(json!({"to": 1})).unwrap();
    assert_eq!(
        (streams[0].name.as_str(), streams[0].incremental),
        ("numbers", true)
    );
    let mut source = SourceDriver::<Count>::open(json!({"to": 7, "bad": 5}), None).unwrap();
    let pages = source
        .read_all(Budget {
            records: 3,
            ..Budget::default()
        })
        .unwrap();
    assert_eq!(
        pages
            .iter()
            .map(|page| page.records.len())
            .collect::<Vec<_>>(),
        [3, 3]
    );
    assert_eq!(pages[1].unreadable[0].fault.location(), "line 5");
    assert_eq!(pages[1].records.record(2).unwrap().key(), b"7");
    assert_eq!(source.snapshot().unwrap(), b"7");
    let fault = SourceDriver::<Count>::check(json!({"too": 7})).unwrap_err();
    assert_eq!((fault.location(), fault.is_config()), ("/too", true));
    assert!(
        SourceDriver::<Count>::open(json!({"to": 7}), Some(b"{}"))
            .unwrap_err()
            .is_config()
    );
}

#[test]
fn a_source_that_resumes_passes_the_drive() {
    let pages = Drive::new(json!({"to": 10, "bad": 4})).source::<Count>();
    assert_eq!(
        pages.iter().map(|page| page.records.len()).sum::<usize>(),
        8
    );
}

#[test]
#[should_panic(expected = "other records after a snapshot behind 1 pages")]
fn a_source_that_reads_twice_does_not_pass_the_drive() {
    Drive::new(json!({"to": 10})).source::<Forgetful>();
}

#[test]
fn a_transformer_is_applied_through_the_glue() {
    let input = batch!("in", [{"v": 1.50}, {"v": "text"}, {"v": true}, {"v": 2}]);
    let applied = run_transformer::<Number>("{}", input).unwrap();
    assert_eq!(applied.output, "replace");
    assert_eq!(
        applied.stream("in"),
        [json!({"v": 1.5, "number": 1}), json!({"v": 2, "number": 2})]
    );
    assert_eq!(applied.stream("leak"), Vec::<serde_json::Value>::new());
    assert_eq!(applied.rejected, [(1, Fault::permanent("a text"))]);
    assert_eq!(applied.filtered, [("a boolean".to_owned(), 1)]);
    let origins: Vec<_> = applied.batches[0]
        .records()
        .map(|record| record.origin())
        .collect();
    assert_eq!(origins, [Some(0), Some(3)]);
}

#[test]
fn a_config_fault_of_one_record_fails_the_call() {
    let mut driver = TransformerDriver::<Number>::open("", None).unwrap();
    assert_eq!(driver.mode(), Mode::Stateful);
    let fault = driver
        .apply(batch!("in", [{"v": 1}, {"v": null}]))
        .unwrap_err();
    assert_eq!((fault.is_config(), fault.location()), (true, "/v"));
    driver.close();
}

#[test]
fn a_payload_that_is_no_object_is_rejected_with_its_key() {
    let input = super::keyed_batch("in", [("k1", &json!([1]))]);
    let applied = run_transformer::<Number>("{}", input).unwrap();
    let fault = &applied.rejected[0].1;
    assert_eq!(fault.location(), "in/k1");
    assert!(
        fault.message().contains("expected a JSON object at byte 0"),
        "{fault}"
    );
}

#[test]
fn a_transformer_with_state_passes_the_drive() {
    let batches = [
        batch!("in", [{"v": 1}, {"v": 2}]),
        batch!("in", [{"v": 3}]),
        batch!("in", [{"v": false}]),
    ];
    let out = Drive::new("{}").transformer::<Number>(&batches);
    assert_eq!(
        out.last().unwrap().record(0).unwrap().payload(),
        br#"{"total":3}"#
    );
}

#[test]
fn a_sink_refuses_records_one_by_one() {
    TARGET.take();
    let mut sink = SinkDriver::<Lines<true>>::open("{}", None).unwrap();
    let (rejected, receipts) = sink.write(batch!("in", ["a", "refuse", "b"])).unwrap();
    let Fault::Transient(Detail { retry_after, .. }) = &rejected[0].1 else {
        panic!("{rejected:?}")
    };
    assert_eq!(
        (rejected[0].0, *retry_after, receipts),
        (1, Some(Duration::from_secs(3)), None)
    );
    sink.end().unwrap();
    assert_eq!(TARGET.take().1, [r#""a""#, r#""b""#]);
}

#[test]
fn a_sink_that_resumes_passes_the_drive() {
    let batches = [batch!("in", [1, 2]), batch!("in", [3])];
    let visible = Drive::new("{}").sink::<Lines<true>, _>(
        &batches,
        || drop(TARGET.take()),
        || TARGET.with_borrow(|(_, visible)| visible.clone()),
    );
    assert_eq!(visible, ["1", "2", "3"]);
}

#[test]
#[should_panic(expected = "another result after a crash behind 0 batches (committed: false)")]
fn a_sink_that_keeps_lost_work_does_not_pass_the_drive() {
    Drive::new("{}").sink::<Lines<false>, _>(
        &[batch!("in", [1])],
        || drop(TARGET.take()),
        || TARGET.with_borrow(|(_, visible)| visible.clone()),
    );
}

#[test]
fn tables_are_read_and_written() {
    let host = Host::new();
    host.table("ids").insert("a", "1");
    let table = table::Table::new("ids");
    assert_eq!(
        table.get_many(&["a", "b", "a"]).unwrap(),
        [Some(b"1".to_vec()), None, Some(b"1".to_vec())]
    );
    table.put("b", "2").unwrap();
    table.put_many([("c", "3"), ("d", "4")]).unwrap();
    table.remove("a").unwrap();
    assert_eq!(table.get("a").unwrap(), None);
    assert_eq!(
        table.find("", "b", 1).unwrap(),
        [("c".to_owned(), b"3".to_vec())]
    );
    assert_eq!(host.table("ids").entries().len(), 3);
    assert_eq!(
        table.get_many(&[""; 0]).unwrap(),
        Vec::<Option<Vec<u8>>>::new()
    );
    assert!(matches!(
        table.put("k".repeat(513), "1"),
        Err(table::Error::Invalid(_))
    ));
    host.deny_table("secret");
    let denied = table::Table::new("secret").get("a").unwrap_err();
    assert!(Fault::from(denied).is_config());
}

#[test]
fn requests_are_answered_by_the_test() {
    let host = Host::new();
    assert!(matches!(
        Request::get("/x").send(),
        Err(http::Error::Unreachable(_))
    ));
    host.on_http(|request| match request.url() {
        "/ok" => Ok(Response::new(200, request.body_bytes())
            .with_header("X-Seen", request.connection_name())),
        "/late" => {
            Ok(Response::new(503, "busy")
                .with_header("retry-after", "Thu, 01 Jan 1970 00:01:00 GMT"))
        }
        _ => Err(http::Error::Denied("no".to_owned())),
    });
    host.set_clock(50_000);
    let request = Request::post("/ok")
        .connection("akeneo")
        .json(&json!({"a": 1}));
    let response = request.timeout(Duration::from_micros(1)).send().unwrap();
    assert_eq!(
        response.json::<serde_json::Value>().unwrap(),
        json!({"a": 1})
    );
    assert_eq!(response.header("x-seen"), Some("akeneo"));
    assert_eq!(
        host.requests()[1].headers(),
        [("content-type".to_owned(), "application/json".to_owned())]
    );
    let broken = std::collections::BTreeMap::from([((1, 2), 3)]);
    let answers = http::send_all(vec![
        Request::get("/late"),
        Request::post("/ok").json(&broken),
        Request::get("/no"),
    ]);
    let late = answers[0].clone().unwrap().error_for_status().unwrap_err();
    let Fault::Transient(detail) = late else {
        panic!("{late:?}")
    };
    assert_eq!(
        (detail.retry_after, detail.location.as_str()),
        (Some(Duration::from_secs(10)), "/late")
    );
    assert!(matches!(answers[1], Err(http::Error::Invalid(_))));
    assert!(matches!(answers[2], Err(http::Error::Denied(_))));
}

#[test]
fn logs_metrics_clock_and_random_are_seen() {
    let host = Host::new();
    info!("hello {}", 1);
    error!("plain");
    metrics::count("seen", 2);
    metrics::count("seen", 3);
    metrics::gauge("depth", 1.5);
    assert_eq!(
        host.logs(),
        [
            (log::Level::Info, "hello 1".to_owned()),
            (log::Level::Error, "plain".to_owned())
        ]
    );
    assert_eq!((host.counter("seen"), host.gauge("depth")), (5, Some(1.5)));
    host.seed(7);
    let first = random::u64();
    host.seed(7);
    assert_eq!((random::u64(), clock::now_ms()), (first, 0));
}

#[test]
fn a_malformed_batch_of_the_host_is_a_fault() {
    use crate::bindings::host::crossdock::plugin::plugin_types as wit;
    for (index, data) in [
        (vec![1, 1, 1], vec![0]),
        (vec![0, 0, 2, 0], vec![0]),
        (vec![0, 0, 0, 0], vec![0]),
        (vec![1, 0, 1, 0], vec![0]),
        (vec![0, 0, 2, 0, 1, 2, 2, 0], vec![0, 0]),
        (vec![], vec![0]),
    ] {
        let malformed = wit::Batch {
            stream: "s".to_owned(),
            form: wit::Form::Json,
            index: index.clone(),
            data,
        };
        assert!(Batch::from_wit(malformed).is_err(), "{index:?}");
    }
}

#[test]
fn a_manifest_is_checked() {
    let manifest = json!({
        "name": "csv", "version": "0.1.0", "description": "d", "license": "Apache-2.0",
        "kinds": {"source": {"delivery": "replayable", "config": {
            "type": "object", "additionalProperties": false, "required": ["files"],
            "properties": {"files": {"type": "array", "description": "which"}}
        }}},
        "permissions": {"files": [{"access": "read", "reason": "reads them"}]}
    });
    check_manifest("0.1.0", &manifest.to_string());
    let broken = |pointer: &str, value: serde_json::Value| {
        let mut manifest = manifest.clone();
        *manifest.pointer_mut(pointer).unwrap() = value;
        let text = manifest.to_string();
        assert!(
            std::panic::catch_unwind(|| check_manifest("0.1.0", &text)).is_err(),
            "{pointer}"
        );
    };
    broken("/version", json!("0.2.0"));
    broken("/name", json!("CSV"));
    broken("/kinds", json!({}));
    broken("/kinds/source/delivery", json!("exactly-once"));
    broken("/kinds/source/config/additionalProperties", json!(true));
    broken("/kinds/source/config/required/0", json!("file"));
    broken("/kinds/source/config/properties/files", json!({}));
    broken("/permissions/files/0/reason", json!(""));
}
