//! What a publisher attaches to a version: the conformance report and a bill of material, as referrers that other tools
//! find, too. Both are claims, and are shown as such.

use std::fs;

use crossdock_tests::{host::plugin, registry::digest, variant};
use serde_json::{Value, json};

use crate::market::Market;

const REPORT: &str = "application/vnd.crossdock.conformance.v1+json";
const SBOM: &str = "application/vnd.cyclonedx+json";

/// Publishes csv as it is in a project of a plugin, with a report that says this of its source.
fn publish(market: &Market, version: &str, level: &str, key: Option<&str>) -> Value {
    let component = variant::version(&plugin("csv"), version);
    let report = json!({
        "digest": digest(&component), "kit": 1, "plugin": "csv",
        "kinds": [{ "kind": "source", "level": level }, { "kind": "sink", "level": "exactly-once" }],
    });
    market
        .publisher
        .write("csv/plugin.json", "{ \"name\": \"csv\" }");
    market.publisher.write(
        "csv/Cargo.lock",
        "version = 4\n[[package]]\nname = \"serde\"\nversion = \"1.0.0\"\nsource = \"registry+x\"\nchecksum = \"00ff\"\n",
    );
    market.publisher.write("csv/dist/csv.wasm", component);
    market
        .publisher
        .write("csv/dist/csv.conformance.json", report.to_string());
    let place = market.registry.reference("shop/csv");
    let publish = market
        .publisher
        .crossdock(["plugin", "publish", &place, "csv", "--json"]);
    let publish = match key {
        Some(key) => publish.args(["--key", key]),
        None => publish,
    };
    let mut done = publish.end().finished();
    done["published"].take()
}

#[test]
fn report_and_bill_are_attached_and_shown_as_the_claims_that_they_are() {
    let Some(market) = Market::open() else { return };
    let registry = &market.registry;
    let done = publish(&market, "1.0.0", "resumable", Some("keys/acme.key"));
    let manifest = done["manifest"].as_str().unwrap().to_owned();
    assert_eq!(done["attached"].as_array().unwrap().len(), 2, "{done:#}");
    // Publishing the same again attaches nothing twice.
    publish(&market, "1.0.0", "resumable", Some("keys/acme.key"));
    let list = registry
        .tag("shop/csv", &manifest.replace(':', "-"))
        .unwrap();
    let list = registry.document(&list);
    let kinds: Vec<&str> = list["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["artifactType"].as_str().unwrap())
        .collect();
    assert_eq!(kinds.len(), 3, "{list:#}");
    let find = |kind: &str| {
        let all = list["manifests"].as_array().unwrap();
        let one = all.iter().find(|one| one["artifactType"] == kind).unwrap();
        let manifest = registry.document(one["digest"].as_str().unwrap());
        assert_eq!(manifest["subject"]["digest"], done["manifest"]);
        registry.document(manifest["layers"][0]["digest"].as_str().unwrap())
    };
    assert_eq!(find(REPORT)["kinds"][0]["level"], "resumable");
    let bill = find(SBOM);
    assert_eq!(bill["bomFormat"], "CycloneDX");
    let own = &bill["metadata"]["component"];
    let hash = format!("sha256:{}", own["hashes"][0]["content"].as_str().unwrap());
    assert_eq!(
        (&json!(hash), &own["version"]),
        (&done["digest"], &json!("1.0.0"))
    );
    assert_eq!(bill["components"][0]["purl"], "pkg:cargo/serde@1.0.0");

    let place = registry.reference("shop/csv@1.0.0");
    let info = |said: &str| {
        market
            .user
            .crossdock(["plugin", "info", &place])
            .end()
            .exits(0)
            .tells(&[said]);
    };
    info("source resumable, sink exactly-once (claimed in a report that acme signed)");
    // Somebody who may write attaches another one, which nobody signed: the signed one is believed.
    registry.attach("shop/csv", &manifest, REPORT, &report_of(&done, "none"));
    info("source resumable, sink exactly-once (claimed in a report that acme signed)");
    let offered = market.plugin(&["install", &place]);
    offered
        .exits(0)
        .tells(&["conformance", "claimed in a report that acme signed"]);
    // What belongs to a version travels with it.
    let bundle = market.plugin(&["bundle", "all.tar"]);
    bundle.exits(0);
    market.user.write("plugins.lock", "lock: 1\n");
    market.plugin(&["install", "all.tar"]).exits(0).tells(&[
        "signed by acme",
        "source resumable, sink exactly-once (claimed in a report that acme signed)",
    ]);
    market.next();
    market.update().exits(0);
    market
        .plugin(&["search", "csv"])
        .exits(0)
        .tells(&["of acme · claims resumable, signed"]);
}

#[test]
fn a_report_that_nobody_signed_or_that_is_of_something_else_is_told_from_one_that_counts() {
    let Some(market) = Market::open() else { return };
    let registry = &market.registry;
    market
        .user
        .write("trust.yaml", "require: unsigned-ok\npublishers: []\n");
    let done = publish(&market, "1.0.0", "basic", None);
    assert!(done["signed_by"].is_null());
    let place = registry.reference("shop/csv@1.0.0");
    let info = || market.user.crossdock(["plugin", "info", &place]).end();
    info()
        .exits(0)
        .tells(&["source basic, sink exactly-once (claimed in a report that nobody known signed)"]);
    // A report of another component is none; nor is what is no report.
    let manifest = done["manifest"].as_str().unwrap();
    let list = registry.repositories().join("shop/csv/_manifests/tags");
    let alone = |report: &[u8]| {
        // What was attached before is taken away.
        fs::remove_dir_all(list.join(manifest.replace(':', "-"))).unwrap();
        registry.attach("shop/csv", manifest, REPORT, report);
    };
    let mut other = done.clone();
    other["digest"] = json!(digest(b"another"));
    alone(&report_of(&other, "exactly-once"));
    info()
        .exits(0)
        .tells(&["no report: nobody says how far it keeps the contract"]);
    alone(b"{");
    info()
        .exits(0)
        .tells(&["no report: nobody says how far it keeps the contract"]);
}

fn report_of(done: &Value, level: &str) -> Vec<u8> {
    let kinds = json!([{ "kind": "source", "level": level }, { "kind": "sink", "level": level }]);
    let report = json!({ "digest": done["digest"], "kit": 1, "kinds": kinds });
    report.to_string().into_bytes()
}
