//! Numbers and dates of EDIFACT as JSON has them.

/// A number, digit by digit, or `None`. Either mark is taken for the decimal one: the standard allows both, and the one of
/// the `UNA` is only a hint that senders forget. There are no thousands separators in EDIFACT.
pub(crate) fn number(text: &str, out: &mut Vec<u8>) -> bool {
    let (minus, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        // The standard knows no trailing sign, some systems do.
        None => text
            .strip_suffix('-')
            .map_or((false, text.strip_prefix('+').unwrap_or(text)), |rest| {
                (true, rest)
            }),
    };
    let (whole, part) = digits.split_once(['.', ',']).unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(part) || (whole.is_empty() && part.is_empty()) {
        return false;
    }
    if minus {
        out.push(b'-');
    }
    let whole = whole.trim_start_matches('0');
    out.extend_from_slice(if whole.is_empty() { "0" } else { whole }.as_bytes());
    if !part.is_empty() {
        out.push(b'.');
        out.extend_from_slice(part.as_bytes());
    }
    true
}

/// A date, time or period in one of the formats of code list 2379 as ISO 8601, or `None` for others and for what is none.
pub(crate) fn date(text: &str, format: &str) -> Option<String> {
    if !text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'-')
    {
        return None;
    }
    let pieces = |widths: &[usize]| -> Option<Vec<&str>> {
        if text.len() != widths.iter().sum::<usize>() || text.contains('-') {
            return None;
        }
        let (mut at, mut pieces) = (0, Vec::with_capacity(widths.len()));
        for width in widths {
            pieces.push(text.get(at..at + width)?);
            at += width;
        }
        Some(pieces)
    };
    let day = |year: &str, month: &str, day: &str| {
        is_day(year, month, day).then(|| format!("{year}-{month}-{day}"))
    };
    match format {
        "2" => {
            let [d, m, y] = pieces(&[2, 2, 2])?.try_into().ok()?;
            day(&century(y), m, d)
        }
        "101" => {
            let [y, m, d] = pieces(&[2, 2, 2])?.try_into().ok()?;
            day(&century(y), m, d)
        }
        "102" => {
            let [y, m, d] = pieces(&[4, 2, 2])?.try_into().ok()?;
            day(y, m, d)
        }
        "201" => {
            let [y, m, d, hour, minute] = pieces(&[2, 2, 2, 2, 2])?.try_into().ok()?;
            Some(format!(
                "{}T{}",
                day(&century(y), m, d)?,
                time(hour, minute, None)?
            ))
        }
        "203" => {
            let [y, m, d, hour, minute] = pieces(&[4, 2, 2, 2, 2])?.try_into().ok()?;
            Some(format!("{}T{}", day(y, m, d)?, time(hour, minute, None)?))
        }
        "204" => {
            let [y, m, d, hour, minute, second] = pieces(&[4, 2, 2, 2, 2, 2])?.try_into().ok()?;
            Some(format!(
                "{}T{}",
                day(y, m, d)?,
                time(hour, minute, Some(second))?
            ))
        }
        "401" => {
            let [hour, minute] = pieces(&[2, 2])?.try_into().ok()?;
            time(hour, minute, None)
        }
        "602" => pieces(&[4]).map(|_| text.to_owned()),
        "610" => {
            let [y, m] = pieces(&[4, 2])?.try_into().ok()?;
            ("01"..="12").contains(&m).then(|| format!("{y}-{m}"))
        }
        "718" | "719" => {
            let (from, to) = text
                .split_once('-')
                .or_else(|| text.split_at_checked(text.len() / 2))?;
            let each = if format == "718" { "102" } else { "203" };
            Some(format!("{}/{}", date(from, each)?, date(to, each)?))
        }
        _ => None,
    }
}

/// Two digits of a year: EDIFACT came up in 1987.
fn century(year: &str) -> String {
    let century = if year < "80" { "20" } else { "19" };
    format!("{century}{year}")
}

fn is_day(year: &str, month: &str, day: &str) -> bool {
    let number = |text: &str| text.parse::<u32>().unwrap_or_default();
    let (year, month, day) = (number(year), number(month), number(day));
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=longest).contains(&day)
}

fn time(hour: &str, minute: &str, second: Option<&str>) -> Option<String> {
    let fine = hour < "24" && minute < "60" && second.is_none_or(|second| second < "60");
    fine.then(|| match second {
        Some(second) => format!("{hour}:{minute}:{second}"),
        None => format!("{hour}:{minute}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_keep_their_digits() {
        for (text, expect) in [
            ("1960.29", "1960.29"),
            ("12,50", "12.50"),
            ("007", "7"),
            ("0", "0"),
            ("-.5", "-0.5"),
            ("5.", "5"),
            ("3,00-", "-3.00"),
            ("+8", "8"),
            ("000", "0"),
        ] {
            let mut out = Vec::new();
            assert!(number(text, &mut out), "{text}");
            assert_eq!(String::from_utf8(out).unwrap(), expect, "{text}");
        }
        for text in ["", ".", "-", "1.2.3", "1 000", "AA", "1e5", "--1"] {
            assert!(!number(text, &mut Vec::new()), "{text}");
        }
    }

    #[test]
    fn dates_are_iso() {
        for (text, format, expect) in [
            ("20250322", "102", Some("2025-03-22")),
            ("201508030000", "203", Some("2015-08-03T00:00")),
            ("20150803235959", "204", Some("2015-08-03T23:59:59")),
            ("991006", "101", Some("1999-10-06")),
            ("9910061902", "201", Some("1999-10-06T19:02")),
            ("061025", "2", Some("2025-10-06")),
            ("202502", "610", Some("2025-02")),
            ("20250101-20250131", "718", Some("2025-01-01/2025-01-31")),
            ("2025010120250131", "718", Some("2025-01-01/2025-01-31")),
            ("20240229", "102", Some("2024-02-29")),
            ("20250229", "102", None),
            ("20251301", "102", None),
            ("199909280000", "102", None),
            ("202503222460", "203", None),
            ("20250322120000CET", "304", None),
            ("7", "804", None),
        ] {
            assert_eq!(date(text, format).as_deref(), expect, "{text} {format}");
        }
    }

    proptest! {
        #[test]
        fn what_is_a_number_is_json(text in "[-+0-9.,]{0,12}") {
            let mut out = Vec::new();
            if number(&text, &mut out) {
                prop_assert!(crossdock_sdk::json::validate(&out).is_ok(), "{}", text);
            }
        }

        #[test]
        fn no_text_is_too_odd_for_a_date(text in "[-0-9ä]{0,20}", format in "(2|101|102|201|203|204|401|602|610|718|719)") {
            date(&text, &format);
        }
    }
}
