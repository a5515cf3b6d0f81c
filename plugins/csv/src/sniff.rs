//! Guesses the delimiter from the first lines of a file.

use crate::dialect::Dialect;
use crate::scan::{Cell, Found, Scanner};

/// How much of a file is looked at.
pub(crate) const SAMPLE: usize = 64 * 1024;
const RECORDS: usize = 100;

/// The delimiter that cuts most of the first records into the same number of cells, more than one; of several, the one
/// that makes most cells. `,` when none does.
pub(crate) fn delimiter(text: &[u8], ended: bool, dialect: Dialect) -> u8 {
    let mut best = (0, 0, b',');
    for delimiter in *b",;\t|" {
        if Some(delimiter) == dialect.quote || Some(delimiter) == dialect.comment {
            continue;
        }
        let counts = widths(
            text,
            ended,
            Dialect {
                delimiter,
                ..dialect
            },
        );
        let Some(first) = counts.first().copied().filter(|first| *first > 1) else {
            continue;
        };
        let same = counts.iter().filter(|count| **count == first).count() * 100 / counts.len();
        if (same, first) > (best.0, best.1) {
            best = (same, first, delimiter);
        }
    }
    best.2
}

fn widths(mut text: &[u8], ended: bool, dialect: Dialect) -> Vec<usize> {
    let scanner = Scanner::new(dialect);
    let (mut counts, mut cells): (Vec<usize>, Vec<Cell>) = (Vec::new(), Vec::new());
    while counts.len() < RECORDS && !text.is_empty() {
        let used = match scanner.scan(text, ended, &mut cells) {
            Found::More | Found::Open { .. } => break,
            Found::Nothing { used, .. } => used,
            Found::Record { used, .. } | Found::Stray { used, .. } => {
                counts.push(cells.len());
                used
            }
        };
        text = text.get(used..).unwrap_or_default();
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delimiter_is_found_by_even_rows() {
        let plain = Dialect {
            delimiter: b',',
            quote: Some(b'"'),
            backslash: false,
            comment: None,
            trim: false,
        };
        for (text, expect) in [
            ("a,b\n1,2\n", b','),
            ("a;b;c\n1,5;2,5;3,5\n4,5;5,5;6,5\n", b';'),
            ("a\tb\n1,2\t3\n", b'\t'),
            ("a|b\n\"x;y;z\"|2\n", b'|'),
            ("name;text\n1;\"one, two, three\"\n2;x\n", b';'),
            ("single\nvalue\n", b','),
            ("", b','),
            ("a;b", b';'),
        ] {
            assert_eq!(delimiter(text.as_bytes(), true, plain), expect, "{text}");
        }
    }
}
