//! A real registry for tests: Debian's `docker-registry`, with its data in a temporary folder and a port of its own.
//!
//! Where it is not installed and may not be, a test that needs it says so and looks at nothing; in CI that is a failure.

#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a helper of tests fails the test, and people see what was not tested"
)]

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::host::{PATIENCE, target};

mod secure;

pub use secure::IDENTITY;
use secure::{Authority, ISSUER, SERVICE, TokenService};

const PROGRAM: &str = "docker-registry";
/// Media type of a manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of a list of manifests.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A registry that runs, and ends with this.
pub struct TestRegistry {
    child: Child,
    folder: TempDir,
    host: String,
    tokens: Option<TokenService>,
}

/// Who may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// `ann` with the password `secret`.
    Password,
    /// The same, encrypted, with a certificate of an authority of its own.
    Encrypted,
    /// Encrypted, and who has a token of a service: `ann`, who may write, and `bob` (password `reader`), who may not.
    Token,
}

/// `ann:secret`, as `htpasswd -B` writes it.
const HTPASSWD: &str = "ann:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

impl TestRegistry {
    /// Starts one for everybody. `None`: there is none, and that was said.
    pub fn start() -> Option<Self> {
        Self::start_with(Access::Open)
    }

    /// Starts one.
    pub fn start_with(access: Access) -> Option<Self> {
        let program = program()?;
        let folder = tempfile::Builder::new()
            .prefix("crossdock-registry-")
            .tempdir()
            .expect("a temporary folder can be made");
        let path = |name: &str| folder.path().join(name);
        fs::write(path("htpasswd"), HTPASSWD).expect("the folder can be written");
        let mut tokens = None;
        let mut tls = String::new();
        if matches!(access, Access::Encrypted | Access::Token) {
            let authority = Authority::new();
            authority
                .write(folder.path())
                .expect("the folder can be written");
            tls = format!(
                ", tls: {{ certificate: {}, key: {} }}",
                path("server.pem").display(),
                path("server.key").display()
            );
            if access == Access::Token {
                tokens = Some(TokenService::start(authority));
            }
        }
        let auth = match (access, &tokens) {
            (_, Some(tokens)) => format!(
                "auth: {{ token: {{ realm: 'https://127.0.0.1:{}/token', service: {SERVICE}, issuer: {ISSUER}, \
                 rootcertbundle: {} }} }}\n",
                tokens.port,
                path("ca.pem").display()
            ),
            (Access::Open, _) => String::new(),
            _ => format!(
                "auth: {{ htpasswd: {{ realm: test, path: {} }} }}\n",
                path("htpasswd").display()
            ),
        };
        // Port 0 is any that is free; it says which.
        let config = format!(
            "version: 0.1\nlog: {{ level: info, formatter: json }}\nstorage: {{ filesystem: {{ rootdirectory: {} }}, delete: {{ \
             enabled: true }} }}\nhttp: {{ addr: \"127.0.0.1:0\"{tls} }}\n{auth}",
            path("data").display()
        );
        fs::write(path("config.yml"), config).expect("the folder can be written");
        let mut child = Command::new(&program)
            .arg("serve")
            .arg(path("config.yml"))
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let stderr = child.stderr.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                // Nobody may be listening.
                drop(sender.send(line));
            }
        });
        let end = Instant::now() + PATIENCE;
        let mut told = String::new();
        let host = loop {
            let wait = end.saturating_duration_since(Instant::now());
            let line = lines
                .recv_timeout(wait)
                .unwrap_or_else(|error| panic!("the registry never listened ({error}):\n{told}"));
            if let Some((_, rest)) = line.split_once("listening on ") {
                let address = rest.split(['"', ' ', ',']).next().unwrap_or_default();
                break address.to_owned();
            }
            told.push_str(&line);
            told.push('\n');
        };
        Some(Self {
            child,
            folder,
            host,
            tokens,
        })
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The certificate of its authority, when it has one.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The tokens that were asked for, as `WHO SCOPE`.
    pub fn tokens(&self) -> Vec<String> {
        self.tokens
            .as_ref()
            .map(TokenService::asked)
            .unwrap_or_default()
    }

    /// `oci://HOST/NAMESPACE/NAME`.
    pub fn reference(&self, path: &str) -> String {
        format!("oci://{}/{path}", self.host)
    }

    /// The file of a blob, to be tampered with.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let start = hex.get(..2).expect("a digest");
        let blobs = "data/docker/registry/v2/blobs/sha256";
        self.folder
            .path()
            .join(format!("{blobs}/{start}/{hex}/data"))
    }
}

/// An artifact that is put there as any client could.
pub struct RawArtifact<'a> {
    /// Its manifest, as it is sent.
    pub manifest: &'a [u8],
    /// The manifest's media type.
    pub media_type: &'a str,
    /// The blobs that it names.
    pub blobs: &'a [&'a [u8]],
}

impl TestRegistry {
    /// Pushes an artifact under a tag, or a digest, byte by byte as it is given. Gives the digest of its manifest.
    pub fn push(&self, path: &str, tag: &str, artifact: &RawArtifact<'_>) -> String {
        for blob in artifact.blobs {
            let digest = digest(blob);
            let begun = self.request("POST", &format!("/v2/{path}/blobs/uploads/"), "", b"");
            let place = begun
                .lines()
                .find_map(|line| line.strip_prefix("Location: "))
                .unwrap_or_else(|| panic!("no upload begins: {begun}"));
            let place = place
                .trim_start_matches("http://")
                .trim_start_matches(&self.host);
            let separator = if place.contains('?') { '&' } else { '?' };
            let place = format!("{place}{separator}digest={digest}");
            let done = self.request("PUT", &place, "application/octet-stream", blob);
            assert!(done.starts_with("HTTP/1.1 201"), "{done}");
        }
        let place = format!("/v2/{path}/manifests/{tag}");
        let done = self.request("PUT", &place, artifact.media_type, artifact.manifest);
        assert!(done.starts_with("HTTP/1.1 201"), "{done}");
        digest(artifact.manifest)
    }

    /// Attaches a document to a manifest: as a referrer, in front of those that are in the list under the tag for it, as this
    /// registry has no other one.
    pub fn attach(&self, path: &str, manifest: &str, kind: &str, document: &[u8]) {
        let size = fs::metadata(self.blob(manifest))
            .expect("it is there")
            .len();
        let subject = json!({ "mediaType": MANIFEST, "digest": manifest, "size": size });
        let empty = "application/vnd.oci.empty.v1+json";
        let referrer = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind,
            "config": { "mediaType": empty, "digest": digest(b"{}"), "size": 2 },
            "layers": [{ "mediaType": kind, "digest": digest(document), "size": document.len() }],
            "subject": subject,
        })
        .to_string();
        let own = digest(referrer.as_bytes());
        let artifact = RawArtifact {
            manifest: referrer.as_bytes(),
            media_type: MANIFEST,
            blobs: &[b"{}", document],
        };
        self.push(path, &own, &artifact);
        let mut all = vec![json!({
            "mediaType": MANIFEST, "digest": own, "size": referrer.len(), "artifactType": kind,
        })];
        let list = manifest.replace(':', "-");
        if let Some(before) = self.tag(path, &list) {
            let mut before = self.document(&before);
            all.extend(
                before["manifests"]
                    .as_array_mut()
                    .map(std::mem::take)
                    .unwrap_or_default(),
            );
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": all }).to_string();
        let artifact = RawArtifact {
            manifest: index.as_bytes(),
            media_type: INDEX,
            blobs: &[],
        };
        self.push(path, &list, &artifact);
    }

    /// A blob or a manifest that is JSON.
    pub fn document(&self, digest: &str) -> Value {
        let bytes = fs::read(self.blob(digest)).expect("it is there");
        serde_json::from_slice(&bytes).expect("it is JSON")
    }

    /// One request, and the whole answer.
    fn request(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.host).expect("the registry listens");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(body))
            .expect("the registry takes it");
        let mut answer = Vec::new();
        stream
            .read_to_end(&mut answer)
            .expect("the registry answers");
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// `sha256:…` of bytes.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

impl TestRegistry {
    /// The folder of its repositories, to be tampered with.
    pub fn repositories(&self) -> PathBuf {
        self.folder
            .path()
            .join("data/docker/registry/v2/repositories")
    }

    fn tag_file(&self, path: &str, tag: &str) -> PathBuf {
        let tags = self.repositories().join(path).join("_manifests/tags");
        tags.join(tag).join("current/link")
    }

    /// The digest of what is under a tag, if anything.
    pub fn tag(&self, path: &str, tag: &str) -> Option<String> {
        fs::read_to_string(self.tag_file(path, tag)).ok()
    }

    /// Puts something that is in the repository under a tag, as who runs the registry can.
    pub fn retag(&self, path: &str, tag: &str, digest: &str) {
        let file = self.tag_file(path, tag);
        let folder = file.parent().expect("it has one");
        fs::create_dir_all(folder).expect("the folder can be written");
        fs::write(file, digest).expect("the folder can be written");
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        // It may have ended already; a zombie at worst.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The program, installed where it may be.
fn program() -> Option<PathBuf> {
    let find = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .map(|folder| folder.join(PROGRAM))
            .find(|file| file.is_file())
    };
    if let Some(found) = find() {
        return Some(found);
    }
    // One test installs it, the others wait.
    let folder = target().join("it");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    let lock = File::create(folder.join("apt.lock")).expect("the target folder can be written");
    lock.lock().expect("files can be locked");
    if find().is_none() && Path::new("/usr/bin/apt-get").is_file() {
        install();
    }
    let found = find();
    if found.is_none() {
        let why = format!("`{PROGRAM}` is not installed: `apt-get install {PROGRAM}`");
        assert!(std::env::var_os("CI").is_none(), "{why}");
        println!("skipped: {why}");
    }
    found
}

/// Only root may, and without a network it fails; then it is not there.
fn install() {
    for arguments in [
        &["update", "-qq"][..],
        &["install", "-y", "-qq", "--no-install-recommends", PROGRAM],
    ] {
        let done = Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = done else { return };
        let end = Instant::now() + Duration::from_mins(3);
        let (sender, ended) = mpsc::channel();
        let id = child.id();
        std::thread::spawn(move || drop(sender.send(child.wait())));
        if ended
            .recv_timeout(end.saturating_duration_since(Instant::now()))
            .is_err()
        {
            drop(Command::new("kill").arg(id.to_string()).status());
            return;
        }
    }
}
