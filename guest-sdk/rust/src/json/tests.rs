//! The lazy view against `serde_json`, on generated, edited and hostile texts.

use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::Value as Tree;

use super::{Kind, MAX_DEPTH, Object, Problem, Value, validate, write_string};

/// JSON text as people and machines write it: white space, escapes, odd numbers, duplicate keys.
fn json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        number(),
        string(),
    ];
    scalar.prop_recursive(5, 60, 6, |inner| {
        let list = prop::collection::vec((space(), inner.clone(), space()), 0..5);
        let array = list.prop_map(|items| {
            let items: Vec<_> = items
                .iter()
                .map(|(a, item, b)| format!("{a}{item}{b}"))
                .collect();
            format!("[{}]", items.join(","))
        });
        prop_oneof![array, object_of(inner)]
    })
}

fn object() -> impl Strategy<Value = String> {
    object_of(json())
}

fn object_of(inner: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::collection::vec((space(), key(), space(), inner), 0..8).prop_map(|members| {
        let members: Vec<_> = members
            .iter()
            .map(|(a, key, b, value)| format!("{a}{key}{b}:{a}{value}{b}"))
            .collect();
        format!("{{{}}}", members.join(","))
    })
}

fn space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", "", " ", "\n", "\t\r\n  "])
}

/// Few different keys, so that duplicates, plain and escaped, are common.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            r#""""#, r#""a""#, r#""\u0061""#, r#""b""#, r#""name of this thing""#, r#""a/b""#, r#""a~b""#,
            r#""\"""#, r#""\\""#, r#""é""#, r#""\u00e9""#, r#""\ud83d\ude00""#, r#""😀""#,
        ]).prop_map(str::to_owned),
        1 => string(),
    ]
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        any::<f64>()
            .prop_filter("finite", |n| n.is_finite())
            .prop_map(|n| format!("{n:e}")),
        prop::sample::select(vec![
            "0",
            "-0",
            "9.90",
            "1E2",
            "1e-07",
            "-0.0e+0",
            "123456789012345678901234567890",
        ])
        .prop_map(str::to_owned),
    ]
}

fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z0-9 {}\\[\\],:]{1,20}",
        2 => prop::sample::select(vec![
            r#"\""#, r"\\", r"\/", r"\b", r"\f", r"\n", r"\r", r"\t", r"\u0000", r"\u00E4", r"\ud83d\ude00",
        ]).prop_map(str::to_owned),
        2 => any::<char>().prop_filter("needs an escape", |c| !matches!(c, '"' | '\\' | '\0'..'\u{20}'))
            .prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

/// Valid JSON that something happened to.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        &b"\""[..],
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\\ud800",
        b"\\u12",
        b"\x1f",
        b"1e999",
        b"01",
        b"-",
        b"1.",
        b"tru",
        b"nulll",
        b"//",
        b"NaN",
        b" ",
    ]);
    let edit = (any::<prop::sample::Index>(), 0usize..4, pieces);
    (object(), prop::collection::vec(edit, 0..4), any::<bool>()).prop_map(|(text, edits, cut)| {
        let mut bytes = text.into_bytes();
        for (at, removed, piece) in edits {
            let at = at.index(bytes.len() + 1);
            let end = (at + removed).min(bytes.len());
            bytes.splice(at..end, piece.iter().copied());
            if cut {
                bytes.truncate(at);
            }
        }
        bytes
    })
}

/// Reads everything that can be read.
fn exhaust(value: Value<'_>, depth: usize) {
    let _ = (
        value.as_str(),
        value.as_f64(),
        value.as_i64(),
        value.as_u64(),
        value.as_bool(),
    );
    let _ = (
        value.into_value(),
        value.get("a"),
        value.index(1),
        value.pointer("/a/0/b"),
    );
    if let Some(object) = value.object() {
        let _ = (object.len(), object.to_vec(), object.get("b"));
    }
    assert!(depth <= MAX_DEPTH);
    for item in value.items() {
        exhaust(item, depth + 1);
    }
    for (_, member) in value.entries() {
        exhaust(member, depth + 1);
    }
}

fn tree(text: &[u8]) -> Result<Tree, serde_json::Error> {
    serde_json::from_slice(text)
}

/// What happens to an object.
#[derive(Debug, Clone)]
enum Edit {
    Set(String, String),
    Raw(String, String),
    Remove(String),
    Rename(String, String),
    Copy(String, String),
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "",
        "a",
        "b",
        "c",
        "name of this thing",
        "é",
        "😀",
        "\"",
        "\\",
        "a/b",
    ])
    .prop_map(str::to_owned)
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        (name(), any::<String>()).prop_map(|(name, text)| Edit::Set(name, text)),
        (name(), json()).prop_map(|(name, text)| Edit::Raw(name, text)),
        name().prop_map(Edit::Remove),
        (name(), name()).prop_map(|(from, to)| Edit::Rename(from, to)),
        (name(), name()).prop_map(|(from, to)| Edit::Copy(from, to)),
    ]
}

/// The same on a map of `serde_json`. Answers what the lazy object should answer.
fn model(map: &mut serde_json::Map<String, Tree>, edit: &Edit) -> bool {
    match edit {
        Edit::Set(name, text) => {
            map.insert(name.clone(), text.as_str().into());
            true
        }
        Edit::Raw(name, text) => {
            map.insert(name.clone(), tree(text.as_bytes()).unwrap());
            true
        }
        Edit::Remove(name) => map.remove(name).is_some(),
        Edit::Rename(from, to) => map
            .remove(from)
            .map(|value| map.insert(to.clone(), value))
            .is_some(),
        Edit::Copy(from, to) => {
            let value = map.get(from).cloned();
            value.map(|value| map.insert(to.clone(), value)).is_some()
        }
    }
}

fn apply(object: &mut Object<'_>, edit: &Edit) -> bool {
    match edit {
        Edit::Set(name, text) => object.set(name, text),
        Edit::Raw(name, text) => object.set_raw(name, text.as_bytes()),
        Edit::Remove(name) => return object.remove(name),
        Edit::Rename(from, to) => return object.rename(from, to),
        Edit::Copy(from, to) => return object.copy(from, to),
    }
    true
}

proptest! {
    #[test]
    fn reads_what_serde_json_reads(text in object()) {
        let expected = tree(text.as_bytes()).unwrap();
        prop_assert_eq!(validate(text.as_bytes()), Ok(()));
        let object = Object::parse(text.as_bytes()).unwrap();
        let value = Value::parse(text.as_bytes()).unwrap();
        let map = expected.as_object().unwrap();
        prop_assert_eq!(object.len(), map.len());
        prop_assert_eq!(object.is_empty(), map.is_empty());
        for (name, member) in map {
            prop_assert_eq!(&object.get(name).unwrap().into_value().unwrap(), member);
            prop_assert_eq!(&value.get(name).unwrap().into_value().unwrap(), member);
            prop_assert_eq!(object.original(name), object.get(name));
        }
        let seen: serde_json::Map<_, _> =
            object.iter().map(|(name, value)| (name.into_owned(), value.into_value().unwrap())).collect();
        prop_assert_eq!(&seen, map);
        prop_assert_eq!(object.iter().count(), map.len());
        prop_assert!(object.get("no such name").is_none());
        prop_assert_eq!(&tree(&object.to_vec()).unwrap(), &expected);
        prop_assert_eq!(object.into_value().unwrap(), expected);
    }

    #[test]
    fn an_untouched_object_is_copied_byte_by_byte(text in object()) {
        let trimmed = text.trim();
        let inner = trimmed[1..trimmed.len() - 1].trim_matches([' ', '\n', '\t', '\r']);
        let expected = format!("{{{inner}}}");
        prop_assert_eq!(Object::parse(text.as_bytes()).unwrap().to_vec(), expected.as_bytes());
    }

    #[test]
    fn edits_do_what_they_do_to_a_map(text in object(), edits in prop::collection::vec(edit(), 0..8)) {
        let mut expected = tree(text.as_bytes()).unwrap();
        let map = expected.as_object_mut().unwrap();
        let mut object = Object::parse(text.as_bytes()).unwrap();
        for edit in &edits {
            prop_assert_eq!(apply(&mut object, edit), model(map, edit), "{:?}", edit);
            prop_assert_eq!(object.len(), map.len());
            for (name, value) in &*map {
                prop_assert_eq!(&object.get(name).unwrap().into_value().unwrap(), value);
            }
            prop_assert_eq!(&tree(&object.to_vec()).unwrap(), &Tree::Object(map.clone()));
        }
    }

    #[test]
    fn so_they_do_when_there_are_many_members(
        members in 0_usize..200,
        edits in prop::collection::vec((0_usize..5, 0_usize..220, 0_usize..220), 0..60),
    ) {
        let name = |number: usize| format!("k{number}");
        let mut text = String::from("{");
        for number in 0..members {
            write!(text, r#"{}"{}" : {number}"#, if number == 0 { "" } else { ", " }, name(number)).unwrap();
        }
        text.push('}');
        let mut expected = tree(text.as_bytes()).unwrap();
        let map = expected.as_object_mut().unwrap();
        let mut object = Object::parse(text.as_bytes()).unwrap();
        for (kind, one, other) in edits {
            let edit = match kind {
                0 => Edit::Set(name(one), name(other)),
                1 => Edit::Raw(name(one), "[1, 2]".to_owned()),
                2 => Edit::Remove(name(one)),
                3 => Edit::Rename(name(one), name(other)),
                _ => Edit::Copy(name(one), name(other)),
            };
            prop_assert_eq!(apply(&mut object, &edit), model(map, &edit), "{:?}", edit);
        }
        prop_assert_eq!(object.len(), map.len());
        prop_assert_eq!(object.is_empty(), map.is_empty());
        prop_assert_eq!(object.iter().count(), map.len());
        prop_assert_eq!(&tree(&object.to_vec()).unwrap(), &Tree::Object(map.clone()));
    }

    #[test]
    fn integers_are_written_as_they_are(any in any::<i64>(), digits in 0_u32..19) {
        let small = any % 10_i64.pow(digits);
        for number in [any, small, i64::MIN, i64::MAX, 0] {
            let mut object = Object::new();
            object.set("n", number);
            object.set("u", number.unsigned_abs());
            let written = format!(r#"{{"n":{number},"u":{}}}"#, number.unsigned_abs());
            prop_assert_eq!(String::from_utf8(object.to_vec()).unwrap(), written);
        }
    }

    #[test]
    fn hostile_texts_are_refused_or_read_alike(text in hostile()) {
        let expected = tree(&text);
        match &expected {
            Ok(_) => prop_assert_eq!(validate(&text), Ok(())),
            // The grammar has no largest number; `serde_json` has.
            Err(error) if error.to_string().starts_with("number out of range") => {}
            Err(_) => prop_assert!(validate(&text).is_err()),
        }
        if let Err(error) = validate(&text) {
            prop_assert!(error.offset() <= text.len());
        }
        match (Object::parse(&text), expected) {
            (Ok(object), Ok(expected)) => prop_assert_eq!(object.into_value().unwrap(), expected),
            (Ok(object), Err(_)) => {
                prop_assert!(object.clone().into_value().is_err() || tree(&object.to_vec()).is_ok());
                for (_, value) in &object {
                    exhaust(value, 1);
                }
            }
            (Err(error), Ok(expected)) => {
                prop_assert!(!expected.is_object(), "{error}: {}", String::from_utf8_lossy(&text));
            }
            (Err(error), Err(_)) => prop_assert!(error.offset() <= text.len()),
        }
        if let Ok(value) = Value::parse(&text) {
            exhaust(value, 0);
        }
    }

    #[test]
    fn any_bytes_are_harmless(text in prop::collection::vec(
        prop_oneof![prop::sample::select(b"\"\\{}[]:,ue0 1-".to_vec()), any::<u8>()], 0..80
    )) {
        if let Ok(value) = Value::parse(&text) {
            exhaust(value, 0);
        }
        prop_assert_eq!(
            validate(&text).is_ok(),
            tree(&text).map_or_else(|error| error.to_string().starts_with("number out of range"), |_| true)
        );
    }

    #[test]
    fn strings_are_written_and_read_as_serde_json_does(text in any::<String>(), json in string()) {
        let mut written = Vec::new();
        write_string(&text, &mut written);
        prop_assert_eq!(&written, &serde_json::to_vec(&text).unwrap());
        prop_assert_eq!(Value::parse(&written).unwrap().as_str(), Some(text.into()));
        let expected: String = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(Value::parse(json.as_bytes()).unwrap().as_str(), Some(expected.into()));
    }

    #[test]
    fn pointers_agree_with_serde_json(text in json(), steps in prop::collection::vec(
        prop::sample::select(vec!["a", "b", "0", "1", "00", "+1", "-", "", "a~1b", "a~0b", "é", "~"]), 0..4
    )) {
        let mut pointer = String::new();
        for step in steps {
            write!(pointer, "/{step}").unwrap();
        }
        let expected = tree(text.as_bytes()).unwrap();
        let found = Value::parse(text.as_bytes()).unwrap().pointer(&pointer).map(|value| value.into_value().unwrap());
        prop_assert_eq!(found.as_ref(), expected.pointer(&pointer));
    }

    #[test]
    fn numbers_stay_as_written(number in number()) {
        let text = format!(r#"{{"n": {number} }}"#);
        let object = Object::parse(text.as_bytes()).unwrap();
        let value = object.get("n").unwrap();
        prop_assert_eq!(value.as_number_text(), Some(number.as_str()));
        prop_assert_eq!(value.kind(), Kind::Number);
        let expected: Tree = serde_json::from_str(&number).unwrap();
        if number != "-0" {
            prop_assert_eq!(value.as_i64(), expected.as_i64());
            prop_assert_eq!(value.as_u64(), expected.as_u64());
        }
        prop_assert_eq!(value.as_f64(), number.parse().ok());
    }
}

#[test]
fn nesting_is_bounded_as_in_serde_json() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        for depth in [1, 20, MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, 200] {
            let text = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let fits = depth <= MAX_DEPTH;
            assert_eq!(tree(text.as_bytes()).is_ok(), fits, "serde_json at {depth}");
            assert_eq!(
                validate(text.as_bytes()).is_ok(),
                fits,
                "validate at {depth}"
            );
            assert_eq!(
                Value::parse(text.as_bytes()).is_ok(),
                fits,
                "Value at {depth}"
            );
        }
    }
    let bomb = "[".repeat(1 << 20);
    let error = Value::parse(bomb.as_bytes()).unwrap_err();
    assert_eq!(
        (error.problem(), error.offset()),
        (Problem::TooDeep, MAX_DEPTH)
    );
}

#[test]
fn errors_say_what_and_where() {
    let problem = |text: &str| {
        Object::parse(text.as_bytes()).map_or_else(
            |error| {
                let full = validate(text.as_bytes()).unwrap_err();
                assert_eq!(full.problem(), error.problem(), "{text}");
                Some((error.problem(), error.offset()))
            },
            |_| None,
        )
    };
    assert_eq!(problem("{"), Some((Problem::Truncated, 1)));
    assert_eq!(problem(r#"{"a"#), Some((Problem::Truncated, 3)));
    assert_eq!(problem(r#"{"a\"#), Some((Problem::Truncated, 4)));
    assert_eq!(problem(r#"{"a":[1,"]"#), Some((Problem::Truncated, 10)));
    assert_eq!(problem(r#"{"a" 1}"#), Some((Problem::ExpectedColon, 5)));
    assert_eq!(
        problem(r#"{"a":1 "b":2}"#),
        Some((Problem::ExpectedComma, 7))
    );
    assert_eq!(problem(r#"{"a":1,}"#), Some((Problem::ExpectedKey, 7)));
    assert_eq!(problem(r#"{"a":01}"#), Some((Problem::Number, 5)));
    assert_eq!(problem(r#"{"a":nope}"#), Some((Problem::ExpectedValue, 5)));
    assert_eq!(problem("{} {}"), Some((Problem::Trailing, 3)));
    assert_eq!(problem(r#"{"a":[1,"]"]"#), Some((Problem::Truncated, 12)));
    assert_eq!(problem(r#"{"a":1}"#), None);
    let unbalanced = Object::parse(br#"{"a":[1}}"#).unwrap_err();
    assert_eq!(
        (unbalanced.problem(), unbalanced.offset()),
        (Problem::Unbalanced, 7)
    );
    assert_eq!(
        Object::parse(b"[1]").unwrap_err().to_string(),
        "expected a JSON object at byte 0"
    );
    assert!(Object::parse("\u{feff}{}".as_bytes()).is_err());
}

#[test]
fn many_members_do_not_take_quadratic_time() {
    let mut text = String::from("{");
    for number in 0..100_000 {
        write!(text, r#""k{}":{number},"#, number % 90_000).unwrap();
    }
    text.push_str(r#""end":0}"#);
    let object = Object::parse(text.as_bytes()).unwrap();
    assert_eq!(object.len(), 90_001);
    assert_eq!(object.iter().count(), 90_001);
    assert_eq!(object.get("k1").unwrap().as_i64(), Some(90_001));
}

#[test]
fn natural_numbers_of_every_length_are_written() {
    let ends = (0..20).flat_map(|digits| {
        let power = 10_u64.pow(digits);
        [power - 1, power, power + 1, power.saturating_mul(9)]
    });
    for number in ends.chain(0..20_000) {
        let mut object = Object::new();
        object.set("n", number);
        assert_eq!(object.to_vec(), format!(r#"{{"n":{number}}}"#).into_bytes());
    }
}

#[test]
fn neighbours_are_copied_as_they_came_also_when_others_are_gone() {
    let mut object = Object::parse(br#"{"a" : 1 ,  "b":2, "c" :3 , "d":4,"e" : 5}"#).unwrap();
    assert!(object.remove("c"));
    object.set("x", 1_u8);
    object.set("y", 2_u8);
    assert!(object.remove("x"));
    object.set("z", true);
    assert_eq!(
        String::from_utf8(object.to_vec()).unwrap(),
        r#"{"a" : 1 ,  "b":2,"d":4,"e" : 5,"y":2,"z":true}"#
    );
}

#[test]
fn values_of_all_kinds_can_be_set() {
    let mut object = Object::new();
    object.set("s", "a\"b");
    object.set("n", 5_u8);
    object.set("f", 1.5);
    object.set("nan", f64::NAN);
    object.set("o", None::<bool>);
    object.set("l", ["x", "y"]);
    object.set("t", serde_json::json!({"a": [1, null]}));
    let copy = object.clone();
    object.set("v", copy.get("l").unwrap());
    object.set("c", 'ä');
    object.set_raw("r", b"9.90".to_vec());
    assert!(object.remove("n"));
    assert_eq!(
        String::from_utf8(object.to_vec()).unwrap(),
        r#"{"s":"a\"b","f":1.5,"nan":null,"o":null,"l":["x","y"],"t":{"a":[1,null]},"v":["x","y"],"c":"ä","r":9.90}"#
    );
}

#[test]
fn errors_of_a_type_say_where_in_the_value() {
    let value = Value::parse(b"{\n \"a\": \"x\"\n}").unwrap();
    let error = value
        .to::<std::collections::BTreeMap<String, u8>>()
        .unwrap_err();
    assert_eq!((error.problem(), error.offset()), (Problem::Unfit, 10));
}
