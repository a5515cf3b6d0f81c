//! Rows on disk until the end of the run, when the number of their columns is known. One file per stream.
//!
//! A frame is a head of seven 32-bit little-endian numbers (five lengths, two counts of pairs), then the five texts.
//! Nothing in it is ever rewritten: a spool is only appended to, and truncated when the sink is opened again.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::row::Row;

const HEAD: usize = 28;
const BUFFER: usize = 64 * 1024;

/// The rows of one stream.
#[derive(Debug)]
pub(crate) struct Spool {
    path: PathBuf,
    file: BufWriter<File>,
    length: u64,
}

impl Spool {
    /// Opens the spool and forgets everything behind `length`.
    pub(crate) fn open(folder: &Path, stream: &str, length: u64) -> io::Result<Self> {
        let path = folder.join(format!("{stream}.rows"));
        let file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(&path)?;
        let found = file.metadata()?.len();
        if found < length {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!(
                    "{} has {found} bytes, {length} were durable",
                    path.display()
                ),
            ));
        }
        file.set_len(length)?;
        Ok(Self {
            path,
            file: BufWriter::with_capacity(BUFFER, file),
            length,
        })
    }

    /// Bytes so far.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Appends a row.
    pub(crate) fn append(&mut self, row: &Row) -> io::Result<()> {
        let texts: [&[u8]; 5] = [
            row.key.as_bytes(),
            row.refers.as_bytes(),
            &row.fixed,
            &row.plain,
            &row.localised,
        ];
        let mut head = [0; HEAD];
        let lengths = texts.iter().map(|text| u32::try_from(text.len()));
        let counts = [Ok(row.plain_pairs), Ok(row.localised_pairs)];
        for (slot, number) in head.chunks_exact_mut(4).zip(lengths.chain(counts)) {
            let number = number.map_err(|_| io::Error::other("a row is larger than 4 GiB"))?;
            slot.copy_from_slice(&number.to_le_bytes());
        }
        self.file.write_all(&head)?;
        self.length += HEAD as u64;
        for text in texts {
            self.file.write_all(text)?;
            self.length += text.len() as u64;
        }
        Ok(())
    }

    /// Makes everything so far durable.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_data()
    }

    /// Reads all rows from the start.
    pub(crate) fn rows(&mut self) -> io::Result<Rows> {
        self.file.flush()?;
        Ok(Rows {
            file: BufReader::with_capacity(BUFFER, File::open(&self.path)?),
            left: self.length,
        })
    }
}

/// Reads a spool.
#[derive(Debug)]
pub(crate) struct Rows {
    file: BufReader<File>,
    left: u64,
}

impl Rows {
    /// The next row, into a row that is used again. False at the end.
    pub(crate) fn next(&mut self, row: &mut Row) -> io::Result<bool> {
        let Some(lengths) = self.head(row)? else {
            return Ok(false);
        };
        let [key, refers, fixed, plain, localised] = lengths;
        self.text(key, &mut row.key)?;
        self.text(refers, &mut row.refers)?;
        self.bytes(fixed, &mut row.fixed)?;
        self.bytes(plain, &mut row.plain)?;
        self.bytes(localised, &mut row.localised)?;
        Ok(true)
    }

    /// The next row without its cells: key, reference and counts. False at the end.
    pub(crate) fn next_key(&mut self, row: &mut Row) -> io::Result<bool> {
        let Some(lengths) = self.head(row)? else {
            return Ok(false);
        };
        let [key, refers, rest @ ..] = lengths;
        self.text(key, &mut row.key)?;
        self.text(refers, &mut row.refers)?;
        let skip = rest.iter().map(|length| i64::from(*length)).sum();
        self.file.seek_relative(skip)?;
        Ok(true)
    }

    /// Reads the head of a frame: the lengths of its texts. None at the end.
    fn head(&mut self, row: &mut Row) -> io::Result<Option<[u32; 5]>> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut head = [0; HEAD];
        self.file.read_exact(&mut head)?;
        let mut numbers = head
            .as_chunks::<4>()
            .0
            .iter()
            .map(|chunk| u32::from_le_bytes(*chunk));
        let mut lengths = [0; 5];
        for (slot, number) in lengths.iter_mut().zip(&mut numbers) {
            *slot = number;
        }
        row.plain_pairs = numbers.next().unwrap_or_default();
        row.localised_pairs = numbers.next().unwrap_or_default();
        let size = HEAD as u64 + lengths.iter().map(|length| u64::from(*length)).sum::<u64>();
        self.left = self
            .left
            .checked_sub(size)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the spool is damaged"))?;
        Ok(Some(lengths))
    }

    fn bytes(&mut self, length: u32, into: &mut Vec<u8>) -> io::Result<()> {
        into.clear();
        into.resize(length as usize, 0);
        self.file.read_exact(into)
    }

    fn text(&mut self, length: u32, into: &mut String) -> io::Result<()> {
        let mut bytes = std::mem::take(into).into_bytes();
        self.bytes(length, &mut bytes)?;
        *into = String::from_utf8(bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(())
    }
}
