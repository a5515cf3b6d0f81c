//! Files of fixed fields through the sandbox: the flow of the README, real files, and records that are damaged.

use std::fs;

use crossdock_tests::{
    host::{TestHost, test_data, workspace},
    languages::foreign_plugin,
};
use serde_json::Value;

use crate::readme::blocks;

/// Bytes of a record in `samples/customers.dat`.
const RECORD: usize = 42;

fn sample(name: &str) -> Vec<u8> {
    fs::read(workspace().join("plugins/fixed-width/samples").join(name)).unwrap()
}

fn only(readme: &str, language: &str) -> String {
    let [(_, block)] = &blocks(readme, language)[..] else {
        panic!("one block of {language}");
    };
    block.clone()
}

#[test]
fn the_flow_of_the_readme_gives_what_it_shows_and_what_is_damaged_is_told() {
    if foreign_plugin("fixed-width").is_none() {
        return;
    }
    let readme = fs::read_to_string(workspace().join("plugins/fixed-width/README.md")).unwrap();
    let host = TestHost::new();
    host.write("flows/customers.yaml", only(&readme, "yaml example"));
    let book = only(&readme, "cobol example");
    assert_eq!(sample("customer.cpy"), book.as_bytes());
    host.write("flows/customer.cpy", &book);
    let customers = sample("customers.dat");
    host.write("in/a.dat", &customers);
    let summary = host.run("customers").finished();
    assert_eq!(host.text("out/customer.jsonl"), only(&readme, "text after"));
    assert_eq!(summary["delivery"]["label"], "exactly-once", "{summary:#}");

    // The file has grown by a record whose balance is none, and a good one.
    let first = &customers[..RECORD];
    let mut damaged = first.to_vec();
    damaged[20] = 0x4A;
    host.write("in/a.dat", [&customers, &damaged[..], first].concat());
    host.run("customers").exits(3);
    let letters = host.dead_letters();
    assert_eq!(letters.len(), 1, "{letters:#?}");
    let told = letters[0].to_string();
    for part in [
        "record 4 at byte 126: BALANCE at offset 18: expected packed digits, found 0x00014A450D",
        "in/a.dat:4",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(
        host.text("out/customer.jsonl").lines().count(),
        1,
        "the new run has read what was new"
    );

    // The copybook is wrong: its own line is told, and nothing runs.
    host.write("flows/customer.cpy", book.replace("X(12)", "Q(12)"));
    let told = host.run("customers");
    told.exits(2);
    assert!(
        told.to_string().contains("customer.cpy:3: PIC Q(12)"),
        "{told}"
    );
}

/// Reads a real file with its copybook; gives its records.
fn real(host: &TestHost, name: &str, data: &[u8], copybook: &[u8], settings: &str) -> Vec<Value> {
    host.write(format!("in/{name}.dat"), data);
    host.write(format!("flows/{name}.cob"), copybook);
    host.flow(
        name,
        &format!(
            "
source:
  plugin: fixed-width
  config: {{ files: in/{name}.dat, copybook: {{ $file: {name}.cob }}, stream: {name}, {settings} }}
  grants: {{ files: {{ read: [in] }} }}
sinks: [{{ plugin: jsonl, name: out, config: {{ file: out/{name}.jsonl }}, grants: {{ files: {{ write: [out] }} }} }}]
"
        ),
    );
    let ended = host.run(name);
    ended.finished();
    let text = host.text(format!("out/{name}.jsonl"));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What another reader of these files has found, brought to the same form: names as in the copybook; what is no character
/// that is shown is left out.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.replace('-', "_"), plain(value)))
            .collect(),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::String(text) => {
            let shown: String = text.chars().filter(|c| !c.is_control()).collect();
            shown.trim().into()
        }
        other => other.clone(),
    }
}

#[test]
fn real_files_of_mainframes_give_what_another_reader_finds_in_them() {
    let Some(folder) = test_data("fixed-width/cobol") else {
        return;
    };
    if foreign_plugin("fixed-width").is_none() {
        return;
    }
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let expected = |name: &str| -> Vec<Value> {
        let text = String::from_utf8_lossy(&read(name)).into_owned();
        text.lines()
            .map(|line| plain(&serde_json::from_str(line).unwrap()))
            .collect()
    };
    let host = TestHost::new();
    // Tables DEPENDING ON a packed number, two views of the same bytes.
    let found = real(
        &host,
        "accounts",
        &read("test1_data.bin"),
        &read("test1_copybook.cob"),
        "redefines: { COMPANY-ID-NUM: all, ACCOUNT-TYPE-N: all }",
    );
    let found: Vec<Value> = found.iter().map(plain).collect();
    assert_eq!(found, expected("test1_expected.txt"));

    // Binary amounts; the other reader shows the first ones only.
    let found = real(
        &host,
        "transactions",
        &read("test3_data.dat"),
        &read("test3_copybook.cob"),
        "key: COMPANY-ID",
    );
    let first: Vec<Value> = found.iter().take(60).map(plain).collect();
    assert_eq!(found.len(), 1000);
    assert_eq!(first, expected("test3_expected.txt"));

    // Records of different lengths with a length before each, in two layouts.
    let found = real(
        &host,
        "companies",
        &read("test4_data.dat"),
        &read("test4_copybook.cob"),
        "encoding: iso-8859-1, records: rdw-little-endian, \
         redefines: { STATIC-DETAILS: { by: SEGMENT-ID, when: { C: STATIC-DETAILS, P: CONTACTS } } }",
    );
    assert_eq!(found.len(), 1000);
    for (found, expected) in found.iter().map(plain).zip(expected("test4_expected.txt")) {
        assert_eq!(found["COMPANY_ID"], expected["COMPANY_ID"]);
        let part = if found["SEGMENT_ID"] == "C" {
            assert!(found.get("CONTACTS").is_none(), "{found}");
            ["STATIC_DETAILS", "COMPANY_NAME"]
        } else {
            ["CONTACTS", "PHONE_NUMBER"]
        };
        assert_eq!(found[part[0]][part[1]], expected[part[0]][part[1]]);
    }
}
