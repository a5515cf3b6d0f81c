//! A record that is changed at its top level only, and the same as a tree.

use super::sample::Sample;

/// The same rules twice: what stands behind them in the second mapping needs a tree, and changes nothing.
fn both(rules: &str, record: &str) -> [String; 2] {
    let tree = format!("{rules}\n- remove: no.such.field");
    [rules, &tree].map(|rules| Sample::new(rules).map(record))
}

#[test]
fn reads_the_same() {
    let record = r#"{"a": {"b": [{"c": 1}, {"c": "x"}], "b2": {}}, "d": "e\"f", "a2": [], "d": 7}"#;
    for path in [
        "$.a",
        "$.a.b",
        "$.a.b[0].c",
        "$.a.b[-1].c",
        "$.a.b[2]",
        "$.a.b.c",
        "$.a.b2.c",
        "$.d",
        "$.a2[0]",
        "$.no.way",
        "$",
    ] {
        let [lazy, tree] = both(&format!("- set: {{ found: \"{path}\" }}"), record);
        assert_eq!(lazy, tree, "{path}");
        let [lazy, tree] = both(
            &format!("- set: {{ found: there }}\n  when: {{ \"{path}\": {{ is: present }} }}"),
            record,
        );
        assert_eq!(lazy, tree, "{path}");
    }
}

#[test]
fn what_is_too_deep_is_said_and_told_by_both() {
    let nested = |depth: usize| {
        format!(
            "{{\"a\":{{}},\"x\":{}{}}}",
            "[".repeat(depth),
            "]".repeat(depth)
        )
    };
    for (depth, fits) in [(126, true), (127, true), (128, false), (5000, false)] {
        for out in both("- set: { y: 1 }", &nested(depth)) {
            assert_eq!(!out.contains("failed"), fits, "{depth}: {out}");
            assert!(fits || out.contains("deeper than 127 levels"), "{out}");
        }
    }
}

#[test]
fn brackets_match_everywhere_and_the_rest_is_left_to_who_opens_it() {
    for out in both("- set: { y: 1 }", r#"{"a": [1}, "b": {2]}"#) {
        assert!(out.contains("failed"), "{out}");
    }
    let [lazy, tree] = both("- set: { y: 1 }", r#"{"a": [1 2]}"#);
    assert!(lazy == tree && !lazy.contains("failed"), "{lazy}{tree}");
}
