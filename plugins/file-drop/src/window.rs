//! A file as a sliding window of UTF-8, whatever it is packed and encoded in.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};

use flate2::read::MultiGzDecoder;

use crate::error::{DropError, Result};
use crate::text::{Encoding, Transcoder};

/// How much is read at a time.
const PIECE: usize = 256 * 1024;

/// A part of an open file's text. Memory is bounded by the longest record asked for plus one piece.
pub struct Window {
    path: String,
    bytes: Bytes,
    transcoder: Option<Transcoder>,
    /// Bytes as read that wait for the transcoder (or were looked at for the byte order mark).
    raw: Vec<u8>,
    raw_at: usize,
    raw_ended: bool,
    text: Vec<u8>,
    start: usize,
    end: usize,
    /// Behind this index of `text` nothing has been found to be valid UTF-8.
    valid: usize,
    ended: bool,
    offset: u64,
    mark: u64,
    marked: Option<Encoding>,
}

enum Bytes {
    Plain(Counted),
    Gzip(Box<MultiGzDecoder<Counted>>),
}

/// A file that knows how much of it has been read.
struct Counted {
    file: File,
    read: u64,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.read += read as u64;
        Ok(read)
    }
}

impl Window {
    /// Opens a file: gzip by its first bytes, the encoding by its byte order mark, else as told.
    pub fn open(path: &str, encoding: Encoding) -> Result<Self> {
        let mut file = File::open(path).map_err(DropError::io("open", path))?;
        if file
            .metadata()
            .map_err(DropError::io("open", path))?
            .is_dir()
        {
            return Err(DropError::io("open", path)(ErrorKind::IsADirectory.into()));
        }
        let mut magic = Vec::with_capacity(2);
        file.by_ref()
            .take(2)
            .read_to_end(&mut magic)
            .map_err(DropError::io("read", path))?;
        file.seek(SeekFrom::Start(0))
            .map_err(DropError::io("read", path))?;
        let counted = Counted { file, read: 0 };
        let bytes = if magic == [0x1F, 0x8B] {
            Bytes::Gzip(Box::new(MultiGzDecoder::new(counted)))
        } else if has_gz_name(path) && !magic.is_empty() {
            let what = format!("`{path}` is named .gz but is not compressed with gzip");
            return Err(DropError::Broken {
                path: path.to_owned(),
                what,
            });
        } else {
            Bytes::Plain(counted)
        };
        let mut window = Self {
            path: path.to_owned(),
            bytes,
            transcoder: None,
            raw: Vec::new(),
            raw_at: 0,
            raw_ended: false,
            text: Vec::new(),
            start: 0,
            end: 0,
            valid: 0,
            ended: false,
            offset: 0,
            mark: 0,
            marked: None,
        };
        window.look_for_mark(encoding)?;
        Ok(window)
    }

    fn look_for_mark(&mut self, encoding: Encoding) -> Result<()> {
        self.raw.resize(4, 0);
        let mut filled = 0;
        while filled < self.raw.len() {
            let read = read_some(
                &mut self.bytes,
                self.raw.get_mut(filled..).unwrap_or_default(),
                &self.path,
            )?;
            if read == 0 {
                self.raw_ended = true;
                break;
            }
            filled += read;
        }
        self.raw.truncate(filled);
        let marked = Encoding::of_mark(&self.raw);
        let (encoding, mark) = marked.unwrap_or((encoding, 0));
        self.marked = marked.map(|(encoding, _)| encoding);
        self.raw_at = mark;
        self.mark = mark as u64;
        self.transcoder = Transcoder::of(encoding);
        Ok(())
    }

    /// The path as opened.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The encoding that a byte order mark named, if there is one. [`Self::text`] is UTF-8 then.
    pub fn marked(&self) -> Option<Encoding> {
        self.marked
    }

    /// The text from the current position, as far as it has been read.
    pub fn text(&self) -> &[u8] {
        self.text.get(self.start..self.end).unwrap_or_default()
    }

    /// How many bytes at the start of [`Self::text`] are known to be valid UTF-8.
    pub fn valid(&self) -> usize {
        self.valid.saturating_sub(self.start)
    }

    /// The file ends where [`Self::text`] ends.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Bytes of text before the current position, without byte order mark.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes of the file itself that have been read so far.
    pub fn raw_read(&self) -> u64 {
        match &self.bytes {
            Bytes::Plain(counted) => counted.read,
            Bytes::Gzip(decoder) => decoder.get_ref().read,
        }
    }

    /// Where in the file itself the current position is, when that can be said: not in packed or transcoded files.
    pub fn raw_offset(&self) -> Option<u64> {
        self.is_seekable().then_some(self.offset + self.mark)
    }

    fn is_seekable(&self) -> bool {
        self.transcoder.is_none() && matches!(self.bytes, Bytes::Plain(_))
    }

    /// Moves the current position forward, at most to the end of [`Self::text`].
    pub fn consume(&mut self, bytes: usize) {
        let bytes = bytes.min(self.end - self.start);
        self.start += bytes;
        self.offset += bytes as u64;
        if self.valid < self.start {
            self.valid = self.start;
            self.validate();
        }
    }

    /// Reads on: afterwards there is more [`Self::text`], or the file has ended.
    pub fn fill(&mut self) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        self.make_room();
        let before = self.end;
        while self.end == before && !self.ended {
            match self.transcoder {
                None => self.fill_plain()?,
                Some(_) => self.fill_transcoded()?,
            }
        }
        self.validate();
        Ok(())
    }

    fn make_room(&mut self) {
        if self.start > 0 && self.text.len() - self.end < PIECE {
            self.text.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.valid = self.valid.saturating_sub(self.start);
            self.start = 0;
        }
        // Twice the piece, so that what is left of a record moves rarely; twice what is there, so that the total
        // work on a long record stays in proportion to its length.
        if self.text.len() - self.end < PIECE {
            let size = (self.text.len() * 2).max(2 * PIECE);
            self.text.resize(size, 0);
        }
    }

    fn fill_plain(&mut self) -> Result<()> {
        if let Some(waiting) = self
            .raw
            .get(self.raw_at..)
            .filter(|waiting| !waiting.is_empty())
        {
            let room = self
                .text
                .get_mut(self.end..self.end + waiting.len())
                .unwrap_or_default();
            room.copy_from_slice(waiting);
            self.end += waiting.len();
            self.raw_at = self.raw.len();
            return Ok(());
        }
        let room = self.text.get_mut(self.end..).unwrap_or_default();
        let read = if self.raw_ended {
            0
        } else {
            read_some(&mut self.bytes, room, &self.path)?
        };
        self.end += read;
        self.ended = read == 0;
        Ok(())
    }

    fn fill_transcoded(&mut self) -> Result<()> {
        if self.raw_at == self.raw.len() && !self.raw_ended {
            self.raw.resize(PIECE / 2, 0);
            let read = read_some(&mut self.bytes, &mut self.raw, &self.path)?;
            self.raw.truncate(read);
            self.raw_at = 0;
            self.raw_ended = read == 0;
        }
        let Some(transcoder) = &mut self.transcoder else {
            return Ok(());
        };
        let room = self.text.get_mut(self.end..).unwrap_or_default();
        let step = transcoder.convert(
            self.raw.get(self.raw_at..).unwrap_or_default(),
            room,
            self.raw_ended,
        );
        self.raw_at += step.taken;
        self.end += step.made;
        self.ended = step.done;
        Ok(())
    }

    fn validate(&mut self) {
        let fresh = self.text.get(self.valid..self.end).unwrap_or_default();
        self.valid += match std::str::from_utf8(fresh) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
    }

    /// Goes to a position that [`Self::offset`] gave earlier. `false` when the file ends before it.
    pub fn seek(&mut self, offset: u64) -> Result<bool> {
        if offset < self.offset {
            return Ok(false);
        }
        if let (true, Bytes::Plain(counted)) = (self.is_seekable(), &mut self.bytes) {
            let to = offset + self.mark;
            let length = counted
                .file
                .metadata()
                .map_err(DropError::io("read", &self.path))?
                .len();
            if length < to {
                return Ok(false);
            }
            counted
                .file
                .seek(SeekFrom::Start(to))
                .map_err(DropError::io("read", &self.path))?;
            counted.read = to;
            self.raw.clear();
            (self.raw_at, self.raw_ended) = (0, false);
            (self.start, self.end, self.valid, self.ended) = (0, 0, 0, false);
            self.offset = offset;
            return Ok(true);
        }
        loop {
            let left = usize::try_from(offset - self.offset).unwrap_or(usize::MAX);
            self.consume(left);
            if self.offset == offset {
                return Ok(true);
            }
            if self.ended {
                return Ok(false);
            }
            self.fill()?;
        }
    }
}

fn read_some(bytes: &mut Bytes, room: &mut [u8], path: &str) -> Result<usize> {
    loop {
        let result = match bytes {
            Bytes::Plain(counted) => counted.read(room),
            Bytes::Gzip(decoder) => decoder.read(room),
        };
        match result {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error)
                if matches!(bytes, Bytes::Gzip(_))
                    && matches!(
                        error.kind(),
                        ErrorKind::UnexpectedEof | ErrorKind::InvalidInput | ErrorKind::InvalidData
                    ) =>
            {
                let what = if error.kind() == ErrorKind::UnexpectedEof {
                    format!("`{path}` is truncated: its gzip data ends early")
                } else {
                    format!("`{path}` is damaged: {error}")
                };
                return Err(DropError::Broken {
                    path: path.to_owned(),
                    what,
                });
            }
            other => return other.map_err(DropError::io("read", path)),
        }
    }
}

/// Whether a path names a gzip file.
pub fn has_gz_name(path: &str) -> bool {
    path.len() > 3
        && path
            .get(path.len() - 3..)
            .is_some_and(|end| end.eq_ignore_ascii_case(".gz"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn write(name: &str, bytes: &[u8]) -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let path = path.to_str().unwrap().to_owned();
        (dir, path)
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn all(window: &mut Window) -> Vec<u8> {
        let mut out = Vec::new();
        while !window.ended() {
            window.fill().unwrap();
            out.extend_from_slice(window.text());
            window.consume(window.text().len());
        }
        out
    }

    #[test]
    fn every_packing_and_mark_reads_the_same_and_resumes_anywhere() {
        let text = "sku;näme\n1;größe €\n".repeat(40_000);
        let mut two_members = gz(&text.as_bytes()[..1001]);
        two_members.extend(gz(&text.as_bytes()[1001..]));
        let mut utf16 = b"\xFF\xFE".to_vec();
        Encoding::Utf16.encode(&text, &mut utf16).unwrap();
        let mut cp = Vec::new();
        Encoding::Windows1252.encode(&text, &mut cp).unwrap();
        let mut marked = b"\xEF\xBB\xBF".to_vec();
        marked.extend_from_slice(text.as_bytes());
        for (name, bytes, encoding) in [
            ("a.csv", text.clone().into_bytes(), Encoding::Utf8),
            ("a.csv", marked, Encoding::Windows1252),
            ("a.csv.gz", two_members.clone(), Encoding::Utf8),
            ("gz-without-name", two_members, Encoding::Utf8),
            ("a.csv", utf16.clone(), Encoding::Utf8),
            ("a.csv.gz", gz(&utf16), Encoding::Utf8),
            ("a.csv", cp, Encoding::Windows1252),
        ] {
            let (_dir, path) = write(name, &bytes);
            assert!(
                all(&mut Window::open(&path, encoding).unwrap()) == text.as_bytes(),
                "{name} {encoding:?}"
            );
            for at in [0, 1, 9, 300_000, text.len()] {
                let mut window = Window::open(&path, encoding).unwrap();
                assert!(window.seek(at as u64).unwrap());
                assert_eq!(window.offset(), at as u64);
                let rest = all(&mut window);
                assert!(
                    rest == text.as_bytes()[at..],
                    "{name} {encoding:?} from {at}"
                );
            }
            assert!(
                !Window::open(&path, encoding)
                    .unwrap()
                    .seek(text.len() as u64 + 1)
                    .unwrap()
            );
        }
    }

    #[test]
    fn truncated_and_false_gzip_are_named() {
        let whole = gz(&b"a,b\n1,2\n".repeat(1000));
        let (_dir, path) = write("a.csv.gz", &whole[..whole.len() - 10]);
        let mut window = Window::open(&path, Encoding::Utf8).unwrap();
        let error = loop {
            match window.fill() {
                Ok(()) => assert!(!window.ended()),
                Err(error) => break error.to_string(),
            }
        };
        assert!(
            error.contains("truncated") && error.contains("a.csv.gz"),
            "{error}"
        );
        let (_dir, path) = write("a.gz", b"plain");
        assert!(Window::open(&path, Encoding::Utf8).is_err());
        let (_dir, path) = write("a.gz", b"");
        assert!(all(&mut Window::open(&path, Encoding::Utf8).unwrap()).is_empty());
    }

    #[test]
    fn validity_is_known_per_byte() {
        let (_dir, path) = write("a", b"good\nb\xE9d\ngood\n");
        let mut window = Window::open(&path, Encoding::Utf8).unwrap();
        while !window.ended() {
            window.fill().unwrap();
        }
        assert_eq!(window.valid(), 6);
        window.consume(5);
        assert_eq!(window.valid(), 1);
        window.consume(4);
        assert_eq!((window.valid(), window.text()), (5, &b"good\n"[..]));
    }
}
