//! `xml-idoc` in flows: the samples of the plugin, flat files, files that are damaged, and real ones where they are.

use std::fs;

use crossdock_tests::{
    host::{TestHost, test_data, workspace},
    languages::foreign_plugin,
};
use serde_json::{Value, json};

/// A project that reads `in/*`. `None`: the tools of Python are missing.
fn project(config: &str) -> Option<TestHost> {
    foreign_plugin("xml-idoc")?;
    let host = TestHost::new();
    host.flow(
        "idocs",
        &format!(
            "
source:
  plugin: xml-idoc
  config:
    files: [in/*]
    {config}
  grants: {{ files: {{ read: [in] }} }}
sinks:
  - plugin: jsonl
    name: out
    config: {{ file: \"out/{{stream}}.jsonl\" }}
    grants: {{ files: {{ write: [out] }} }}
"
        ),
    );
    Some(host)
}

fn orders() -> String {
    fs::read_to_string(workspace().join("plugins/xml-idoc/test/data/orders.xml")).unwrap()
}

fn records(host: &TestHost, stream: &str) -> Vec<Value> {
    let text = host.text(format!("out/{stream}.jsonl"));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A line of a flat file: the fields at their columns.
fn flat(segment: &str, number: u32, parent: u32, level: u32, data: &str) -> String {
    format!(
        "{segment:<30}800{:016}{number:06}{parent:06}{level:02}{data}\n",
        1
    )
}

fn control(number: u32) -> String {
    // TABNAM 10, MANDT 3, DOCNUM 16, DOCREL 4, STATUS 2, DIRECT, OUTMOD, EXPRSS, TEST, IDOCTYP 30, CIMTYP 30, MESTYP 30.
    format!(
        "{:<10}800{number:016}700 30    {:<30}{:<30}{:<30}\n",
        "EDI_DC40", "ORDERS05", "", "ORDERS"
    )
}

#[test]
fn an_idoc_is_a_record_with_its_segments_as_they_are_nested() {
    let Some(host) = project("control: false") else {
        return;
    };
    host.write("in/orders.xml", orders());
    let ended = host.run("idocs");
    let summary = ended.finished();
    assert_eq!(summary["streams"]["orders"]["written"], 2, "{ended}");
    let all = records(&host, "orders");
    assert_eq!(
        all[0],
        json!({
            "number": "0000000000047110", "type": "ORDERS05", "message": "ORDERS", "sender": "SHOP", "receiver": "ERP",
            "segments": {
                "E1EDK01": [{ "CURCY": "EUR", "BELNR": "4500017" }],
                "E1EDP01": [
                    { "POSEX": "000010", "MENGE": "2.000", "E1EDP19": [
                        { "QUALF": "001", "IDTNR": "A-1", "KTEXT": "Tür, weiß" },
                        { "QUALF": "002", "IDTNR": "4006381333931" },
                    ] },
                    { "POSEX": "000020", "MENGE": "1.000" },
                ],
            },
        })
    );
    // There is nothing new, and nothing comes twice.
    let again = host.run("idocs").finished();
    assert_eq!(again["records"], 0, "{again:#}");
    assert_eq!(records(&host, "orders").len(), 2);
}

#[test]
fn flat_files_and_xml_are_read_by_the_same_flow() {
    let layout = "layouts: { E2EDK01005: [\"ACTION:3\", \"KZABS:1\", \"CURCY:3\"] }";
    let Some(host) = project(layout) else {
        return;
    };
    host.write("in/a.xml", orders());
    let mut text = control(5) + &flat("E2EDK01005", 1, 0, 2, "   XEUR");
    text += &flat("E2EDP01007", 2, 0, 2, "000010");
    text += &flat("E2EDP19001", 3, 2, 3, "001A-1");
    host.write("in/b.txt", text);
    let ended = host.run("idocs");
    ended.finished();
    let all = records(&host, "orders");
    assert_eq!(all.len(), 3, "{ended}");
    assert_eq!(all[2]["number"], "0000000000000005");
    assert_eq!(
        all[2]["segments"],
        json!({
            "E2EDK01005": [{ "KZABS": "X", "CURCY": "EUR" }],
            "E2EDP01007": [{ "SDATA": "000010", "E2EDP19001": [{ "SDATA": "001A-1" }] }],
        })
    );
}

#[test]
fn what_is_damaged_is_a_dead_letter_with_its_place_and_the_rest_goes_on() {
    let Some(host) = project("stream: idocs") else {
        return;
    };
    let whole = orders();
    let end = whole.find("</ORDERS05>").unwrap();
    host.write("in/a.xml", &whole[..end - 60]);
    let mut flat_file = control(6) + &flat("E2EDK01005", 1, 9, 3, "EUR") + &control(7);
    flat_file += &flat("E2EDK01005", 1, 0, 2, "CHF");
    host.write("in/b.txt", flat_file);
    host.write("in/c.txt", "hello\n");
    host.write("in/d.xml", &whole);
    let ended = host.run("idocs");
    ended.exits(3);
    let numbers: Vec<Value> = records(&host, "idocs")
        .iter()
        .map(|record| record["number"].clone())
        .collect();
    assert_eq!(
        numbers,
        [
            "0000000000047110",
            "0000000000000007",
            "0000000000047110",
            "0000000000047111"
        ],
        "{ended}"
    );
    let told = serde_json::to_string(&host.dead_letters()).unwrap();
    for words in [
        "in/a.xml:",
        "no well-formed XML",
        "in/b.txt:2",
        "in segment 000009",
        "in/c.txt:1",
    ] {
        assert!(told.contains(words), "{words}\n{told}");
    }
}

#[test]
fn a_large_file_is_read_in_bounded_memory() {
    let Some(host) = project("control: false") else {
        return;
    };
    let one = orders();
    let (from, to) = (one.find("<IDOC").unwrap(), one.find("</ORDERS05>").unwrap());
    // More than 10 MiB: a tree of all of it would not fit into the limit.
    let file = format!(
        "{}{}{}",
        &one[..from],
        one[from..to].repeat(13_000),
        &one[to..]
    );
    assert!(file.len() > 10 << 20, "{}", file.len());
    host.write("in/large.xml", file);
    let flow = host.text("flows/idocs.yaml");
    let limited = flow.replace(
        "  grants: { files: { read: [in] } }",
        "  grants: { files: { read: [in] } }\n  limits: { memory: 64MiB }",
    );
    assert_ne!(flow, limited);
    host.write("flows/idocs.yaml", limited);
    let summary = host.run("idocs").finished();
    assert_eq!(
        summary["streams"]["orders"]["written"], 26_000,
        "{summary:#}"
    );
}

#[test]
fn real_idocs_are_read_whole() {
    let Some(data) = test_data("edi") else {
        return;
    };
    let Some(host) = project("stream: idocs") else {
        return;
    };
    let mut count = 0;
    for file in [
        "idoc/DELVRY03_Avon.xml",
        "sap-recipes/edifact_D96A_ORDERS05.xml",
        "sap-recipes/edifact_D96A_INVOIC02.xml",
    ] {
        let text = fs::read_to_string(data.join(file)).unwrap();
        count += text.matches("<IDOC ").count();
        host.write(format!("in/{}", file.rsplit_once('/').unwrap().1), text);
    }
    let ended = host.run("idocs");
    ended.finished();
    let all = records(&host, "idocs");
    assert_eq!(all.len(), count, "{ended}");
    for record in all {
        let segments = record["segments"].as_object().unwrap();
        assert!(
            !segments.is_empty() && record["message"] != "",
            "{record:#}"
        );
    }
}
