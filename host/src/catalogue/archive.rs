//! Plugins in one file, for sites that reach no registry: an OCI image layout in a tar archive, which other tools read and
//! write, too.
//!
//! Only what is needed of tar is here, and nothing is ever unpacked: a reader notes where the blobs are, and reads those
//! that it wants, each held against its digest.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read, Seek as _, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::{
    inspect::digest,
    reference::is_digest,
    registry::{Descriptor, Index, MAX_MANIFEST, oci},
};

/// Annotation of a manifest in the index: where it comes from and which version it is.
pub const REFERENCE: &str = "org.opencontainers.image.ref.name";
/// More files than this are in no bundle that anybody made.
const MAX_FILES: usize = 100_000;
/// Bytes of tar's units.
const UNIT: usize = 512;
const LAYOUT: &str = "oci-layout";
const LAYOUT_TEXT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const INDEX_FILE: &str = "index.json";
const BLOBS: &str = "blobs/sha256/";

/// Why a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// It cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is no bundle of plugins: {why}", path.display())]
    NoBundle {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Something that its index names is not in it.
    #[error("{} is not whole: it has no blob {digest}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What is missing.
        digest: String,
    },
    /// Something in it was changed.
    #[error("{} was tampered with, or is damaged: the blob {expected} has the digest {found}", path.display())]
    Digest {
        /// The file.
        path: PathBuf,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// Something in it is larger than anything of its kind needs to be.
    #[error("{}: the blob {digest} has {size} bytes, and {limit} are allowed", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What is too large.
        digest: String,
        /// How large it says it is.
        size: u64,
        /// How large it may be.
        limit: u64,
    },
}

/// Writes a bundle: blobs in any order, each once, and the index at the end.
pub struct Writer<W> {
    out: W,
    written: BTreeSet<String>,
    index: Index,
}

impl<W: Write> Writer<W> {
    /// Begins.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(out: W) -> io::Result<Self> {
        let mut writer = Self {
            out,
            written: BTreeSet::new(),
            index: Index::default(),
        };
        writer.file(LAYOUT, LAYOUT_TEXT)?;
        Ok(writer)
    }

    /// Adds a blob, unless it is there.
    ///
    /// # Errors
    /// What the system says.
    pub fn blob(&mut self, bytes: &[u8]) -> io::Result<()> {
        let digest = digest(bytes);
        if self.written.contains(&digest) {
            return Ok(());
        }
        let hex = digest.trim_start_matches("sha256:");
        self.file(&format!("{BLOBS}{hex}"), bytes)?;
        self.written.insert(digest);
        Ok(())
    }

    /// Adds a manifest, and says in the index what it is.
    ///
    /// # Errors
    /// What the system says.
    pub fn manifest(&mut self, descriptor: Descriptor, bytes: &[u8]) -> io::Result<()> {
        self.blob(bytes)?;
        self.index.manifests.push(descriptor);
        Ok(())
    }

    /// Ends it.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(mut self) -> io::Result<W> {
        let index = serde_json::to_vec(&self.index)?;
        self.file(INDEX_FILE, &index)?;
        self.out.write_all(&[0; UNIT * 2])?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// A file in the oldest form of tar, which everybody reads. Owner and time are fixed: the same plugins make the same
    /// bundle.
    fn file(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut head = [0_u8; UNIT];
        let mut put = |at: usize, text: &str| {
            for (place, byte) in head.iter_mut().skip(at).zip(text.bytes()) {
                *place = byte;
            }
        };
        put(0, name);
        put(100, "0000644\0");
        put(108, "0000000\0");
        put(116, "0000000\0");
        put(124, &format!("{:011o}\0", bytes.len()));
        put(136, "00000000000\0");
        put(148, "        ");
        put(156, "0");
        put(257, "ustar\x0000");
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        for (place, byte) in head
            .iter_mut()
            .skip(148)
            .zip(format!("{sum:06o}\0 ").bytes())
        {
            *place = byte;
        }
        self.out.write_all(&head)?;
        self.out.write_all(bytes)?;
        let padding = bytes.len().next_multiple_of(UNIT) - bytes.len();
        self.out.write_all(&[0; UNIT][..padding])
    }
}

/// Reads a bundle. Nothing of it is unpacked.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: File,
    /// Where blobs are, as (offset, bytes).
    blobs: BTreeMap<String, (u64, u64)>,
    index: Index,
}

impl Reader {
    /// Notes where everything is. Blocks.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        let failed = |source| ArchiveError::Io {
            path: path.to_owned(),
            source,
        };
        let no_bundle = |why: &str| ArchiveError::NoBundle {
            path: path.to_owned(),
            why: why.to_owned(),
        };
        let mut file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let (mut at, mut blobs, mut index, mut is_layout) = (0_u64, BTreeMap::new(), None, false);
        for count in 0.. {
            if count > MAX_FILES {
                return Err(no_bundle("it has too many files"));
            }
            let mut head = [0_u8; UNIT];
            if at + UNIT as u64 > length {
                break;
            }
            file.seek(SeekFrom::Start(at)).map_err(failed)?;
            file.read_exact(&mut head).map_err(failed)?;
            if head.iter().all(|byte| *byte == 0) {
                break;
            }
            let entry = entry(&head).map_err(|why| no_bundle(&why))?;
            let begins = at + UNIT as u64;
            let ends = begins.checked_add(entry.size).filter(|end| *end <= length);
            let ends = ends.ok_or_else(|| no_bundle("it ends in the middle of a file"))?;
            match entry.name.as_str() {
                _ if !entry.is_file => {}
                LAYOUT => is_layout = true,
                INDEX_FILE if entry.size > MAX_MANIFEST => {
                    return Err(no_bundle("its index is too large"));
                }
                INDEX_FILE => index = Some((begins, entry.size)),
                name => {
                    let hex = name.strip_prefix(BLOBS).unwrap_or_default();
                    let digest = format!("sha256:{hex}");
                    if is_digest(&digest) {
                        blobs.insert(digest, (begins, entry.size));
                    }
                }
            }
            at = ends.next_multiple_of(UNIT as u64);
        }
        if !is_layout {
            return Err(no_bundle("it is no OCI image layout"));
        }
        let (begins, size) = index.ok_or_else(|| no_bundle("it has no index"))?;
        let bytes = read_at(&mut file, begins, size).map_err(failed)?;
        let index = serde_json::from_slice(&bytes)
            .map_err(|error| no_bundle(&format!("its index cannot be read: {error}")))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            blobs,
            index,
        })
    }

    /// What is in it.
    pub fn manifests(&self) -> &[Descriptor] {
        &self.index.manifests
    }

    /// A blob, held against its digest. Blocks.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn blob(&mut self, expected: &str, limit: u64) -> Result<Vec<u8>, ArchiveError> {
        let Some((begins, size)) = self.blobs.get(expected).copied() else {
            return Err(ArchiveError::Missing {
                path: self.path.clone(),
                digest: expected.to_owned(),
            });
        };
        if size > limit {
            return Err(ArchiveError::TooLarge {
                path: self.path.clone(),
                digest: expected.to_owned(),
                size,
                limit,
            });
        }
        let bytes = read_at(&mut self.file, begins, size).map_err(|source| ArchiveError::Io {
            path: self.path.clone(),
            source,
        })?;
        let found = digest(&bytes);
        if found == expected {
            Ok(bytes)
        } else {
            Err(ArchiveError::Digest {
                path: self.path.clone(),
                expected: expected.to_owned(),
                found,
            })
        }
    }

    /// What belongs to a manifest: manifests in it that name it as their subject.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn referrers(&mut self, subject: &str) -> Result<Vec<oci::ImageManifest>, ArchiveError> {
        let all: Vec<String> = self
            .manifests()
            .iter()
            .filter(|one| one.media_type == oci::MANIFEST)
            .map(|one| one.digest.clone())
            .collect();
        let mut found = Vec::new();
        for digest in all {
            let bytes = self.blob(&digest, MAX_MANIFEST)?;
            if let Ok(manifest) = serde_json::from_slice::<oci::ImageManifest>(&bytes)
                && manifest
                    .subject
                    .as_ref()
                    .is_some_and(|of| of.digest == subject)
            {
                found.push(manifest);
            }
        }
        Ok(found)
    }
}

fn read_at(file: &mut File, begins: u64, size: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(begins))?;
    let mut bytes = Vec::new();
    file.take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

struct Entry {
    name: String,
    size: u64,
    is_file: bool,
}

fn entry(head: &[u8; UNIT]) -> Result<Entry, String> {
    let text = |from: usize, length: usize| {
        let field = head.get(from..from + length).unwrap_or_default();
        let field = field.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(field).trim().to_owned()
    };
    let number = |from, length| u64::from_str_radix(&text(from, length), 8).ok();
    let sum = head.iter().enumerate().map(|(at, byte)| match at {
        148..156 => u64::from(b' '),
        _ => u64::from(*byte),
    });
    if number(148, 8) != Some(sum.sum()) {
        let gzip = head.starts_with(&[0x1F, 0x8B]);
        return Err(if gzip {
            "it is compressed: `gunzip` it first".to_owned()
        } else {
            "it is no tar archive".to_owned()
        });
    }
    // Larger than eight octal digits can say is larger than anything in a bundle.
    let size = number(124, 12).ok_or_else(|| "a file in it has no size".to_owned())?;
    let name = text(0, 100);
    let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
    let kind = head.get(156).copied().unwrap_or_default();
    Ok(Entry {
        name,
        size,
        is_file: matches!(kind, b'0' | 0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(dir: &Path) -> PathBuf {
        let mut writer = Writer::new(Vec::new()).unwrap();
        writer.blob(b"one").unwrap();
        writer.blob(b"one").unwrap();
        writer
            .manifest(Descriptor::of(oci::MANIFEST, b"{}"), b"{}")
            .unwrap();
        let path = dir.join("bundle.tar");
        std::fs::write(&path, writer.finish().unwrap()).unwrap();
        path
    }

    #[test]
    fn what_is_written_is_read_and_other_tools_can() {
        let dir = tempfile::tempdir().unwrap();
        let path = bundle(dir.path());
        let mut reader = Reader::open(&path).unwrap();
        assert_eq!(reader.manifests().len(), 1);
        assert_eq!(reader.blob(&digest(b"one"), 3).unwrap(), b"one");
        let listed = std::process::Command::new("tar")
            .arg("-tf")
            .arg(&path)
            .output()
            .unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert_eq!(listed.lines().count(), 4, "{listed}");
        assert!(listed.contains("index.json"), "{listed}");
        let error = |result: Result<Vec<u8>, ArchiveError>| result.unwrap_err().to_string();
        assert!(error(reader.blob(&digest(b"one"), 2)).contains("has 3 bytes, and 2 are allowed"));
        assert!(error(reader.blob(&digest(b"two"), 2)).contains("is not whole"));
    }

    #[test]
    fn what_is_no_bundle_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let path = bundle(dir.path());
        let bytes = std::fs::read(&path).unwrap();
        let told = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            match Reader::open(&path) {
                Ok(mut reader) => reader.blob(&digest(b"one"), 99).unwrap_err().to_string(),
                Err(error) => error.to_string(),
            }
        };
        let at = bytes.windows(3).position(|part| part == b"one").unwrap();
        let mut tampered = bytes.clone();
        tampered[at] = b'x';
        assert!(told(&tampered).contains("was tampered with"));
        assert!(told(&bytes[..=at]).contains("ends in the middle of a file"));
        assert!(told(b"").contains("no OCI image layout"));
        assert!(told(&[0x1F; 600]).contains("no tar archive"));
        let mut zipped = vec![0_u8; 600];
        zipped[..2].copy_from_slice(&[0x1F, 0x8B]);
        assert!(told(&zipped).contains("gunzip"));
        // It says that a file has more bytes than there are.
        let mut endless = bytes.clone();
        endless[124..135].copy_from_slice(b"77777777777");
        let sum: u32 = endless[..UNIT]
            .iter()
            .enumerate()
            .map(|(at, byte)| {
                if (148..156).contains(&at) {
                    32
                } else {
                    u32::from(*byte)
                }
            })
            .sum();
        endless[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert!(told(&endless).contains("ends in the middle of a file"));
    }
}
