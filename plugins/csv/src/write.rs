//! One record as a CSV row.

use std::borrow::Cow;

use crossdock_sdk::json::{Kind, Value};
use file_drop::text::Encoding;

/// The signs of the file that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signs {
    pub(crate) delimiter: u8,
    pub(crate) quote: u8,
    pub(crate) line_end: &'static str,
    pub(crate) encoding: Encoding,
}

/// A cell that cannot be written: its position and the character that the encoding lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unmappable {
    pub(crate) column: usize,
    pub(crate) sign: char,
}

/// The text of a value in a cell: strings as they are, null as nothing, everything else as JSON.
pub(crate) fn cell_text<'a>(value: &Value<'a>) -> Cow<'a, str> {
    match value.kind() {
        Kind::Null => Cow::Borrowed(""),
        Kind::String => value.as_str().unwrap_or_default(),
        Kind::Bool | Kind::Number | Kind::Array | Kind::Object => {
            String::from_utf8_lossy(value.raw())
        }
    }
}

impl Signs {
    /// Appends one row to `out`. On failure `out` holds a part of it, to be cut off by the caller.
    pub(crate) fn row<'a>(
        &self,
        cells: impl ExactSizeIterator<Item = Cow<'a, str>>,
        scratch: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), Unmappable> {
        scratch.clear();
        let alone = cells.len() == 1;
        let direct = self.encoding == Encoding::Utf8;
        for (column, cell) in cells.enumerate() {
            if column > 0 {
                scratch.push(self.delimiter);
            }
            // A row of one empty cell would be a blank line.
            if (alone && cell.is_empty()) || self.needs_quotes(cell.as_bytes()) {
                self.quoted(cell.as_bytes(), scratch);
            } else {
                scratch.extend_from_slice(cell.as_bytes());
            }
            if !direct {
                self.encode(scratch, out)
                    .map_err(|sign| Unmappable { column, sign })?;
                scratch.clear();
            }
        }
        scratch.extend_from_slice(self.line_end.as_bytes());
        if direct {
            out.extend_from_slice(scratch);
        } else {
            // Line ends are in every encoding.
            let _ = self.encode(scratch, out);
        }
        Ok(())
    }

    fn encode(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), char> {
        self.encoding.encode(&String::from_utf8_lossy(text), out)
    }

    /// What a reader would not give back as it is without quotes.
    fn needs_quotes(&self, cell: &[u8]) -> bool {
        let edge = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        edge(cell.first())
            || edge(cell.last())
            || cell.starts_with(b"\xEF\xBB\xBF")
            || memchr::memchr3(self.delimiter, self.quote, b'\n', cell).is_some()
            || memchr::memchr(b'\r', cell).is_some()
    }

    fn quoted(&self, cell: &[u8], out: &mut Vec<u8>) {
        out.push(self.quote);
        let mut rest = cell;
        while let Some(at) = memchr::memchr(self.quote, rest) {
            let (with_quote, behind) = rest.split_at(at + 1);
            out.extend_from_slice(with_quote);
            out.push(self.quote);
            rest = behind;
        }
        out.extend_from_slice(rest);
        out.push(self.quote);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(signs: Signs, cells: &[&str]) -> Result<Vec<u8>, Unmappable> {
        let mut out = Vec::new();
        signs
            .row(
                cells.iter().map(|cell| Cow::Borrowed(*cell)),
                &mut Vec::new(),
                &mut out,
            )
            .map(|()| out)
    }

    const PLAIN: Signs = Signs {
        delimiter: b',',
        quote: b'"',
        line_end: "\n",
        encoding: Encoding::Utf8,
    };

    #[test]
    fn only_what_needs_quotes_gets_them() {
        assert_eq!(
            row(PLAIN, &["a", "b;c", "", "é"]).unwrap(),
            "a,b;c,,é\n".as_bytes()
        );
        assert_eq!(
            row(PLAIN, &["a,b", "say \"x\"", "l1\nl2", " x"]).unwrap(),
            b"\"a,b\",\"say \"\"x\"\"\",\"l1\nl2\",\" x\"\n"
        );
        assert_eq!(row(PLAIN, &[""]).unwrap(), b"\"\"\n");
        let semicolon = Signs {
            delimiter: b';',
            quote: b'\'',
            line_end: "\r\n",
            ..PLAIN
        };
        assert_eq!(
            row(semicolon, &["a,b", "it's", "x;y"]).unwrap(),
            b"a,b;'it''s';'x;y'\r\n"
        );
    }

    #[test]
    fn code_pages_name_the_cell_they_lack() {
        let cp = Signs {
            encoding: Encoding::Windows1252,
            ..PLAIN
        };
        assert_eq!(row(cp, &["ä", "€,"]).unwrap(), b"\xE4,\"\x80,\"\n");
        assert_eq!(
            row(cp, &["ä", "✓"]),
            Err(Unmappable {
                column: 1,
                sign: '✓'
            })
        );
        let wide = Signs {
            encoding: Encoding::Utf16,
            ..PLAIN
        };
        assert_eq!(row(wide, &["a", "b"]).unwrap(), b"a\0,\0b\0\n\0");
    }
}
