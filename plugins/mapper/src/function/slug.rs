//! `slug`: a text as part of a URL.

use bumpalo::Bump;

use super::{Outcome, text_of};
use crate::node::Node;

/// Lower case, letters of the Latin scripts without their accents, everything else that is no letter or digit as one
/// separator. Letters of other scripts stay.
pub(super) fn slug<'a>(bump: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    let separator = args.first().map_or(Ok("-"), |node| text_of(node, bump))?;
    Ok(Some(Node::text(
        &slugged(text_of(input, bump)?, separator),
        bump,
    )))
}

fn slugged(text: &str, separator: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut gap = false;
    for c in text.chars().flat_map(char::to_lowercase) {
        let ascii = plain(c);
        if ascii.is_none() && !c.is_alphanumeric() {
            // Combining marks belong to the letter before them; apostrophes are inside a word.
            gap |= !matches!(c, '\u{300}'..='\u{36f}' | '\'' | '’');
            continue;
        }
        if gap && !out.is_empty() {
            out.push_str(separator);
        }
        gap = false;
        match ascii {
            Some(ascii) => out.push_str(ascii),
            None => out.push(c),
        }
    }
    out
}

/// How a lower-case Latin letter is written without its accents.
fn plain(c: char) -> Option<&'static str> {
    Some(match c {
        'ä' | 'æ' => "ae",
        'ö' | 'œ' => "oe",
        'ü' => "ue",
        'ß' => "ss",
        'þ' => "th",
        'à' | 'á' | 'â' | 'ã' | 'ā' | 'ă' | 'ą' | 'å' => "a",
        'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => "c",
        'ď' | 'đ' | 'ð' => "d",
        'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' => "e",
        'ĝ' | 'ğ' | 'ġ' | 'ģ' => "g",
        'ĥ' | 'ħ' => "h",
        'ì' | 'í' | 'î' | 'ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' | 'ı' => "i",
        'ĵ' => "j",
        'ķ' => "k",
        'ĺ' | 'ļ' | 'ľ' | 'ŀ' | 'ł' => "l",
        'ñ' | 'ń' | 'ņ' | 'ň' => "n",
        'ò' | 'ó' | 'ô' | 'õ' | 'ø' | 'ō' | 'ŏ' | 'ő' => "o",
        'ŕ' | 'ŗ' | 'ř' => "r",
        'ś' | 'ŝ' | 'ş' | 'š' | 'ș' => "s",
        'ţ' | 'ť' | 'ŧ' | 'ț' => "t",
        'ù' | 'ú' | 'û' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' => "u",
        'ŵ' => "w",
        'ý' | 'ÿ' | 'ŷ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        '&' => "and",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::slugged;

    #[test]
    fn slugs_are_fit_for_urls() {
        for (text, slug) in [
            ("Größe XL, blau!", "groesse-xl-blau"),
            ("  Crème brûlée 50% ", "creme-brulee-50"),
            ("Tom's Café", "toms-cafe"),
            ("Łódź", "lodz"),
            ("Ünïcödé e\u{301}", "uenicoede-e"),
            ("İstanbul", "istanbul"),
            ("日本 2024", "日本-2024"),
            ("---", ""),
            ("👍 top", "top"),
        ] {
            assert_eq!(slugged(text, "-"), slug, "{text}");
        }
        assert_eq!(slugged("a b", "_"), "a_b");
    }
}
