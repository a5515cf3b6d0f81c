//! `crossdock plugin new`: a complete project, to be changed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    contract,
    error::AuthorError,
    files::{File, Names, embedded, write_new},
    language::Language,
};
use crate::catalogue::{Kind, Manifest};

/// What projects in all languages have: manifests and sample flows by kind, and the README.
const SHARED: [(&str, &str); 10] = embedded!(
    "guest-sdk/template":
    "README.md",
    "source/plugin.json",
    "source/flow.yaml",
    "source/conformance.yaml",
    "transformer/plugin.json",
    "transformer/flow.yaml",
    "transformer/conformance.yaml",
    "sink/plugin.json",
    "sink/flow.yaml",
    "sink/conformance.yaml",
);

/// A project that was made.
#[derive(Debug, Clone, Serialize)]
pub struct Created {
    /// Its folder.
    pub folder: PathBuf,
    /// What it is in a flow.
    pub kind: Kind,
    /// The language, for people.
    pub language: &'static str,
    /// Every file, relative to the folder.
    pub files: Vec<String>,
    /// What comes next, as typed in a shell.
    pub next: Vec<String>,
}

/// Writes a project into a new folder of its name.
///
/// # Errors
/// When the name cannot be used, the folder is there already, or cannot be written.
pub fn create(
    parent: &Path,
    name: &str,
    kind: Kind,
    language: &'static dyn Language,
) -> Result<Created, AuthorError> {
    let names = Names {
        name: checked(name)?,
        kind,
    };
    let folder = parent.join(name);
    if folder.exists() {
        return Err(AuthorError::Exists(folder));
    }
    let mut files = shared(&names, language);
    files.extend(language.files(&names));
    // Before anything is written: a template that is wrong would be our fault, not the author's.
    let mut written = Vec::new();
    for file in files {
        let text = if file.is_template {
            names.fill(&file.text)
        } else {
            file.text.into_owned()
        };
        write_new(&folder.join(&file.path), &text)?;
        written.push(file.path);
    }
    written.sort();
    Ok(Created {
        folder,
        kind,
        language: language.title(),
        files: written,
        next: commands(name, language),
    })
}

/// What an author types after `new`.
fn commands(name: &str, language: &dyn Language) -> Vec<String> {
    vec![
        format!("cd {name}"),
        language.test_command().to_owned(),
        "crossdock plugin build".to_owned(),
        "crossdock plugin test".to_owned(),
    ]
}

/// A name that flow files, packages and types can be made of.
fn checked(name: &str) -> Result<String, AuthorError> {
    let usable = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let starts = name.starts_with(|first: char| first.is_ascii_lowercase());
    let ends = !name.ends_with('-') && !name.contains("--");
    if starts && ends && name.len() <= 64 && name.bytes().all(usable) {
        Ok(name.to_owned())
    } else {
        Err(AuthorError::Name(name.to_owned()))
    }
}

fn shared_text(path: &str) -> &'static str {
    SHARED
        .iter()
        .find(|(known, _)| *known == path)
        .map_or("", |(_, text)| text)
}

fn shared(names: &Names, language: &dyn Language) -> Vec<File> {
    let of_kind = |file: &str| shared_text(&format!("{}/{file}", names.kind));
    let manifest = of_kind("plugin.json");
    let mut files = vec![
        File::template("plugin.json", manifest),
        File::template("README.md", readme(names, language)),
        File::fixed("conformance.yaml", of_kind("conformance.yaml")),
    ];
    for (file, text) in contract::FILES {
        files.push(File::fixed(format!("{}/{file}", contract::FOLDER), text));
    }
    files
}

fn readme(names: &Names, language: &dyn Language) -> String {
    let kind = names.kind;
    let about = Manifest::parse(
        names
            .fill(shared_text(&format!("{kind}/plugin.json")))
            .as_bytes(),
    )
    .map(|manifest| manifest.description)
    .unwrap_or_default();
    let rows: Vec<String> = language
        .layout()
        .iter()
        .map(|(path, what)| format!("| `{path}` | {what} |"))
        .collect();
    let commands: Vec<String> = commands(&names.name, language).split_off(1);
    shared_text("README.md")
        .replace("{{title}}", language.title())
        .replace("{{about}}", &about)
        .replace("{{layout}}", &rows.join("\n"))
        .replace("{{tools}}", language.needs())
        .replace("{{commands}}", &commands.join("\n"))
        .replace(
            "{{flow}}",
            shared_text(&format!("{kind}/flow.yaml")).trim_end(),
        )
}

/// The manifest of a project, checked: also whether its config schemas are schemas.
pub(super) fn manifest(project: &Path) -> Result<(Manifest, Vec<u8>), AuthorError> {
    let path = project.join("plugin.json");
    if !path.is_file() {
        return Err(AuthorError::NoProject(project.to_owned()));
    }
    let text = fs::read(&path).map_err(AuthorError::io(&path))?;
    let manifest = Manifest::parse(&text).map_err(|source| AuthorError::Manifest {
        path: path.clone(),
        source,
    })?;
    for (&kind, spec) in &manifest.kinds {
        if let Err(message) = crate::catalogue::check_schema(&spec.config) {
            return Err(AuthorError::Schema {
                path,
                kind,
                message,
            });
        }
    }
    Ok((manifest, text))
}
