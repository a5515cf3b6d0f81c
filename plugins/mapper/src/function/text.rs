//! Functions on texts, and conversions to and from them.

use bumpalo::Bump;
use sha2::{Digest, Sha256};

use super::{Outcome, describe, size_of, text_of};
use crate::node::{Flag, Kind, Node};

#[allow(
    clippy::unnecessary_wraps,
    reason = "all functions of the language have one signature"
)]
fn done<'a>(text: &str, bump: &'a Bump) -> Outcome<'a> {
    Ok(Some(Node::text(text, bump)))
}

/// The text argument at `index`, or nothing.
fn arg<'a>(args: &[Node<'a>], index: usize, bump: &'a Bump) -> Result<&'a str, String> {
    args.get(index).map_or(Ok(""), |node| text_of(node, bump))
}

pub(super) fn upper<'a>(bump: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    done(&text_of(input, bump)?.to_uppercase(), bump)
}

pub(super) fn lower<'a>(bump: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    done(&text_of(input, bump)?.to_lowercase(), bump)
}

pub(super) fn capitalize<'a>(bump: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    let mut chars = text_of(input, bump)?.chars();
    let first = chars.next().map(char::to_uppercase).into_iter().flatten();
    done(&first.chain(chars).collect::<String>(), bump)
}

pub(super) fn trim<'a>(bump: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    Ok(Some(Node::Text(text_of(input, bump)?.trim())))
}

pub(super) fn squeeze<'a>(bump: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    done(&squeezed(text_of(input, bump)?), bump)
}

fn squeezed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

pub(super) fn replace<'a>(bump: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    let (text, find) = (text_of(input, bump)?, arg(args, 0, bump)?);
    if find.is_empty() || !text.contains(find) {
        return Ok(Some(Node::Text(text)));
    }
    done(&text.replace(find, arg(args, 1, bump)?), bump)
}

pub(super) fn prefix<'a>(bump: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    done(
        &format!("{}{}", arg(args, 0, bump)?, text_of(input, bump)?),
        bump,
    )
}

pub(super) fn suffix<'a>(bump: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    done(
        &format!("{}{}", text_of(input, bump)?, arg(args, 0, bump)?),
        bump,
    )
}

pub(super) fn split<'a>(bump: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    let (text, separator) = (text_of(input, bump)?, arg(args, 0, bump)?);
    let items: Vec<Node<'a>> = match (text, separator) {
        ("", _) => Vec::new(),
        (text, "") => text
            .char_indices()
            .map(|(at, c)| Node::Text(text.get(at..at + c.len_utf8()).unwrap_or("")))
            .collect(),
        (text, separator) => text
            .split(separator)
            .map(|part| Node::Text(part.trim()))
            .collect(),
    };
    Ok(Some(Node::List(items.into())))
}

pub(super) fn truncate<'a>(bump: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    let (text, ending) = (text_of(input, bump)?, arg(args, 1, bump)?);
    let limit = size_of(args, 0).unwrap_or(0);
    if text.char_indices().nth(limit).is_none() {
        return Ok(Some(Node::Text(text)));
    }
    let room = limit.saturating_sub(ending.chars().count());
    let end = text
        .char_indices()
        .nth(room)
        .map_or(text.len(), |(at, _)| at);
    done(
        &format!("{}{ending}", text.get(..end).unwrap_or_default().trim_end()),
        bump,
    )
}

fn padding(text: &str, args: &[Node<'_>], filler: &str) -> String {
    let missing = size_of(args, 0)
        .unwrap_or(0)
        .saturating_sub(text.chars().count());
    filler
        .chars()
        .cycle()
        .take(if filler.is_empty() { 0 } else { missing })
        .collect()
}

pub(super) fn pad_left<'a>(bump: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    let text = text_of(input, bump)?;
    let filler = if args.len() > 1 {
        arg(args, 1, bump)?
    } else {
        " "
    };
    done(&format!("{}{text}", padding(text, args, filler)), bump)
}

pub(super) fn pad_right<'a>(bump: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    let text = text_of(input, bump)?;
    let filler = if args.len() > 1 {
        arg(args, 1, bump)?
    } else {
        " "
    };
    done(&format!("{text}{}", padding(text, args, filler)), bump)
}

pub(super) fn hash<'a>(bump: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    let digest = match input.kind() {
        Kind::Text | Kind::Number => Sha256::digest(text_of(input, bump)?),
        _ => Sha256::digest(input.to_json()),
    };
    let mut hex = String::with_capacity(64);
    for byte in digest {
        for nibble in [byte >> 4, byte & 15] {
            hex.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    hex.truncate(size_of(args, 0).unwrap_or(64));
    done(&hex, bump)
}

pub(super) fn text<'a>(bump: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    match input {
        Node::Bool(flag) => Ok(Some(Node::Text(flag.text()))),
        _ => Ok(Some(Node::Text(text_of(input, bump)?))),
    }
}

pub(super) fn json<'a>(bump: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    done(&input.to_json(), bump)
}

pub(super) fn parse_json<'a>(bump: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    let text = text_of(input, bump)?;
    let checked: Result<serde::de::IgnoredAny, _> = serde_json::from_str(text);
    match (checked, Node::parse(text, bump)) {
        (Ok(_), Ok(node)) => Ok(Some(node)),
        _ => Err(format!(
            "needs a text that is JSON, found {}",
            describe(input)
        )),
    }
}

pub(super) fn boolean<'a>(bump: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    if let Node::Bool(_) = input {
        return Ok(Some(input.clone()));
    }
    match text_of(input, bump)?.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "y" | "on" => Ok(Some(Node::Bool(Flag::True))),
        "false" | "0" | "no" | "n" | "off" => Ok(Some(Node::Bool(Flag::False))),
        "" => Ok(None),
        _ => Err(format!(
            "takes true, false, 1, 0, yes, no, on and off, found {}",
            describe(input)
        )),
    }
}

pub(super) fn choose<'a>(bump: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    match boolean(bump, input, &[])? {
        Some(Node::Bool(Flag::True)) => Ok(args.first().cloned()),
        Some(_) => Ok(args.get(1).cloned()),
        None => Ok(None),
    }
}

/// Elements whose content is not text.
const SILENT: [&str; 2] = ["script", "style"];
/// Elements that stand in a line of text.
const INLINE: [&str; 14] = [
    "a", "abbr", "b", "code", "em", "font", "i", "mark", "small", "span", "strong", "sub", "sup",
    "u",
];

pub(super) fn strip_html<'a>(bump: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    done(&without_html(text_of(input, bump)?), bump)
}

/// The text of HTML: no tags, no comments, entities decoded, white space squeezed.
fn without_html(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find(['<', '&']) {
        let (before, tail) = rest.split_at(at);
        out.push_str(before);
        rest = if tail.starts_with('&') {
            entity(tail, &mut out)
        } else {
            tag(tail, &mut out)
        };
    }
    out.push_str(rest);
    squeezed(&out)
}

/// Skips the tag or comment that `text` starts with.
fn tag<'t>(text: &'t str, out: &mut String) -> &'t str {
    if let Some(comment) = text.strip_prefix("<!--") {
        return comment.split_once("-->").map_or("", |(_, rest)| rest);
    }
    let Some(body) = text.strip_prefix('<').filter(|body| {
        body.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?'))
    }) else {
        out.push('<');
        return text.get(1..).unwrap_or_default();
    };
    let Some((inside, rest)) = body.split_once('>') else {
        return "";
    };
    let name: String = inside
        .trim_start_matches('/')
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_ascii_lowercase();
    if !INLINE.contains(&name.as_str()) {
        out.push(' ');
    }
    if SILENT.contains(&name.as_str()) && !inside.starts_with('/') {
        let close = format!("</{name}");
        let lower = rest.to_ascii_lowercase();
        return lower
            .find(&close)
            .and_then(|at| rest.get(at..))
            .unwrap_or_default();
    }
    rest
}

/// Decodes the entity that `text` starts with, or keeps its `&`.
fn entity<'t>(text: &'t str, out: &mut String) -> &'t str {
    let end = text
        .char_indices()
        .take(12)
        .find(|(_, c)| *c == ';')
        .map(|(at, _)| at);
    let decoded = end.and_then(|end| {
        let name = text.get(1..end)?;
        let c = match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            "nbsp" => ' ',
            "ndash" => '–',
            "mdash" => '—',
            "hellip" => '…',
            "euro" => '€',
            "deg" => '°',
            "copy" => '©',
            "reg" => '®',
            "trade" => '™',
            "auml" => 'ä',
            "ouml" => 'ö',
            "uuml" => 'ü',
            "Auml" => 'Ä',
            "Ouml" => 'Ö',
            "Uuml" => 'Ü',
            "szlig" => 'ß',
            "eacute" => 'é',
            "egrave" => 'è',
            "agrave" => 'à',
            "ccedil" => 'ç',
            _ => {
                let number = name.strip_prefix('#')?;
                let point = match number.strip_prefix(['x', 'X']) {
                    Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                    None => number.parse().ok()?,
                };
                char::from_u32(point)?
            }
        };
        Some((c, text.get(end + 1..)?))
    });
    if let Some((c, rest)) = decoded {
        out.push(c);
        return rest;
    }
    out.push('&');
    text.get(1..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn html_becomes_text() {
        for (html, text) in [
            (
                "<p>Sch&ouml;ne <b>Ja</b>cke</p><p>rot</p>",
                "Schöne Jacke rot",
            ),
            ("a<br/>b", "a b"),
            ("1 < 2 &amp; 3 > 2 & ok", "1 < 2 & 3 > 2 & ok"),
            ("x<script>alert('<p>')</script>y", "x y"),
            ("x<!-- <b> -->y", "xy"),
            ("&#x41;&#66;&unknown;&#0;", "AB&unknown;\0"),
            ("unfinished <b", "unfinished"),
        ] {
            assert_eq!(without_html(html), text, "{html}");
        }
    }

    proptest! {
        #[test]
        fn html_never_panics(text in "[<>&;#x0-9a-z/!ä -]{0,60}") {
            let out = without_html(&text);
            prop_assert!(out.chars().count() <= text.chars().count() + 1);
        }
    }
}
