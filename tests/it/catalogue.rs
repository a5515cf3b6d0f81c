//! Catalogues: an index that a publisher builds, signs and serves; what hosts find in it, and what they do not let anybody
//! do with it.

use std::fs;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use crossdock_tests::{
    host::{Ended, TestHost, plugin},
    registry::{MANIFEST, RawArtifact, TestRegistry, digest},
    variant,
};
use serde_json::{Value, json};

const KIND: &str = "application/vnd.crossdock.catalogue.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const NOTES: &str = "
plugins:
  csv:
    yanked: [{ version: 1.2.0, reason: writes the last row twice }]
    advisories:
      - { id: ACME-1, affected: '<1.1.0', severity: high, text: reads files that it should not, fixed: 1.1.0 }
    channels: { stable: 1.1.0, beta: 2.0.0-rc.1 }
  jsonl:
    deprecated: { reason: nobody mends it any more, replacement: csv }
";

/// A publisher and somebody who trusts that publisher, with a registry between them.
pub(crate) struct Market {
    pub(crate) registry: TestRegistry,
    pub(crate) publisher: TestHost,
    pub(crate) user: TestHost,
}

impl Market {
    /// Nothing is published yet.
    pub(crate) fn open() -> Option<Self> {
        let registry = TestRegistry::start()?;
        let (publisher, user) = (
            TestHost::new(),
            TestHost::new().with("CROSSDOCK_PLUGINS", ""),
        );
        for key in ["acme", "evil"] {
            let file = format!("keys/{key}.key");
            publisher
                .crossdock(["key", "new", "--out", &file])
                .end()
                .exits(0);
        }
        let host = registry.host();
        for one in [&publisher, &user] {
            one.write("keys/acme.pub", publisher.bytes("keys/acme.pub"));
            one.write(
                "trust.yaml",
                format!("publishers: [{{ publisher: acme, namespaces: ['{host}/shop'], keys: [{{ file: keys/acme.pub }}] }}]\n"),
            );
            one.write(
                "registries.yaml",
                format!("registries: [{{ registry: '{host}', plain-http: true }}]\ncatalogues: ['oci://{host}/shop']\n"),
            );
        }
        user.write("in/a.csv", "sku\nx\n");
        Some(Self {
            registry,
            publisher,
            user,
        })
    }

    fn publish(&self, name: &str, version: &str) {
        let file = self.publisher.write(
            "built.wasm",
            variant::with_manifest(&plugin(name), |manifest| {
                manifest["version"] = version.into();
                manifest["keywords"] = json!(["files", "tabular"]);
            }),
        );
        let place = self.registry.reference(&format!("shop/{name}"));
        self.publisher
            .crossdock(["plugin", "publish", &place, "--key", "keys/acme.key"])
            .arg(file)
            .end()
            .exits(0);
    }

    /// Everything that these tests look at.
    fn publish_all(&self) {
        for version in ["1.0.0", "1.1.0", "1.2.0", "2.0.0-rc.1"] {
            self.publish("csv", version);
        }
        self.publish("jsonl", "1.0.0");
    }

    fn place(&self) -> String {
        self.registry.reference("shop")
    }

    fn build(&self) -> Ended {
        let place = self.place();
        self.publisher
            .crossdock([
                "catalogue",
                "build",
                &place,
                "--key",
                "keys/acme.key",
                "--json",
            ])
            .end()
    }

    fn sign(&self, file: &str, key: &str) {
        let key = format!("keys/{key}.key");
        self.publisher
            .crossdock(["catalogue", "sign", file, "--key", &key])
            .end()
            .exits(0);
    }

    fn serve(&self) -> Ended {
        let place = self.place();
        self.publisher
            .crossdock(["catalogue", "serve", &place, "--json"])
            .end()
    }

    /// Builds, signs and serves. Gives the digest of the index's manifest.
    pub(crate) fn next(&self) -> String {
        self.build().finished();
        self.sign("catalogue.json", "acme");
        let served = self.serve().finished();
        served["served"]["manifest"].as_str().unwrap().to_owned()
    }

    pub(crate) fn update(&self) -> Ended {
        self.user.crossdock(["catalogue", "update"]).end()
    }

    pub(crate) fn plugin(&self, arguments: &[&str]) -> Ended {
        self.user
            .crossdock(["plugin"])
            .args(arguments)
            .input("y\n")
            .end()
    }

    /// The index that was built last, to be changed.
    fn index(&self) -> Value {
        serde_json::from_slice(&self.publisher.bytes("catalogue.json")).unwrap()
    }

    /// Puts an index there that this program would not put there, signed with a key or by nobody.
    fn smuggle(&self, index: &[u8], key: Option<&str>) {
        let manifest = manifest_of(index);
        let pushed = self.registry.push(
            "shop/catalogue",
            "index",
            &RawArtifact {
                manifest: manifest.as_bytes(),
                media_type: MANIFEST,
                blobs: &[b"{}", index],
            },
        );
        let Some(key) = key else { return };
        self.publisher.write("hand/catalogue.json", index);
        self.sign("hand/catalogue.json", key);
        let bundle = signature_in(&self.publisher, "hand");
        self.registry
            .attach("shop/catalogue", &pushed, BUNDLE, &bundle);
    }
}

/// The manifest of an index, letter by letter: what is signed must not be different from one version to the next.
fn manifest_of(index: &[u8]) -> String {
    format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{MANIFEST}\",\"artifactType\":\"{KIND}\",\"config\":{{\"mediaType\":\
         \"application/vnd.oci.empty.v1+json\",\"digest\":\"{}\",\"size\":2}},\"layers\":[{{\"mediaType\":\"{KIND}\",\"digest\":\
         \"{}\",\"size\":{},\"annotations\":{{\"org.opencontainers.image.title\":\"catalogue.json\"}}}}]}}",
        digest(b"{}"),
        digest(index),
        index.len()
    )
}

/// The one signature in a folder; it is taken away.
fn signature_in(host: &TestHost, folder: &str) -> Vec<u8> {
    let names = host.list(folder);
    let own = names
        .iter()
        .find(|name| name.ends_with(".sigstore.json"))
        .unwrap();
    let file = format!("{folder}/{own}");
    let bundle = host.bytes(&file);
    fs::remove_file(host.path(&file)).unwrap();
    bundle
}

#[test]
fn plugins_are_found_chosen_and_warned_of_by_a_signed_index() {
    let Some(market) = Market::open() else { return };
    market.publish_all();
    market.publisher.write("catalogue.yaml", NOTES);
    let built = market.build().finished();
    assert_eq!(
        (&built["serial"], &built["plugins"]),
        (&json!(1), &json!(2)),
        "{built:#}"
    );
    assert_eq!(built["added"].as_array().unwrap().len(), 5, "{built:#}");
    // Nobody serves what nobody signed.
    market.serve().exits(2).tells(&["it is not signed"]);
    market.sign("catalogue.json", "acme");
    market.serve().finished();
    assert_eq!(market.serve().finished()["served"]["was_there"], true);

    market
        .update()
        .exits(0)
        .tells(&["serial 1, 2 plugins, signed by acme"]);
    market
        .plugin(&["search", "tabular", "source"])
        .exits(0)
        .tells(&[
            "csv 1.1.0 (source, sink)",
            "of acme · claims nothing",
            "channels: beta 2.0.0-rc.1, stable 1.1.0",
            "jsonl 1.0.0",
            "deprecated: nobody mends it any more; use csv instead",
        ]);
    let found = market.plugin(&["search", "json", "--json"]).finished();
    assert_eq!(found["plugins"][0]["name"], "jsonl", "{found:#}");
    market.plugin(&["search", "nothing-like-it"]).exits(1);

    // By its name: the newest that is not yanked; a yanked one when it is named and meant.
    market
        .plugin(&["install", "csv@=1.2.0"])
        .exits(1)
        .tells(&["csv@1.2.0 was yanked: writes the last row twice; no other version fits"]);
    market
        .plugin(&["install", "csv@1.2.0"])
        .exits(1)
        .tells(&["was yanked: writes the last row twice; add --yanked"]);
    market
        .plugin(&["install", "csv@1.0.0"])
        .exits(0)
        .tells(&["ACME-1 (high): reads files that it should not; fixed in 1.1.0"]);
    market
        .plugin(&["list"])
        .exits(0)
        .tells(&["advisory", "csv 1.0.0: ACME-1 (high)"]);
    market
        .plugin(&["outdated"])
        .exits(0)
        .tells(&["csv 1.0.0 - 1.1.0 1.0.0", "ACME-1 (high)"]);
    market
        .plugin(&["install", "csv@^1"])
        .exits(0)
        .tells(&["csv 1.1.0 is installed"]);
    market
        .plugin(&["install", "csv@1.2.0", "--yanked"])
        .exits(0)
        .tells(&[
            "yanked: writes the last row twice",
            "csv 1.2.0 is installed",
        ]);
    market
        .plugin(&["rollback", "csv", "--to", "1.0.0"])
        .exits(0)
        .tells(&["csv 1.0.0 is back", "csv 1.0.0: ACME-1 (high)"]);
    market
        .plugin(&["rollback", "csv", "--to", "1.2.0"])
        .exits(0)
        .tells(&["csv 1.2.0: yanked: writes the last row twice"]);
    // Who has it keeps it: it is fetched again, and told.
    fs::remove_dir_all(market.user.path(".crossdock/installed")).unwrap();
    market
        .plugin(&["install"])
        .exits(0)
        .tells(&["csv 1.2.0 fetched", "yanked: writes the last row twice"]);
    market
        .plugin(&["install", "csv@beta"])
        .exits(0)
        .tells(&["csv 2.0.0-rc.1 is installed"]);
    assert!(
        market
            .user
            .text("plugins.lock")
            .contains("wanted: \"beta\"")
    );
    market
        .plugin(&["install", "csv@nightly"])
        .exits(2)
        .tells(&["has no channel `nightly`; there are beta, stable"]);
    market
        .plugin(&["install", "jsnl"])
        .exits(2)
        .tells(&["no catalogue has a plugin `jsnl` (did you mean `jsonl`?)"]);
    market
        .plugin(&["info", "jsonl"])
        .exits(0)
        .tells(&["deprecated: nobody mends it any more; use csv instead"]);
    market.plugin(&["install", "jsonl"]).exits(0);
    the_next_index_is_built_upon_the_last(&market);
}

fn the_next_index_is_built_upon_the_last(market: &Market) {
    // A flow runs what its channel was at, until an upgrade moves on with the channel.
    market.user.flow(
        "copy",
        "
source: { plugin: csv@beta, config: { files: in/*.csv }, grants: { files: { read: [in] } } }
sinks: [{ plugin: jsonl, config: { file: out/a.jsonl }, grants: { files: { write: [out] } } }]
",
    );
    market
        .user
        .check("copy")
        .exits(0)
        .tells(&["jsonl 1.0.0: deprecated: nobody mends it any more; use csv instead"]);
    market.user.run("copy").finished();
    market.publish("csv", "2.0.0");
    market.publisher.write(
        "catalogue.yaml",
        NOTES.replace("beta: 2.0.0-rc.1", "beta: 2.0.0"),
    );
    let built = market.build().finished();
    assert_eq!(
        (&built["serial"], &built["added"]),
        (&json!(2), &json!(["csv 2.0.0"]))
    );
    // The signature beside it is that of the former one.
    market
        .serve()
        .exits(2)
        .tells(&["it was made for sha256:", "sign the index again"]);
    market.sign("catalogue.json", "acme");
    market.serve().finished();
    market.update().exits(0).tells(&["serial 2"]);
    market
        .plugin(&["upgrade"])
        .exits(0)
        .tells(&["2.0.0-rc.1 → 2.0.0"]);
    // Without notes what was said stays; with notes they are all that counts.
    fs::remove_file(market.publisher.path("catalogue.yaml")).unwrap();
    market.next();
    let index = market.index();
    assert_eq!(index["serial"], 3);
    assert!(index["plugins"]["csv"]["versions"]["1.2.0"]["yanked"].is_string());
    market.publisher.write(
        "catalogue.yaml",
        "plugins: { csv: { channels: { stable: 3.0.0 } } }\n",
    );
    market
        .build()
        .exits(2)
        .tells(&["there is no version 3.0.0 in the catalogue"]);
    // One that was overtaken.
    fs::remove_file(market.publisher.path("catalogue.yaml")).unwrap();
    let old = market.publisher.bytes("catalogue.json");
    let signature = signature_in(&market.publisher, ".");
    market.next();
    let beside: Vec<_> = market.publisher.list(".");
    let beside = beside
        .iter()
        .find(|name| name.ends_with(".sigstore.json"))
        .unwrap();
    market.publisher.write("catalogue.json", old);
    market.publisher.write(beside, signature);
    market
        .serve()
        .exits(1)
        .tells(&["has an index with the serial 4 already, and this one has 3"]);
}

#[test]
fn an_index_that_is_not_the_publishers_newest_is_refused_and_what_is_installed_runs_on() {
    let Some(market) = Market::open() else { return };
    market.publish("csv", "1.0.0");
    market.publish("jsonl", "1.0.0");
    let first = market.next();
    market.update().exits(0);
    market.publish("csv", "1.1.0");
    let second = market.next();
    market.update().exits(0);
    for name in ["csv@1.0.0", "jsonl"] {
        market.plugin(&["install", name]).exits(0);
    }
    let (lock, index) = (market.user.text("plugins.lock"), market.index());
    let tag = |digest: &str| market.registry.retag("shop/catalogue", "index", digest);

    let refused = |said: &[&str]| {
        let ended = market.update();
        ended.exits(1).no_panic().tells(said);
        assert_eq!(ended.stderr.lines().count(), 1, "{ended}");
        // What was known before counts on.
        let listed = market
            .user
            .crossdock(["catalogue", "list", "--json"])
            .end()
            .finished();
        assert_eq!(listed["catalogues"][0]["serial"], 2, "{listed:#}");
    };
    // An old one is served again, with its good signature.
    tag(&first);
    refused(&["its serial is 1, and 2 was seen already; somebody serves an old one"]);
    // One more publisher's eye: the next index is not built upon it either.
    market
        .build()
        .exits(1)
        .tells(&["its serial is 1, and 2 was seen already"]);
    // Another one of the same serial, by the right key.
    let mut other = index.clone();
    other["plugins"]["csv"]["channels"] = json!({ "stable": "1.0.0" });
    market.smuggle(other.to_string().as_bytes(), Some("acme"));
    refused(&[
        "its serial is 2 as that of the one that was seen before, but it says something else",
    ]);
    // A higher serial by another key, or by nobody.
    other["serial"] = json!(9);
    market.smuggle(other.to_string().as_bytes(), Some("evil"));
    refused(&["none of the known keys made it"]);
    other["serial"] = json!(10);
    market.smuggle(other.to_string().as_bytes(), None);
    refused(&["the index is refused: it is not signed"]);
    // The signature of another one.
    other["serial"] = json!(11);
    let bytes = other.to_string();
    market.smuggle(bytes.as_bytes(), None);
    market
        .publisher
        .write("hand/catalogue.json", index.to_string());
    market.sign("hand/catalogue.json", "acme");
    let manifest = manifest_of(bytes.as_bytes());
    let stolen = signature_in(&market.publisher, "hand");
    let own = digest(manifest.as_bytes());
    market
        .registry
        .attach("shop/catalogue", &own, BUNDLE, &stolen);
    refused(&["it was moved here from another version or plugin"]);
    // One that expired: somebody holds newer ones back.
    let mut expired = index.clone();
    expired["serial"] = json!(12);
    expired["created"] = json!("2020-01-01T00:00:00Z");
    expired["expires"] = json!("2020-02-01T00:00:00Z");
    market.smuggle(expired.to_string().as_bytes(), Some("acme"));
    refused(&["it counts no more since 2020-02-01T00:00:00Z; somebody holds newer ones back"]);
    // One of another namespace.
    let mut elsewhere = index.clone();
    elsewhere["namespace"] = json!("other");
    elsewhere["serial"] = json!(13);
    market.smuggle(elsewhere.to_string().as_bytes(), Some("acme"));
    refused(&["the index speaks for the namespace other"]);
    what_is_damaged_is_refused(&market, &refused, &index);

    tag(&second);
    market.update().exits(0).tells(&["serial 2"]);
    assert_eq!(market.user.text("plugins.lock"), lock);
    market.user.flow(
        "copy",
        "
source: { plugin: csv, config: { files: in/*.csv }, grants: { files: { read: [in] } } }
sinks: [{ plugin: jsonl, config: { file: out/a.jsonl }, grants: { files: { write: [out] } } }]
",
    );
    market.user.run("copy").finished();
}

fn what_is_damaged_is_refused(market: &Market, refused: &dyn Fn(&[&str]), index: &Value) {
    // Cut off, no JSON, of a later form, with what terminals obey.
    let text = index.to_string();
    market.smuggle(&text.as_bytes()[..text.len() / 2], None);
    refused(&["the index is damaged: EOF while parsing"]);
    let mut later = index.clone();
    later["form"] = json!(2);
    market.smuggle(later.to_string().as_bytes(), None);
    refused(&["the index is of form 2", "use a newer one"]);
    let mut ugly = index.clone();
    ugly["plugins"]["csv"]["versions"]["1.0.0"]["description"] = json!("\u{1b}[2Jgone");
    market.smuggle(ugly.to_string().as_bytes(), None);
    refused(&["the description has control characters"]);
    // Said to be small and huge, or huge and said so.
    let manifest = manifest_of(b"x").replace("\"size\":1,", "\"size\":17179869184,");
    let artifact = RawArtifact {
        manifest: manifest.as_bytes(),
        media_type: MANIFEST,
        blobs: &[b"{}", b"x"],
    };
    market.registry.push("shop/catalogue", "index", &artifact);
    refused(&["gives more than 16777216 bytes as blob"]);
    // Its bytes are others than the manifest says, as who runs the registry can do.
    let whole = text.clone() + "\n";
    market.smuggle(whole.as_bytes(), Some("acme"));
    let blob = market.registry.blob(&digest(whole.as_bytes()));
    let tampered = whole.replace("1.0.0", "6.6.6");
    fs::write(&blob, &tampered).unwrap();
    refused(&["gives another blob", "its digest is sha256:"]);
    fs::write(&blob, &whole.as_bytes()[..whole.len() / 2]).unwrap();
    refused(&["broke off the blob"]);
    // None at all.
    let folder = "shop/catalogue/_manifests/tags/index";
    fs::remove_dir_all(market.registry.repositories().join(folder)).unwrap();
    refused(&["there is no index at"]);
}

#[test]
fn a_version_that_was_replaced_in_the_registry_is_refused_by_user_and_publisher() {
    let Some(market) = Market::open() else { return };
    market.publish("csv", "1.0.0");
    market.publish("csv", "1.1.0");
    market.next();
    market.update().exits(0);
    let former = market.registry.tag("shop/csv", "1.0.0").unwrap();
    // The same version, signed by the same publisher, with other bytes.
    let folder = market
        .registry
        .repositories()
        .join("shop/csv/_manifests/tags/1.0.0");
    fs::remove_dir_all(folder).unwrap();
    let file = market.publisher.write(
        "built.wasm",
        variant::with_manifest(&plugin("csv"), |manifest| {
            manifest["version"] = "1.0.0".into();
            manifest["description"] = "another".into();
        }),
    );
    let place = market.registry.reference("shop/csv");
    market
        .publisher
        .crossdock(["plugin", "publish", &place, "--key", "keys/acme.key"])
        .arg(file)
        .end()
        .exits(0);
    let now = market.registry.tag("shop/csv", "1.0.0").unwrap();
    assert_ne!(now, former);
    market.plugin(&["install", "csv@1.0.0"]).exits(1).tells(&[
        "csv@1.0.0 is refused: the registry gives the manifest",
        "the catalogue says that it is",
    ]);
    let by_digest = format!("{place}@{now}");
    market
        .plugin(&["install", &by_digest])
        .exits(1)
        .tells(&["is refused"]);
    market.build().exits(1).tells(&[
        "csv@1.0.0 is another one than the index before says",
        "a version never changes",
    ]);
    assert!(!market.user.path("plugins.lock").exists());
}

#[test]
fn a_stale_copy_warns_loudly_and_stops_nothing() {
    let Some(market) = Market::open() else { return };
    market.publish("csv", "1.0.0");
    market.publish("jsonl", "1.0.0");
    market.next();
    for name in ["csv", "jsonl"] {
        market.plugin(&["install", name]).exits(0);
    }
    // What the copy would be some months later.
    let folder = ".crossdock/catalogue";
    let names = market.user.list(folder);
    let state = names.iter().find(|name| name.len() == 21).unwrap();
    let state = format!("{folder}/{state}");
    let mut kept: Value = serde_json::from_slice(&market.user.bytes(&state)).unwrap();
    let mut index = market.index();
    index["created"] = json!("2020-01-01T00:00:00Z");
    index["expires"] = json!("2020-02-01T00:00:00Z");
    let text = index.to_string();
    market.publisher.write("hand/catalogue.json", &text);
    market.sign("hand/catalogue.json", "acme");
    kept["index"] = digest(text.as_bytes()).into();
    kept["signatures"] =
        json!([{ "bundle": STANDARD.encode(signature_in(&market.publisher, "hand")) }]);
    let own = digest(text.as_bytes()).replace(':', "-");
    market.user.write(format!("{folder}/{own}.json"), &text);
    market.user.write(&state, kept.to_string());

    let stale = "STALE: what is known of the catalogue";
    market
        .plugin(&["list"])
        .exits(0)
        .tells(&[stale, "What is installed runs on", "csv"]);
    let listed = market.user.crossdock(["catalogue", "list"]).end();
    listed.exits(0).tells(&[stale, "stale"]);
    market.user.flow(
        "copy",
        "
source: { plugin: csv, config: { files: in/*.csv }, grants: { files: { read: [in] } } }
sinks: [{ plugin: jsonl, config: { file: out/a.jsonl }, grants: { files: { write: [out] } } }]
",
    );
    market.user.run("copy").finished();

    // A copy that was changed where it lies is not believed, and is fetched again.
    market.user.write(
        format!("{folder}/{own}.json"),
        text.replace("1.0.0", "6.6.6"),
    );
    market
        .plugin(&["list"])
        .exits(0)
        .tells(&["cannot be used: its digest is another one"]);
    let changed = text.replace("1.0.0", "6.6.6");
    let other = digest(changed.as_bytes());
    market.user.write(
        format!("{folder}/{}.json", other.replace(':', "-")),
        &changed,
    );
    kept["index"] = other.into();
    market.user.write(&state, kept.to_string());
    market
        .plugin(&["list"])
        .exits(0)
        .tells(&["it was moved here from another version or plugin"]);
    fs::remove_file(market.user.path(&state)).unwrap();
    market.update().exits(0).tells(&["serial 1"]);

    // No registry: what is known counts on, and it is not waited for again and again.
    let Market { registry, user, .. } = market;
    drop(registry);
    user.crossdock(["plugin", "search", "csv", "--timeout", "1s"])
        .end()
        .exits(0)
        .tells(&["csv 1.0.0"]);
    user.crossdock(["catalogue", "update", "--timeout", "1s"])
        .end()
        .exits(1)
        .tells(&["cannot be reached"]);
    user.run("copy").finished();
    // A publisher that is trusted no more: what it said is not looked at.
    user.write("trust.yaml", "publishers: []\n");
    user.crossdock(["plugin", "search", "csv"])
        .end()
        .exits(1)
        .tells(&["the index is refused"]);
}

#[test]
fn what_is_known_is_renewed_by_itself_and_by_hand_where_no_registry_is() {
    let Some(market) = Market::open() else { return };
    market.publish("csv", "1.0.0");
    market.next();
    // Nothing is known yet: whoever looks fetches it.
    market
        .plugin(&["list"])
        .exits(0)
        .tells(&["nothing is known of the catalogue"]);
    market
        .plugin(&["search", "csv"])
        .exits(0)
        .tells(&["csv 1.0.0"]);
    market.publish("csv", "1.1.0");
    // A second signer beside the first one: each of them is enough.
    market.build().finished();
    market.sign("catalogue.json", "evil");
    market.sign("catalogue.json", "acme");
    assert_eq!(market.serve().finished()["served"]["signatures"], 2);
    // What was asked for just now is not asked for again, unless it is said how old it may be.
    market
        .plugin(&["search", "csv"])
        .exits(0)
        .tells(&["csv 1.0.0"]);
    let settings = market.user.text("registries.yaml") + "catalogue-age: 0ms\n";
    market.user.write("registries.yaml", &settings);
    market
        .plugin(&["search", "csv"])
        .exits(0)
        .tells(&["csv 1.1.0"]);
    // All at once: none is in the way of another.
    let all: Vec<_> = (0..4)
        .map(|_| market.user.crossdock(["catalogue", "update"]).start())
        .collect();
    for one in all {
        one.end().exits(0).tells(&["serial 2"]);
    }

    // A site that reaches no registry: the index is carried there with its signatures.
    market.publish("csv", "1.2.0");
    for _ in 0..2 {
        signature_in(&market.publisher, ".");
    }
    market.next();
    let Market {
        registry,
        publisher,
        user,
    } = market;
    drop(registry);
    user.crossdock(["plugin", "search", "csv", "--timeout", "1s"])
        .end()
        .exits(0)
        .tells(&[
            "cannot be reached",
            "what was known of it before is used",
            "csv 1.1.0",
        ]);
    for name in publisher.list(".") {
        if name.starts_with("catalogue.json") {
            user.write(format!("carried/{name}"), publisher.bytes(&name));
        }
    }
    let update = || {
        user.crossdock(["catalogue", "update", "carried/catalogue.json"])
            .end()
    };
    update()
        .exits(0)
        .tells(&["serial 3, 1 plugin, signed by acme"]);
    let changed = user
        .text("carried/catalogue.json")
        .replace("1.2.0", "6.6.6");
    user.write("carried/catalogue.json", changed);
    update().exits(1).tells(&["it was made for sha256:"]);
}

#[test]
fn another_key_counts_when_it_is_one_of_the_publishers_and_none_at_all_counts_no_more() {
    let Some(market) = Market::open() else { return };
    market.publish("csv", "1.0.0");
    market.next();
    market.update().exits(0);
    let signed = market
        .user
        .crossdock(["catalogue", "list", "--json"])
        .end()
        .finished();
    let first = signed["catalogues"][0]["signature"]["key"].clone();
    // The next one by another key: nobody's, until the file says whose it is.
    market.build().finished();
    signature_in(&market.publisher, ".");
    market.sign("catalogue.json", "evil");
    market.serve().finished();
    market
        .update()
        .exits(1)
        .tells(&["none of the known keys made it"]);
    let trust = market.user.text("trust.yaml");
    market
        .user
        .write("keys/new.pub", market.publisher.bytes("keys/evil.pub"));
    market.user.write(
        "trust.yaml",
        trust.replace("acme.pub }", "acme.pub }, { file: keys/new.pub }"),
    );
    market
        .update()
        .exits(0)
        .tells(&["serial 2", "signed by acme"]);
    let signed = market
        .user
        .crossdock(["catalogue", "list", "--json"])
        .end()
        .finished();
    assert_ne!(signed["catalogues"][0]["signature"]["key"], first);
    // A project that takes what is not signed takes nothing unsigned in the place of what was signed.
    market
        .user
        .write("trust.yaml", "require: unsigned-ok\npublishers: []\n");
    let mut index = market.index();
    index["serial"] = json!(9);
    market.smuggle(index.to_string().as_bytes(), None);
    market
        .update()
        .exits(1)
        .tells(&["it is not signed by anybody known, and the one before was"]);
    // One that never knew a signature takes it, and is told so.
    let other = TestHost::new();
    other.write("registries.yaml", market.user.bytes("registries.yaml"));
    other
        .crossdock(["catalogue", "update"])
        .end()
        .exits(0)
        .tells(&["serial 9, 1 plugin, not signed"]);
}
