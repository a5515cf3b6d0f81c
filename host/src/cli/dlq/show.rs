//! Dead letters for people.

use std::{borrow::Cow, fmt::Write as _};

use crate::{
    app::{Bytes, DeadLetter, DeadLetterDocument},
    cli::{
        output::table,
        style::{self, BAD, FAINT, Paint, STRONG},
    },
    flow::{visible, visible_but},
};

/// A message is cut to this in the list; `show` has it whole.
const MAX_MESSAGE: usize = 70;

pub(super) fn listed(letters: &[DeadLetter], limit: usize) -> String {
    if letters.is_empty() {
        return "no dead letters\n".to_owned();
    }
    let rows: Vec<Vec<String>> = letters
        .iter()
        .map(|letter| {
            vec![
                letter.id.to_string(),
                DeadLetterDocument::time(letter.at_ms),
                letter.flow.clone(),
                letter.stage.clone(),
                visible(&letter.stream).into_owned(),
                style::cut(&String::from_utf8_lossy(&letter.key), 24),
                letter.fault.clone(),
                style::cut(&letter.message, MAX_MESSAGE),
            ]
        })
        .collect();
    let header = [
        "id", "when", "flow", "stage", "stream", "key", "fault", "message",
    ];
    let mut out = table(&header, header.len(), &rows);
    if let Some(last) = letters.last().filter(|_| letters.len() == limit) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "\n there may be more: --after {}", last.id);
    }
    out
}

pub(super) fn shown(letter: &DeadLetter, paint: Paint) -> String {
    let mut out = format!(
        "{} {}: {}\n",
        paint.with(STRONG, format!("dead letter {}", letter.id)),
        paint.with(BAD, &letter.fault),
        visible(&letter.message)
    );
    let plugin = format!("{} {} {}", letter.plugin, letter.version, letter.digest);
    let stream = if letter.delete {
        format!("{} (delete)", letter.stream)
    } else {
        letter.stream.clone()
    };
    let key = String::from_utf8_lossy(&letter.key);
    let headers = String::from_utf8_lossy(&letter.headers);
    let at = DeadLetterDocument::time(letter.at_ms);
    let edited = letter
        .edited_at_ms
        .map_or_else(String::new, DeadLetterDocument::time);
    let lines = [
        ("where", letter.location.as_str()),
        ("when", &at),
        ("flow", &letter.flow),
        ("run", &letter.run),
        ("stage", &letter.stage),
        ("plugin", plugin.trim_end()),
        ("config", &letter.config_digest),
        ("edited", &edited),
        ("stream", &stream),
        ("key", &key),
        ("headers", &headers),
    ];
    for (name, text) in lines.iter().filter(|(_, text)| !text.is_empty()) {
        // Writing to a String cannot fail.
        let text = visible(text);
        let _ = writeln!(out, "  {}  {text}", paint.with(FAINT, format!("{name:8}")));
    }
    if let Some(backtrace) = letter.backtrace.as_deref().filter(|text| !text.is_empty()) {
        out.push('\n');
        out.push_str(&lines_of(backtrace.trim_end()));
        out.push('\n');
    }
    out.push('\n');
    out.push_str(&payload(&letter.payload));
    out
}

/// A text of a stranger that may have several lines.
fn lines_of(text: &str) -> Cow<'_, str> {
    visible_but(text, |c| matches!(c, '\n' | '\t'))
}

/// JSON indented, other text as it is, anything else by its size and first bytes.
fn payload(bytes: &[u8]) -> String {
    if let Some(text) = Bytes(bytes).pretty() {
        return format!("{}\n", lines_of(text.trim_end_matches('\n')));
    }
    let start = bytes.get(..bytes.len().min(32)).unwrap_or_default();
    let size = style::counted(bytes.len() as u64, "byte");
    format!(
        "{size}, no text: {}…; --json has all of it\n",
        hex::encode(start)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter() -> DeadLetter {
        DeadLetter {
            payload: br#"{"sku":"sku-1","price":"12,50","tax":19.00}"#.to_vec(),
            message: "price: expected a number, found the text `12,50`, which nobody can read here"
                .to_owned(),
            ..DeadLetter::sample()
        }
    }

    #[test]
    fn dead_letters_are_listed_and_shown() {
        insta::assert_snapshot!(listed(&[letter(), DeadLetter { id: 18, ..letter() }], 2));
        assert_eq!(listed(&[], 10), "no dead letters\n");
        insta::assert_snapshot!(shown(&letter(), Paint { on: false }));
        let trapped = DeadLetter {
            payload: vec![0xFF; 40],
            backtrace: Some("0: plugin::map\n".to_owned()),
            delete: true,
            edited_at_ms: Some(1_700_000_060_000),
            ..letter()
        };
        insta::assert_snapshot!(shown(&trapped, Paint { on: false }));
    }

    #[test]
    fn nothing_of_a_stranger_moves_anything_on_a_terminal() {
        let attack = "s\u{1b}[31mred\u{1b}]0;t\u{7}\u{202e}\u{2028}";
        let hostile = DeadLetter {
            stream: attack.to_owned(),
            key: attack.as_bytes().to_vec(),
            headers: attack.as_bytes().to_vec(),
            payload: b"text \x1b[2J not json\r\nnext".to_vec(),
            message: attack.to_owned(),
            location: attack.to_owned(),
            backtrace: Some(attack.to_owned()),
            ..letter()
        };
        let shown = shown(&hostile, Paint { on: false });
        let listed = listed(&[hostile], 2);
        for text in [&shown, &listed] {
            let stray = |c| crate::flow::steers(c) && c != '\n';
            assert!(!text.contains(stray), "{text:?}");
            assert!(text.contains(r"s\u{1b}[31mred"), "{text}");
        }
        assert!(shown.contains("not json\\u{d}\nnext\n"), "{shown}");
    }

    #[test]
    fn documents_have_text_where_there_is_text() {
        insta::assert_snapshot!(
            serde_json::to_string_pretty(&DeadLetterDocument::of(&letter())).unwrap()
        );
        let letter = DeadLetter {
            payload: vec![0xFF, 0],
            ..letter()
        };
        let binary = serde_json::to_value(DeadLetterDocument::of(&letter)).unwrap();
        assert_eq!(binary["payload"], serde_json::json!({"base64": "/wA="}));
    }
}
