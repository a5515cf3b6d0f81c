//! EDIFACT through the sandbox: the flow of the README, and interchanges that do not add up.

use std::fs;

use crossdock_tests::host::{TestHost, workspace};

use crate::readme::blocks;

fn sample(name: &str) -> Vec<u8> {
    fs::read(workspace().join("plugins/edifact/samples").join(name)).unwrap()
}

#[test]
fn the_flow_of_the_readme_gives_what_it_shows() {
    let readme = fs::read_to_string(workspace().join("plugins/edifact/README.md")).unwrap();
    let only = |language: &str| {
        let [(_, block)] = &blocks(&readme, language)[..] else {
            panic!("one block of {language}");
        };
        block.clone()
    };
    let host = TestHost::new();
    host.write("flows/orders.yaml", only("yaml example"));
    for name in ["orders.edi", "invoic.edi"] {
        host.write(format!("in/{name}"), sample(name));
    }
    let summary = host.run("orders").finished();
    assert_eq!(host.text("out/orders.jsonl"), only("text after"));
    assert_eq!(host.list("out"), ["orders.jsonl"]);
    assert_eq!(summary["delivery"]["label"], "exactly-once", "{summary:#}");
    // There is nothing new.
    let again = host.run("orders").finished();
    assert_eq!(again["records"], 0, "{again:#}");
}

#[test]
fn what_does_not_add_up_is_a_dead_letter_and_the_rest_goes_on() {
    let host = TestHost::new();
    host.flow(
        "all",
        "
source:
  plugin: edifact
  config: { files: in/* }
  grants: { files: { read: [in] } }
sinks:
  - plugin: jsonl
    config: { file: \"out/{stream}.jsonl\" }
    grants: { files: { write: [out] } }
",
    );
    for name in ["desadv.edi", "orders.edi", "pricat.edi"] {
        host.write(format!("in/{name}"), sample(name));
    }
    // Two invoices, of which the first counts wrong.
    let invoices = String::from_utf8(sample("invoic.edi")).unwrap();
    host.write("in/invoic.edi", invoices.replace("UNT+25+R1", "UNT+24+R1"));
    host.write("in/x12.edi", "ISA*00*          *00*");
    let ended = host.run("all");
    let summary = ended.exits(3).json();
    let lines = |stream: &str| host.text(format!("out/{stream}.jsonl")).lines().count();
    for stream in ["orders", "desadv", "pricat", "invoic"] {
        assert_eq!(lines(stream), 1, "{stream}: {ended}");
    }
    assert_eq!(summary["dead_letters"], 2, "{summary:#}");
    let letters = host.crossdock(["dlq", "list", "--json"]).end();
    let told = letters.finished().to_string();
    for part in [
        "UNT counts 24 segments, there are 25",
        "the file is no EDIFACT",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}
