//! Which plugin a stage wants: a name, with versions or a channel behind it, or a file; and what the stage is called then.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{Serialize, Serializer};

/// Longest name of a channel.
const MAX_CHANNEL: usize = 32;
/// What other tools call the newest version, here without a name, and what lock files call it.
const NO_CHANNELS: [&str; 2] = ["latest", "newest"];

/// Whether it can be the name of a channel: `stable`, `beta`, `lts-2`.
pub fn is_channel(text: &str) -> bool {
    let usable = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    text.len() > 1
        && text.len() <= MAX_CHANNEL
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(usable)
        && !NO_CHANNELS.contains(&text)
        // `v1` is no channel but a mistake.
        && !text.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Which plugin a stage wants.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PluginRef {
    /// An installed one, by its manifest's name; with `@` and a range of versions behind it when not every version will do.
    Name(String),
    /// A file.
    Path(PathBuf),
}

impl PluginRef {
    /// From the text of a flow file: with a `/` or the ending `.wasm` it is a path, relative to `folder`.
    pub(super) fn new(written: &str, folder: &Path) -> Self {
        if is_path(written) {
            Self::Path(folder.join(written))
        } else {
            Self::Name(written.to_owned())
        }
    }

    /// The plugin's name, when it is asked for by name.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Name(text) => Some(bare(text)),
            Self::Path(_) => None,
        }
    }
}

/// `akeneo@^1.2` without the versions.
fn bare(plugin: &str) -> &str {
    plugin.split_once('@').map_or(plugin, |(name, _)| name)
}

impl fmt::Display for PluginRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

impl Serialize for PluginRef {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

pub(super) fn is_path(written: &str) -> bool {
    let ending = Path::new(written).extension();
    written.contains(['/', '\\'])
        || ending.is_some_and(|ending| ending.eq_ignore_ascii_case("wasm"))
}

/// The given name, else the plugin's name, else the name of its file.
pub(super) fn stage_name(given: Option<&str>, plugin: &str) -> String {
    if let Some(name) = given {
        return name.to_owned();
    }
    if !is_path(plugin) {
        return bare(plugin).to_owned();
    }
    let stem = Path::new(plugin)
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let name: String = stem
        .chars()
        .map(|c| {
            if c.is_ascii_lowercase() || c.is_ascii_digit() {
                c
            } else {
                '-'
            }
        })
        .take(64)
        .collect();
    if name.is_empty() {
        "plugin".to_owned()
    } else {
        name
    }
}
