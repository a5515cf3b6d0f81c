//! `enrich-http` in flows, against a real server: what is asked for, how often, with which key, and what becomes of records
//! when the API fails.

use std::{collections::BTreeMap, fmt::Write as _};

use crossdock_tests::{
    host::TestHost,
    languages::foreign_plugin,
    lookup_server::{KEY, LookupServer},
};
use serde_json::Value;

/// A project with orders of these customers. `None`: the tools of JavaScript are missing.
fn shop(customers: &[&str], more: &str, flow: &str) -> Option<(TestHost, LookupServer)> {
    foreign_plugin("enrich-http")?;
    let (host, server) = (TestHost::new(), LookupServer::new());
    host.write("connections/crm.yaml", server.connection("crm", KEY, more));
    let mut orders = String::new();
    for (at, customer) in customers.iter().enumerate() {
        writeln!(orders, "{{\"id\":{at},\"customer\":\"{customer}\"}}").unwrap();
    }
    host.write("in/orders.jsonl", orders);
    host.flow(
        "enrich",
        &format!(
            "
source: {{ plugin: jsonl, config: {{ files: in/orders.jsonl, key: id }}, grants: {{ files: {{ read: [in] }} }} }}
transformers:
  - plugin: enrich-http
    config:
      connection: crm
      key: customer
      into: details
      {flow}
    grants: {{ connections: [crm] }}
sinks: [{{ plugin: jsonl, name: out, config: {{ file: out/orders.jsonl }}, grants: {{ files: {{ write: [out] }} }} }}]
# One instance, and so one cache.
in-flight: {{ batches: 1 }}
batch: {{ records: 10 }}
"
        ),
    );
    Some((host, server))
}

const ONE: &str = "path: \"/customers/{key}\"";
const MANY: &str = "path: \"/customers?ids={keys}\"";

/// Details by the number of the order.
fn written(host: &TestHost) -> BTreeMap<u64, Value> {
    let text = host.text("out/orders.jsonl");
    let orders = text.lines().map(|line| {
        let order: Value = serde_json::from_str(line).unwrap();
        (order["id"].as_u64().unwrap(), order["details"].clone())
    });
    orders.collect()
}

#[test]
fn a_key_is_asked_for_once_with_the_key_of_the_connection() {
    let customers: Vec<String> = (0..95).map(|at| format!("c{}", at % 7)).collect();
    let customers: Vec<&str> = customers.iter().map(String::as_str).collect();
    let Some((host, server)) = shop(
        &customers,
        "",
        &format!("{ONE}\n      pick: [name, segment]"),
    ) else {
        return;
    };
    let ended = host.run("enrich");
    let summary = ended.finished();
    assert_eq!(summary["streams"]["orders"]["written"], 95, "{ended}");
    let written = written(&host);
    assert_eq!(written.len(), 95);
    for (at, details) in written {
        let customer = at % 7;
        let wanted =
            serde_json::json!({ "name": format!("Größe {customer}"), "segment": customer % 2 });
        assert_eq!(details, wanted);
    }
    let mut asked = server.asked();
    asked.sort();
    let wanted: Vec<String> = (0..7).map(|at| format!("/customers/c{at}")).collect();
    assert_eq!(asked, wanted, "each once, though there are ten batches");
    assert!(!ended.to_string().contains(KEY), "{ended}");
}

#[test]
fn without_a_cache_each_batch_asks_and_many_keys_are_one_request() {
    let customers = [
        "c1", "c2", "c3", "c4", "c5", "c1", "c1", "c1", "c1", "c1", "c1",
    ];
    let more =
        format!("{MANY}\n      many: {{ items: data, size: 3 }}\n      cache: {{ entries: 0 }}");
    let Some((host, server)) = shop(&customers, "", &more) else {
        return;
    };
    host.run("enrich").finished();
    let mut asked = server.asked();
    // The two of the first batch are on their way at the same time.
    asked[..2].sort();
    assert_eq!(
        asked,
        [
            "/customers?ids=c1,c2,c3",
            "/customers?ids=c4,c5",
            "/customers?ids=c1"
        ]
    );
    assert_eq!(written(&host)[&4]["name"], "Größe 5");
}

#[test]
fn no_more_requests_are_open_than_the_connection_allows() {
    let customers = ["c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8"];
    let limits = "limits: { max-concurrent: 2 }";
    let Some((host, server)) = shop(&customers, limits, ONE) else {
        return;
    };
    // The first answer is given when two are waiting for one.
    server.wait_for(2);
    host.run("enrich").finished();
    assert_eq!((server.most_at_once(), server.asked().len()), (2, 8));
}

#[test]
fn what_fails_for_a_while_is_tried_again() {
    let retry = "retry: { attempts: 3, initial: 1ms, max: 5ms }";
    let Some((host, server)) = shop(&["c1", "c2"], retry, ONE) else {
        return;
    };
    server.instead(1, 503, "", "{}");
    server.instead(1, 429, "retry-after: 0\r\n", "{}");
    let ended = host.run("enrich");
    ended.finished();
    assert_eq!(written(&host).len(), 2, "{ended}");
    assert_eq!(
        server.asked().len(),
        4,
        "two of them failed: {:?}",
        server.asked()
    );
}

#[test]
fn what_a_connection_gives_up_is_tried_again_by_the_flow() {
    let Some((host, server)) = shop(&["c1"], "retry: { attempts: 1 }", ONE) else {
        return;
    };
    let flow = host.text("flows/enrich.yaml");
    host.write(
        "flows/enrich.yaml",
        flow + "retry: { attempts: 5, initial: 1ms, max: 5ms }\n",
    );
    server.instead(1, 503, "", "{}");
    server.instead(1, 429, "retry-after: 0\r\n", "{}");
    let ended = host.run("enrich");
    ended.finished();
    assert_eq!(written(&host)[&0]["name"], "Größe 1", "{ended}");
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn an_answer_that_cannot_be_used_costs_only_the_records_that_need_it() {
    let limits = "limits: { max-response: 10KiB, max-concurrent: 1 }\nretry: { attempts: 1 }";
    let customers = ["c1", "huge", "c2", "nobody", "c3"];
    let more = format!("{ONE}\n      missing: reject");
    let Some((host, server)) = shop(&customers, limits, &more) else {
        return;
    };
    // One at a time, so this is the answer about the first.
    server.instead(1, 200, "", "<html>Welcome");
    let ended = host.run("enrich");
    ended.exits(3);
    let letters = host.dead_letters();
    assert_eq!(letters.len(), 3, "{letters:#?}");
    assert_eq!(written(&host).len(), 2, "{ended}");
    let told = serde_json::to_string(&letters).unwrap();
    for words in ["the API does not know `nobody`", "10240", "JSON"] {
        assert!(told.contains(words), "{words}\n{letters:#?}");
    }
}

#[test]
fn records_without_an_answer_are_kept_or_filtered_as_the_config_says() {
    for (missing, left, reason) in [
        ("keep", 3, None),
        ("filter", 1, Some("the API does not know it")),
    ] {
        let more = format!("{ONE}\n      missing: {missing}");
        let Some((host, _server)) = shop(&["c1", "nobody", ""], "", &more) else {
            return;
        };
        let ended = host.run("enrich");
        let summary = ended.finished();
        assert_eq!(written(&host).len(), left, "{ended}");
        if let Some(reason) = reason {
            let told = summary.to_string();
            assert!(
                told.contains(reason) && told.contains("no key in `customer`"),
                "{told}"
            );
        }
    }
}

#[test]
fn a_refused_key_stops_the_run_and_what_is_not_granted_is_never_asked() {
    let Some((host, server)) = shop(&["c1"], "", ONE) else {
        return;
    };
    host.write(
        "connections/crm.yaml",
        server.connection("crm", "another", "retry: { attempts: 1 }"),
    );
    let ended = host.run("enrich");
    assert_ne!(ended.code(), Some(0), "{ended}");
    assert_ne!(
        ended.code(),
        Some(3),
        "a login is no reason for dead letters: {ended}"
    );
    ended.tells(&["crm", "401"]);
    assert_eq!(server.asked().len(), 1, "once is enough to know");

    let flow = host.text("flows/enrich.yaml");
    host.write(
        "flows/enrich.yaml",
        flow.replace("connections: [crm]", "connections: []"),
    );
    let ended = host.run("enrich");
    ended.exits(2).tells(&["crm", "grant"]);
    assert_eq!(server.asked().len(), 1);
}
