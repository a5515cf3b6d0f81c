//! Connection files to connections.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{Connection, Connections, auth::Problem, spec::ConnectionSpec};
use crate::flow::{Document, Finding, Location, Variables, document};

/// What findings' codes start with.
const AREA: &str = "connection";

/// Fields whose value is never shown.
const SECRET_FIELDS: [&str; 4] = ["password", "client-secret", "token", "value"];

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
    /// Loads every `*.yaml` of a folder. A folder that is not there has none.
    ///
    /// # Errors
    /// Everything that is wrong with any of the files.
    pub fn load(folder: &Path, variables: &Variables) -> Result<Self, ConnectionError> {
        Self::load_some(folder, variables, None)
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
    ) -> Result<Self, ConnectionError> {
        // Asked for in several places, it is missing in the first.
        let mut places = BTreeMap::new();
        for (name, place) in names {
            places.entry(name).or_insert(place);
        }
        Self::load_some(folder, variables, Some(&places))
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
            let pem = spec.ca_file.as_deref().map(read_pem).transpose();
            let made = match pem {
                Ok(pem) => Connection::new(&spec, &place, pem.as_deref()),
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
                    let stem = file
                        .file_stem()
                        .and_then(|stem| stem.to_str())
                        .unwrap_or_default();
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
                let message = format!(
                    "the connection `{name}` is defined in {} already",
                    first.display()
                );
                let at = document.locate("/connection");
                findings.push(
                    Finding::error("connection.duplicate", message)
                        .at(at)
                        .advice("rename one of them"),
                );
            }
            match define(&mut document, &file) {
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
            let known: Vec<&str> = seen.iter().map(String::as_str).collect();
            let message = format!("there is no connection `{name}` in {}", folder.display());
            let mut advice = document::suggestion(name, "known connections", &known);
            if advice.is_empty() {
                advice = format!("write {}", folder.join(format!("{name}.yaml")).display());
            }
            // A file that cannot be read explains it better.
            if findings.is_empty() {
                let missing = Finding::error("connection.missing", message);
                findings.push(missing.at(place.clone()).advice(advice));
            }
        }
        if findings.is_empty() {
            Ok(connections)
        } else {
            Err(ConnectionError { findings })
        }
    }
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
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(file: &Path, variables: &Variables) -> Result<Document, Vec<Finding>> {
    Document::parse(AREA, &document::read(AREA, file)?, file, variables)
}

fn define(document: &mut Document, file: &Path) -> Result<Connection, Vec<Finding>> {
    let spec: ConnectionSpec = document
        .decode()
        .map_err(|findings| discreet(findings, document))?;
    let pem = match &spec.ca_file {
        Some(ca_file) => {
            let folder = file.parent().unwrap_or(Path::new(""));
            Some(read_pem(&folder.join(ca_file)).map_err(|problem| vec![at(document, problem)])?)
        }
        None => None,
    };
    Connection::new(&spec, &file.display().to_string(), pem.as_deref()).map_err(|problems| {
        problems
            .into_iter()
            .map(|problem| at(document, problem))
            .collect()
    })
}

fn read_pem(path: &Path) -> Result<Vec<u8>, Problem> {
    fs::read(path).map_err(|error| {
        (
            "/ca-file",
            format!("{} cannot be read: {error}", path.display()),
            String::new(),
        )
    })
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
    let hide = |finding: Finding| match &finding.location {
        Some(place) if finding.code.ends_with("wrong-type") && places.contains(place) => {
            Finding::error(
                finding.code,
                "this secret must be a text (what is there is not shown)",
            )
            .at(place.clone())
            .advice("put it in quotes, or take it from a variable: ${NAME}")
        }
        _ => finding,
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
