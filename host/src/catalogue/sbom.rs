//! A bill of material of a plugin, in the form of `CycloneDX`: the component with its digest and what made it, and the
//! libraries that the lock files of its project name.
//!
//! It says what is known and no more: where a project has no lock file, the list is marked as one that nobody knows to be
//! complete. There is no time in it, so that the same plugin has the same bill.

use std::{fs::File, io::Read as _, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{inspect::Inspection, manifest::Manifest};

/// A larger lock file is not read.
const MAX_LOCK: u64 = 16 << 20;
/// More libraries than these are in no plugin.
const MAX_PARTS: usize = 20_000;
/// What the component is called within the bill.
const PLUGIN: &str = "plugin";

/// A library that a lock file names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    /// As package managers agreed to call it: `pkg:cargo/serde@1.0.0`.
    purl: String,
    name: String,
    version: String,
    /// Algorithm and digest in hexadecimal digits.
    hash: Option<(&'static str, String)>,
}

/// The bill of a plugin; `project` is the folder of its sources, when that is known. Blocks.
pub fn bill(inspection: &Inspection, manifest: &Manifest, project: Option<&Path>) -> Value {
    let (mut parts, mut locks) = (Vec::new(), Vec::new());
    for (name, read) in LOCKS {
        let text = project.and_then(|project| text_of(&project.join(name)));
        if let Some(found) = text.and_then(|text| read(&text)) {
            parts.extend(found);
            locks.push(name);
        }
    }
    parts.sort_unstable();
    parts.dedup();
    parts.truncate(MAX_PARTS);
    let components: Vec<Value> = parts.iter().map(Part::component).collect();
    let references: Vec<&str> = parts.iter().map(|part| part.purl.as_str()).collect();
    // A lock file names what builds and tests use, too: all of the plugin is in it, and more.
    let aggregate = if locks.is_empty() {
        "unknown"
    } else {
        "complete"
    };
    let mut bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": plugin(inspection, manifest, &locks) },
        "components": components,
        "dependencies": [{ "ref": PLUGIN, "dependsOn": references }],
        "compositions": [{ "aggregate": aggregate, "dependencies": [PLUGIN] }],
    });
    if parts.is_empty() {
        bill["dependencies"] = json!([{ "ref": PLUGIN }]);
    }
    bill
}

/// The component itself.
fn plugin(inspection: &Inspection, manifest: &Manifest, locks: &[&str]) -> Value {
    let mut properties: Vec<Value> = Vec::new();
    let mut say = |name: &str, value: &str| {
        properties.push(json!({ "name": format!("crossdock:{name}"), "value": value }));
    };
    for kind in &inspection.kinds {
        say("kind", kind.as_str());
    }
    for contract in &inspection.contracts {
        say("contract", &contract.to_string());
    }
    for producer in &inspection.producers {
        say("made-with", producer);
    }
    for lock in locks {
        say("lock-file", lock);
    }
    let mut component = json!({
        "type": "application",
        "bom-ref": PLUGIN,
        "name": manifest.name,
        "version": manifest.version,
        "hashes": [{ "alg": "SHA-256", "content": inspection.digest.trim_start_matches("sha256:") }],
        "properties": properties,
    });
    if !manifest.description.is_empty() {
        component["description"] = json!(manifest.description);
    }
    let license = manifest.license.as_str();
    let is_expression = |c: char| c.is_ascii_alphanumeric() || " .-+()".contains(c);
    if !license.is_empty() {
        component["licenses"] = if license.chars().all(is_expression) {
            json!([{ "expression": license }])
        } else {
            json!([{ "license": { "name": license } }])
        };
    }
    component
}

impl Part {
    fn component(&self) -> Value {
        let mut component = json!({
            "type": "library", "bom-ref": self.purl, "purl": self.purl, "name": self.name, "version": self.version,
        });
        if let Some((algorithm, content)) = &self.hash {
            component["hashes"] = json!([{ "alg": algorithm, "content": content }]);
        }
        component
    }
}

type Reader = fn(&str) -> Option<Vec<Part>>;

/// The lock files that are read. One that cannot be read is as one that is not there.
const LOCKS: [(&str, Reader); 3] = [
    ("Cargo.lock", cargo),
    ("package-lock.json", npm),
    ("requirements.txt", pip),
];

fn text_of(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path)
        .ok()?
        .take(MAX_LOCK)
        .read_to_string(&mut text)
        .ok()?;
    Some(text)
}

fn cargo(text: &str) -> Option<Vec<Part>> {
    #[derive(Deserialize)]
    struct Lock {
        #[serde(default)]
        package: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
        source: Option<String>,
        checksum: Option<String>,
    }
    let lock: Lock = toml::from_str(text).ok()?;
    // Without a source it is the project itself, or a part of it.
    let foreign = lock
        .package
        .into_iter()
        .filter(|package| package.source.is_some());
    let part = |package: Package| Part {
        purl: format!("pkg:cargo/{}@{}", package.name, escaped(&package.version)),
        hash: package.checksum.map(|checksum| ("SHA-256", checksum)),
        name: package.name,
        version: package.version,
    };
    Some(foreign.map(part).collect())
}

fn npm(text: &str) -> Option<Vec<Part>> {
    #[derive(Deserialize)]
    struct Lock {
        #[serde(default)]
        packages: std::collections::BTreeMap<String, Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        version: Option<String>,
        integrity: Option<String>,
        #[serde(default)]
        dev: bool,
        #[serde(default)]
        link: bool,
    }
    let lock: Lock = serde_json::from_str(text).ok()?;
    let part = |(path, package): (String, Package)| {
        // The last one says what it is: `node_modules/a/node_modules/@b/c`.
        let (_, name) = path.rsplit_once("node_modules/")?;
        if package.dev || package.link {
            return None;
        }
        let version = package.version?;
        let hash = package.integrity.and_then(|text| {
            let bytes = STANDARD.decode(text.strip_prefix("sha512-")?).ok()?;
            Some(("SHA-512", hex::encode(bytes)))
        });
        Some(Part {
            purl: format!(
                "pkg:npm/{}@{}",
                name.replacen('@', "%40", 1),
                escaped(&version)
            ),
            name: name.to_owned(),
            version,
            hash,
        })
    };
    Some(lock.packages.into_iter().filter_map(part).collect())
}

/// Only versions that are pinned are known.
#[allow(clippy::unnecessary_wraps, reason = "as the other readers")]
fn pip(text: &str) -> Option<Vec<Part>> {
    let part = |line: &str| {
        let line = line.split(['#', ';']).next().unwrap_or_default().trim();
        let (name, version) = line.split_once("==")?;
        let name = name.split('[').next().unwrap_or_default().trim();
        let version = version.split_whitespace().next()?;
        let usable = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || !name.chars().all(usable) {
            return None;
        }
        let normal = name.to_lowercase().replace(['_', '.'], "-");
        Some(Part {
            purl: format!("pkg:pypi/{normal}@{}", escaped(version)),
            name: name.to_owned(),
            version: version.to_owned(),
            hash: None,
        })
    };
    Some(text.lines().filter_map(part).collect())
}

/// A version within a purl.
fn escaped(version: &str) -> String {
    version.replace('+', "%2B")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::catalogue::Kind;

    fn plugin() -> (Inspection, Manifest) {
        let manifest: Manifest = serde_json::from_value(json!({
            "name": "csv", "version": "1.2.0", "license": "Apache-2.0", "kinds": { "source": {} },
        }))
        .unwrap();
        let inspection = Inspection {
            digest: format!("sha256:{}", "ab".repeat(32)),
            size: 1,
            contracts: vec![semver::Version::new(0, 1, 0)],
            kinds: vec![Kind::Source],
            manifest: Some(manifest.clone()),
            manifest_error: None,
            exports: Vec::new(),
            imports: Vec::new(),
            producers: vec!["Rust 1.95".to_owned()],
        };
        (inspection, manifest)
    }

    #[test]
    fn a_bill_names_the_component_and_what_the_lock_files_name() {
        let dir = tempfile::tempdir().unwrap();
        let (inspection, manifest) = plugin();
        let bare = bill(&inspection, &manifest, None);
        assert_eq!(bare["compositions"][0]["aggregate"], "unknown");
        let own = &bare["metadata"]["component"];
        assert_eq!(own["hashes"][0]["content"], "ab".repeat(32));
        assert_eq!(own["licenses"][0]["expression"], "Apache-2.0");
        assert!(
            own["properties"]
                .as_array()
                .unwrap()
                .iter()
                .any(|one| one["value"] == "Rust 1.95")
        );
        assert_eq!(bill(&inspection, &manifest, Some(dir.path())), bare);

        fs::write(
            dir.path().join("Cargo.lock"),
            "version = 4\n[[package]]\nname = \"csv\"\nversion = \"1.2.0\"\n[[package]]\nname = \"a\"\nversion = \"1.0.0+b\"\n\
             source = \"registry+x\"\nchecksum = \"00ff\"\n",
        )
        .unwrap();
        fs::write(
            dir.path().join("package-lock.json"),
            json!({ "packages": {
                "": { "name": "csv" },
                "node_modules/@s/b": { "version": "2.0.0", "integrity": format!("sha512-{}", STANDARD.encode([1, 2])) },
                "node_modules/x/node_modules/c": { "version": "3.0.0" },
                "node_modules/d": { "version": "4.0.0", "dev": true },
            }})
            .to_string(),
        )
        .unwrap();
        fs::write(
            dir.path().join("requirements.txt"),
            "# pinned\nMy_Lib[extra]==5.0 ; python_version > '3'\nloose>=1\n-r other.txt\n",
        )
        .unwrap();
        let full = bill(&inspection, &manifest, Some(dir.path()));
        let parts = full["components"].as_array().unwrap();
        let purls: Vec<&str> = parts
            .iter()
            .map(|part| part["purl"].as_str().unwrap())
            .collect();
        assert_eq!(
            purls,
            [
                "pkg:cargo/a@1.0.0%2Bb",
                "pkg:npm/%40s/b@2.0.0",
                "pkg:npm/c@3.0.0",
                "pkg:pypi/my-lib@5.0"
            ]
        );
        assert_eq!(parts[0]["hashes"][0]["content"], "00ff");
        assert_eq!(
            parts[1]["hashes"][0],
            json!({ "alg": "SHA-512", "content": "0102" })
        );
        assert_eq!(
            full["dependencies"][0]["dependsOn"]
                .as_array()
                .unwrap()
                .len(),
            4
        );
        assert_eq!(full["compositions"][0]["aggregate"], "complete");
        // What cannot be read is as what is not there.
        fs::write(dir.path().join("Cargo.lock"), "<<<<").unwrap();
        let rest = bill(&inspection, &manifest, Some(dir.path()));
        assert_eq!(rest["components"].as_array().unwrap().len(), 3);
    }
}
