//! Times as Akeneo writes them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// `2024-05-17T15:19:32+00:00` from seconds since 1970. The server's time zone is UTC.
pub fn format_stamp(seconds: i64) -> String {
    match Timestamp::from_second(seconds) {
        Ok(stamp) => stamp.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string(),
        Err(_) => "1970-01-01T00:00:00+00:00".to_owned(),
    }
}

/// Seconds since 1970 from an ISO 8601 time with an offset (`Z` or `+00:00`).
pub fn parse_iso(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

/// Seconds since 1970 from `2024-05-17 15:19:32`, read as UTC.
pub fn parse_plain(text: &str) -> Option<i64> {
    let time = DateTime::strptime("%Y-%m-%d %H:%M:%S", text).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_mean_the_same_second() {
        let seconds = parse_iso("2024-05-17T15:19:32Z").unwrap();
        assert_eq!(parse_iso("2024-05-17T17:19:32+02:00"), Some(seconds));
        assert_eq!(parse_plain("2024-05-17 15:19:32"), Some(seconds));
        assert_eq!(format_stamp(seconds), "2024-05-17T15:19:32+00:00");
    }

    #[test]
    fn other_forms_are_refused() {
        assert_eq!(parse_plain("2024-05-17T15:19:32Z"), None);
        assert_eq!(parse_iso("2024-05-17 15:19:32"), None);
        assert_eq!(parse_iso("yesterday"), None);
    }
}
