//! The text of a cell as a JSON value.

use serde::Deserialize;

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Any text.
    #[default]
    Text,
    /// A decimal number, copied digit by digit.
    Number,
    /// A number without fraction or exponent.
    Integer,
    /// `true`/`false`, `1`/`0`, `yes`/`no`, in any case.
    Boolean,
    /// JSON text, as the sink writes for nested values.
    Json,
}

/// What becomes of an empty cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Empty {
    /// An empty text; null where the column is not text.
    #[default]
    Text,
    /// null
    Null,
    /// The field is left out.
    Omit,
}

/// Appends the cell as a JSON value of this kind. `false`: it is none; nothing is appended then.
pub(crate) fn write(kind: Kind, cell: &[u8], out: &mut Vec<u8>) -> bool {
    match kind {
        Kind::Text => {
            text(cell, out);
            true
        }
        Kind::Number => number(cell.trim_ascii(), true, out),
        Kind::Integer => number(cell.trim_ascii(), false, out),
        Kind::Boolean => match boolean(cell.trim_ascii()) {
            Some(value) => {
                out.extend_from_slice(if value { b"true" } else { b"false" });
                true
            }
            None => false,
        },
        Kind::Json => {
            let valid = crossdock_sdk::json::validate(cell).is_ok();
            if valid {
                out.extend_from_slice(cell);
            }
            valid
        }
    }
}

fn boolean(cell: &[u8]) -> Option<bool> {
    let is = |word: &[u8]| cell.eq_ignore_ascii_case(word);
    if is(b"1") || is(b"true") || is(b"yes") {
        Some(true)
    } else if is(b"0") || is(b"false") || is(b"no") {
        Some(false)
    } else {
        None
    }
}

/// Copies a decimal number. JSON wants no `+`, no leading zeros and a digit before the point: these are made right,
/// the digits stay as they are.
fn number(cell: &[u8], fraction: bool, out: &mut Vec<u8>) -> bool {
    let (negative, rest) = match cell {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] | rest => (false, rest),
    };
    let (whole, rest) = digits(rest);
    let (after_point, rest) = match rest {
        [b'.', rest @ ..] if fraction => {
            let (part, rest) = digits(rest);
            (Some(part), rest)
        }
        rest => (None, rest),
    };
    let exponent = match rest {
        [] => rest,
        [b'e' | b'E', b'+' | b'-', power @ ..] | [b'e' | b'E', power @ ..]
            if fraction && !power.is_empty() && power.iter().all(u8::is_ascii_digit) =>
        {
            rest
        }
        _ => return false,
    };
    if after_point.is_some_and(<[u8]>::is_empty) || (whole.is_empty() && after_point.is_none()) {
        return false;
    }
    if negative {
        out.push(b'-');
    }
    let zeros = whole.iter().take_while(|digit| **digit == b'0').count();
    match whole.get(zeros..) {
        Some(significant) if !significant.is_empty() => out.extend_from_slice(significant),
        _ => out.push(b'0'),
    }
    if let Some(part) = after_point {
        out.push(b'.');
        out.extend_from_slice(part);
    }
    out.extend_from_slice(exponent);
    true
}

fn digits(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(bytes.len());
    bytes.split_at(end)
}

/// Appends valid UTF-8 as a JSON string.
pub(crate) fn text(cell: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    escape(cell, out);
    out.push(b'"');
}

/// Appends valid UTF-8 as the inside of a JSON string.
pub(crate) fn escape(cell: &[u8], out: &mut Vec<u8>) {
    let mut clean = 0;
    for (at, byte) in cell.iter().enumerate() {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..0x20 => 0,
            _ => continue,
        };
        out.extend_from_slice(cell.get(clean..at).unwrap_or_default());
        if short == 0 {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            let digit = |value: u8| HEX.get(usize::from(value & 15)).copied().unwrap_or(b'0');
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(*byte)]);
        } else {
            out.extend_from_slice(&[b'\\', short]);
        }
        clean = at + 1;
    }
    out.extend_from_slice(cell.get(clean..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(kind: Kind, cell: &str) -> Option<String> {
        let mut out = Vec::new();
        write(kind, cell.as_bytes(), &mut out).then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn numbers_keep_their_digits() {
        for (cell, expect) in [
            ("12.50", "12.50"),
            ("0.10", "0.10"),
            ("-3", "-3"),
            (" 7 ", "7"),
            ("+7", "7"),
            ("007", "7"),
            ("0", "0"),
            ("-0", "-0"),
            (".5", "0.5"),
            ("1e3", "1e3"),
            ("1.5E-10", "1.5E-10"),
            (
                "123456789012345678901234567890.123456789012345678901",
                "123456789012345678901234567890.123456789012345678901",
            ),
        ] {
            assert_eq!(
                written(Kind::Number, cell).as_deref(),
                Some(expect),
                "{cell}"
            );
            assert!(serde_json::from_str::<serde_json::Value>(expect).is_ok());
        }
        for cell in [
            "", "x", "1,5", "1.", ".", "-", "1e", "1e+", "1 2", "0x1", "NaN", "1.2.3", "٣",
        ] {
            assert_eq!(written(Kind::Number, cell), None, "{cell}");
        }
        assert_eq!(written(Kind::Integer, "0042").as_deref(), Some("42"));
        for cell in ["1.0", "1e3", ""] {
            assert_eq!(written(Kind::Integer, cell), None, "{cell}");
        }
    }

    #[test]
    fn booleans_and_json() {
        for (cell, expect) in [
            ("TRUE", "true"),
            ("1", "true"),
            ("Yes", "true"),
            ("no", "false"),
            ("0", "false"),
        ] {
            assert_eq!(written(Kind::Boolean, cell).as_deref(), Some(expect));
        }
        assert_eq!(written(Kind::Boolean, "maybe"), None);
        assert_eq!(
            written(Kind::Json, r#"{"a": [1.10]}"#).as_deref(),
            Some(r#"{"a": [1.10]}"#)
        );
        assert_eq!(written(Kind::Json, "{a}"), None);
    }

    proptest! {
        #[test]
        fn any_text_becomes_the_json_string_of_itself(cell in any::<String>()) {
            let json = written(Kind::Text, &cell).unwrap();
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), cell);
        }

        #[test]
        fn what_passes_as_a_number_is_one(cell in "[-+]?[0-9]{0,4}[.]?[0-9]{0,4}([eE][-+]?[0-9]{0,2})?") {
            if let Some(json) = written(Kind::Number, &cell) {
                prop_assert!(crossdock_sdk::json::validate(json.as_bytes()).is_ok(), "{json}");
                prop_assert_eq!(json.parse::<f64>(), cell.parse::<f64>());
            }
        }
    }
}
