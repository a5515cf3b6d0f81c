//! What is counted, and what is refused.

use serde_json::json;

use super::*;

/// Schemas of which each is twice the next one, for the value that `inside` makes of it.
fn doubling(count: usize, inside: impl Fn(Value) -> Value) -> Value {
    let mut defs = Map::new();
    for at in 0..count {
        let next = json!({ "$ref": format!("#/$defs/a{}", at + 1) });
        let twice = json!({ "allOf": [next, next] });
        defs.insert(format!("a{at}"), inside(twice));
    }
    defs.insert(format!("a{count}"), json!({ "required": ["nothing"] }));
    json!({ "$ref": "#/$defs/a0", "$defs": defs })
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!({}), |inner, _| json!({ "x": inner }))
}

#[test]
fn what_multiplies_is_refused() {
    let same = doubling(40, |twice| twice);
    assert!(matches!(of_any(&same), Err(TooMuch::Steps(_))));
    assert!(matches!(
        of_value(&same, &json!({})),
        Err(TooMuch::Steps(_))
    ));
    assert_eq!(of_value(&doubling(8, |twice| twice), &json!({})), Ok(()));
    // One level of the value for each level of the schema.
    for keyword in ["properties", "patternProperties", "additionalProperties"] {
        let below = |twice: Value| match keyword {
            "additionalProperties" => json!({ keyword: twice }),
            _ => json!({ keyword: { "x": twice } }),
        };
        let deep = doubling(40, below);
        assert_eq!(of_any(&deep), Ok(()), "{keyword}");
        assert_eq!(of_value(&deep, &nested(3)), Ok(()), "{keyword}");
        let error = of_value(&deep, &nested(40)).unwrap_err();
        assert!(matches!(error, TooMuch::Steps(_)), "{keyword}");
    }
    // And one that is recursive.
    let own = json!({ "additionalProperties": { "allOf": [{ "$ref": "#" }, { "$ref": "#" }] } });
    assert_eq!(of_value(&own, &nested(4)), Ok(()));
    assert!(matches!(
        of_value(&own, &nested(30)),
        Err(TooMuch::Steps(_))
    ));
    let items = json!({ "items": { "anyOf": [{ "$ref": "#" }, { "$ref": "#" }] } });
    let lists = (0..30).fold(json!([]), |inner, _| json!([inner]));
    assert!(matches!(of_value(&items, &lists), Err(TooMuch::Steps(_))));
}

/// A list of nothing but lists, of which no two are the same.
fn bare(number: usize) -> Value {
    let digits = (0..14).map(|bit| match (number >> bit) & 1 {
        0 => json!([]),
        _ => json!([[]]),
    });
    digits.collect()
}

#[test]
fn lists_that_are_compared_without_an_end_are_refused() {
    let unique = json!({ "uniqueItems": true });
    assert_eq!(of_any(&unique), Ok(()));
    let texts: Value = (0..5000).map(|at| at.to_string()).collect();
    let fields: Value = (0..5000).map(|at| json!({ "sku": at, "a": "b" })).collect();
    for fine in [&texts, &fields, &json!({}), &json!([[], [[]]])] {
        assert_eq!(of_value(&unique, fine), Ok(()));
    }
    let alike: Value = (0..10_000).map(bare).collect();
    let refused = of_value(&unique, &alike).unwrap_err();
    assert!(matches!(refused, TooMuch::Alike(_)), "{refused}");
    assert_eq!(of_value(&json!({ "uniqueItems": false }), &alike), Ok(()));
    // Each time that it is asked counts.
    let often = |count: usize| json!({ "allOf": vec![&unique; count] });
    assert_eq!(of_value(&often(50), &texts), Ok(()));
    let refused = of_value(&often(5000), &texts).unwrap_err();
    assert!(matches!(refused, TooMuch::Steps(_)), "{refused}");
}

#[test]
fn a_schema_whose_own_lists_are_compared_without_an_end_is_refused() {
    let alike: Value = (0..10_000).map(bare).collect();
    for schema in [
        json!({ "$schema": "http://json-schema.org/draft-04/schema#", "enum": alike }),
        json!({ "properties": { "a": { "enum": alike } } }),
    ] {
        let refused = of_any(&schema).unwrap_err();
        assert!(matches!(refused, TooMuch::Alike(_)), "{refused}");
        let refused = of_value(&schema, &json!(1)).unwrap_err();
        assert!(matches!(refused, TooMuch::Alike(_)), "{refused}");
    }
    let texts: Vec<_> = (0..10_000).map(|at| at.to_string()).collect();
    let fine = json!({ "enum": texts, "required": ["a"], "dependencies": { "a": ["b", "c"] } });
    assert_eq!(of_any(&fine), Ok(()));
}

#[test]
fn what_has_no_end_is_refused() {
    for schema in [
        json!({ "$ref": "#" }),
        json!({ "allOf": [{ "not": { "$ref": "#" } }] }),
        json!({ "$ref": "#a", "$defs": { "a": { "$anchor": "a", "anyOf": [{ "$dynamicRef": "#a" }] } } }),
    ] {
        assert_eq!(of_any(&schema), Err(TooMuch::Endless), "{schema}");
        assert_eq!(
            of_value(&schema, &json!(1)),
            Err(TooMuch::Endless),
            "{schema}"
        );
    }
}

#[test]
fn long_chains_many_patterns_and_long_ways_are_refused() {
    let mut defs = Map::new();
    for at in 0..5000 {
        defs.insert(
            format!("a{at}"),
            json!({ "$ref": format!("#/$defs/a{}", at + 1) }),
        );
    }
    defs.insert("a5000".to_owned(), json!(true));
    let chain = json!({ "$ref": "#/$defs/a0", "$defs": defs });
    assert_eq!(of_any(&chain), Err(TooMuch::Deep));
    let patterns: Vec<_> = (0..200).map(|_| json!({ "pattern": "x" })).collect();
    assert_eq!(
        of_any(&json!({ "anyOf": patterns })),
        Err(TooMuch::Patterns)
    );
    // Each error tells the whole way.
    let name = "n".repeat(100_000);
    let fields: Vec<_> = (0..1000)
        .map(|_| json!({ "$ref": "#/$defs/leaf" }))
        .collect();
    let long = json!({
        "$ref": format!("#/$defs/{name}"),
        "$defs": { name: { "allOf": fields }, "leaf": { "type": "null" } },
    });
    assert!(matches!(of_any(&long), Err(TooMuch::Steps(_))));
}

#[test]
fn what_cannot_be_counted_is_refused() {
    for reference in [
        "https://example.org/x",
        "#/$defs/none",
        "#none",
        "x#/y",
        "#/%zz",
    ] {
        let error = of_any(&json!({ "$ref": reference })).unwrap_err();
        assert_eq!(error, TooMuch::Foreign(reference.to_owned()));
    }
    let inner = json!({ "properties": { "a": { "$id": "https://example.org/a" } } });
    assert_eq!(of_any(&inner), Err(TooMuch::InnerId));
    // A field of a config may have the name of a keyword.
    let field =
        json!({ "properties": { "$id": { "type": "string" }, "$ref": { "type": "string" } } });
    assert_eq!(
        of_value(&field, &json!({ "$id": "x", "$ref": "y" })),
        Ok(())
    );
}

#[test]
fn what_people_write_is_fine() {
    let filter = json!({
        "$id": "https://example.org/filter",
        "anyOf": [
            { "type": "object", "properties": { "all": { "items": { "$ref": "#" } } }, "required": ["all"] },
            { "type": "object", "properties": { "any": { "items": { "$ref": "https://example.org/filter#" } } }, "required": ["any"] },
            { "$ref": "#/$defs/my%20test" },
        ],
        "$defs": { "my test": { "type": "object", "properties": { "field": { "type": "string", "pattern": "^[a-z]+$" } } } },
    });
    assert_eq!(of_any(&filter), Ok(()));
    let mut value = json!({ "field": "a" });
    for at in 0..12 {
        value = if at % 2 == 0 {
            json!({ "all": [value, { "field": "b" }] })
        } else {
            json!({ "any": [{ "field": "c" }, value] })
        };
    }
    assert_eq!(of_value(&filter, &value), Ok(()));
    let rules = json!({
        "properties": { "rules": { "items": { "anyOf": [{ "type": "string" }, { "$ref": "#/$defs/rule" }] } } },
        "$defs": { "rule": { "properties": { "from": { "type": "string" }, "to": { "type": "string" } }, "required": ["from"] } },
    });
    let many: Vec<_> = (0..5000)
        .map(|at| json!({ "from": at.to_string(), "to": "x" }))
        .collect();
    assert_eq!(of_value(&rules, &json!({ "rules": many })), Ok(()));
}
