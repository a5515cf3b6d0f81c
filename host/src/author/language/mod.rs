//! Languages in which plugins are written, one file each. How to add one is said in [`crate::author`].

mod c;
mod go;
mod javascript;
mod python;
mod rust;

use std::path::{Path, PathBuf};

use super::{
    contract,
    error::AuthorError,
    files::{File, Names},
};
use crate::catalogue::{Kind, Manifest};

/// Every language, in the order in which they are shown.
pub const ALL: [&dyn Language; 6] = [
    &rust::Rust,
    &javascript::TYPESCRIPT,
    &javascript::JAVASCRIPT,
    &python::Python,
    &c::C,
    &go::Go,
];

/// What is different from language to language.
pub trait Language: Sync {
    /// What `--lang` takes: `rust`.
    fn id(&self) -> &'static str;

    /// For people: `Rust`.
    fn title(&self) -> &'static str;

    /// The file by which a project is told: `Cargo.toml`, for messages.
    fn marker(&self) -> &'static str;

    /// Whether this folder is a project in this language.
    fn owns(&self, project: &Path) -> bool {
        project.join(self.marker()).is_file()
    }

    /// What a new project has beyond manifest, README and WIT: code, a test, the ignore file, the guest library.
    fn files(&self, names: &Names) -> Vec<File>;

    /// The rows of the README's table about these files: path and what it is.
    fn layout(&self) -> &'static [(&'static str, &'static str)];

    /// What the README says is needed, and how it is installed.
    fn needs(&self) -> &'static str;

    /// What runs the project's own tests, outside of the sandbox: `cargo test`.
    fn test_command(&self) -> &'static str;

    /// Runs the tools.
    ///
    /// # Errors
    /// When one is missing, fails, or leaves nothing.
    fn build(&self, job: &Job<'_>) -> Result<Made, AuthorError>;
}

/// What is to be built.
#[derive(Debug)]
pub struct Job<'a> {
    /// The project's folder.
    pub project: &'a Path,
    /// Its manifest.
    pub manifest: &'a Manifest,
    /// Whether it is to be small and fast, instead of built quickly and good to debug.
    pub release: bool,
    /// A folder for what is made on the way. It is there; what an earlier build has left is in it.
    pub work: &'a Path,
}

impl Job<'_> {
    /// What it is in a flow.
    pub fn kinds(&self) -> Vec<Kind> {
        self.manifest.kinds.keys().copied().collect()
    }

    /// A folder with the contract's WIT and a world [`Job::WORLD`] that exports the plugin's kinds, made anew.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn wit(&self) -> Result<PathBuf, AuthorError> {
        contract::write(self.project, self.work, &self.kinds())
    }

    /// The world in [`Job::wit`].
    pub const WORLD: &'static str = contract::WORLD;
}

/// What the tools have made.
#[derive(Debug)]
pub enum Made {
    /// A component.
    Component(Vec<u8>),
    /// A core module, to be made into a component here.
    Module(Vec<u8>),
}

/// The language of this name.
pub fn find(id: &str) -> Option<&'static dyn Language> {
    ALL.into_iter().find(|language| language.id() == id)
}

/// The language of a project.
///
/// # Errors
/// When nothing in it says which.
pub fn of(project: &Path) -> Result<&'static dyn Language, AuthorError> {
    let language = ALL.into_iter().find(|language| language.owns(project));
    language.ok_or_else(|| {
        let known: Vec<String> = ALL
            .iter()
            .map(|language| format!("`{}` ({})", language.marker(), language.title()))
            .collect();
        AuthorError::NoLanguage {
            folder: project.to_owned(),
            known: known.join(", "),
        }
    })
}

/// Paths of each guest library with its folder, for a test that none is forgotten.
#[cfg(test)]
pub(super) fn libraries() -> Vec<(&'static str, Vec<&'static str>)> {
    let paths =
        |files: &[(&'static str, &'static str)]| files.iter().map(|(path, _)| *path).collect();
    vec![
        ("rust", paths(&rust::SDK)),
        ("js", paths(&javascript::SDK)),
        ("python", paths(&python::SDK)),
        ("c", paths(&c::SDK)),
        ("go", paths(&go::SDK)),
    ]
}
