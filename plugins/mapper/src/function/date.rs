//! Functions on dates and times. A time keeps the clock it was written with; `utc` moves it.

use bumpalo::Bump;
use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::{Span, Timestamp, Zoned};

use super::{Outcome, describe, text_of, whole_of};
use crate::node::Node;

/// A time as found: a date, a date and time, or that with an offset.
enum Time {
    Date(Date),
    Civil(DateTime),
    Offset(DateTime, Timestamp),
}

/// Reads ISO 8601: `2026-01-31`, `2026-01-31T12:00:00`, `2026-01-31 12:00:00.5+01:00`, `...Z`.
fn read(text: &str) -> Option<Time> {
    let text = text.trim();
    if text.len() == 10 {
        return text.parse().ok().map(Time::Date);
    }
    // `+0100` is ISO 8601 too, but the parser wants its colon.
    let spaced = match text.get(text.len().checked_sub(5)?..) {
        Some(offset)
            if offset.starts_with(['+', '-'])
                && offset.bytes().skip(1).all(|b| b.is_ascii_digit()) =>
        {
            let (head, tail) = text.split_at(text.len() - 2);
            format!("{head}:{tail}")
        }
        _ => text.to_owned(),
    };
    if let Ok(timestamp) = spaced.parse::<Timestamp>() {
        let civil = spaced.trim_end_matches(['Z', 'z']);
        let civil = match civil.get(10..).and_then(|time| time.rfind(['+', '-'])) {
            Some(at) => civil.get(..10 + at)?,
            None => civil,
        };
        return Some(Time::Offset(civil.parse().ok()?, timestamp));
    }
    spaced.parse().ok().map(Time::Civil)
}

fn time_of<'a>(input: &Node<'a>, bump: &'a Bump) -> Result<Time, String> {
    let text = text_of(input, bump)?;
    read(text).ok_or_else(|| {
        format!(
            "needs a date like 2026-01-31 or 2026-01-31T12:00:00Z, found {}",
            describe(input)
        )
    })
}

/// Refuses formats that nothing can be written with.
pub(super) fn check_format(format: &str) -> Result<(), String> {
    let sample = Timestamp::UNIX_EPOCH.to_zoned(jiff::tz::TimeZone::UTC);
    strtime::format(format, &sample)
        .map(drop)
        .map_err(|error| format!("`{format}` is not a date format: {error}"))
}

fn format_of<'a>(args: &[Node<'a>], bump: &'a Bump) -> Result<&'a str, String> {
    args.first().map_or(Ok(""), |node| text_of(node, bump))
}

/// Writes a date by a format: `%d.%m.%Y`.
pub(super) fn date<'a>(bump: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    if text_of(input, bump)?.trim().is_empty() {
        return Ok(None);
    }
    let format = format_of(args, bump)?;
    let broken = match time_of(input, bump)? {
        Time::Date(date) => BrokenDownTime::from(date.at(0, 0, 0, 0)),
        Time::Civil(civil) => BrokenDownTime::from(civil),
        Time::Offset(civil, timestamp) => {
            let utc = timestamp.to_zoned(jiff::tz::TimeZone::UTC);
            let seconds = utc
                .datetime()
                .until(civil)
                .ok()
                .and_then(|gap| gap.total(jiff::Unit::Second).ok());
            let offset = seconds
                .and_then(whole_seconds)
                .and_then(|s| jiff::tz::Offset::from_seconds(s).ok());
            match offset {
                Some(offset) => {
                    BrokenDownTime::from(&timestamp.to_zoned(jiff::tz::TimeZone::fixed(offset)))
                }
                None => BrokenDownTime::from(civil),
            }
        }
    };
    let text = broken
        .to_string(format)
        .map_err(|error| format!("cannot write {} as {format}: {error}", describe(input)))?;
    Ok(Some(Node::text(&text, bump)))
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "an offset is below 100,000 seconds, which is checked first"
)]
fn whole_seconds(seconds: f64) -> Option<i32> {
    (seconds.abs() < 100_000.0).then(|| seconds.round() as i32)
}

/// Reads a date by a format and gives it as ISO 8601: a date, or a date and time where the format has an hour.
pub(super) fn parse_date<'a>(bump: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    let (text, format) = (text_of(input, bump)?.trim(), format_of(args, bump)?);
    if text.is_empty() {
        return Ok(None);
    }
    let refuse =
        |error: jiff::Error| format!("cannot read {} as {format}: {error}", describe(input));
    let broken = BrokenDownTime::parse(format, text).map_err(refuse)?;
    let out = if broken.offset().is_some() {
        broken.to_timestamp().map_err(refuse)?.to_string()
    } else if broken.hour().is_some() {
        broken.to_datetime().map_err(refuse)?.to_string()
    } else {
        broken.to_date().map_err(refuse)?.to_string()
    };
    Ok(Some(Node::text(&out, bump)))
}

pub(super) fn add_days<'a>(bump: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    let days = whole_of(args, 0).unwrap_or(0);
    let span = Span::new()
        .try_days(days)
        .map_err(|error| error.to_string())?;
    let refuse =
        |error: jiff::Error| format!("cannot add {days} days to {}: {error}", describe(input));
    let text = match time_of(input, bump)? {
        Time::Date(date) => date.checked_add(span).map_err(refuse)?.to_string(),
        Time::Civil(civil) => civil.checked_add(span).map_err(refuse)?.to_string(),
        Time::Offset(_, timestamp) => {
            let zoned: Zoned = timestamp.to_zoned(jiff::tz::TimeZone::UTC);
            zoned
                .checked_add(span)
                .map_err(refuse)?
                .timestamp()
                .to_string()
        }
    };
    Ok(Some(Node::text(&text, bump)))
}

/// The same moment on the clock of UTC. A time without offset is taken to be UTC.
pub(super) fn utc<'a>(bump: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    Ok(Some(Node::text(
        &timestamp_of(input, bump)?.to_string(),
        bump,
    )))
}

fn timestamp_of<'a>(input: &Node<'a>, bump: &'a Bump) -> Result<Timestamp, String> {
    let refuse = |error: jiff::Error| format!("cannot use {}: {error}", describe(input));
    let civil = match time_of(input, bump)? {
        Time::Offset(_, timestamp) => return Ok(timestamp),
        Time::Civil(civil) => civil,
        Time::Date(date) => date.at(0, 0, 0, 0),
    };
    civil
        .to_zoned(jiff::tz::TimeZone::UTC)
        .map(|zoned| zoned.timestamp())
        .map_err(refuse)
}

/// Seconds since 1970.
pub(super) fn epoch<'a>(bump: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    let seconds = timestamp_of(input, bump)?.as_second();
    Ok(Some(Node::Number(bump.alloc_str(&seconds.to_string()))))
}

/// The time of seconds since 1970.
pub(super) fn from_epoch<'a>(bump: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    let seconds = super::decimal_of(input, bump)?.to_i64();
    let seconds =
        seconds.ok_or_else(|| format!("needs whole seconds, found {}", describe(input)))?;
    let timestamp = Timestamp::from_second(seconds)
        .map_err(|error| format!("cannot use {seconds}: {error}"))?;
    Ok(Some(Node::text(&timestamp.to_string(), bump)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(f: super::super::Run, text: &str, arg: &str) -> Result<String, String> {
        let bump = Bump::new();
        let args = if arg.is_empty() {
            vec![]
        } else {
            vec![Node::parse(arg, &bump).unwrap()]
        };
        let out = f(&bump, &Node::Text(bump.alloc_str(text)), &args)?;
        Ok(out.map_or_else(String::new, |node| node.to_json()))
    }

    #[test]
    fn dates_are_written_with_the_clock_they_came_with() {
        let format = "\"%Y-%m-%d %H:%M:%S.%6f\"";
        for (text, wanted) in [
            ("2017-06-01", "\"2017-06-01 00:00:00.000000\""),
            ("2017-06-01T10:00:00", "\"2017-06-01 10:00:00.000000\""),
            (
                "2017-06-01T10:00:00+02:00",
                "\"2017-06-01 10:00:00.000000\"",
            ),
            ("2017-06-01T10:00:00+0200", "\"2017-06-01 10:00:00.000000\""),
            ("2017-06-01 10:00:00.25Z", "\"2017-06-01 10:00:00.250000\""),
        ] {
            assert_eq!(run(date, text, format).unwrap(), wanted, "{text}");
        }
        assert_eq!(
            run(date, "2017-06-01T10:00:00-03:00", "\"%:z\"").unwrap(),
            "\"-03:00\""
        );
        assert!(
            run(date, "1.6.2017", format)
                .unwrap_err()
                .contains("needs a date like")
        );
    }

    #[test]
    fn dates_are_read_by_a_format() {
        assert_eq!(
            run(parse_date, "31.12.2026", "\"%d.%m.%Y\"").unwrap(),
            "\"2026-12-31\""
        );
        assert_eq!(
            run(parse_date, "31.12.2026 8:05", "\"%d.%m.%Y %H:%M\"").unwrap(),
            "\"2026-12-31T08:05:00\""
        );
        assert!(run(parse_date, "2026", "\"%d.%m.%Y\"").is_err());
        assert_eq!(
            run(utc, "2026-01-01T00:00:00+01:00", "").unwrap(),
            "\"2025-12-31T23:00:00Z\""
        );
        assert_eq!(run(epoch, "1970-01-02", "").unwrap(), "86400");
        assert_eq!(
            run(from_epoch, "86400", "").unwrap(),
            "\"1970-01-02T00:00:00Z\""
        );
        assert_eq!(run(add_days, "2026-02-28", "1").unwrap(), "\"2026-03-01\"");
        assert!(run(add_days, "2026-02-28", "999999999999").is_err());
    }

    #[test]
    fn formats_are_checked() {
        assert!(check_format("%d.%m.%Y").is_ok());
        assert!(
            check_format("%!")
                .unwrap_err()
                .contains("not a date format")
        );
    }
}
