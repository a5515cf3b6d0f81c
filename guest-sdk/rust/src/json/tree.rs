//! For those who build a tree of their own, level by level: where all containers of a text end, found in one scan, and
//! the steps in between.
//!
//! Positions are bytes from the start of the text. A text may go on behind what is read.

use super::error::{Error, Problem};
use super::{MAX_DEPTH, walk};

/// A text with more containers is refused: each takes 8 bytes, which is more than the text of an empty one.
pub const MAX_CONTAINERS: usize = 1 << 20;

/// An object or array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Container {
    /// The position behind its closing bracket.
    pub end: u32,
    /// How many containers start before that position: the number of the first one behind it.
    pub next: u32,
}

/// The container that starts with the bracket at `start` (number 0) and all within it, in the order in which they
/// start. Brackets match and strings end; what else is between the brackets is not looked at. Nested as deep as
/// [`Object`](super::Object) takes it: an object, and its members [`MAX_DEPTH`] deep.
pub fn containers(text: &[u8], start: usize) -> Result<Vec<Container>, Error> {
    if u32::try_from(text.len()).is_err() {
        return Err(Error::new(Problem::TooLarge, 0));
    }
    if !matches!(text.get(start), Some(b'{' | b'[')) {
        return Err(Error::new(Problem::ExpectedObject, start));
    }
    let mut scan = Scan {
        text,
        found: Vec::with_capacity(32),
        open: [0; MAX_DEPTH + 1],
        depth: 0,
    };
    walk::each_bracket(text, start, |hit| scan.bracket(hit))?;
    Ok(scan.found)
}

struct Scan<'a> {
    text: &'a [u8],
    found: Vec<Container>,
    /// The numbers of the open ones, the innermost last.
    open: [u32; MAX_DEPTH + 1],
    depth: usize,
}

impl Scan<'_> {
    /// The next bracket. Whether all is closed with it.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a call costs as much as what is done")]
    fn bracket(&mut self, hit: usize) -> Result<bool, Error> {
        let byte = self.text[hit];
        if matches!(byte, b'{' | b'[') {
            let Some(slot) = self.open.get_mut(self.depth) else {
                return Err(Error::new(Problem::TooDeep, hit));
            };
            if self.found.len() == MAX_CONTAINERS {
                return Err(Error::new(Problem::TooMany, hit));
            }
            *slot = position(self.found.len());
            self.depth += 1;
            // Until it ends, this is where it starts.
            self.found.push(Container {
                end: position(hit),
                next: 0,
            });
            return Ok(false);
        }
        // The first bracket is an opening one, and the last one that closes ends the scan: something is open.
        self.depth -= 1;
        let next = position(self.found.len());
        let container = &mut self.found[self.open[self.depth] as usize];
        // In ASCII a closing bracket is two behind its opening one.
        if self.text[container.end as usize] + 2 != byte {
            return Err(Error::new(Problem::Unbalanced, hit));
        }
        *container = Container {
            end: position(hit + 1),
            next,
        };
        Ok(self.depth == 0)
    }
}

/// Positions fit: larger texts are refused.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "see above")]
fn position(at: usize) -> u32 {
    at as u32
}

/// The first byte at or behind `at` that is no white space.
#[inline]
pub fn skip_space(text: &[u8], at: usize) -> usize {
    walk::skip_space(text, at)
}

/// A string that starts with the quote at `at`: the position behind its closing quote, and whether there are
/// backslashes in it.
#[inline]
pub fn skip_string(text: &[u8], at: usize) -> Result<(usize, bool), Error> {
    walk::skip_string(text, at)
}

/// The position behind the value that starts at `at`. Scalars are checked, containers only for matching brackets and
/// strings that end.
#[inline]
pub fn skip_value(text: &[u8], at: usize) -> Result<usize, Error> {
    walk::skip_value(text, at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same, one byte at a time.
    fn plain(text: &[u8]) -> Option<Vec<Container>> {
        let mut found: Vec<(usize, Container)> = Vec::new();
        let mut open = Vec::new();
        let (mut in_string, mut escape) = (false, false);
        for (at, byte) in text.iter().enumerate() {
            let escaped = std::mem::replace(&mut escape, false);
            match byte {
                b'\\' => escape = !escaped,
                b'"' if !escaped => in_string = !in_string,
                b'{' | b'[' if !in_string => {
                    if open.len() == MAX_DEPTH + 1 {
                        return None;
                    }
                    open.push(found.len());
                    found.push((at, Container { end: 0, next: 0 }));
                }
                b'}' | b']' if !in_string => {
                    let next = position(found.len());
                    let (start, container) = &mut found[open.pop()?];
                    if (text[*start] == b'{') != (*byte == b'}') {
                        return None;
                    }
                    *container = Container {
                        end: position(at + 1),
                        next,
                    };
                    if open.is_empty() {
                        return Some(found.into_iter().map(|(_, found)| found).collect());
                    }
                }
                _ => {}
            }
        }
        None
    }

    proptest! {
        #[test]
        fn all_containers_are_found(
            start in prop::sample::select(b"{[".to_vec()),
            rest in prop::collection::vec(prop::sample::select(b"{{[[]]}}\"\\ a,".to_vec()), 0..200),
        ) {
            let mut text = vec![start];
            text.extend(rest);
            prop_assert_eq!(containers(&text, 0).ok(), plain(&text));
        }

        #[test]
        fn of_what_is_json_all_of_it(text in "\\[(\\{\"[a-z\\[]{0,70}\":\\[\\[\\],\\{\\}\\]\\},){0,20}1\\]") {
            let found = containers(text.as_bytes(), 0).unwrap();
            prop_assert_eq!(Some(found.clone()), plain(text.as_bytes()));
            prop_assert_eq!(found[0], Container { end: position(text.len()), next: position(found.len()) });
        }
    }

    #[test]
    fn what_is_no_container_is_refused() {
        for (text, problem) in [
            ("", Problem::ExpectedObject),
            ("1", Problem::ExpectedObject),
            ("]", Problem::ExpectedObject),
            ("[}", Problem::Unbalanced),
            ("[\"]", Problem::Truncated),
        ] {
            let error = containers(text.as_bytes(), 0).unwrap_err();
            assert_eq!(error.problem(), problem, "{text}");
        }
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        for (depth, fits) in [(MAX_DEPTH, true), (MAX_DEPTH + 1, false)] {
            let text = nested(depth);
            assert_eq!(containers(text.as_bytes(), 0).is_ok(), fits);
            assert_eq!(super::super::Object::parse(text.as_bytes()).is_ok(), fits);
        }
        let deep = nested(MAX_DEPTH + 1);
        let error = containers(deep.as_bytes(), 0).unwrap_err();
        assert_eq!(error.problem(), Problem::TooDeep);
        let many = format!("[{}1]", "[],".repeat(MAX_CONTAINERS));
        let error = containers(many.as_bytes(), 0).unwrap_err();
        assert_eq!(error.problem(), Problem::TooMany);
        let fits = format!("[{}1]", "[],".repeat(MAX_CONTAINERS - 1));
        assert!(containers(fits.as_bytes(), 0).is_ok());
    }
}
