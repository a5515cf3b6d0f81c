//! What a file is: component or not, contract version, kinds, imports, manifest. Read from its bytes; nothing runs.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use semver::Version;
use serde::Serialize;
use sha2::{Digest, Sha256};
use wasmparser::{ComponentExternalKind, KnownCustom, Parser, Payload};

use super::manifest::{self, Kind, Manifest, ManifestError};

/// The package of the contract, as it appears in import and export names.
const CONTRACT: &str = "crossdock:plugin";
/// Interfaces of the contract that a plugin may import.
const CONTRACT_IMPORTS: [&str; 7] = [
    "plugin-types",
    "log",
    "metrics",
    "tables",
    "http-client",
    "clock",
    "random",
];

/// A larger component is refused, in bytes: those of interpreted languages have up to about half of it.
pub const MAX_COMPONENT: u64 = 64 << 20;

/// Why a file is no plugin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// No WebAssembly.
    #[error("this is no WebAssembly file: {0}")]
    NotWasm(&'static str),
    /// A core module.
    #[error(
        "this is a WebAssembly core module, not a component: build it for `wasm32-wasip2`, or turn it into a \
         component with the tool of its language"
    )]
    CoreModule,
    /// Larger than [`MAX_COMPONENT`].
    #[error("the file is larger than {} MiB, which is the most that a component may have", MAX_COMPONENT >> 20)]
    TooLarge,
    /// Damaged.
    #[error("the component is damaged at byte {offset}: {message}")]
    Malformed {
        /// Where.
        offset: u64,
        /// What was found.
        message: String,
    },
}

/// What an import is for, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImportGroup {
    /// The contract: log, tables, http-client and so on.
    Contract,
    /// Standard streams, arguments, environment, exit: every standard library imports them; all are empty.
    Baseline,
    /// Time.
    Clocks,
    /// Random numbers.
    Random,
    /// Files: only granted folders are there.
    Files,
    /// Raw sockets: granted hosts and ports only.
    Sockets,
    /// `wasi:http`: granted URLs only.
    Http,
    /// Nothing that this host knows.
    Unknown,
}

impl ImportGroup {
    /// What it means for the operator.
    pub fn words(self) -> &'static str {
        match self {
            Self::Contract => "crossdock contract",
            Self::Baseline => "standard streams, arguments and environment (all empty)",
            Self::Clocks => "time",
            Self::Random => "random numbers",
            Self::Files => "files (granted folders only)",
            Self::Sockets => "raw TCP connections (granted hosts and ports only)",
            Self::Http => "HTTP with streaming bodies (granted URLs only)",
            Self::Unknown => "unknown to this host",
        }
    }

    fn of(package: &str, interface: &str) -> Self {
        match (package, interface) {
            (CONTRACT, name) if CONTRACT_IMPORTS.contains(&name) => Self::Contract,
            ("wasi:io" | "wasi:cli", _) => Self::Baseline,
            ("wasi:clocks", _) => Self::Clocks,
            ("wasi:random", _) => Self::Random,
            ("wasi:filesystem", _) => Self::Files,
            ("wasi:sockets", _) => Self::Sockets,
            ("wasi:http", "types" | "outgoing-handler") => Self::Http,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for ImportGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// One import of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Import {
    /// As in the component: `wasi:io/streams@0.2.6`.
    pub name: String,
    /// What it is for.
    pub group: ImportGroup,
}

/// What a component says of itself and shows from the outside.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// `sha256:…` of the file.
    pub digest: String,
    /// Bytes of the file.
    pub size: u64,
    /// Versions of the contract that it is built for, from its exports. More than one only in a hand-made component.
    pub contracts: Vec<Version>,
    /// What it can be in a flow, from its exports.
    pub kinds: Vec<Kind>,
    /// What it says of itself.
    pub manifest: Option<Manifest>,
    /// Why its manifest cannot be used.
    #[serde(serialize_with = "as_text", skip_serializing_if = "Option::is_none")]
    pub manifest_error: Option<ManifestError>,
    /// All exports.
    pub exports: Vec<String>,
    /// All imports.
    pub imports: Vec<Import>,
    /// What made it: language, compiler, tools with versions.
    pub producers: Vec<String>,
}

#[allow(clippy::ref_option, reason = "serde calls it with the field")]
fn as_text<S: serde::Serializer>(
    error: &Option<ManifestError>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match error {
        Some(error) => serializer.collect_str(error),
        None => serializer.serialize_none(),
    }
}

impl Inspection {
    /// Whether it exports this kind.
    pub fn is(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }

    /// The version of the contract, when it is built for exactly one.
    pub fn contract(&self) -> Option<&Version> {
        match self.contracts.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }

    /// What it can reach if granted, each thing once, in words.
    pub fn reach(&self) -> Vec<ImportGroup> {
        let mut groups: Vec<_> = self.imports.iter().map(|import| import.group).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// Whether it can see nothing but its config, its snapshot and its input: no time, random numbers, tables, files or
    /// other systems. Then the same input gives the same output.
    pub fn sees_only_its_input(&self) -> bool {
        let blind = |name: &str| {
            let name = name.split('@').next().unwrap_or(name);
            ["log", "metrics", "plugin-types"].iter().any(|one| {
                name.strip_prefix(CONTRACT)
                    .is_some_and(|rest| rest.trim_start_matches('/') == *one)
            })
        };
        self.imports.iter().all(|import| match import.group {
            ImportGroup::Baseline => true,
            ImportGroup::Contract => blind(&import.name),
            _ => false,
        })
    }

    /// Imports that no crossdock host of this version has.
    pub fn unknown_imports(&self) -> impl Iterator<Item = &str> {
        self.imports
            .iter()
            .filter(|import| import.group == ImportGroup::Unknown)
            .map(|import| import.name.as_str())
    }

    /// What is odd about it, as sentences for `inspect` and `check`. Empty when all is well.
    pub fn findings(&self) -> Vec<String> {
        let mut findings = Vec::new();
        if self.kinds.is_empty() {
            findings.push(format!(
                "it exports no `{CONTRACT}/source`, `transformer` or `sink`: it is no plugin"
            ));
        }
        match (&self.manifest, &self.manifest_error) {
            (_, Some(error)) => findings.push(error.to_string()),
            (None, None) => findings.push(
                "it carries no manifest: its config cannot be checked and nothing is known of its permissions".to_owned(),
            ),
            (Some(manifest), None) => {
                for kind in Kind::ALL {
                    match (manifest.kind(kind).is_some(), self.is(kind)) {
                        (true, false) => {
                            findings.push(format!("the manifest promises a {kind} that is not exported"));
                        }
                        (false, true) => findings.push(format!("it exports a {kind} that the manifest leaves out")),
                        _ => {}
                    }
                }
            }
        }
        findings.extend(
            self.unknown_imports()
                .map(|name| format!("it imports `{name}`, which no host offers")),
        );
        findings
    }
}

/// `sha256:…` of bytes.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// Reads a component's file, not much further than a component may be large: `inspect` refuses what is longer.
///
/// # Errors
/// What the system says.
pub fn read_component(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_COMPONENT + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads what a file is.
///
/// # Errors
/// When it is no component, or a damaged one. A component that is no plugin is no error here: see
/// [`Inspection::findings`].
pub fn inspect(bytes: &[u8]) -> Result<Inspection, InspectError> {
    if bytes.is_empty() {
        return Err(InspectError::NotWasm("it is empty"));
    }
    if bytes.len() as u64 > MAX_COMPONENT {
        return Err(InspectError::TooLarge);
    }
    if Parser::is_core_wasm(bytes) {
        return Err(InspectError::CoreModule);
    }
    if !Parser::is_component(bytes) {
        return Err(InspectError::NotWasm(if bytes.starts_with(b"\0asm") {
            "its version is not one that this host reads"
        } else if bytes.starts_with(b"(") {
            "it looks like the text format; compile it first"
        } else {
            "it does not start with the bytes of a WebAssembly file"
        }));
    }
    let mut reader = Reader::default();
    reader
        .read(bytes)
        .map_err(|error| InspectError::Malformed {
            offset: error.offset(),
            message: error.message().to_owned(),
        })?;
    Ok(reader.finish(bytes))
}

#[derive(Default)]
struct Reader<'a> {
    exports: Vec<String>,
    imports: Vec<Import>,
    manifest: Option<&'a [u8]>,
    producers: Vec<String>,
}

impl<'a> Reader<'a> {
    fn read(&mut self, bytes: &'a [u8]) -> Result<(), wasmparser::BinaryReaderError> {
        // `parse_all` walks into nested modules and components; only those at the top are our imports and exports.
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        let name = import?.name.name;
                        let (package, interface, _) = split(name);
                        let group = ImportGroup::of(package, interface);
                        self.imports.push(Import {
                            name: name.to_owned(),
                            group,
                        });
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        let export = export?;
                        if matches!(
                            export.kind,
                            ComponentExternalKind::Instance | ComponentExternalKind::Func
                        ) {
                            self.exports.push(export.name.name.to_owned());
                        }
                    }
                }
                Payload::CustomSection(section) => {
                    if section.name() == manifest::SECTION {
                        self.manifest.get_or_insert(section.data());
                    } else if let KnownCustom::Producers(producers) = section.as_known() {
                        self.note(producers);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Tools are shown when they can be read; a damaged section of them is nobody's problem.
    fn note(&mut self, producers: wasmparser::ProducersSectionReader<'a>) {
        for field in producers.into_iter().flatten() {
            for value in field.values.into_iter().flatten() {
                let text = format!("{} {}", value.name, value.version);
                let text = text.trim_end().to_owned();
                if self.producers.len() < 32 && !self.producers.contains(&text) {
                    self.producers.push(text);
                }
            }
        }
    }

    fn finish(self, bytes: &[u8]) -> Inspection {
        let (manifest, manifest_error) = match self.manifest.map(Manifest::parse) {
            None => (None, None),
            Some(Ok(manifest)) => (Some(manifest), None),
            Some(Err(error)) => (None, Some(error)),
        };
        let mut kinds = Vec::new();
        let mut contracts = Vec::new();
        for export in &self.exports {
            if let (CONTRACT, interface, version) = split(export)
                && let Ok(kind) = interface.parse::<Kind>()
                && let Some(version) = version
            {
                kinds.push(kind);
                contracts.push(version);
            }
        }
        kinds.sort_unstable();
        kinds.dedup();
        contracts.sort_unstable();
        contracts.dedup();
        Inspection {
            digest: digest(bytes),
            size: bytes.len() as u64,
            contracts,
            kinds,
            manifest,
            manifest_error,
            exports: self.exports,
            imports: self.imports,
            producers: self.producers,
        }
    }
}

/// `wasi:io/streams@0.2.6` → `wasi:io`, `streams`, 0.2.6.
fn split(name: &str) -> (&str, &str, Option<Version>) {
    let (name, version) = match name.split_once('@') {
        Some((name, version)) => (name, Version::parse(version).ok()),
        None => (name, None),
    };
    let (package, interface) = name.split_once('/').unwrap_or((name, ""));
    (package, interface, version)
}
