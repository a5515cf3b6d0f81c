//! Texts of strangers where people read them: nothing in them moves the cursor, colours the screen or turns the order of
//! letters around.

use std::{borrow::Cow, fmt::Write as _};

/// Whether a letter steers what shows it: control characters, the ends of lines and paragraphs of Unicode, and what
/// changes the direction of the text around it.
pub fn steers(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// A text on one line in which all such letters are written out: `\u{1b}`.
pub fn visible(text: &str) -> Cow<'_, str> {
    visible_but(text, |_| false)
}

/// The same, where some of these letters may stay.
pub fn visible_but(text: &str, may_stay: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_shown = |letter: char| steers(letter) && !may_stay(letter);
    if !text.contains(is_shown) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_shown(letter) {
            // Writing to a String cannot fail.
            let _ = write!(shown, "{}", letter.escape_unicode());
        } else {
            shown.push(letter);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_is_written_out_and_everything_else_stays() {
        assert_eq!(
            visible("a\u{1b}[1A\n\u{9b}2K\u{202e}gnp\u{2066}\u{2028}\u{7f}z"),
            r"a\u{1b}[1A\u{a}\u{9b}2K\u{202e}gnp\u{2066}\u{2028}\u{7f}z"
        );
        for text in ["größe 日本 שלום \u{1f680} e\u{301}", r"\u{1b}"] {
            assert!(matches!(visible(text), Cow::Borrowed(same) if same == text));
        }
        assert_eq!(visible_but("a\nb\tc\r", |c| c == '\n'), "a\nb\\u{9}c\\u{d}");
    }
}
