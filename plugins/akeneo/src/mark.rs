//! From which moment a later run asks for changes.
//!
//! A run could remember the highest `updated` it saw. That loses changes: pages come in the order of keys, so a product
//! that was read early and changed later in the same run is older than the newest one seen. So the mark is the moment at
//! which the run began to read the stream, by the clock of the server (the `Date` of its first answer), and a later run
//! asks for what changed after the mark minus an overlap. The overlap covers Akeneo's resolution of a second and the
//! delay of its search index. Records may come twice, none is left out.

use std::time::Duration;

use crossdock_sdk::clock;
use jiff::{SignedDuration, Timestamp, tz::Offset};
use serde::{Deserialize, Serialize};

use crate::stream::DateStyle;

/// What a stream needs to know for incremental reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// This run reads changes after this moment, in ms since 1970 and without overlap. None: everything.
    pub(crate) since: Option<i64>,
    /// The moment at which this run began to read the stream: `since` of the next run.
    pub(crate) next: Option<i64>,
}

/// The server's clock, from the `Date` header of its answer, else the host's clock.
pub(crate) fn server_time(date: Option<&str>) -> i64 {
    date.and_then(|text| jiff::fmt::rfc2822::parse(text).ok())
        .map_or_else(
            || i64::try_from(clock::now_ms()).unwrap_or(i64::MAX),
            |zoned| zoned.timestamp().as_millisecond(),
        )
}

/// The offset of an ISO date like `2016-06-25T17:56:12+02:00`, in seconds.
pub(crate) fn offset_seconds(updated: &str) -> Option<i32> {
    if updated.ends_with('Z') {
        return Some(0);
    }
    let zone = updated.get(updated.len().checked_sub(6)?..)?;
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours: i32 = zone.get(1..3)?.parse().ok()?;
    let minutes: i32 = zone.get(4..6)?.parse().ok()?;
    Some(sign * (hours * 3600 + minutes * 60))
}

/// The value of the `updated` filter. `offset` is the smallest offset seen in the server's own dates.
pub(crate) fn filter_value(
    since: i64,
    overlap: Duration,
    style: DateStyle,
    offset: Option<i32>,
) -> String {
    let overlap = SignedDuration::try_from(overlap).unwrap_or(SignedDuration::ZERO);
    let begin = Timestamp::from_millisecond(since)
        .and_then(|moment| moment.checked_sub(overlap))
        .unwrap_or(Timestamp::UNIX_EPOCH);
    match style {
        DateStyle::Iso => begin.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        DateStyle::ServerLocal => {
            // The server reads this in its own time zone, whose offset on that day may be an hour less than seen.
            let seconds = match offset.unwrap_or(0) {
                0 => 0,
                seen => seen - 3600,
            };
            let zone = Offset::from_seconds(seconds).unwrap_or(Offset::UTC);
            zone.to_datetime(begin)
                .strftime("%Y-%m-%d %H:%M:%S")
                .to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn dates_of_the_server_win_over_the_hosts_clock() {
        assert_eq!(
            server_time(Some("Sun, 06 Nov 1994 08:49:37 GMT")),
            784_111_777_000
        );
    }

    #[test]
    fn offsets_are_read_from_iso_dates() {
        assert_eq!(offset_seconds("2016-06-25T17:56:12+02:00"), Some(7200));
        assert_eq!(offset_seconds("2016-06-25T17:56:12-03:30"), Some(-12600));
        assert_eq!(offset_seconds("2016-06-25T17:56:12Z"), Some(0));
        assert_eq!(offset_seconds("ü:00"), None);
        assert_eq!(offset_seconds(""), None);
    }

    #[test]
    fn filter_values_follow_the_endpoint() {
        let since = 784_111_777_000;
        assert_eq!(
            filter_value(since, MINUTE, DateStyle::Iso, None),
            "1994-11-06T08:48:37Z"
        );
        assert_eq!(
            filter_value(since, MINUTE, DateStyle::ServerLocal, None),
            "1994-11-06 08:48:37"
        );
        assert_eq!(
            filter_value(since, MINUTE, DateStyle::ServerLocal, Some(0)),
            "1994-11-06 08:48:37"
        );
        // A server at +02:00 in summer is at +01:00 in winter: the earlier reading of the two is used.
        assert_eq!(
            filter_value(since, MINUTE, DateStyle::ServerLocal, Some(7200)),
            "1994-11-06 09:48:37"
        );
    }
}
