//! What a stage was granted, what a plugin asks for beyond it, and what it tried without.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use serde::Serialize;

use super::limits::Limits;
use crate::{
    catalogue::{
        Kind, Manifest,
        manifest::{Access, Wish},
    },
    flow::{
        Egress, TcpGrant, UrlGrant,
        quantity::{Size, Time},
        steers,
    },
};

/// Different denied things that are remembered per stage; the rest is counted under [`MORE`].
const MAX_DENIALS: usize = 256;
/// The name under which denied things are counted when there were too many different ones.
const MORE: &str = "(more)";

/// What an operator allows a stage to reach. The default is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// Folders to read, as written in the flow file: absolute, or relative to the project's folder.
    pub read: Vec<String>,
    /// Folders to read and write. Created when missing.
    pub write: Vec<String>,
    /// Bytes that may be written to them, by all instances of the stage together.
    pub quota: Option<u64>,
    /// Connections by name.
    pub connections: Vec<String>,
    /// Tables by name; `*` is all of them.
    pub tables: Vec<String>,
    /// URLs without a connection, and raw TCP.
    pub egress: Egress,
    /// Clocks in nanoseconds instead of milliseconds.
    pub precise_clock: bool,
}

impl Grants {
    pub(super) fn connection(&self, name: &str) -> bool {
        self.connections.iter().any(|granted| granted == name)
    }

    pub(super) fn table(&self, name: &str) -> bool {
        self.tables
            .iter()
            .any(|granted| granted == name || granted == "*")
    }
}

/// What is written in the place of a name that the operator must choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hints {
    /// A folder to read.
    pub read: String,
    /// A folder to write.
    pub write: String,
    /// A connection.
    pub connection: String,
    /// A table.
    pub table: String,
}

impl Default for Hints {
    fn default() -> Self {
        Self {
            read: "FOLDER".to_owned(),
            write: "FOLDER".to_owned(),
            connection: "NAME".to_owned(),
            table: "NAME".to_owned(),
        }
    }
}

/// Something that a plugin asks for and that is not granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Need {
    /// What it is, as in "asks to ...": `write files`, `send requests to https://api.example.com/v1/`.
    pub what: String,
    /// Why, in the plugin's words.
    pub reason: String,
    /// It works without, or some configs do.
    pub optional: bool,
    /// `grants` or `limits`: where the line goes in the stage.
    pub section: &'static str,
    /// What the operator would have to add there.
    pub line: String,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if self.optional {
            f.write_str(" (optional)")?;
        }
        match self.reason.as_str() {
            "" => Ok(()),
            reason => write!(f, ": {reason}"),
        }
    }
}

/// Everything that a plugin asks for as this kind and that is not granted.
pub fn missing(
    manifest: &Manifest,
    kind: Kind,
    grants: &Grants,
    limits: &Limits,
    hints: &Hints,
) -> Vec<Need> {
    let asked = &manifest.permissions;
    let mut needs = Needs {
        kind,
        list: Vec::new(),
    };
    for files in &asked.files {
        let (met, what, line) = match files.access {
            Access::Read => (
                !grants.read.is_empty() || !grants.write.is_empty(),
                "read files",
                format!("files: {{ read: [{}] }}", hints.read),
            ),
            Access::Write => (
                !grants.write.is_empty(),
                "write files",
                format!("files: {{ write: [{}] }}", hints.write),
            ),
        };
        needs.note(met, what, line, &files.wish);
    }
    for wish in &asked.connections {
        let line = format!("connections: [{}]", hints.connection);
        needs.note(
            !grants.connections.is_empty(),
            "use a connection",
            line,
            wish,
        );
    }
    for wish in &asked.tables {
        let line = format!("tables: [{}]", hints.table);
        needs.note(!grants.tables.is_empty(), "use a table", line, wish);
    }
    needs.egress(manifest, grants);
    for wish in &asked.precise_clock {
        let line = "precise-clock: true".to_owned();
        needs.note(
            grants.precise_clock,
            "measure time in nanoseconds",
            line,
            wish,
        );
    }
    needs.limits(manifest, limits);
    needs.list
}

fn named<'a>(shown: &'a str, placeholder: &str, words: &'a str) -> &'a str {
    if shown == placeholder { words } else { shown }
}

struct Needs {
    kind: Kind,
    list: Vec<Need>,
}

impl Needs {
    fn note(&mut self, met: bool, what: &str, line: String, wish: &Wish) {
        self.push(met, what, "grants", line, wish);
    }

    fn push(&mut self, met: bool, what: &str, section: &'static str, line: String, wish: &Wish) {
        if met || !wish.is_for(self.kind) {
            return;
        }
        self.list.push(Need {
            what: what.to_owned(),
            reason: wish.reason.clone(),
            optional: wish.optional,
            section,
            line,
        });
    }

    fn egress(&mut self, manifest: &Manifest, grants: &Grants) {
        for http in &manifest.permissions.http {
            let granted = || grants.egress.http.iter().map(|rule| &rule.grant);
            let wanted: Option<UrlGrant> = http.url.parse().ok();
            let met = match &wanted {
                Some(wanted) => granted().any(|granted| granted.includes(wanted)),
                None => granted().next().is_some(),
            };
            let shown = wanted.map_or_else(|| "URL".to_owned(), |wanted| wanted.to_string());
            let what = format!(
                "send requests to {}",
                named(&shown, "URL", "URLs that its config names")
            );
            self.note(met, &what, format!("http: [\"{shown}\"]"), &http.wish);
        }
        for tcp in &manifest.permissions.tcp {
            let granted = || grants.egress.tcp.iter().map(|rule| &rule.grant);
            let wanted: Option<TcpGrant> = tcp.address.parse().ok();
            let met = match &wanted {
                Some(wanted) => granted().any(|granted| granted.includes(wanted)),
                None => granted().next().is_some(),
            };
            let shown = wanted.map_or_else(|| "HOST:PORT".to_owned(), |wanted| wanted.to_string());
            let what = format!(
                "connect to {}",
                named(&shown, "HOST:PORT", "hosts that its config names")
            );
            self.note(met, &what, format!("tcp: [\"{shown}\"]"), &tcp.wish);
        }
    }

    fn limits(&mut self, manifest: &Manifest, limits: &Limits) {
        for wish in &manifest.permissions.limits {
            if let Some(memory) = wish.memory {
                let size = Size(memory);
                let (met, what) = (limits.memory >= memory, format!("use {size} of memory"));
                self.push(met, &what, "limits", format!("memory: {size}"), &wish.wish);
            }
            if let Some(millis) = wish.call_ms {
                let time = Time(std::time::Duration::from_millis(millis));
                let (met, what) = (limits.call >= time.0, format!("take {time} for a call"));
                self.push(
                    met,
                    &what,
                    "limits",
                    format!("call-time: {time}"),
                    &wish.wish,
                );
            }
        }
    }
}

/// What another version of a plugin asks for beyond the version that runs and what is granted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Growth {
    /// Each with the line that grants it.
    pub needs: Vec<Need>,
}

impl Growth {
    /// Whether the version must not take over before more is granted. What is optional does not block.
    pub fn blocks(&self) -> bool {
        self.needs.iter().any(|need| !need.optional)
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, need) in self.needs.iter().enumerate() {
            let gap = if at == 0 { "" } else { "; " };
            let Need { section, line, .. } = need;
            write!(
                f,
                "{gap}it asks to {need} (add `{line}` to the stage's `{section}`)"
            )?;
        }
        Ok(())
    }
}

/// Compares what two versions ask for. `old` is the manifest of the version that runs, if it has one. What the old
/// version asked for as well, and runs without, is no growth.
pub fn growth(
    old: Option<&Manifest>,
    new: &Manifest,
    kind: Kind,
    grants: &Grants,
    limits: &Limits,
) -> Growth {
    let hints = Hints::default();
    let known = old.map_or_else(Vec::new, |old| missing(old, kind, grants, limits, &hints));
    let is_known = |need: &Need| {
        let mut known = known.iter();
        known.any(|known| known.line == need.line && known.optional == need.optional)
    };
    let mut needs = missing(new, kind, grants, limits, &hints);
    needs.retain(|need| !is_known(need));
    Growth { needs }
}

/// Something that a stage tried to reach without a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Denial {
    /// The flow.
    pub flow: String,
    /// The stage.
    pub stage: String,
    /// The plugin.
    pub plugin: String,
    /// The plugin's version.
    pub version: String,
    /// `sha256:…` of its component.
    pub digest: String,
    /// `connection`, `table`, `url`, `name`, `address`, `socket`, `path`, `link` or `quota`.
    pub what: &'static str,
    /// Its name.
    pub name: String,
    /// How often.
    pub count: u64,
}

/// Is told what plugins tried to reach without a grant: the audit log.
pub trait DenialWatcher: Send + Sync {
    /// It happened once more (`count` is 1). Called from within the plugin's call, as often as the plugin likes, so it
    /// must neither block nor keep each of them.
    fn denied(&self, denial: &Denial);
}

/// Who is told, once somebody has asked to be.
pub(super) type Watcher = OnceLock<Arc<dyn DenialWatcher>>;

/// Counts of denied attempts of one stage.
#[derive(Debug, Default)]
pub(super) struct Denials(Mutex<BTreeMap<(&'static str, String), u64>>);

impl Denials {
    /// Counts one. Gives the name under which it is counted, and whether it is the first, so that the log is not flooded.
    pub(super) fn note(&self, what: &'static str, name: &str) -> (String, bool) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name: String = name.chars().filter(|c| !steers(*c)).take(200).collect();
        let known = seen.contains_key(&(what, name.clone()));
        let name = if known || seen.len() < MAX_DENIALS {
            name
        } else {
            MORE.to_owned()
        };
        let count = seen.entry((what, name.clone())).or_insert(0);
        *count += 1;
        (name, *count == 1)
    }

    pub(super) fn list(&self) -> Vec<(&'static str, String, u64)> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter()
            .map(|((what, name), &count)| (*what, name.clone(), count))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest(permissions: &serde_json::Value) -> Manifest {
        let manifest = json!({
            "name": "p", "version": "1.0.0", "kinds": { "source": {}, "sink": {} }, "permissions": permissions,
        });
        Manifest::parse(manifest.to_string().as_bytes()).unwrap()
    }

    fn lines(needs: &[Need]) -> Vec<&str> {
        needs.iter().map(|need| need.line.as_str()).collect()
    }

    fn everything() -> Manifest {
        manifest(&json!({
            "files": [{ "access": "read", "kinds": ["source"] }, { "access": "write", "kinds": ["sink"], "reason": "r" }],
            "connections": [{ "optional": true }],
            "tables": [{}],
            "http": [{ "url": "GET https://api.example.com/v1" }, {}],
            "tcp": [{ "address": "db.example.com:5432" }],
            "precise-clock": [{}],
            "limits": [{ "memory": 536_870_912, "call-ms": 60_000 }],
        }))
    }

    #[test]
    fn what_is_asked_for_and_not_granted_is_named_with_its_line() {
        let (grants, limits, hints) = (Grants::default(), Limits::default(), Hints::default());
        let needs = missing(&everything(), Kind::Sink, &grants, &limits, &hints);
        assert_eq!(
            lines(&needs),
            [
                "files: { write: [FOLDER] }",
                "connections: [NAME]",
                "tables: [NAME]",
                "http: [\"GET https://api.example.com/v1/\"]",
                "http: [\"URL\"]",
                "tcp: [\"db.example.com:5432\"]",
                "precise-clock: true",
                "memory: 512MiB",
                "call-time: 1m",
            ]
        );
        assert_eq!(needs[0].to_string(), "write files: r");
        assert!(needs[1].optional && !needs[2].optional);
        let as_source = missing(&everything(), Kind::Source, &grants, &limits, &hints);
        assert_eq!(as_source[0].line, "files: { read: [FOLDER] }");
        let granted = Grants {
            write: vec!["out".into()],
            connections: vec!["c".into()],
            tables: vec!["*".into()],
            egress: Egress::parse(
                &["https://*.example.com/".into()],
                &["db.example.com:5432".into()],
                false,
            )
            .unwrap(),
            precise_clock: true,
            ..Grants::default()
        };
        let more = Limits {
            memory: 1 << 30,
            call: std::time::Duration::from_secs(61),
            ..limits
        };
        assert_eq!(
            missing(&everything(), Kind::Sink, &granted, &more, &hints),
            []
        );
        let wrong_host = Grants {
            egress: Egress::parse(&["https://other.org/".into()], &[], false).unwrap(),
            ..granted
        };
        let needs = missing(&everything(), Kind::Sink, &wrong_host, &more, &hints);
        assert_eq!(lines(&needs).len(), 2, "{needs:?}");
    }

    #[test]
    fn growth_is_what_is_new_and_not_granted() {
        let old = manifest(
            &json!({ "files": [{ "access": "write" }], "connections": [{ "optional": true }] }),
        );
        let grants = Grants {
            write: vec!["out".into()],
            ..Grants::default()
        };
        let grow =
            |new: &Manifest| growth(Some(&old), new, Kind::Sink, &grants, &Limits::default());
        assert_eq!(grow(&old), Growth::default());
        assert!(!grow(&old).blocks());
        let optional = manifest(
            &json!({ "files": [{ "access": "write" }], "tables": [{ "optional": true }] }),
        );
        assert!(!grow(&optional).blocks() && grow(&optional).needs.len() == 1);
        let more = grow(&everything());
        assert!(more.blocks());
        let words = more.to_string();
        assert!(
            words.contains("it asks to connect to db.example.com:5432 (add `tcp:"),
            "{words}"
        );
        // The same wish, now in earnest, is growth.
        let earnest = manifest(&json!({ "connections": [{}] }));
        assert!(grow(&earnest).blocks());
        assert!(
            growth(
                None,
                &old,
                Kind::Sink,
                &Grants::default(),
                &Limits::default()
            )
            .blocks()
        );
    }

    #[test]
    fn denials_are_counted_and_bounded() {
        let denials = Denials::default();
        assert!(denials.note("table", "a").1);
        assert_eq!(denials.note("table", "a"), ("a".to_owned(), false));
        assert_eq!(denials.list(), [("table", "a".to_owned(), 2)]);
        for at in 0..MAX_DENIALS * 2 {
            denials.note("connection", &at.to_string());
        }
        let list = denials.list();
        assert_eq!(list.len(), MAX_DENIALS + 1);
        let total: u64 = list.iter().map(|(_, _, count)| count).sum();
        assert_eq!(total, MAX_DENIALS as u64 * 2 + 2);
    }
}
