//! Connection files to connections.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fmt, fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    Connection, Connections, Secrets, auth::Problem, secret::is_telling, secrets::MAX_VALUE,
    spec::ConnectionSpec,
};
use crate::flow::{Document, Finding, Location, Variables, document};

/// What findings' codes start with.
const AREA: &str = "connection";

/// Fields whose value is never shown.
const SECRET_FIELDS: [&str; 5] = ["password", "client-secret", "token", "value", "key"];

/// Connections are wrong: each finding says where and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionError {
    /// At least one, in the order of files and lines.
    pub findings: Vec<Finding>,
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, finding) in self.findings.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            finding.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConnectionError {}

impl Connections {
    /// Loads every `*.yaml` of a folder. A folder that is not there has none. `{ secret: NAME }` is one of `secrets`.
    ///
    /// # Errors
    /// Everything that is wrong with any of the files.
    pub fn load(
        folder: &Path,
        variables: &Variables,
        secrets: &Secrets,
    ) -> Result<Self, ConnectionError> {
        Self::load_some(folder, variables, secrets, None)
    }

    /// Loads the named connections of a folder, each with the place that asks for it. What is wrong with others is not
    /// looked at: a flow needs no variables of connections that it does not use.
    ///
    /// # Errors
    /// Everything that is wrong with any of their files, and a name that no file has.
    pub fn load_named<'a>(
        folder: &Path,
        names: impl IntoIterator<Item = (&'a str, Option<Location>)>,
        variables: &Variables,
        secrets: &Secrets,
    ) -> Result<Self, ConnectionError> {
        // Asked for in several places, it is missing in the first.
        let mut places = BTreeMap::new();
        for (name, place) in names {
            places.entry(name).or_insert(place);
        }
        Self::load_some(folder, variables, secrets, Some(&places))
    }

    /// Connections from definitions that stand in no file.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn from_specs(
        specs: impl IntoIterator<Item = ConnectionSpec>,
    ) -> Result<Self, ConnectionError> {
        let (mut connections, mut findings) = (Self::default(), Vec::new());
        for spec in specs {
            let place = format!("connection `{}`", spec.connection);
            let made = match Beside::read(&spec, Path::new("")) {
                Ok(beside) => Connection::new(&spec, &place, &beside),
                Err(problem) => Err(vec![problem]),
            };
            match made {
                Ok(connection) => {
                    if connections
                        .by_name
                        .insert(spec.connection.clone(), connection)
                        .is_some()
                    {
                        let message = format!("there are two connections `{}`", spec.connection);
                        findings.push(Finding::error("connection.duplicate", message));
                    }
                }
                Err(problems) => {
                    findings.extend(problems.into_iter().map(|(pointer, message, advice)| {
                        let field = pointer.trim_start_matches('/').replace('/', ".");
                        let message = format!("{place}: `{field}` {message}");
                        Finding::error("connection.wrong-value", message).advice(advice)
                    }));
                }
            }
        }
        if findings.is_empty() {
            Ok(connections)
        } else {
            Err(ConnectionError { findings })
        }
    }

    fn load_some(
        folder: &Path,
        variables: &Variables,
        secrets: &Secrets,
        names: Option<&BTreeMap<&str, Option<Location>>>,
    ) -> Result<Self, ConnectionError> {
        let mut findings = Vec::new();
        let files = files(folder).map_err(|finding| ConnectionError {
            findings: vec![finding],
        })?;
        let mut connections = Self::default();
        let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
        let mut seen = Vec::new();
        for file in files {
            let mut document = match read(&file, variables) {
                Ok(document) => document,
                Err(wrong) => {
                    // Its name cannot be known, unless it is that of the file.
                    let stem = file.file_stem().and_then(OsStr::to_str);
                    let stem = stem.unwrap_or_default();
                    if names.is_none_or(|names| names.contains_key(stem)) {
                        findings.extend(wrong);
                    }
                    continue;
                }
            };
            let name = document
                .value()
                .get("connection")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            seen.push(name.clone());
            if names.is_some_and(|names| !names.contains_key(name.as_str())) {
                continue;
            }
            if !name.is_empty()
                && let Some(first) = found.insert(name.clone(), file.clone())
            {
                let twice = defined_twice(&name, &first);
                findings.push(twice.at(document.locate("/connection")));
            }
            match define(&mut document, &file, secrets) {
                Ok(connection) => {
                    connections.by_name.insert(name, connection);
                }
                Err(wrong) => findings.extend(wrong),
            }
        }
        for (name, place) in names
            .into_iter()
            .flatten()
            .filter(|(name, _)| !found.contains_key(**name))
        {
            // A file that cannot be read explains it better.
            if findings.is_empty() {
                findings.push(missing(folder, name, &seen).at(place.clone()));
            }
        }
        if findings.is_empty() {
            Ok(connections)
        } else {
            Err(ConnectionError { findings })
        }
    }
}

fn defined_twice(name: &str, first: &Path) -> Finding {
    let message = format!(
        "the connection `{name}` is defined in {} already",
        first.display()
    );
    Finding::error("connection.duplicate", message).advice("rename one of them")
}

/// A flow names a connection that no file defines; `seen` are those that there are.
fn missing(folder: &Path, name: &str, seen: &[String]) -> Finding {
    let known: Vec<&str> = seen.iter().map(String::as_str).collect();
    let message = format!("there is no connection `{name}` in {}", folder.display());
    let mut advice = document::suggestion(name, "known connections", &known);
    if advice.is_empty() {
        advice = format!("write {}", folder.join(format!("{name}.yaml")).display());
    }
    Finding::error("connection.missing", message).advice(advice)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Finding> {
    let unreadable = |error: std::io::Error| {
        Finding::error(
            "connection.unreadable",
            format!("{} cannot be listed: {error}", folder.display()),
        )
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        if document::is_named(&path) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// A file that a connection is made of, besides its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it holds a secret, and not a certificate, which everybody may see.
    pub is_secret: bool,
}

/// Files that the connections of a folder name: secrets, private keys, certificates. What is wrong with a connection is
/// told when it is used. Blocks.
pub fn key_files(folder: &Path, variables: &Variables) -> Vec<KeyFile> {
    let mut found = Vec::new();
    for file in files(folder).unwrap_or_default() {
        let Ok(document) = read(&file, variables) else {
            continue;
        };
        let value = document.value();
        let mut note = |path: Option<&Value>, is_secret| {
            if let Some(path) = path.and_then(Value::as_str) {
                let path = folder.join(path);
                found.push(KeyFile { path, is_secret });
            }
        };
        note(value.get("ca-file"), false);
        note(value.pointer("/client-certificate/file"), false);
        let mut pointers = Vec::new();
        collect_secrets(value, &mut String::new(), false, &mut pointers);
        for pointer in pointers {
            let named = value.pointer(&pointer);
            note(named.and_then(|named| named.get("file")), true);
        }
    }
    found
}

fn read(file: &Path, variables: &Variables) -> Result<Document, Vec<Finding>> {
    Document::parse(AREA, &document::read(AREA, file)?, file, variables)
}

/// Puts the secrets that are somewhere else into their places. Gives the headers among them.
fn fetch_secrets(document: &mut Document, folder: &Path, secrets: &Secrets) -> Vec<String> {
    let mut headers = Vec::new();
    let mut pointers = Vec::new();
    collect_secrets(document.value(), &mut String::new(), false, &mut pointers);
    for pointer in pointers {
        let Some(Value::Object(fields)) = document.value().pointer(&pointer) else {
            continue;
        };
        // What has another shape is a finding of the schema.
        let mut fields = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let found = match (fields.next(), fields.next()) {
            (Some(("secret", Some(name))), None) => secrets
                .get(name)
                .map(|secret| secret.expose().to_owned())
                .map_err(|error| {
                    Finding::error("connection.secret", error.to_string()).advice(error.advice())
                }),
            (Some(("file", Some(path))), None) => secret_file(&folder.join(path)),
            _ => continue,
        };
        // Every one of its letters is plain: no name of a header has `/` or `~`.
        headers.extend(
            pointer
                .strip_prefix("/headers/")
                .map(str::to_ascii_lowercase),
        );
        document.put(&pointer, found);
    }
    headers
}

/// The headers that a secret was put into from a variable, as the variable's name says. Others hold what an installation
/// has of its own, the name of a channel, say, which stands in many responses and must stay there.
fn varied_headers(document: &Document) -> impl Iterator<Item = String> {
    document.varied().filter_map(|(pointer, written)| {
        let name = pointer.strip_prefix("/headers/")?;
        let name = name.split('/').next()?.to_ascii_lowercase();
        is_telling(written).then_some(name)
    })
}

/// The text of a file that holds one secret, without the line break that editors leave at its end.
fn secret_file(path: &Path) -> Result<String, Finding> {
    let wrong = |why: &str| {
        let message = format!("{} {why}", path.display());
        Finding::error("connection.secret", message)
    };
    let file = fs::File::open(path).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    let mut text = String::new();
    io::Read::take(file, MAX_VALUE as u64 + 1)
        .read_to_string(&mut text)
        .map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    if text.len() > MAX_VALUE {
        return Err(wrong(&format!(
            "is larger than a secret may be ({MAX_VALUE} bytes)"
        )));
    }
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() {
        return Err(wrong("is empty"));
    }
    Ok(text)
}

fn define(
    document: &mut Document,
    file: &Path,
    secrets: &Secrets,
) -> Result<Connection, Vec<Finding>> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut secret_headers = fetch_secrets(document, folder, secrets);
    secret_headers.extend(varied_headers(document));
    let spec: ConnectionSpec = document
        .decode()
        .map_err(|findings| discreet(findings, document))?;
    let beside = Beside::read(&spec, folder).map_err(|problem| vec![at(document, problem)])?;
    let beside = Beside {
        secret_headers,
        ..beside
    };
    Connection::new(&spec, &file.display().to_string(), &beside).map_err(|problems| {
        problems
            .into_iter()
            .map(|problem| at(document, problem))
            .collect()
    })
}

/// What stands beside a definition: files of certificates, and which headers are secrets.
#[derive(Default)]
pub(super) struct Beside {
    /// Of `ca-file`.
    pub(super) authorities: Option<Vec<u8>>,
    /// Of `client-certificate`.
    pub(super) client: Option<Vec<u8>>,
    /// Headers whose values came from the secret store, a file of their own or a variable.
    pub(super) secret_headers: Vec<String>,
}

impl Beside {
    fn read(spec: &ConnectionSpec, folder: &Path) -> Result<Self, Problem> {
        let read = |pointer: &'static str, file: Option<&PathBuf>| {
            let path = file.map(|file| folder.join(file));
            let bytes = path.as_deref().map(|path| (path, document::bytes(path)));
            bytes.map(|(path, bytes)| {
                let failed = |error| format!("{} cannot be read: {error}", path.display());
                bytes.map_err(|error: io::Error| (pointer, failed(error), String::new()))
            })
        };
        let client = spec.client_certificate.as_ref().map(|client| &client.file);
        Ok(Self {
            authorities: read("/ca-file", spec.ca_file.as_ref()).transpose()?,
            client: read("/client-certificate/file", client).transpose()?,
            secret_headers: Vec::new(),
        })
    }
}

fn at(document: &Document, (pointer, message, advice): Problem) -> Finding {
    let field = pointer.trim_start_matches('/').replace('/', ".");
    Finding::error("connection.wrong-value", format!("`{field}` {message}"))
        .at(document.locate(pointer))
        .advice(advice)
}

/// Findings about a secret say where it is wrong, but not what is there.
fn discreet(findings: Vec<Finding>, document: &Document) -> Vec<Finding> {
    let mut secrets = Vec::new();
    collect_secrets(document.value(), &mut String::new(), false, &mut secrets);
    let places: Vec<_> = secrets
        .iter()
        .filter_map(|pointer| document.locate(pointer))
        .collect();
    let hide = |finding: Finding| {
        match &finding.location {
        Some(place) if finding.code.ends_with("wrong-type") && places.contains(place) => {
            Finding::error(
                finding.code,
                "this secret must be a text (what is there is not shown)",
            )
            .at(place.clone())
            .advice("put it in quotes, take it from a variable: ${NAME}, or from the secret store: { secret: NAME }")
        }
        _ => finding,
    }
    };
    findings.into_iter().map(hide).collect()
}

fn collect_secrets(value: &Value, pointer: &mut String, is_secret: bool, found: &mut Vec<String>) {
    let length = pointer.len();
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                pointer.push('/');
                pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
                let is_header = length == "/headers".len() && pointer.starts_with("/headers/");
                let is_secret = is_secret || is_header || SECRET_FIELDS.contains(&name.as_str());
                collect_secrets(field, pointer, is_secret, found);
                pointer.truncate(length);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                pointer.push('/');
                pointer.push_str(&at.to_string());
                collect_secrets(item, pointer, is_secret, found);
                pointer.truncate(length);
            }
        }
        _ => {}
    }
    if is_secret {
        found.push(pointer.clone());
    }
}
