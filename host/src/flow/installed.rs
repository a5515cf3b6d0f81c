//! `grants/NAME.yaml` of a project: what a plugin may reach in every flow, beside what a flow grants its stage.

use std::{collections::BTreeMap, fs, path::Path};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{document, finding::Finding, grants::Grants, spec::GrantsSpec, variable::Variables};

/// What findings' codes start with.
const AREA: &str = "grants";

/// What an operator allows an installed plugin to reach, in all flows of a project.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "crossdock grants")]
pub struct PluginGrantsSpec {
    /// The plugin, by the name under which flows use it.
    #[schemars(regex(pattern = r"^[a-z0-9-]{1,64}$"), extend("examples" = ["akeneo"]))]
    pub plugin: String,
    /// What it may reach.
    pub grants: GrantsSpec,
}

/// Grants by plugin.
pub type PluginGrants = BTreeMap<String, Grants>;

/// Reads all files of a folder. One that is not there holds none.
///
/// # Errors
/// Everything that is wrong with them.
pub fn load(folder: &Path, variables: &Variables) -> Result<PluginGrants, Vec<Finding>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(PluginGrants::new());
        }
        Err(error) => {
            let message = format!("{} cannot be listed: {error}", folder.display());
            return Err(vec![Finding::error("grants.unreadable", message)]);
        }
    };
    let mut files: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| document::is_named(path))
        .collect();
    files.sort();
    let (mut all, mut findings) = (PluginGrants::new(), Vec::new());
    for file in files {
        let loaded = match document::load::<PluginGrantsSpec>(AREA, &file, variables) {
            Ok(loaded) => loaded,
            Err(wrong) => {
                findings.extend(wrong);
                continue;
            }
        };
        let PluginGrantsSpec { plugin, grants } = loaded.value;
        let grants = Grants::from(grants);
        if let Err(error) = grants.egress() {
            let at = loaded.document.locate("/grants");
            findings.push(Finding::error("grants.bad-grant", error.to_string()).at(at));
        }
        let own = all.entry(plugin).or_default();
        *own = own.union(&grants);
    }
    if findings.is_empty() {
        Ok(all)
    } else {
        Err(findings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::quantity::Size;

    #[test]
    fn files_of_a_folder_are_joined_by_plugin() {
        let dir = tempfile::tempdir().unwrap();
        let none = load(&dir.path().join("grants"), &Variables::default()).unwrap();
        assert!(none.is_empty());
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write(
            "csv.yaml",
            "plugin: csv\ngrants: { files: { read: [in], quota: 2MiB }, tcp: [\"b:1\"] }\n",
        );
        write(
            "more.yaml",
            "plugin: csv\ngrants: { files: { read: [in, b], quota: 1MiB }, tcp: [\"a:1\"], allow-private: true }\n",
        );
        let all = load(dir.path(), &Variables::default()).unwrap();
        assert_eq!(all["csv"].files.read, ["in", "b"]);
        assert_eq!(all["csv"].files.quota, Some(Size(1 << 20)));
        assert_eq!(all["csv"].tcp, ["b:1", "a:1"]);
        assert_eq!(all["csv"].allow_private, ["a:1"]);
        write(
            "wrong.yaml",
            "plugin: csv\ngrants: { http: [api.example.com] }\n",
        );
        write("worse.yaml", "plugin: csv\ngrant: {}\n");
        let findings = load(dir.path(), &Variables::default()).unwrap_err();
        assert_eq!(findings.len(), 3, "{findings:?}");
        assert!(findings.iter().all(|finding| finding.location.is_some()));
    }
}
