//! `crossdock plugin record` and `plugin test --cassette`: all that a plugin imports is kept with its answers, whatever language
//! it is written in, and played back offline, where every difference is told.

use std::fs;

use crossdock_tests::{
    akeneo::{AkeneoServer, Options},
    host::{Ended, TestHost, plugin, test_plugin},
    languages::foreign_plugin,
    lookup_server::{KEY, LookupServer},
};
use serde_json::{Value, json};

use crate::conformance::{connection, copied, settings};

/// A recording of the akeneo plugin at a server that is gone when it is played back.
#[test]
fn what_a_real_system_answered_is_played_back_offline() {
    let host = TestHost::new();
    let component = copied(&host, &plugin("akeneo"));
    host.write("conformance.yaml", settings("akeneo"));
    let record = |more: &[&str]| {
        let record = [
            "plugin",
            "record",
            &component,
            "--out",
            "a.cassette.json",
            "--json",
        ];
        host.crossdock(record).args(more).end()
    };
    let nowhere = record(&[]);
    nowhere
        .exits(2)
        .tells(&["nothing says where the real system is: put a folder `connections` beside"]);

    let server = AkeneoServer::start(Options::generated(20, 1)).unwrap();
    host.write("connections/akeneo.yaml", connection(&server));
    let recorded = record(&["--records", "40"]).finished();
    assert!(recorded["requests"].as_u64().unwrap() > 5, "{recorded:#}");
    assert_eq!(recorded["fault"], Value::Null, "{recorded:#}");
    drop(server);
    fs::remove_dir_all(host.path("connections")).unwrap();

    let play = |component: &str| {
        host.crossdock([
            "plugin",
            "test",
            component,
            "--cassette",
            "a.cassette.json",
            "--json",
        ])
        .end()
    };
    let played = play(&component).finished();
    assert_eq!(played["requests"], recorded["requests"], "{played:#}");
    let text = host.text("a.cassette.json");
    for secret in ["standin_secret", "standin_password"] {
        assert!(!text.contains(secret), "a secret is on the cassette");
    }

    // One answer is another one, one request has not been sent: both are told.
    let first = text.find("cat_0001").unwrap();
    let changed = format!("{}dog_0001{}", &text[..first], &text[first + 8..]);
    host.write("a.cassette.json", &changed);
    let ended = play(&component);
    ended.exits(1).tells(&["gave another", "dog_0001"]);
    let mut shorter: Value = serde_json::from_str(&text).unwrap();
    let calls = shorter["calls"].as_array_mut().unwrap();
    let asking = calls
        .iter_mut()
        .rfind(|call| call["imports"].to_string().contains("http-client.send"));
    asking.unwrap()["imports"] = serde_json::json!([]);
    host.write("a.cassette.json", shorter.to_string());
    play(&component).exits(1).tells(&["is not on the cassette"]);
    let other = copied(&host, &plugin("jsonl"));
    play(&other)
        .exits(2)
        .tells(&["the cassette is of a source called `akeneo`, but this is `jsonl`"]);
    host.write("a.cassette.json", "{}");
    play(&component)
        .exits(2)
        .tells(&["is no cassette of this crossdock"]);
}

fn record(host: &TestHost, component: &str, more: &[&str]) -> Ended {
    let record = [
        "plugin",
        "record",
        component,
        "--out",
        "a.cassette.json",
        "--json",
    ];
    host.crossdock(record).args(more).end()
}

fn play(host: &TestHost, component: &str) -> Ended {
    let play = [
        "plugin",
        "test",
        component,
        "--cassette",
        "a.cassette.json",
        "--json",
    ];
    host.crossdock(play).end()
}

fn cassette(host: &TestHost) -> Value {
    serde_json::from_str(&host.text("a.cassette.json")).unwrap()
}

/// Names of all that was imported.
fn imported(cassette: &Value) -> Vec<String> {
    let calls = cassette["calls"].as_array().unwrap().iter();
    let events = calls.flat_map(|call| call["imports"].as_array().into_iter().flatten());
    events
        .map(|event| event["import"].as_str().unwrap().to_owned())
        .collect()
}

/// Scripts that use every interface of the contract, and the clock and the random numbers of their own language.
const SCRIPTS: [(&str, &str); 2] = [
    (
        "script-js",
        r#"
      const known = new Table("known");
      function map(record) {
        const { id, customer } = record.value;
        const answer = http.get(`/customers/$${customer}`, { connection: variables.connection });
        const [other] = http.sendAll([{ url: "/customers/c9", connection: variables.connection }]);
        metrics.count("asked");
        metrics.gauge("last", id);
        log.info("looked up", customer);
        const before = known.get(customer) ?? 0;
        known.put(customer, before + 1);
        return { id, before, name: answer.json().name, other: other.json().name, all: known.find("c").length,
          at: clock.now(), one: String(random.u64()), date: Date.now(), other_one: Math.random() };
      }"#,
    ),
    (
        "script-python",
        r#"
      import random as chance, time, uuid
      known = Table("known")
      def map(record):
          customer, id = record.value["customer"], record.value["id"]
          answer = http.get(f"/customers/{customer}", connection=variables["connection"])
          other = http.send_all([Request("GET", "/customers/c9", connection=variables["connection"])])[0]
          metrics.count("asked")
          metrics.gauge("last", id)
          log.info("looked up", customer)
          before = known.get(customer, 0)
          known.put(customer, before + 1)
          return {"id": id, "before": before, "name": answer.json()["name"], "other": other.json()["name"],
              "all": len(known.find("c")), "at": clock.now(), "one": str(random.u64()), "date": time.time(),
              "other_one": chance.random(), "uuid": str(uuid.uuid4())}"#,
    ),
];

#[test]
fn every_import_is_on_a_cassette_in_every_language() {
    for (name, script) in SCRIPTS {
        let Some(component) = foreign_plugin(name) else {
            continue;
        };
        let host = TestHost::new();
        let component = copied(&host, &component);
        let server = LookupServer::new();
        host.write("connections/crm.yaml", server.connection("crm", KEY, ""));
        host.write(
            "conformance.yaml",
            format!(
                "transformer:
  config:
    variables: {{ connection: crm }}
    script: |{script}
  records:
    orders: [{{ id: 1, customer: c1 }}, {{ id: 2, customer: c2 }}, {{ id: 3, customer: c1 }}]
"
            ),
        );
        let recorded = record(&host, &component, &["--kind", "transformer"]).finished();
        assert_eq!(recorded["fault"], Value::Null, "{recorded:#}");
        assert_eq!(
            recorded["requests"],
            6,
            "{recorded:#} {:#}",
            cassette(&host)
        );
        let kept = cassette(&host);
        let names = imported(&kept);
        for name in [
            "http-client.send",
            "http-client.send-all",
            "metrics.count",
            "metrics.gauge",
            "log.write",
            "tables.get-many",
            "tables.put",
            "tables.find",
            "clock.now-ms",
            "random.next-u64",
        ] {
            let count = names.iter().filter(|own| *own == name).count();
            assert_eq!(count, 3, "{name}: {names:?}");
        }
        assert!(
            !kept.to_string().contains(KEY),
            "a secret is on the cassette"
        );
        let left = &kept["left"]["table known: c1"];
        assert_eq!(left, "2", "{kept:#}");

        // Nobody is there any more.
        fs::remove_dir_all(host.path("connections")).unwrap();
        drop(server);
        let played = play(&host, &component).finished();
        for count in ["calls", "imports", "requests"] {
            assert_eq!(played[count], recorded[count], "{played:#}");
        }

        // Another answer in any of them is told.
        for (from, to, told) in [
            ("looked up", "looks up", "log.write"),
            ("before", "behind", "gave another"),
            ("\"name\":\"asked\"", "\"name\":\"ask\"", "metrics.count"),
            (
                "table known: c1",
                "table known: c3",
                "it left `table known: c3`",
            ),
        ] {
            // The config holds the script, which stays as it is.
            let mut changed = kept.clone();
            for part in ["calls", "left"] {
                let text = kept[part].to_string().replace(from, to);
                changed[part] = serde_json::from_str(&text).unwrap();
            }
            assert_ne!(kept, changed, "{from}");
            host.write("a.cassette.json", changed.to_string());
            play(&host, &component).exits(1).tells(&[told]);
        }
    }
}

/// A sink and a source that only know files need no connection: what they leave is compared.
#[test]
fn what_is_left_in_a_folder_is_on_a_cassette() {
    let host = TestHost::new();
    let component = copied(&host, &plugin("jsonl"));
    host.write("conformance.yaml", settings("jsonl"));
    let recorded = record(&host, &component, &["--kind", "sink"]).finished();
    assert_eq!(recorded["requests"], 0, "{recorded:#}");
    let kept = cassette(&host);
    let lines = kept["left"]["out/items.jsonl"]
        .as_str()
        .unwrap()
        .lines()
        .count();
    assert_eq!(lines, 17, "{kept:#}");
    play(&host, &component).exits(0);
    host.write(
        "a.cassette.json",
        kept.to_string().replace("Stuhl", "Stool"),
    );
    play(&host, &component)
        .exits(1)
        .tells(&["it leaves another `out/items.jsonl`"]);

    record(&host, &component, &["--kind", "source"]).finished();
    play(&host, &component).exits(0);
    assert_eq!(cassette(&host)["left"], json!({}));

    let mut old = kept;
    old["cassette"] = json!(1);
    host.write("a.cassette.json", old.to_string());
    play(&host, &component).exits(2).tells(&[
        "its format is 1, not 2",
        "`crossdock plugin record` makes one",
    ]);
}

/// The plugin that was recorded may be one that does something else now.
#[test]
fn a_plugin_that_imports_something_else_is_told() {
    let host = TestHost::new();
    let component = copied(&host, &test_plugin("liar"));
    host.write(
        "conformance.yaml",
        "transformer: { config: { lie: \"\" } }\n",
    );
    record(&host, &component, &["--kind", "transformer"]).exits(0);
    play(&host, &component).exits(0);
    let kept = cassette(&host).to_string();
    host.write(
        "a.cassette.json",
        kept.replace("\"lie\":\"\"", "\"lie\":\"wanders\""),
    );
    let ended = play(&host, &component);
    ended
        .exits(1)
        .tells(&["clock.now-ms", "is not on the cassette"]);
}
