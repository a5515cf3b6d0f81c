//! The zoo: one flow whose transformer tries everything that a hostile plugin would, one record an attack, in one
//! process. Each is contained and reported in one line, the records between the attacks go through, and the process
//! has as much memory afterwards as before.

use std::{collections::BTreeMap, fs};

use crossdock_tests::{
    gate::Gate,
    host::{TestHost, program},
    trap_server::{Forbidden, TrapServer},
};
use serde_json::{Value, json};

use crate::hostile_attacks::{Attack, SECRET, files, inside, network};

/// How much more memory the process may have afterwards: what pools keep for the next instance, and the allocator's
/// leftovers.
const LEFTOVERS: u64 = 64 << 20;

/// A project with the zoo in it.
fn zoo(attacks: &[Attack], trap: &TrapServer, inner: u16, gate: &Gate) -> TestHost {
    let host = TestHost::new().with("VAULT_TOKEN", SECRET);
    host.write("secret.txt", SECRET);
    host.write("in/sub/x.txt", "x");
    std::os::unix::fs::symlink("../secret.txt", host.path("in/way-out")).unwrap();
    std::os::unix::fs::symlink("..", host.path("in/folder-out")).unwrap();
    gate.connect(&host);
    host.write(
        "connections/vault.yaml",
        format!(
            "connection: vault\nbase-url: {}/vault\nallow-private: true\nauth: {{ bearer: {{ token: \"${{VAULT_TOKEN}}\" }} }}\n\
             retry: {{ attempts: 1 }}\n",
            trap.url()
        ),
    );
    for (name, more) in [
        (
            "cookie",
            "headers: { Cookie: \"session=other-secret-1; lang=${VAULT_TOKEN}\" }",
        ),
        (
            "spaced",
            "auth: { api-key: { header: X-Api-Key, value: \"${VAULT_TOKEN} at\" } }",
        ),
        ("varied", "headers: { X-Shop: \"${VAULT_TOKEN}\" }"),
    ] {
        host.write(
            format!("connections/{name}.yaml"),
            format!(
                "connection: {name}\nbase-url: {}\nallow-private: true\nretry: {{ attempts: 1 }}\n{more}\n",
                trap.url()
            ),
        );
    }
    let mut acts = BTreeMap::from([
        ("first".to_owned(), "gate".to_owned()),
        ("last".to_owned(), "gate".to_owned()),
    ]);
    // Before the first gate, what pools and allocators keep is there.
    acts.insert("warm".to_owned(), "memory".to_owned());
    let mut rows = vec!["warm".to_owned(), "first".to_owned()];
    for (at, attack) in attacks.iter().enumerate() {
        acts.insert(format!("a{at:03}"), attack.act.clone());
        rows.extend([format!("a{at:03}"), format!("n{at:03}")]);
    }
    rows.push("last".to_owned());
    let rows: Vec<String> = rows
        .iter()
        .enumerate()
        .map(|(at, id)| format!("{id},{at}"))
        .collect();
    host.write("in/r.csv", format!("id,n\n{}\n", rows.join("\n")));
    let (url, address) = (trap.url(), trap.address());
    host.puppet_flow(
        "zoo",
        &json!({ "on": acts, "connection": "gate" }),
        &format!(
            "workers: 1
limits: {{ call-time: 500ms, wait-time: 10s, memory: 64MiB, output: 4MiB }}
grants:
  files: {{ read: [in], write: [den], quota: 8MiB }}
  connections: [gate, vault, cookie, spaced, varied]
  http: [\"GET,POST {url}/granted\", \"http://localhost:{inner}/\"]
  tcp: [\"{address}\", \"localhost:{inner}\"]"
        ),
    );
    host
}

/// Whether a report can be shown: one line, and nothing that moves a terminal's cursor.
fn is_plain(letter: &Value) -> bool {
    !letter["message"]
        .as_str()
        .unwrap()
        .contains(char::is_control)
}

#[test]
fn every_attack_is_contained_and_reported_in_one_line() {
    let (trap, inner, gate) = (TrapServer::new(), Forbidden::new(), Gate::new());
    let outside = tempfile::tempdir().unwrap();
    let secret_file = outside.path().join("secret.txt");
    fs::write(&secret_file, SECRET).unwrap();
    let mut attacks = inside();
    attacks.extend(files(&secret_file));
    attacks.extend(network(&trap, inner.port()));
    let host = zoo(&attacks, &trap, inner.port(), &gate);

    let mut running = host.start("zoo");
    let at_gate = gate.arrival(&mut running);
    let before = running.memory();
    let core_limit = fs::read_to_string(format!("/proc/{}/limits", running.id())).unwrap();
    at_gate.pass();
    let at_gate = gate.arrival(&mut running);
    let after = running.memory();
    at_gate.pass();
    let ended = running.end();
    ended.no_panic().exits(3);

    let letters = host.dead_letters();
    let mut wrong = Vec::new();
    let mut alive = 0;
    for (at, attack) in attacks.iter().enumerate() {
        let key = format!("a{at:03}");
        let of_key: Vec<&Value> = letters
            .iter()
            .filter(|letter| letter["key"] == *key)
            .collect();
        let expected = usize::from(attack.fault != "alive");
        alive += 1 - expected;
        if of_key.len() != expected {
            wrong.push(format!("{}: {} dead letters", attack.name, of_key.len()));
        }
        for letter in of_key {
            let message = letter["message"].as_str().unwrap();
            let said = attack.words.iter().any(|words| message.contains(words));
            if letter["fault"] != attack.fault
                || !said
                || !is_plain(letter)
                || message.contains(SECRET)
            {
                wrong.push(format!(
                    "{}: {}: {message:?}, expected {}: {:?}",
                    attack.name, letter["fault"], attack.fault, attack.words
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        attacks.len(),
        wrong.join("\n")
    );
    println!(
        "{} attacks, {} MiB before, {} MiB after",
        attacks.len(),
        before >> 20,
        after >> 20
    );
    assert!(attacks.len() >= 40);

    // The neighbours went through, each once and in order.
    let output = host.text("out/r.jsonl");
    let keys: Vec<String> = output
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["id"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .filter(|key| key.starts_with('n'))
        .collect();
    let expected: Vec<String> = (0..attacks.len()).map(|at| format!("n{at:03}")).collect();
    assert_eq!(keys, expected);
    assert_eq!(output.lines().count(), attacks.len() + alive + 2);
    // The host is as it was.
    assert!(
        after < before + LEFTOVERS,
        "{} MiB, then {} MiB",
        before >> 20,
        after >> 20
    );
    assert!(!inner.was_called(), "somebody got inside");
    assert!(
        host.bytes("in/r.csv").starts_with(b"id,n"),
        "it is there, as it was"
    );
    let den: u64 = fs::read_dir(host.path("den"))
        .unwrap()
        .map(|e| e.unwrap().metadata().unwrap().len())
        .sum();
    assert!(den <= 8 << 20, "{den} bytes were written");
    // Nobody has seen the secret: neither output, log, dead letters nor state, and no core dump will be made of it.
    let mut seen = Vec::new();
    for folder in ["out", "den", ".crossdock", "flows", "connections"] {
        seen.extend(host.everything(folder));
    }
    seen.push(("output".to_owned(), ended.stdout.clone()));
    seen.push(("log".to_owned(), ended.stderr.clone().into_bytes()));
    seen.push((
        "dead letters".to_owned(),
        serde_json::to_vec(&letters).unwrap(),
    ));
    for (place, bytes) in seen {
        let found = bytes
            .windows(SECRET.len())
            .any(|window| window == SECRET.as_bytes());
        assert!(!found, "the secret is in {place}");
    }
    let core = core_limit
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert!(core.split_whitespace().nth(4) == Some("0"), "{core}");
}

/// Eight instances at a time, in a process that may have few files open and needs some itself.
#[test]
fn instances_that_open_files_at_the_same_time_leave_enough_to_the_host() {
    let host = TestHost::new();
    let keys: Vec<String> = (0..64).map(|at| format!("k{at:02},{at}")).collect();
    host.write("in/r.csv", format!("id,n\n{}\n", keys.join("\n")));
    let hoards: BTreeMap<String, &str> = (0..64)
        .step_by(2)
        .map(|at| (format!("k{at:02}"), "handles in/r.csv"))
        .collect();
    host.puppet_flow(
        "files",
        &json!({ "on": hoards }),
        "workers: 8\ngrants: { files: { read: [in] } }",
    );
    let crossdock = program().display().to_string();
    let ended = host
        .command("prlimit")
        .args(["--nofile=600:600", &crossdock, "run", "flows/files.yaml"])
        .end();
    ended.no_panic().exits(3);
    let letters = host.dead_letters();
    assert_eq!(letters.len(), 32);
    for letter in &letters {
        let message = letter["message"].as_str().unwrap();
        assert!(
            letter["fault"] == "contract"
                && message.contains("files, streams and connections open"),
            "{letter}"
        );
    }
    let output = host.text("out/r.jsonl");
    let odd: Vec<usize> = output
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["id"]
                .as_str()
                .unwrap()[1..]
                .parse()
                .unwrap()
        })
        .collect();
    assert_eq!(odd, (1..64).step_by(2).collect::<Vec<_>>());
}
