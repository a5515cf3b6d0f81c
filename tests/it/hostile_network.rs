//! Attacks on the network that need grants or surroundings of their own: names that lead elsewhere, handles that are used
//! again, proxies in the environment, and what a plugin makes the host hold for it. What needs none is in the zoo.

use std::{collections::BTreeMap, net::Ipv4Addr};

use crossdock_tests::{
    gate::Gate,
    host::{TestHost, test_plugin},
    names,
    trap_server::{BOMB, Forbidden, TrapServer},
};
use serde_json::json;

/// A flow whose transformer does one thing a record, between two gates. `stage` is what it is granted and may use.
struct Attacks<'a> {
    acts: Vec<String>,
    stage: &'a str,
}

/// What came of it.
struct Outcome {
    /// The messages of the dead letters, in the order of the acts.
    told: Vec<String>,
    /// Bytes of memory that the host had at most beyond those that it had before.
    grown: u64,
    /// Threads that it had at the end.
    threads: usize,
    stderr: String,
}

impl Attacks<'_> {
    fn run(self, host: &TestHost) -> Outcome {
        let gate = Gate::new();
        gate.connect(host);
        let key = |at: usize| format!("a{at:03}");
        let keys: Vec<String> = (0..self.acts.len()).map(key).collect();
        let mut on: BTreeMap<&str, &str> = keys
            .iter()
            .map(String::as_str)
            .zip(self.acts.iter().map(String::as_str))
            .collect();
        on.extend([("first", "gate"), ("last", "gate")]);
        let rows: Vec<&str> = ["first"]
            .into_iter()
            .chain(keys.iter().map(String::as_str))
            .chain(["last"])
            .collect();
        host.write("in/r.csv", format!("id\n{}\n", rows.join("\n")));
        let config = json!({ "on": on, "connection": "gate" });
        let (puppet, stage) = (test_plugin("puppet"), self.stage);
        host.flow(
            "attack",
            &format!(
                "
source: {{ plugin: csv, config: {{ files: in/*.csv, key: id }}, grants: {{ files: {{ read: [in] }} }} }}
transformers:
  - plugin: {}
    workers: 1
    config: {config}
{stage}
sinks: [{{ plugin: jsonl, config: {{ file: out/r.jsonl }}, grants: {{ files: {{ write: [out] }} }} }}]
retry: {{ attempts: 1, initial: 1ms }}
# One after the other.
in-flight: {{ batches: 1 }}
batch: {{ records: 1 }}
",
                puppet.display()
            ),
        );
        let mut running = host.start("attack");
        let at_gate = gate.arrival(&mut running);
        let before = running.memory();
        at_gate.pass();
        let at_gate = gate.arrival(&mut running);
        let grown = running.peak_memory().saturating_sub(before);
        let threads = format!("/proc/{}/task", running.id());
        let threads = std::fs::read_dir(threads).unwrap().count();
        at_gate.pass();
        let ended = running.end();
        ended.no_panic();
        let letters = host.dead_letters();
        let told = |key: &String| {
            let letter = letters.iter().find(|letter| letter["key"] == **key);
            letter.map_or_else(
                || "nothing".to_owned(),
                |letter| letter["message"].as_str().unwrap().to_owned(),
            )
        };
        Outcome {
            told: keys.iter().map(told).collect(),
            grown,
            threads,
            stderr: ended.stderr.clone(),
        }
    }
}

/// Runs acts and holds what came of each against words that must be in it.
fn expect(host: &TestHost, stage: &str, expected: &[(String, &str)]) -> Outcome {
    let acts = expected.iter().map(|(act, _)| act.clone()).collect();
    let outcome = Attacks { acts, stage }.run(host);
    let wrong: Vec<String> = expected
        .iter()
        .zip(&outcome.told)
        .filter(|((_, words), told)| !told.contains(words))
        .map(|((act, words), told)| format!("{act}: {told:?}, expected {words:?}"))
        .collect();
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), outcome.stderr);
    outcome
}

const INSIDE: &str = "private or loopback address";
const NEVER: &str = "which is never reached";

#[test]
fn an_address_does_not_pass_for_what_a_name_gave() {
    let inner = Forbidden::at(Ipv4Addr::new(127, 0, 0, 2));
    let port = inner.port();
    let stage = format!(
        "    grants: {{ connections: [gate], tcp: [\"localhost:{port}\"], allow-private: true }}"
    );
    let act = |address: &str| format!("old-handle localhost {address}:{port}");
    expect(
        &TestHost::new(),
        &stage,
        &[
            (act("127.0.0.2"), "refused: "),
            (act("127.0.0.2"), "refused: "),
            (
                format!("lookup {}.localhost", "a".repeat(300)),
                "invalid-argument",
            ),
            ("lookup 127.0.0.2".to_owned(), "got: 1 addresses"),
            (format!("tcp 127.0.0.2:{port}"), "refused: "),
        ],
    );
    assert!(!inner.was_called(), "somebody got inside");
}

#[test]
fn a_name_that_is_rebound_is_judged_each_time_it_is_connected_to() {
    let trap = TrapServer::new();
    let (url, address) = (trap.url(), trap.address());
    let port = address.rsplit(':').next().unwrap();
    let rebound = "127.0.0.1/169.254.169.254";
    let names = ["h", "w", "t"].map(|name| format!("{name}.rebound.test={rebound}"));
    let host = names::lead(
        TestHost::new(),
        &format!(
            "{} both.rebound.test=169.254.169.254+127.0.0.1 pods.rebound.test=fd00:ec2::23",
            names.join(" ")
        ),
    );
    let stage = format!(
        "    grants: {{ connections: [gate], http: [\"http://*.rebound.test:{port}/granted\", \"{url}/granted\"], tcp: [\"*.rebound.test:{port}\"], \
         allow-private: true }}"
    );
    let of = |act: &str, name: &str| format!("{act} http://{name}.rebound.test:{port}/granted/x");
    let to =
        |name: &str| format!("{url}/granted/redirect?http://{name}.rebound.test:{port}/granted/x");
    expect(
        &host,
        &stage,
        &[
            (of("http GET", "h"), "got: 200"),
            (of("http GET", "h"), NEVER),
            (format!("http GET {}", to("h")), NEVER),
            (of("wasi-http GET", "w"), "got: 200"),
            (of("wasi-http GET", "w"), "HttpRequestDenied"),
            (format!("tcp t.rebound.test:{port}"), "got: HTTP/1.1 200 OK"),
            (format!("tcp t.rebound.test:{port}"), "refused: "),
            (format!("tcp 169.254.169.254:{port}"), "refused: "),
            // What may not be reached is left out.
            (of("http GET", "both"), "got: 200"),
            ("lookup both.rebound.test".to_owned(), "got: 1 addresses"),
            (of("http GET", "pods"), NEVER),
            ("lookup pods.rebound.test".to_owned(), "got: 0 addresses"),
        ],
    );
}

#[test]
fn a_granted_name_leads_inside_in_no_form_of_an_address() {
    let inner = Forbidden::new();
    let port = inner.port();
    let forms = [
        ("127.0.0.1", INSIDE),
        ("::ffff:127.0.0.1", INSIDE),
        ("64:ff9b::7f00:1", INSIDE),
        ("2002:7f00:1::", INSIDE),
        ("::1", INSIDE),
        ("10.0.0.1", INSIDE),
        ("100.64.0.1", INSIDE),
        ("0.0.0.0", NEVER),
        ("::", NEVER),
        ("::127.0.0.1", NEVER),
        ("169.254.169.254", NEVER),
        ("::ffff:169.254.169.254", NEVER),
        ("fd00:ec2::23", NEVER),
        ("168.63.129.16", NEVER),
    ];
    let names: Vec<String> = forms
        .iter()
        .enumerate()
        .map(|(at, (address, _))| format!("f{at}.inside.test={address}"))
        .collect();
    let host = names::lead(TestHost::new(), &names.join(" "));
    let stage = format!(
        "    grants: {{ connections: [gate], http: [\"http://*.inside.test:{port}/\"], tcp: [\"*.inside.test:{port}\"] }}"
    );
    let mut expected = Vec::new();
    for (at, (_, words)) in forms.iter().enumerate() {
        expected.extend([
            (format!("http GET http://f{at}.inside.test:{port}/"), *words),
            (
                format!("wasi-http GET http://f{at}.inside.test:{port}/"),
                "HttpRequestDenied",
            ),
            (format!("lookup f{at}.inside.test"), "got: 0 addresses"),
            (format!("tcp f{at}.inside.test:{port}"), "refused: "),
        ]);
    }
    // Written out, they are covered by no name.
    for written in [
        "2130706433",
        "0177.0.0.1",
        "0x7f.1",
        "[::ffff:7f00:1]",
        "127.1.",
    ] {
        expected.push((
            format!("http GET http://{written}:{port}/"),
            "refused: url `",
        ));
    }
    expect(&host, &stage, &expected);
    assert!(!inner.was_called(), "somebody got inside");
}

#[test]
fn a_proxy_in_the_environment_is_not_used() {
    let (trap, proxy) = (TrapServer::new(), Forbidden::new());
    let at = format!("http://127.0.0.1:{}", proxy.port());
    let host = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].into_iter().fold(
        TestHost::new(),
        |host, name| {
            host.with(name, at.clone())
                .with(&name.to_lowercase(), at.clone())
        },
    );
    let (url, address) = (trap.url(), trap.address());
    host.write(
        "connections/shop.yaml",
        format!(
            "connection: shop\nbase-url: {url}\nallow-private: true\nretry: {{ attempts: 1 }}\n"
        ),
    );
    let stage = format!(
        "    grants: {{ connections: [gate, shop], http: [\"{url}/\", \"https://{address}/\"] }}"
    );
    expect(
        &host,
        &stage,
        &[
            (format!("http GET {url}/x"), "got: 200"),
            (format!("wasi-http GET {url}/x"), "got: 200"),
            ("via shop GET /x".to_owned(), "got: 200"),
            (format!("http GET https://{address}/x"), "refused: "),
            (format!("wasi-http GET https://{address}/x"), "refused: "),
        ],
    );
    assert!(!proxy.was_called(), "the proxy was asked");
}

#[test]
fn a_body_that_trickles_ends_with_the_time_of_the_call() {
    let trap = TrapServer::new();
    let url = trap.url();
    let host = TestHost::new();
    host.write(
        "connections/shop.yaml",
        format!(
            "connection: shop\nbase-url: {url}\nallow-private: true\nretry: {{ attempts: 1 }}\nlimits: {{ timeout: 500ms }}\n"
        ),
    );
    let stage = format!(
        "    limits: {{ call-time: 500ms, wait-time: 5s }}\n    grants: {{ connections: [gate, shop], http: [\"{url}/\"] }}"
    );
    expect(
        &host,
        &stage,
        &[
            (
                format!("http GET {url}/slow-body"),
                "waited longer for HTTP answers than its limit of 5 s",
            ),
            (
                format!("wasi-http GET {url}/slow-body"),
                "longer than its limit of 500 ms",
            ),
            (
                "via shop GET /slow-body".to_owned(),
                "did not answer within 500ms",
            ),
        ],
    );
}

#[test]
fn a_gzip_bomb_through_wasi_http_is_never_whole_in_memory() {
    let trap = TrapServer::new();
    let url = trap.url();
    let stage = format!(
        "    limits: {{ memory: 64MiB }}\n    grants: {{ connections: [gate], http: [\"{url}/\"] }}"
    );
    let words = format!("got: 200 {BOMB} bytes");
    let outcome = expect(
        &TestHost::new(),
        &stage,
        &[(format!("wasi-http GET {url}/bomb"), words.as_str())],
    );
    assert!(outcome.grown < 96 << 20, "{} MiB", outcome.grown >> 20);
}

#[test]
fn answers_of_one_call_share_what_the_host_holds() {
    let trap = TrapServer::new();
    let url = trap.url();
    let stage = format!("    grants: {{ connections: [gate], http: [\"{url}/\"] }}");
    let act = format!("send-all 48 {url}/small-bomb");
    let outcome = expect(&TestHost::new(), &stage, &[(act, " too large")]);
    // Three GiB were asked for, 64 MiB are allowed: once here, once in the guest, and what buffers grow ahead for.
    assert!(outcome.grown < 512 << 20, "{} MiB", outcome.grown >> 20);
    let large: usize = outcome.told[0]
        .split_whitespace()
        .nth(3)
        .and_then(|word| word.parse().ok())
        .unwrap_or_default();
    assert!(large >= 47, "{}", outcome.told[0]);
}

#[test]
fn what_is_prepared_and_never_sent_is_small() {
    let stage = "    grants: { connections: [gate] }";
    let outcome = expect(
        &TestHost::new(),
        stage,
        &[
            ("unsent 500".to_owned(), "got: 32 bodies with 4096 KiB"),
            ("unsent-responses 500".to_owned(), "refused: not taken"),
            ("long-parts 4".to_owned(), "got: taken: []"),
            ("long-headers 16".to_owned(), "got: 16 KiB"),
            (
                "long-headers 40".to_owned(),
                "total size of fields exceeds limit",
            ),
        ],
    );
    assert!(outcome.grown < 192 << 20, "{} MiB", outcome.grown >> 20);
}

#[test]
fn requests_responses_and_connections_share_the_places_of_the_stage() {
    let trap = TrapServer::new();
    let (url, address) = (trap.url(), trap.address());
    let stage = format!(
        "    limits: {{ open-requests: 4 }}\n    grants: {{ connections: [gate], http: [\"{url}/\"], tcp: [\"{address}\"] }}"
    );
    expect(
        &TestHost::new(),
        &stage,
        &[
            (format!("connections 10 {address}"), "got: 4 connections"),
            (
                format!("hold 2 {address} {url}/x"),
                "got: [true, true, true] 200 200",
            ),
            // What was kept open went with the instance or the call.
            (format!("connections 10 {address}"), "got: 4 connections"),
        ],
    );
}

/// A server of names that does not answer keeps neither the threads of the host nor the places of others: what a plugin asks
/// for and does not wait for is at most a few lookups.
#[test]
fn names_that_are_never_answered_do_not_pile_up() {
    let host = names::lead(TestHost::new(), "quick.test=127.0.0.1");
    let trap = TrapServer::new();
    let url = trap.url().replace("127.0.0.1", "quick.test");
    let stage = format!(
        "    grants: {{ connections: [gate], http: [\"http://*.never.test/\", \"{url}/granted\"], \
         allow-private: true }}\n    limits: {{ open-requests: 8 }}"
    );
    let each = |at: usize| {
        let act = format!("send-each 1000 http://NN.r{at}.never.test/");
        (act, "got: 1000 failed")
    };
    let quick = format!("http GET {url}/granted/x");
    let outcome = expect(
        &host,
        &stage,
        &[each(0), each(1), each(2), (quick, "got: 200")],
    );
    assert!(outcome.threads < 100, "{} threads", outcome.threads);
}
