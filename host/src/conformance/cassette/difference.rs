//! Where two recordings differ, in words.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Call;
use crate::plugin::Blob;

/// Longest part of a value that is shown.
const SHOWN: usize = 200;

/// A text that fits into a line.
pub(super) fn cut(text: &str) -> String {
    let mut cut: String = text.chars().take(SHOWN).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}

pub(super) fn first_difference(recorded: &[Call], played: &[Call]) -> Option<String> {
    for (at, (then, now)) in recorded.iter().zip(played).enumerate() {
        if then.call == now.call && then.gave == now.gave {
            continue;
        }
        if then.call != now.call {
            return Some(format!(
                "call {at} was `{}`, now it is `{}`",
                then.call, now.call
            ));
        }
        let place = differing(&then.gave, &now.gave);
        let shown = |value: &Value| {
            let part = value.pointer(&place);
            part.map_or_else(|| "nothing".to_owned(), |part| cut(&part.to_string()))
        };
        return Some(format!(
            "call {at} (`{}`) gave another {}: recorded {}, now {}",
            then.call,
            if place.is_empty() {
                "answer"
            } else {
                place.as_str()
            },
            shown(&then.gave),
            shown(&now.gave)
        ));
    }
    (recorded.len() != played.len()).then(|| {
        format!(
            "{} calls were recorded, now there are {}",
            recorded.len(),
            played.len()
        )
    })
}

/// How what is left in folders and tables differs.
pub(super) fn left(
    recorded: &BTreeMap<String, Blob>,
    now: &BTreeMap<String, Blob>,
) -> Option<String> {
    let names = recorded.keys().chain(now.keys());
    let name = names
        .into_iter()
        .find(|name| recorded.get(*name) != now.get(*name))?;
    Some(match (recorded.get(name), now.get(name)) {
        (Some(_), None) => format!("it left `{name}`, and does not now"),
        (None, _) => format!("it leaves `{name}`, and did not"),
        (Some(then), Some(now)) => {
            let at = then
                .0
                .iter()
                .zip(&now.0)
                .position(|(then, now)| then != now);
            let at = at.unwrap_or(then.0.len().min(now.0.len()));
            format!(
                "it leaves another `{name}`: {} bytes instead of {}, the first difference is at byte {at}",
                now.0.len(),
                then.0.len()
            )
        }
    })
}

/// Pointer of the first part that differs.
fn differing(a: &Value, b: &Value) -> String {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => a
            .keys()
            .chain(b.keys())
            .find(|name| a.get(*name) != b.get(*name))
            .map(|name| {
                let null = Value::Null;
                let deeper = differing(a.get(name).unwrap_or(&null), b.get(name).unwrap_or(&null));
                format!("/{}{deeper}", name.replace('~', "~0").replace('/', "~1"))
            })
            .unwrap_or_default(),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let at = a.iter().zip(b).position(|(a, b)| a != b);
            at.and_then(|at| Some((at, a.get(at)?, b.get(at)?)))
                .map(|(at, a, b)| format!("/{at}{}", differing(a, b)))
                .unwrap_or_default()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_difference_is_named_by_its_place() {
        let call = |gave: Value| Call {
            call: "read".to_owned(),
            gave,
            imports: Vec::new(),
        };
        let then = [call(json!({ "records": [{ "key": "a" }, { "key": "b" }] }))];
        let now = [call(json!({ "records": [{ "key": "a" }, { "key": "c" }] }))];
        assert_eq!(first_difference(&then, &then), None);
        let told = first_difference(&then, &now).unwrap();
        assert!(
            told.contains("/records/1/key: recorded \"b\", now \"c\""),
            "{told}"
        );
        let told = first_difference(&then, &[]).unwrap();
        assert_eq!(told, "1 calls were recorded, now there are 0");
    }

    #[test]
    fn what_is_left_is_compared_byte_by_byte() {
        let of = |text: &str| BTreeMap::from([("out/a".to_owned(), Blob(text.into()))]);
        assert_eq!(left(&of("x"), &of("x")), None);
        let told = left(&of("ab"), &of("acd")).unwrap();
        assert!(
            told.contains("3 bytes instead of 2, the first difference is at byte 1"),
            "{told}"
        );
        assert!(
            left(&of("x"), &BTreeMap::new())
                .unwrap()
                .contains("does not now")
        );
        assert!(
            left(&BTreeMap::new(), &of("x"))
                .unwrap()
                .contains("did not")
        );
    }
}
