//! `crossdock plugin build`: from a project to a component that describes itself.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    componentize::componentize,
    error::AuthorError,
    language::{self, Job, Made},
    new, section,
};
use crate::{
    catalogue::{Inspection, inspect},
    plugin::admit,
};

/// What to build.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// The project.
    pub project: PathBuf,
    /// Small and fast, instead of built quickly and good to debug.
    pub release: bool,
    /// Where the component goes. By default `dist/NAME.wasm` in the project.
    pub out: Option<PathBuf>,
}

/// A component that was built.
#[derive(Debug, Clone)]
pub struct Built {
    /// Its file.
    pub file: PathBuf,
    /// What it is.
    pub inspection: Inspection,
    /// The language, for people.
    pub language: &'static str,
    /// How long it took.
    pub took: Duration,
}

/// The component that was built of a project.
///
/// # Errors
/// When it is no project, or was not built yet.
pub fn component(project: &Path) -> Result<PathBuf, AuthorError> {
    let (manifest, _) = new::manifest(project)?;
    let file = in_dist(project, &manifest.name);
    if file.is_file() {
        Ok(file)
    } else {
        Err(AuthorError::NotBuilt(file))
    }
}

fn in_dist(project: &Path, name: &str) -> PathBuf {
    project.join("dist").join(format!("{name}.wasm"))
}

/// Builds a project's component.
///
/// # Errors
/// When the project, its manifest or its tools are not in order, or what they make is no plugin of this contract. The
/// file of an earlier build then stays as it is.
pub fn build(order: &Order) -> Result<Built, AuthorError> {
    let started = Instant::now();
    let project = order.project.as_path();
    let (manifest, text) = new::manifest(project)?;
    let language = language::of(project)?;
    let work = project.join("build");
    fs::create_dir_all(&work).map_err(AuthorError::io(&work))?;
    let job = Job {
        project,
        manifest: &manifest,
        release: order.release,
        work: &work,
    };
    let component = match language.build(&job)? {
        Made::Component(component) => component,
        Made::Module(module) => componentize(project, &job.kinds(), module)?,
    };
    // What is no component is said in words before its sections are looked at.
    inspect(&component)?;
    let component = section::finish(&component, &text, order.release).map_err(|error| {
        AuthorError::Output(format!("what was built is damaged: {}", error.message()))
    })?;
    let inspection = inspect(&component)?;
    let file = order
        .out
        .clone()
        .unwrap_or_else(|| in_dist(project, &manifest.name));
    admit(&inspection, &file.display().to_string())?;
    let findings = inspection.findings();
    if !findings.is_empty() {
        return Err(AuthorError::Mismatch(findings));
    }
    replace(&file, &component)?;
    Ok(Built {
        file,
        inspection,
        language: language.title(),
        took: started.elapsed(),
    })
}

/// Puts a file in place at once: whoever reads it, a running host say, never sees half of it.
fn replace(file: &Path, bytes: &[u8]) -> Result<(), AuthorError> {
    if let Some(folder) = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        fs::create_dir_all(folder).map_err(AuthorError::io(folder))?;
    }
    let part = file.with_extension(format!("part{}", std::process::id()));
    fs::write(&part, bytes)
        .and_then(|()| fs::rename(&part, file))
        .map_err(|error| {
            // Best effort: the error that counts is the one of the write.
            let _ = fs::remove_file(&part);
            AuthorError::io(file)(error)
        })
}
