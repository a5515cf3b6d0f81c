//! A dead letter as JSON for people and programs.

use std::io::{self, Write};

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::{app::json::Bytes, storage::DeadLetter};

/// A dead letter with its bytes as people can read them. Field names are stable.
#[derive(Debug, Serialize)]
pub struct DeadLetterDocument<'a> {
    id: u64,
    at: String,
    flow: &'a str,
    run: &'a str,
    stage: &'a str,
    plugin: &'a str,
    version: &'a str,
    digest: &'a str,
    config_digest: &'a str,
    fault: &'a str,
    message: &'a str,
    location: &'a str,
    backtrace: Option<&'a str>,
    edited: Option<String>,
    stream: &'a str,
    form: &'a str,
    delete: bool,
    key: Text<'a>,
    headers: Bytes<'a>,
    payload: Bytes<'a>,
}

impl<'a> DeadLetterDocument<'a> {
    /// Of a dead letter.
    pub fn of(letter: &'a DeadLetter) -> Self {
        Self {
            id: letter.id,
            at: Self::time(letter.at_ms),
            flow: &letter.flow,
            run: &letter.run,
            stage: &letter.stage,
            plugin: &letter.plugin,
            version: &letter.version,
            digest: &letter.digest,
            config_digest: &letter.config_digest,
            fault: &letter.fault,
            message: &letter.message,
            location: &letter.location,
            backtrace: letter.backtrace.as_deref(),
            edited: letter.edited_at_ms.map(Self::time),
            stream: &letter.stream,
            form: &letter.form,
            delete: letter.delete,
            key: Text(&letter.key),
            headers: Bytes(&letter.headers),
            payload: Bytes(&letter.payload),
        }
    }

    /// A time, in milliseconds since 1970, as in RFC 3339.
    pub fn time(at_ms: u64) -> String {
        let stamp = i64::try_from(at_ms)
            .ok()
            .and_then(|millis| Timestamp::from_millisecond(millis).ok());
        stamp.map_or_else(|| at_ms.to_string(), |stamp| stamp.to_string())
    }

    /// Writes it as one line.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write_line(&self, out: &mut dyn Write) -> io::Result<()> {
        let text = serde_json::to_string(self)?;
        // JSON payloads are put there as they are, and those may have line breaks.
        out.write_all(crate::app::json::compact(&text).as_bytes())?;
        out.write_all(b"\n")
    }
}

/// A text; `{"base64": "..."}` when it is none.
#[derive(Debug)]
struct Text<'a>(&'a [u8]);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => to.serialize_str(text),
            Err(_) => Bytes(self.0).serialize(to),
        }
    }
}

#[cfg(test)]
pub(in crate::app) mod tests {
    use super::*;

    pub(in crate::app) fn letter() -> DeadLetter {
        DeadLetter {
            key: b"1".to_vec(),
            ..DeadLetter::sample()
        }
    }

    #[test]
    fn a_line_is_one_line_with_the_numbers_as_written() {
        let mut out = Vec::new();
        let binary = DeadLetter {
            key: vec![0xFF],
            payload: vec![0xFF, 0],
            form: "bytes".to_owned(),
            ..letter()
        };
        for letter in [&letter(), &binary] {
            DeadLetterDocument::of(letter).write_line(&mut out).unwrap();
        }
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].contains(r#""payload":{"sku":"sku-1","price":12.50}"#));
        assert!(lines[0].contains(r#""key":"1""#), "a key is a text");
        assert!(lines[0].contains(r#""at":"2023-11-14T22:13:20Z""#));
        assert!(lines[1].contains(r#""key":{"base64":"/w=="}"#));
        assert!(lines[1].contains(r#""payload":{"base64":"/wA="}"#));
    }
}
