//! Envelopes, character sets, and what is wrong with files.

use super::*;
use proptest::prelude::*;

const UNB: &str = "UNB+UNOC:3+S:14+R:14+261127:0915+77'";

/// A message with this number of document.
fn message(reference: &str, number: &str) -> String {
    format!("UNH+{reference}+ORDERS:D:96A:UN'BGM+220+{number}+9'UNS+S'UNT+4+{reference}'")
}

fn numbers(got: &Got) -> Vec<&str> {
    let records = got.records.iter();
    records
        .map(|(_, _, record)| record["document"]["number"].as_str().unwrap())
        .collect()
}

#[test]
fn the_envelope_comes_with_every_message() {
    let file = format!("{UNB}{}UNZ+1+77'", message("1", "A"));
    let got = read(file, &json!({}));
    assert_eq!(
        got.records[0].2["interchange"],
        json!({
            "reference": "77", "syntax": "UNOC:3", "sender": { "id": "S", "qualifier": "14" },
            "recipient": { "id": "R", "qualifier": "14" }, "prepared": "2026-11-27T09:15",
        })
    );
    assert_eq!(
        got.records[0].2["message"],
        json!({ "reference": "1", "type": "ORDERS", "version": "D", "release": "96A", "agency": "UN" })
    );
}

#[test]
fn what_does_not_add_up_is_told_as_the_setting_wants() {
    let good = message("1", "A");
    let cases = [
        (
            format!("{UNB}{}UNZ+1+77'", good.replace("UNT+4+1", "UNT+5+1")),
            "UNT counts 5 segments, there are 4",
            0,
        ),
        (
            format!("{UNB}{}UNZ+1+77'", good.replace("UNT+4+1", "UNT+4+2")),
            "UNT has the reference `2`",
            0,
        ),
        (
            format!("{UNB}{good}UNZ+2+77'"),
            "UNZ counts 2 messages, there are 1",
            1,
        ),
        (
            format!("{UNB}{good}UNZ+1+78'"),
            "UNZ has the reference `78`",
            1,
        ),
        (format!("{UNB}{good}"), "the interchange `77` has no UNZ", 1),
        (
            format!("{UNB}{good}{UNB}UNZ+0+77'"),
            "before this one has no UNZ",
            1,
        ),
        (good.clone(), "outside of an interchange", 0),
        (format!("{UNB}{good}UNZ+1+77'UNZ+1+77'"), "never opened", 1),
        (
            format!("{UNB}UNG+ORDERS+S+R+261127:0915+3'{good}UNE+2+3'UNZ+1+77'"),
            "UNE counts 2 messages",
            1,
        ),
        (
            format!("{UNB}UNG+ORDERS+S+R+261127:0915+3'{good}UNZ+1+77'"),
            "has no UNE",
            1,
        ),
        (
            format!("{UNB}UNG+ORDERS+S+R+261127:0915+3'{good}UNE+1+3'UNZ+3+77'"),
            "UNZ counts 3 groups",
            1,
        ),
    ];
    for (file, fault, records) in cases {
        let got = read(&file, &json!({}));
        assert_eq!(got.records.len(), records, "{file}");
        assert_eq!(got.unreadable.len(), 1, "{file}: {:?}", got.faults());
        let told = got.faults()[0];
        assert!(
            told.contains(fault) && told.contains("a.edi:1"),
            "{file}: {told}"
        );
        for setting in ["warn", "ignore"] {
            let got = read(&file, &json!({ "envelope": setting }));
            assert_eq!(
                (got.records.len(), got.unreadable.len()),
                (1, 0),
                "{file}: {:?}",
                got.faults()
            );
        }
    }
}

#[test]
fn every_interchange_has_characters_of_its_own() {
    let ftx = |text: &[u8]| {
        let mut body = b"UNH+1+ORDERS:D:96A:UN'BGM+220+N'FTX+ZZZ+++".to_vec();
        body.extend_from_slice(text);
        body.extend_from_slice(b"'UNT+4+1'");
        body
    };
    let mut file = Vec::new();
    for (syntax, text) in [
        ("UNOC", &b"Gr\xFC\xDFe"[..]),
        ("UNOD", b"\xA3\xF3d\xBC"),
        ("UNOE", b"\xBA\xD8\xD5\xD2"),
        ("UNOF", b"\xC1\xE8\xDE\xED\xE1"),
        ("UNOY", "漢字 €".as_bytes()),
        ("UNOA", b"PLAIN"),
    ] {
        file.extend_from_slice(format!("UNB+{syntax}:3+S+R+261127:0915+77'\r\n").as_bytes());
        file.extend_from_slice(&ftx(text));
        file.extend_from_slice(b"UNZ+1+77'\r\n");
    }
    let got = read(&file, &json!({}));
    let texts: Vec<&str> = got
        .records
        .iter()
        .map(|(_, _, record)| record["texts"][0]["text"][0].as_str().unwrap())
        .collect();
    assert_eq!(texts, ["Grüße", "Łódź", "Киев", "Αθήνα", "漢字 €", "PLAIN"]);
}

#[test]
fn a_byte_of_another_set_is_a_dead_letter_and_the_setting_mends_it() {
    let mut file = b"UNB+UNOA:3+S+R+261127:0915+77'".to_vec();
    file.extend_from_slice(b"UNH+1+ORDERS:D:96A:UN'BGM+220+N\x80'UNT+3+1'UNZ+1+77'");
    let got = read(&file, &json!({}));
    assert!(
        got.faults()[0].contains("0x80") && got.faults()[0].contains("set `encoding`"),
        "{:?}",
        got.faults()
    );
    let got = read(&file, &json!({ "encoding": "windows-1252" }));
    assert_eq!(numbers(&got), ["N€"]);
    let got = read(
        b"UNB+UNOX:3+S+R+261127:0915+77'UNZ+0+77'",
        &json!({ "envelope": "ignore" }),
    );
    assert!(got.faults()[0].contains("ISO 2022"), "{:?}", got.faults());
    // UTF-8 by its mark, whatever UNB says.
    let marked = format!(
        "\u{FEFF}{}{}UNZ+1+77'",
        UNB.replace("UNOC", "UNOA"),
        message("1", "Ü")
    );
    assert_eq!(numbers(&read(marked, &json!({}))), ["Ü"]);
}

#[test]
fn any_service_characters_and_wrapped_lines() {
    let una = "UNA=*,! ~UNB*UNOC=3*S*R*261127=0915*77~UNH*1*ORDERS=D=96A=UN~BGM*220*A!*B!~!!~LIN*1~QTY*21=1,50~UNT*5*1~UNZ*1*77~";
    // The next one goes by the usual ones again.
    let file = format!("{una}\n{UNB}{}UNZ+1+77'", message("1", "C"));
    let wrapped: Vec<String> = file.as_bytes().chunks(13).map(text).collect();
    for file in [file.clone(), wrapped.join("\r\n")] {
        let got = read(&file, &json!({}));
        assert_eq!(got.faults(), [""; 0]);
        assert_eq!(numbers(&got), ["A*B~!", "C"]);
        assert_eq!(
            got.records[0].2["lines"][0]["quantities"][0]["value"].to_string(),
            "1.5"
        );
    }
    let got = read("UNA:++? 'UNB+UNOC:3'", &json!({ "envelope": "ignore" }));
    assert_eq!(got.faults(), [""; 0], "the decimal mark is only a hint");
    let got = read("UNA::.? 'UNB", &json!({}));
    assert!(
        got.faults()[0].contains("two meanings"),
        "{:?}",
        got.faults()
    );
}

#[test]
fn damage_stays_where_it_is() {
    let (a, b) = (message("1", "A"), message("2", "B"));
    let open = a.replace("UNT+4+1'", "");
    let got = read(format!("{UNB}{open}{b}UNZ+2+77'"), &json!({}));
    assert_eq!((numbers(&got), got.faults().len()), (vec!["B"], 1));
    assert!(got.faults()[0].contains("has no UNT"), "{:?}", got.faults());
    let got = read(
        format!("{UNB}{a}UNH+2+ORDERS:D:96A:UN'BGM+2"),
        &json!({ "envelope": "ignore" }),
    );
    assert_eq!(numbers(&got), ["A"]);
    assert!(got.faults()[0].contains("truncated"), "{:?}", got.faults());
    let got = read(format!("{UNB}\n{a}XYZ+1'\n{b}UNZ+2+77'"), &json!({}));
    assert_eq!(numbers(&got), ["A", "B"]);
    assert!(
        got.faults()[0].contains("a.edi:2: the segment `XYZ` stands outside"),
        "{:?}",
        got.faults()
    );
    let got = read(
        format!(
            "{UNB}{}UNZ+1+77'",
            a.replace("BGM", "LIN+1'QTY+1:x'BGM")
                .replace("UNT+4", "UNT+6")
        ),
        &json!({}),
    );
    assert!(
        got.faults()[0].contains("segment 3 (QTY): `x` is no number"),
        "{:?}",
        got.faults()
    );
}

#[test]
fn a_message_that_is_too_long_is_run_over() {
    let long = "FTX+AAA+++".to_owned() + &"x?'UNT+1+1?'".repeat(30) + "'";
    let big = message("1", "A")
        .replace("UNS", &format!("{long}UNS"))
        .replace("UNT+4", "UNT+5");
    let file = format!("{UNB}{big}{}UNZ+2+77'", message("2", "B"));
    let got = read(&file, &json!({ "max-record-bytes": 200 }));
    assert_eq!(numbers(&got), ["B"]);
    assert_eq!(got.faults().len(), 1, "{:?}", got.faults());
    assert!(
        got.faults()[0].contains("longer than `max-record-bytes`"),
        "{:?}",
        got.faults()
    );
}

#[test]
fn a_file_that_grows_goes_on_inside_its_interchange() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.edi");
    let config = json!({ "files": path.to_str().unwrap(), "envelope": "warn" });
    let first = format!("{UNB}{}", message("1", "A"));
    fs::write(&path, &first).unwrap();
    let mut driver = SourceDriver::<EdifactSource>::open(&config, None).unwrap();
    assert_eq!(driver.read_all(Budget::default()).unwrap().len(), 1);
    let snapshot = driver.snapshot().unwrap();
    fs::write(&path, format!("{first}{}UNZ+2+77'", message("2", "B"))).unwrap();
    let strict = json!({ "files": config["files"] });
    let mut driver = SourceDriver::<EdifactSource>::open(&strict, Some(&snapshot)).unwrap();
    let pages = driver.read_all(Budget::default()).unwrap();
    assert_eq!(pages.len(), 1);
    assert!(
        pages[0].unreadable.is_empty(),
        "both messages are counted: {:?}",
        pages[0].unreadable
    );
    assert_eq!(pages[0].records.record(0).unwrap().key(), b"S/B");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_file_is_read_to_its_end_the_same_way_twice(
        pieces in prop::collection::vec(prop_oneof![
            Just(UNB.to_owned()),
            Just(message("1", "A")),
            Just("UNH+2+PAORES:1'MSG+a'UNT+3+2'".to_owned()),
            Just("UNH+3+ORDERS:D:96A:UN'".to_owned()),
            Just("UNT+2+3'".to_owned()),
            Just("UNG+ORDERS+S+R+261127:0915+3'".to_owned()),
            Just("UNE+1+3'".to_owned()),
            Just("UNZ+1+77'".to_owned()),
            Just("UNA=*.! ~".to_owned()),
            "[A-Z+:?'\r\n ]{0,9}",
        ], 0..12),
        envelope in "(reject|ignore)",
    ) {
        // `read` compares with a run that is interrupted behind every record.
        read(pieces.concat(), &json!({ "envelope": envelope }));
    }
}
