//! Finds the cells of one record. It looks at 64 bytes at a time and stops only at bytes that may matter.

use wide::u8x16;

use crate::dialect::Dialect;

/// One cell, without its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) quoted: bool,
    /// Its text holds doubled quotes or backslashes that have to go.
    pub(crate) escaped: bool,
    /// Its text may hold characters that JSON escapes.
    pub(crate) special: bool,
}

/// What a scan found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// The record goes on behind the text.
    More,
    /// A blank line or a comment.
    Nothing {
        used: usize,
        lines: u64,
    },
    Record {
        used: usize,
        lines: u64,
    },
    /// There is text between a closing quote and the next delimiter; `column` from 1.
    Stray {
        used: usize,
        lines: u64,
        column: usize,
    },
    /// The file ends inside quotes that were opened `line` line ends further down, in this column.
    Open {
        used: usize,
        lines: u64,
        line: u64,
        column: usize,
    },
}

/// Scans records of one dialect.
#[derive(Debug, Clone)]
pub(crate) struct Scanner {
    dialect: Dialect,
    delimiter: u8x16,
    quote: u8x16,
}

/// The bytes that may matter, in order.
struct Marks<'a> {
    text: &'a [u8],
    base: usize,
    mask: u64,
    delimiter: u8x16,
    quote: u8x16,
}

impl Marks<'_> {
    fn load(&mut self) {
        let rest = self.text.get(self.base..).unwrap_or_default();
        self.mask = if let Some(block) = rest.first_chunk::<64>() {
            self.block(block)
        } else {
            let mut block = [b' '; 64];
            if let Some(start) = block.get_mut(..rest.len()) {
                start.copy_from_slice(rest);
            }
            // Behind the text nothing matters, whatever the delimiter is.
            self.block(&block) & ((1 << rest.len()) - 1)
        };
    }

    #[inline]
    fn block(&self, block: &[u8; 64]) -> u64 {
        let (parts, _) = block.as_chunks::<16>();
        let mut mask = 0;
        for (part, bytes) in parts.iter().enumerate() {
            let bytes = u8x16::from(*bytes);
            let control = bytes.min(u8x16::splat(0x1F)).simd_eq(bytes);
            let hit = control
                | bytes.simd_eq(self.delimiter)
                | bytes.simd_eq(self.quote)
                | bytes.simd_eq(u8x16::splat(b'"'))
                | bytes.simd_eq(u8x16::splat(b'\\'));
            mask |= u64::from(hit.to_bitmask()) << (16 * part);
        }
        mask
    }

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.mask == 0 {
            self.base += 64;
            if self.base >= self.text.len() {
                return None;
            }
            self.load();
        }
        let at = self.base + self.mask.trailing_zeros() as usize;
        self.mask &= self.mask - 1;
        Some(at)
    }
}

/// Where in a cell the scan is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Plain,
    Quoted,
    /// Behind the closing quote at this index.
    Closed(usize),
}

impl Scanner {
    pub(crate) fn new(dialect: Dialect) -> Self {
        let quote = dialect.quote.unwrap_or(b'"');
        Self {
            dialect,
            delimiter: u8x16::splat(dialect.delimiter),
            quote: u8x16::splat(quote),
        }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The record that `text` begins with; `ended`: the file ends with `text`. Cells are put into `cells`, also those
    /// in front of a fault.
    pub(crate) fn scan(&self, text: &[u8], ended: bool, cells: &mut Vec<Cell>) -> Found {
        cells.clear();
        match text.first() {
            None => return Found::More,
            Some(b'\n') => return Found::Nothing { used: 1, lines: 1 },
            Some(b'\r') => {
                return match line_end(text, 0, ended) {
                    Some(used) => Found::Nothing { used, lines: 1 },
                    None => Found::More,
                };
            }
            Some(byte) if self.dialect.comment == Some(*byte) => return skip_line(text, ended),
            Some(_) => {}
        }
        let mut marks = Marks {
            text,
            base: 0,
            mask: 0,
            delimiter: self.delimiter,
            quote: self.quote,
        };
        marks.load();
        let mut scan = Scan {
            text,
            ended,
            dialect: self.dialect,
            start: 0,
            place: Place::Plain,
            escaped: false,
            special: false,
            lines: 0,
            opened: 0,
            stray: None,
        };
        scan.run(&mut marks, cells)
    }
}

/// The index behind the line end at `at`, `None` when that cannot be said yet.
fn line_end(text: &[u8], at: usize, ended: bool) -> Option<usize> {
    if text.get(at) == Some(&b'\n') {
        return Some(at + 1);
    }
    match text.get(at + 1) {
        Some(b'\n') => Some(at + 2),
        Some(_) => Some(at + 1),
        None => ended.then_some(at + 1),
    }
}

fn skip_line(text: &[u8], ended: bool) -> Found {
    match memchr::memchr2(b'\n', b'\r', text) {
        Some(at) => match line_end(text, at, ended) {
            Some(used) => Found::Nothing { used, lines: 1 },
            None => Found::More,
        },
        None if ended => Found::Nothing {
            used: text.len(),
            lines: 0,
        },
        None => Found::More,
    }
}

struct Scan<'a> {
    text: &'a [u8],
    ended: bool,
    dialect: Dialect,
    /// Where the current cell begins, behind its opening quote.
    start: usize,
    place: Place,
    escaped: bool,
    special: bool,
    /// Line ends inside quotes so far.
    lines: u64,
    /// `lines` when the current quote was opened.
    opened: u64,
    /// The first column with text behind its closing quote.
    stray: Option<usize>,
}

impl Scan<'_> {
    fn run(&mut self, marks: &mut Marks<'_>, cells: &mut Vec<Cell>) -> Found {
        let mut ignored = usize::MAX;
        while let Some(at) = marks.next() {
            if at == ignored {
                // Escaped. A line end still is one.
                if matches!(self.text.get(at), Some(b'\n' | b'\r')) && !self.count_line(at) {
                    return Found::More;
                }
                continue;
            }
            let Some(&byte) = self.text.get(at) else {
                break;
            };
            if byte == b'\\' && self.dialect.backslash && !matches!(self.place, Place::Closed(_)) {
                if at + 1 == self.text.len() && !self.ended {
                    return Found::More;
                }
                (self.escaped, self.special, ignored) = (true, true, at + 1);
            } else if self.place == Place::Quoted {
                if Some(byte) == self.dialect.quote {
                    match self.text.get(at + 1) {
                        Some(next) if Some(*next) == self.dialect.quote => {
                            (self.escaped, self.special, ignored) = (true, true, at + 1);
                        }
                        None if !self.ended => return Found::More,
                        _ => self.place = Place::Closed(at),
                    }
                } else if matches!(byte, b'\n' | b'\r') {
                    self.special = true;
                    if !self.count_line(at) {
                        return Found::More;
                    }
                } else {
                    self.special |= byte != self.dialect.delimiter || byte < 0x20;
                }
            } else if byte == self.dialect.delimiter {
                self.end_cell(at, cells);
                self.start = at + 1;
            } else if matches!(byte, b'\n' | b'\r') {
                let Some(used) = line_end(self.text, at, self.ended) else {
                    return Found::More;
                };
                self.end_cell(at, cells);
                return self.end_record(used, self.lines + 1);
            } else if Some(byte) == self.dialect.quote && self.may_open(at) {
                (self.place, self.start, self.opened) = (Place::Quoted, at + 1, self.lines);
            } else {
                self.special = true;
            }
        }
        self.end_text(cells)
    }

    fn end_text(&mut self, cells: &mut Vec<Cell>) -> Found {
        if !self.ended {
            return Found::More;
        }
        let used = self.text.len();
        if self.place == Place::Quoted {
            return Found::Open {
                used,
                lines: self.lines,
                line: self.opened,
                column: cells.len() + 1,
            };
        }
        self.end_cell(used, cells);
        self.end_record(used, self.lines)
    }

    fn end_record(&self, used: usize, lines: u64) -> Found {
        match self.stray {
            Some(column) => Found::Stray {
                used,
                lines,
                column,
            },
            None => Found::Record { used, lines },
        }
    }

    /// Counts a line end inside a cell; `\r\n` once. `false`: what follows has to be seen first.
    fn count_line(&mut self, at: usize) -> bool {
        if self.text.get(at) == Some(&b'\n') {
            self.lines += 1;
            return true;
        }
        match self.text.get(at + 1) {
            Some(b'\n') => true,
            None if !self.ended => false,
            _ => {
                self.lines += 1;
                true
            }
        }
    }

    /// A quote opens only at the start of a cell.
    fn may_open(&self, at: usize) -> bool {
        self.place == Place::Plain
            && (at == self.start || (self.dialect.trim && is_blank(self.text.get(self.start..at))))
    }

    #[inline]
    fn end_cell(&mut self, at: usize, cells: &mut Vec<Cell>) {
        let (mut start, mut end) = (self.start, at);
        let quoted = self.place != Place::Plain;
        if let Place::Closed(quote) = self.place {
            let behind = self.text.get(quote + 1..at);
            if quote + 1 != at && !(self.dialect.trim && is_blank(behind)) && self.stray.is_none() {
                self.stray = Some(cells.len() + 1);
            }
            end = quote;
        } else if self.dialect.trim {
            (start, end) = trimmed(self.text, start, end);
        }
        cells.push(Cell {
            start,
            end,
            quoted,
            escaped: self.escaped,
            special: self.special,
        });
        (self.place, self.escaped, self.special) = (Place::Plain, false, false);
    }
}

fn is_blank(text: Option<&[u8]>) -> bool {
    text.unwrap_or_default()
        .iter()
        .all(|byte| matches!(byte, b' ' | b'\t'))
}

fn trimmed(text: &[u8], start: usize, end: usize) -> (usize, usize) {
    let cell = text.get(start..end).unwrap_or_default();
    let front = cell
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count();
    let back = cell
        .iter()
        .rev()
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count();
    if front == cell.len() {
        (start, start)
    } else {
        (start + front, end - back)
    }
}

/// The text of a cell without what escapes its quotes, appended to `out`.
pub(crate) fn unescape(text: &[u8], cell: Cell, dialect: Dialect, out: &mut Vec<u8>) {
    let mut bytes = text
        .get(cell.start..cell.end)
        .unwrap_or_default()
        .iter()
        .copied()
        .peekable();
    while let Some(byte) = bytes.next() {
        if byte == b'\\' && dialect.backslash {
            out.push(bytes.next().unwrap_or(b'\\'));
            continue;
        }
        out.push(byte);
        if cell.quoted && Some(byte) == dialect.quote {
            let _ = bytes.next_if_eq(&byte);
        }
    }
}
