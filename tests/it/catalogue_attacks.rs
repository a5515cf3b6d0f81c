//! What nobody is let do with a catalogue: serve an old, stale, changed or foreign index, replace a version, take the
//! publisher's signature away.

use std::fs;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use crossdock_tests::{
    host::{TestHost, plugin},
    registry::{MANIFEST, RawArtifact, digest},
    variant,
};
use serde_json::{Value, json};

use crate::market::{BUNDLE, Market, manifest_of, signature_in};

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
