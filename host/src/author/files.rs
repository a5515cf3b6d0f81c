//! Files of the repository that are in the program, and how they become files of a project.

use std::{borrow::Cow, fs, io::Write as _, path::Path};

use super::error::AuthorError;
use crate::catalogue::Kind;

/// One file of a new project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where it is in the project.
    pub path: String,
    /// Its content, before its placeholders are filled in.
    pub text: Cow<'static, str>,
    /// Whether it has placeholders.
    pub is_template: bool,
}

impl File {
    /// A file with placeholders.
    pub fn template(path: &str, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            path: path.to_owned(),
            text: text.into(),
            is_template: true,
        }
    }

    /// A file that is the same in every project.
    pub fn fixed(path: impl Into<String>, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
            is_template: false,
        }
    }
}

/// What a project is called.
#[derive(Debug, Clone)]
pub struct Names {
    /// As in flow files: `tidy-price`.
    pub name: String,
    /// What it is in a flow.
    pub kind: Kind,
}

impl Names {
    /// As a type: `TidyPrice`.
    pub fn as_type(&self) -> String {
        let words = self.name.split('-').filter(|word| !word.is_empty());
        words
            .map(|word| word[..1].to_ascii_uppercase() + &word[1..])
            .collect()
    }

    /// As an identifier: `tidy_price`.
    pub fn as_snake(&self) -> String {
        self.name.replace('-', "_")
    }

    /// Fills in the placeholders of every template.
    pub fn fill(&self, text: &str) -> String {
        text.replace("{{name}}", &self.name)
            .replace("{{Type}}", &self.as_type())
            .replace("{{snake}}", &self.as_snake())
            .replace("{{kind}}", self.kind.as_str())
    }
}

/// Writes a new file, with its folders.
pub(super) fn write_new(path: &Path, text: &str) -> Result<(), AuthorError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(AuthorError::io(folder))?;
    }
    let file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(AuthorError::io(path))
}

/// The files of a folder of the repository, as pairs of their path in it and their content:
/// `embedded!("guest-sdk/rust": "src/lib.rs", "README.md")`.
macro_rules! embedded {
    ($root:literal: $($path:literal),* $(,)?) => {
        [$((
            $path,
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../", $root, "/", $path)),
        )),*]
    };
}
pub(super) use embedded;
