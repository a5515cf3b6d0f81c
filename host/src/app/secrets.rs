//! Changes of a project's secret store, each with its entry in the audit log.

use std::path::{Path, PathBuf};

use secrecy::zeroize::Zeroizing;

use super::AppError;
use crate::{
    connection::{
        Secret, SecretInfo, SecretStore, SecretsError,
        secrets::{FILE, KeySource},
    },
    storage::{Action, AuditEntry},
};

/// The secrets of a project, to be listed and changed. The key is where the environment says.
#[derive(Debug)]
pub struct ProjectSecrets {
    project: PathBuf,
    file: PathBuf,
    key: KeySource,
    state: PathBuf,
    actor: String,
}

/// A value on its way in. Wiped from memory when dropped, and shown by nothing.
#[derive(Default)]
pub struct SecretInput(Zeroizing<String>);

impl SecretInput {
    /// What it is read into.
    pub fn text(&mut self) -> &mut String {
        &mut self.0
    }

    fn into_secret(self) -> Secret {
        let text = self.0.strip_suffix('\n').unwrap_or(&self.0);
        Secret::new(text.strip_suffix('\r').unwrap_or(text))
    }
}

/// What came of setting a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretSet {
    /// Whether there was one of this name.
    pub replaced: bool,
    /// The key file that was made for the first secret.
    pub new_key: Option<PathBuf>,
}

impl ProjectSecrets {
    /// Those of a project's folder. Changes are noted in the audit log of the state folder, as done by `actor`.
    pub fn new(project: &Path, state: &Path, actor: String) -> Self {
        Self {
            project: project.to_path_buf(),
            file: project.join(FILE),
            key: KeySource::from_environment(),
            state: state.to_path_buf(),
            actor,
        }
    }

    /// The file of secrets, whether or not it is there.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Names, ordered.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn list(&self) -> Result<Vec<SecretInfo>, AppError> {
        Ok(SecretStore::open(&self.file, &self.key)?.list())
    }

    /// Adds a secret or replaces its value; one line break at its end is not part of it. When there is neither a store nor the named key file, both are made.
    ///
    /// # Errors
    /// The name or value cannot be kept, or a file cannot be opened or written.
    pub fn set(&self, name: &str, value: SecretInput) -> Result<SecretSet, AppError> {
        let key_file = match &self.key {
            KeySource::File(path) if !self.file.exists() => Some(path.clone()),
            _ => None,
        };
        if let Some(path) = &key_file {
            self.keep_out(path)?;
        }
        let (mut store, made) = SecretStore::open_or_create(&self.file, &self.key)?;
        let replaced = store.set(name, value.into_secret())?;
        store.save()?;
        let detail = if replaced { "replaced" } else { "added" };
        self.note(Action::SecretSet, name, detail)?;
        Ok(SecretSet {
            replaced,
            new_key: key_file.filter(|_| made),
        })
    }

    /// Removes a secret.
    ///
    /// # Errors
    /// There is none of this name, or the file cannot be opened or written.
    pub fn remove(&self, name: &str) -> Result<(), AppError> {
        let mut store = SecretStore::open(&self.file, &self.key)?;
        store.remove(name)?;
        store.save()?;
        self.note(Action::SecretRemoved, name, "")
    }

    /// Encrypts everything with another key: the one in `key_file`, which is made when it is not there. Says whether it
    /// was.
    ///
    /// # Errors
    /// There is nothing to encrypt, or a file cannot be opened or written.
    pub fn rotate(&self, key_file: &Path) -> Result<bool, AppError> {
        if !self.file.exists() {
            let text = format!(
                "there is no {}, so there is nothing to encrypt",
                self.file.display()
            );
            return Err(SecretsError::Size(text).into());
        }
        self.keep_out(key_file)?;
        let mut store = SecretStore::open(&self.file, &self.key)?;
        let old = store.key_id();
        let made = store.rotate(key_file)?;
        store.save()?;
        let detail = format!("from the key {old} to {}", store.key_id());
        self.note(Action::SecretRotated, FILE, &detail)?;
        Ok(made)
    }

    /// A new key must not be made where the secrets are: who gets a copy of the project would have both.
    fn keep_out(&self, key_file: &Path) -> Result<(), SecretsError> {
        let real = |path: &Path| {
            let path = std::path::absolute(path).ok()?;
            path.canonicalize().ok()
        };
        let folder = key_file
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let (project, folder) = (real(&self.project), real(folder.unwrap_or(Path::new("."))));
        match (project, folder) {
            (Some(project), Some(folder)) if !key_file.exists() && folder.starts_with(&project) => {
                Err(SecretsError::KeyInProject(key_file.to_path_buf()))
            }
            _ => Ok(()),
        }
    }

    fn note(&self, action: Action, target: &str, detail: &str) -> Result<(), AppError> {
        let entry = AuditEntry::new(action, self.actor.clone());
        super::audit::note(&self.state, entry.target(target).detail(detail))
    }
}
