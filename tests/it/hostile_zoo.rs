//! The zoo: one flow whose transformer tries everything that a hostile plugin would, one record an attack, in one
//! process. Each is contained and reported in one line, the records between the attacks go through, and the process
//! has as much memory afterwards as before.

use std::{collections::BTreeMap, fs, path::Path};

use crossdock_tests::{
    gate::Gate,
    host::{TestHost, program, test_plugin},
    trap_server::{Forbidden, TrapServer},
};
use serde_json::{Value, json};

/// Never to be seen outside of the host, and backwards, as the puppet is told it.
const SECRET: &str = "swordfish-7781-hunter2";
/// How much more memory the process may have afterwards: what pools keep for the next instance, and the allocator's
/// leftovers.
const LEFTOVERS: u64 = 64 << 20;

struct Attack {
    name: &'static str,
    /// What the puppet is told to do.
    act: String,
    /// The kind of the fault that it must end with, `alive` when the record must go through.
    fault: &'static str,
    /// Words of the report, any of them.
    words: &'static [&'static str],
}

fn attack(
    name: &'static str,
    act: impl Into<String>,
    fault: &'static str,
    words: &'static [&'static str],
) -> Attack {
    Attack {
        name,
        act: act.into(),
        fault,
        words,
    }
}

/// Attacks on the host's time, memory and log, and lies.
fn inside() -> Vec<Attack> {
    vec![
        attack("panic", "trap", "trap", &["panicked"]),
        attack("endless loop", "loop", "time", &["500 ms"]),
        attack(
            "endless recursion",
            "recurse",
            "trap",
            &["stack overflowed", "out of bounds memory access"],
        ),
        attack("memory bomb", "memory", "memory", &["its limit is 64 MiB"]),
        attack("memory grown to the limit", "grow", "alive", &[]),
        attack("abort", "abort", "trap", &["aborted"]),
        attack("exit", "exit", "trap", &["exit code"]),
        attack("sleep for an hour", "sleep", "time", &["500 ms"]),
        attack("standard output without an end", "mutter", "alive", &[]),
        attack("terminal codes and bytes in the log", "bytes", "alive", &[]),
        attack("output bomb", "flood", "memory", &["its limit is 64 MiB"]),
        attack(
            "output beyond its limit",
            "flood-some",
            "contract",
            &["handed over more than 4 MiB"],
        ),
        attack(
            "name of a megabyte",
            "long-name",
            "contract",
            &["stream name"],
        ),
        attack(
            "text that is none",
            "text",
            "contract",
            &["malformed value"],
        ),
        attack(
            "index beyond the batch",
            "wild-index",
            "contract",
            &["of a batch of"],
        ),
        attack("a record twice", "twice", "contract", &["twice"]),
        attack(
            "a record passed on and rejected",
            "both",
            "contract",
            &["selected and rejected"],
        ),
        attack(
            "more filtered than there were",
            "lose",
            "contract",
            &["filtered"],
        ),
        attack(
            "offsets that go down",
            "offsets",
            "contract",
            &["malformed batch"],
        ),
        attack(
            "offsets beyond the data",
            "beyond",
            "contract",
            &["malformed batch"],
        ),
        attack(
            "a record from nowhere",
            "origin",
            "contract",
            &["of a batch of"],
        ),
    ]
}

/// Attacks on files, environment and clocks. `in` may be read, `den` may be written, 8 MiB.
fn files(secret_file: &Path) -> Vec<Attack> {
    let told = |name, act: String, words| attack(name, act, "permanent", words);
    let no: &[&str] = &["refused: "];
    vec![
        told("granted folder", "read in/r.csv".into(), &["got: id,n"]),
        told("path with ..", "read in/../secret.txt".into(), no),
        told(
            "path with .. from inside",
            "read in/sub/../../secret.txt".into(),
            no,
        ),
        told(
            "absolute path",
            format!("read {}", secret_file.display()),
            no,
        ),
        told("/etc/passwd", "read /etc/passwd".into(), no),
        told("/proc/self/environ", "read /proc/self/environ".into(), no),
        told(
            "/proc of a granted name",
            "read in/../../../../../../proc/self/environ".into(),
            no,
        ),
        told("symlink out that was there", "read in/way-out".into(), no),
        told(
            "folder symlink out that was there",
            "read in/folder-out/secret.txt".into(),
            no,
        ),
        told(
            "symlink out that it makes",
            "symlink ../secret.txt den/link".into(),
            no,
        ),
        told(
            "absolute symlink that it makes",
            format!("symlink {} den/link2", secret_file.display()),
            no,
        ),
        told(
            "hard link out",
            "hard-link in/../secret.txt den/hard".into(),
            no,
        ),
        told("rename out", "rename den/x ../x".into(), no),
        told(
            "rename from a folder that is read-only",
            "rename in/r.csv den/r.csv".into(),
            no,
        ),
        told(
            "write where reading is granted",
            "write in/new.txt".into(),
            no,
        ),
        told(
            "remove where reading is granted",
            "remove in/r.csv".into(),
            no,
        ),
        told("the folder above", "list ..".into(), no),
        told("the root", "list /".into(), no),
        told(
            "write that is granted",
            "write den/x".into(),
            &["got: written"],
        ),
        told(
            "more bytes than the quota",
            "fill den/big 64".into(),
            &["refused: "],
        ),
        told(
            "a sparse file beyond the quota",
            "stretch den/sparse 4096".into(),
            &["refused: "],
        ),
        attack(
            "files without an end",
            "handles in/r.csv",
            "contract",
            &["files, streams and connections open"],
        ),
        told("environment and arguments", "env".into(), &["got: [] []"]),
        told("standard input", "stdin".into(), &["got: 0 bytes"]),
        told(
            "fine clocks",
            "clock".into(),
            &["got: resolution 1000000, fine false, step true"],
        ),
    ]
}

/// Attacks on the network. `http://TRAP/granted`, `http://localhost:INNER/` and raw TCP to TRAP and `localhost:INNER`
/// are granted; private addresses are not.
fn network(trap: &TrapServer, inner: u16) -> Vec<Attack> {
    let told = |name, act: String, words| attack(name, act, "permanent", words);
    let not: &[&str] = &["refused: url `", "refused: \"http"];
    let inside: &[&str] = &["private or loopback address"];
    let (url, address) = (trap.url(), trap.address());
    let mut attacks = vec![
        told(
            "granted URL",
            format!("http GET {url}/granted/x"),
            &["got: 200 hello"],
        ),
        told(
            "granted URL by wasi:http",
            format!("wasi-http GET {url}/granted/x"),
            &["got: 200 18 bytes hello"],
        ),
        told(
            "body by wasi:http",
            format!("wasi-http POST {url}/granted/x"),
            &["got: 200 18 bytes hello"],
        ),
        told("another path", format!("http GET {url}/other"), not),
        told(
            "path with ..",
            format!("http GET {url}/granted/../other"),
            not,
        ),
        told(
            "path with encoded ..",
            format!("http GET {url}/granted/..%2fother"),
            not,
        ),
        told(
            "method that is not granted",
            format!("http DELETE {url}/granted/x"),
            not,
        ),
        told(
            "by wasi:http what is not granted",
            format!("wasi-http GET http://127.0.0.1:{inner}/"),
            &["HttpRequestDenied"],
        ),
        told(
            "method with a second request",
            format!("http GET\\r\\nX:1 {url}/granted/x"),
            &["is no HTTP method"],
        ),
        told(
            "header with a line break",
            format!("http GET {url}/granted/x X-A=1\\r\\nX-B:2"),
            &["control characters"],
        ),
        told(
            "header name with a line break",
            format!("http GET {url}/granted/x X-A\\r\\nX-B=2"),
            &["is no header name"],
        ),
        told(
            "Host header",
            format!("http GET {url}/granted/x Host=inner"),
            &["set by the host"],
        ),
        told(
            "Content-Length header",
            format!("http POST {url}/granted/x Content-Length=100"),
            &["set by the host"],
        ),
        told(
            "Transfer-Encoding header",
            format!("http POST {url}/granted/x Transfer-Encoding=chunked"),
            &["set by the host"],
        ),
        told(
            "Proxy header",
            format!("http GET {url}/granted/x Proxy-Authorization=x"),
            &["set by the host"],
        ),
        told(
            "line break by wasi:http",
            format!("wasi-http GET {url}/granted/x x-a=1\\r\\nx-b:2"),
            &["InvalidSyntax"],
        ),
        told(
            "Host header by wasi:http",
            format!("wasi-http GET {url}/granted/x host=inner"),
            &["Forbidden"],
        ),
        told(
            "redirect to metadata",
            format!("http GET {url}/granted/redirect?http://169.254.169.254/latest/"),
            &["is not granted"],
        ),
        told(
            "redirect inside",
            format!("http GET {url}/granted/redirect?http://127.0.0.1:{inner}/"),
            &["is not granted"],
        ),
        told(
            "redirect to a granted name that leads inside",
            format!("http GET {url}/granted/redirect?http://localhost:{inner}/"),
            inside,
        ),
        told(
            "redirect to a file",
            format!("http GET {url}/granted/redirect?file:///etc/passwd"),
            &["is not granted"],
        ),
        told(
            "redirect without an end",
            format!("http GET {url}/granted/redirect?/granted/redirect?/granted/redirect"),
            &["redirects more than", "got: 200"],
        ),
        told(
            "granted name that leads inside",
            format!("http GET http://localhost:{inner}/"),
            inside,
        ),
        attack(
            "response head that trickles",
            format!("http GET {url}/granted/slow-head"),
            "time",
            &["HTTP answers"],
        ),
        told(
            "body without an end",
            format!("http GET {url}/granted/endless"),
            &["may have 67108864 bytes together"],
        ),
        attack(
            "body without an end by wasi:http",
            format!("wasi-http GET {url}/granted/endless"),
            "time",
            &["500 ms"],
        ),
        told(
            "gzip bomb",
            format!("http GET {url}/granted/bomb"),
            &["may have 67108864 bytes together"],
        ),
        told(
            "response with 20,000 headers",
            format!("http GET {url}/granted/many-headers"),
            &["refused: "],
        ),
        told(
            "response with two lengths",
            format!("http GET {url}/granted/two-lengths"),
            &["refused: "],
        ),
        told(
            "granted raw connection",
            format!("tcp {address}"),
            &["got: HTTP/1.1 200 OK"],
        ),
        told(
            "raw connection to a database",
            format!("tcp 127.0.0.1:{inner}"),
            &["refused: "],
        ),
        told(
            "raw connection by a name that leads inside",
            format!("tcp localhost:{inner}"),
            &["refused: "],
        ),
        told(
            "raw connection by IPv6",
            format!("tcp [::1]:{inner}"),
            &["refused: "],
        ),
        told(
            "raw connection to metadata",
            "tcp 169.254.169.254:80".into(),
            &["refused: "],
        ),
        told("listening", "listen 0.0.0.0:0".into(), &["refused: "]),
        told("UDP", "udp 127.0.0.1:53".into(), &["refused: "]),
        told(
            "lookup of a granted name that leads inside",
            "lookup localhost".into(),
            &["got: 0 addresses"],
        ),
        told(
            "lookup of any name",
            "lookup data.exfiltrated.example.com".into(),
            &["access-denied"],
        ),
        told(
            "connection that is not granted",
            "via other GET /".into(),
            &["connection `other` is not granted"],
        ),
        told(
            "another host by a connection",
            "via vault GET http://169.254.169.254/".into(),
            &["is not this connection"],
        ),
        told(
            "above a connection's base",
            "via vault GET /../admin".into(),
            &["is not below"],
        ),
        told(
            "above a connection's base, encoded",
            "via vault GET /%2e%2e/admin".into(),
            &["is not below"],
        ),
        told(
            "a connection's own header",
            "via vault GET /echo Authorization=x".into(),
            &["set by the connection"],
        ),
        told(
            "secret that the server repeats",
            "via vault GET /echo".into(),
            &["Bearer [secret]"],
        ),
        told(
            "secret in memory",
            format!("via-and-scan vault {} GET /echo", backwards()),
            &["got: 0 secrets in memory after 200"],
        ),
        told(
            "secret in a response header",
            format!("via-and-scan vault {} GET /echo-header", backwards()),
            &["got: 0 secrets in memory after 200"],
        ),
        told(
            "secret in an encoding that the plugin asks for",
            "via vault GET /echo Accept-Encoding=br".into(),
            &["accept-encoding is set by the connection"],
        ),
        told(
            "secret in pieces that the plugin asks for",
            "via vault GET /echo Range=bytes=0-9".into(),
            &["range is set by the connection"],
        ),
        told(
            "secret in an encoding that nobody asked for",
            "via vault GET /echo-encoded".into(),
            &["in the encoding `br`"],
        ),
        told(
            "one of several secrets in a header",
            "via cookie GET /echo-last".into(),
            &["lang=[secret]"],
        ),
        told(
            "a whole value with a space in it",
            "via spaced GET /echo".into(),
            &["x-api-key: [secret]"],
        ),
        told(
            "a header of a variable, whatever its name",
            "via varied GET /echo".into(),
            &["x-shop: [secret]"],
        ),
    ];
    for (name, host) in [
        ("127.0.0.1 in decimal", "2130706433"),
        ("127.0.0.1 in octal", "0177.0.0.1"),
        ("127.0.0.1 in hexadecimal", "0x7f000001"),
        ("127.0.0.1 in short", "127.1"),
        ("127.0.0.1 in wide digits", "１２７.0.0.1"),
        ("127.0.0.1 in IPv6", "[::ffff:127.0.0.1]"),
        ("127.0.0.1 in IPv6, hexadecimal", "[::ffff:7f00:1]"),
        ("IPv6 loopback", "[::1]"),
        ("IPv6 loopback in long", "[0:0:0:0:0:0:0:1]"),
        ("every address", "0.0.0.0"),
        ("every IPv6 address", "[::]"),
        ("granted host as user", "127.0.0.1@127.0.0.2"),
    ] {
        attacks.push(told(name, format!("http GET http://{host}:{inner}/"), not));
    }
    for (name, target) in [
        ("metadata", "http://169.254.169.254/latest/meta-data/"),
        ("metadata in IPv6", "http://[fd00:ec2::254]/latest/"),
        ("metadata by name", "http://metadata.google.internal/"),
        ("scheme file", "file:///etc/passwd"),
        ("scheme gopher", "gopher://127.0.0.1:25/"),
    ] {
        attacks.push(told(
            name,
            format!("http GET {target}"),
            &["refused: url `"],
        ));
    }
    attacks
}

fn backwards() -> String {
    SECRET.chars().rev().collect()
}

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
    let (config, puppet) = (
        json!({ "on": acts, "connection": "gate" }),
        test_plugin("puppet"),
    );
    let (url, address) = (trap.url(), trap.address());
    host.flow(
        "zoo",
        &format!(
            "
source:
  plugin: csv
  config: {{ files: in/*.csv, key: id }}
  grants: {{ files: {{ read: [in] }} }}
transformers:
  - plugin: {}
    workers: 1
    config: {config}
    limits: {{ call-time: 500ms, wait-time: 10s, memory: 64MiB, output: 4MiB }}
    grants:
      files: {{ read: [in], write: [den], quota: 8MiB }}
      connections: [gate, vault, cookie, spaced, varied]
      http: [\"GET,POST {url}/granted\", \"http://localhost:{inner}/\"]
      tcp: [\"{address}\", \"localhost:{inner}\"]
sinks:
  - plugin: jsonl
    config: {{ file: out/r.jsonl }}
    grants: {{ files: {{ write: [out] }} }}
retry: {{ attempts: 1, initial: 1ms }}
batch: {{ records: 1 }}
",
            puppet.display()
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

/// All bytes of all files below a folder.
fn everything_below(folder: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            everything_below(&path, into);
        } else {
            into.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
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
        everything_below(&host.path(folder), &mut seen);
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
    let (config, puppet) = (json!({ "on": hoards }), test_plugin("puppet"));
    host.flow(
        "files",
        &format!(
            "
source:
  plugin: csv
  config: {{ files: in/*.csv, key: id }}
  grants: {{ files: {{ read: [in] }} }}
transformers:
  - plugin: {}
    workers: 8
    config: {config}
    grants: {{ files: {{ read: [in] }} }}
sinks:
  - plugin: jsonl
    config: {{ file: out/r.jsonl }}
    grants: {{ files: {{ write: [out] }} }}
retry: {{ attempts: 1, initial: 1ms }}
batch: {{ records: 1 }}
",
            puppet.display()
        ),
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
