//! From bytes to segments and their parts. Line breaks mean nothing anywhere: many systems wrap lines where they like.

use std::borrow::Cow;

use crate::signs::Signs;

/// One component that is not empty. Its bytes are in the character set of the interchange, without release characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    pub(crate) element: u16,
    /// Which repetition of the element, mostly 0.
    pub(crate) repeat: u16,
    pub(crate) component: u16,
    pub(crate) bytes: Cow<'a, [u8]>,
}

/// A segment: its tag and its parts in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment<'a> {
    pub(crate) tag: Cow<'a, [u8]>,
    pub(crate) parts: Vec<Part<'a>>,
}

impl Segment<'_> {
    /// The bytes of a component; empty ones are not there.
    pub(crate) fn get(&self, element: u16, component: u16) -> Option<&[u8]> {
        let place = (element, 0, component);
        let part = self
            .parts
            .iter()
            .find(|part| (part.element, part.repeat, part.component) == place);
        part.map(|part| &*part.bytes)
    }

    pub(crate) fn is(&self, tag: &str) -> bool {
        *self.tag == *tag.as_bytes()
    }
}

/// Where the segment that begins at `from` ends: the position of its terminator.
pub(crate) fn end(text: &[u8], from: usize, signs: Signs) -> Option<usize> {
    let Some(release) = signs.release else {
        let rest = text.get(from..)?;
        return Some(from + memchr::memchr(signs.terminator, rest)?);
    };
    let mut at = from;
    loop {
        let found = at + memchr::memchr2(signs.terminator, release, text.get(at..)?)?;
        if text.get(found) == Some(&signs.terminator) {
            return Some(found);
        }
        // Behind the release character, and what breaks the line between the two.
        at = found + 1;
        while text.get(at).is_some_and(|byte| is_break(*byte)) {
            at += 1;
        }
        at += 1;
    }
}

/// The tag of a segment, without line breaks. It may be cut short by the end of the text.
pub(crate) fn tag(segment: &[u8], signs: Signs) -> Cow<'_, [u8]> {
    let tag = raw_tag(segment, signs);
    if tag.iter().any(|byte| is_break(*byte)) {
        return tag
            .iter()
            .copied()
            .filter(|byte| !is_break(*byte))
            .collect();
    }
    Cow::Borrowed(tag)
}

fn raw_tag(segment: &[u8], signs: Signs) -> &[u8] {
    let ends = |byte: &u8| [signs.element, signs.component, signs.terminator].contains(byte);
    let end = segment.iter().position(ends).unwrap_or(segment.len());
    segment.get(..end).unwrap_or(segment)
}

/// Takes a segment without its terminator apart.
pub(crate) fn split(segment: &[u8], signs: Signs) -> Segment<'_> {
    let tag = raw_tag(segment, signs);
    let mut parts = Vec::new();
    // Behind the tag, and behind what nests segments explicitly, which nobody needs to read them.
    let behind = segment.get(tag.len()..).unwrap_or_default();
    let mut at = memchr::memchr(signs.element, behind)
        .map_or(segment.len() + 1, |found| tag.len() + found + 1);
    let (mut element, mut repeat, mut component) = (0_u16, 0_u16, 0_u16);
    while at <= segment.len() {
        let (bytes, end) = text(segment, at, signs);
        if !bytes.is_empty() {
            parts.push(Part {
                element,
                repeat,
                component,
                bytes,
            });
        }
        match segment.get(end) {
            Some(sign) if *sign == signs.component => component = component.saturating_add(1),
            Some(sign) if *sign == signs.element => {
                element = element.saturating_add(1);
                (repeat, component) = (0, 0);
            }
            _ => {
                repeat = repeat.saturating_add(1);
                component = 0;
            }
        }
        at = end + 1;
    }
    Segment {
        tag: self::tag(segment, signs),
        parts,
    }
}

/// The text from `from` up to the next separator, and where that is.
fn text(segment: &[u8], from: usize, signs: Signs) -> (Cow<'_, [u8]>, usize) {
    let piece = |from: usize, to: usize| segment.get(from..to).unwrap_or_default();
    let mut kept: Option<Vec<u8>> = None;
    let (mut start, mut at) = (from, from);
    while let Some(byte) = segment.get(at).copied() {
        if byte == signs.element || byte == signs.component || Some(byte) == signs.repetition {
            break;
        }
        let releases = Some(byte) == signs.release;
        if !releases && !is_break(byte) {
            at += 1;
            continue;
        }
        kept.get_or_insert_default()
            .extend_from_slice(piece(start, at));
        at += 1;
        if releases {
            while segment.get(at).is_some_and(|byte| is_break(*byte)) {
                at += 1;
            }
        }
        start = at;
        // What is behind a release character is text, whatever it is.
        at += usize::from(releases && at < segment.len());
    }
    match kept {
        None => (Cow::Borrowed(piece(from, at)), at),
        Some(mut kept) => {
            kept.extend_from_slice(piece(start, at));
            (Cow::Owned(kept), at)
        }
    }
}

/// Line breaks, which are no part of any text.
pub(crate) fn is_break(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Writes a segment so that reading gives the same.
    fn write(elements: &[Vec<String>], signs: Signs, breaks: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(b"FTX");
        for element in elements {
            out.push(signs.element);
            for (at, text) in element.iter().enumerate() {
                if at > 0 {
                    out.push(signs.component);
                }
                for byte in text.bytes() {
                    if breaks && byte == b'x' {
                        out.extend_from_slice(b"\r\n");
                    }
                    let means = [signs.component, signs.element, signs.terminator];
                    if means.contains(&byte)
                        || Some(byte) == signs.release
                        || Some(byte) == signs.repetition
                    {
                        out.extend(signs.release);
                        if breaks {
                            out.push(b'\n');
                        }
                    }
                    out.push(byte);
                }
            }
        }
        out.push(signs.terminator);
    }

    fn signs() -> impl Strategy<Value = Signs> {
        let una = prop_oneof![
            Just(&b"UNA:+.? '"[..]),
            Just(&b"UNA:+,?*'"[..]),
            Just(&b"UNA=*.? ~"[..]),
            Just(&b"UNA\x1f\x1d.? \x1c"[..]),
        ];
        una.prop_map(|una| Signs::of_una(una).unwrap())
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            elements in prop::collection::vec(prop::collection::vec("[a-zäxU0-9 :+?'*=~]{0,12}", 1..4), 0..6),
            signs in signs(),
            breaks in any::<bool>(),
            behind in "[A-Z'?]{0,5}",
        ) {
            let mut text = Vec::new();
            write(&elements, signs, breaks, &mut text);
            let length = text.len();
            text.extend_from_slice(behind.as_bytes());
            prop_assert_eq!(end(&text, 0, signs), Some(length - 1));
            let segment = split(&text[..length - 1], signs);
            prop_assert!(segment.is("FTX"));
            let mut expect = Vec::new();
            for (element, components) in elements.iter().enumerate() {
                for (component, text) in components.iter().enumerate().filter(|(_, text)| !text.is_empty()) {
                    expect.push(Part {
                        element: u16::try_from(element).unwrap(),
                        repeat: 0,
                        component: u16::try_from(component).unwrap(),
                        bytes: Cow::Borrowed(text.as_bytes()),
                    });
                }
            }
            prop_assert_eq!(segment.parts, expect);
        }

        #[test]
        fn any_bytes_are_taken_apart(bytes in prop::collection::vec(any::<u8>(), 0..200), signs in signs()) {
            let mut from = 0;
            while let Some(end) = end(&bytes, from, signs) {
                prop_assert!(end >= from && bytes[end] == signs.terminator);
                let segment = split(&bytes[from..end], signs);
                for part in &segment.parts {
                    prop_assert!(!part.bytes.is_empty() && !part.bytes.contains(&b'\n'));
                }
                from = end + 1;
            }
            split(&bytes, signs);
        }
    }

    #[test]
    fn repetitions_count() {
        let signs = Signs::default().for_version("4");
        let segment = split(b"COM+a:AA*b:AA+c", signs);
        let places: Vec<_> = segment
            .parts
            .iter()
            .map(|part| (part.element, part.repeat, part.component))
            .collect();
        assert_eq!(
            places,
            [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 0)]
        );
        assert_eq!(segment.get(1, 0), Some(&b"c"[..]));
        assert!(split(b"ODI", signs).parts.is_empty());
        assert_eq!(split(b"UNH:1+x", signs).get(0, 0), Some(&b"x"[..]));
    }
}
