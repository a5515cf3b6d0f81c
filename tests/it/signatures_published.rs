//! Who made a published version: its signatures in a registry, in both layouts, and carried in a bundle.

use std::fs;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use crossdock_tests::{
    host::{Ended, TestHost, plugin},
    registry::TestRegistry,
    variant,
};
use serde_json::Value;

use crate::signatures::with_key;

pub(crate) const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// `shop/csv` in a registry, with what is done to it.
pub(crate) struct Shop {
    pub(crate) host: TestHost,
    pub(crate) registry: TestRegistry,
}

impl Shop {
    /// Nothing is published yet; `acme` may publish there.
    pub(crate) fn open() -> Option<Self> {
        let registry = TestRegistry::start()?;
        let host = with_key();
        host.crossdock(["key", "new", "--out", "keys/new.key"])
            .end()
            .exits(0);
        let shop = Self { host, registry };
        shop.trust("");
        Some(shop)
    }

    /// Writes `trust.yaml`, with more keys.
    fn trust(&self, more: &str) {
        let namespace = format!("{}/shop", self.registry.host());
        self.host.write(
            "trust.yaml",
            format!("publishers: [{{ publisher: acme, namespaces: ['{namespace}'], keys: [{{ file: keys/acme.pub }}{more}] }}]\n"),
        );
    }

    /// Publishes a version, signed with a key if there is one. Gives the digest of its manifest.
    pub(crate) fn publish(&self, version: &str, key: Option<&str>) -> String {
        self.host
            .write("built.wasm", variant::version(&plugin("csv"), version));
        let place = self.registry.reference("shop/csv");
        let publish = [
            "plugin",
            "publish",
            &place,
            "built.wasm",
            "--plain-http",
            "--json",
        ];
        let publish = self.host.crossdock(publish);
        let done = match key {
            Some(key) => publish.args(["--key", key]).end(),
            None => publish.end(),
        };
        let done = done.finished();
        assert_eq!(
            done["published"]["signed_by"].is_null(),
            key.is_none(),
            "{done:#}"
        );
        done["published"]["manifest"].as_str().unwrap().to_owned()
    }

    fn command(&self, command: &str, version: &str) -> Ended {
        let place = self.registry.reference(&format!("shop/csv@{version}"));
        self.host
            .crossdock(["plugin", command, &place, "--plain-http"])
            .input("y\n")
            .end()
    }

    fn sign(&self, version: &str, key: &str) {
        let place = self.registry.reference(&format!("shop/csv@{version}"));
        let sign = [
            "plugin",
            "sign",
            &place,
            "--plain-http",
            "--key",
            key,
            "--json",
        ];
        self.host.crossdock(sign).end().finished();
    }

    /// The tags of both layouts.
    pub(crate) fn tags(digest: &str) -> [String; 2] {
        let tag = digest.replace(':', "-");
        [format!("{tag}.sig"), tag]
    }
}

#[test]
fn a_published_version_is_signed_in_both_layouts_and_only_its_publisher_is_believed() {
    let Some(shop) = Shop::open() else { return };
    let (host, registry) = (&shop.host, &shop.registry);
    let first = shop.publish("1.0.0", Some("keys/acme.key"));
    let under = |digest: &str| Shop::tags(digest).map(|tag| registry.tag("shop/csv", &tag));
    let signed = under(&first);
    assert!(signed.iter().all(Option::is_some), "{signed:?}");
    shop.command("verify", "1.0.0")
        .exits(0)
        .tells(&["csv 1.0.0: signed by acme"]);
    // Once is enough.
    shop.sign("1.0.0", "keys/acme.key");
    assert_eq!(under(&first), signed);
    shop.command("install", "1.0.0")
        .exits(0)
        .tells(&["signature", "signed by acme"]);
    let lock = host.text("plugins.lock");
    assert!(lock.contains("    signed-by: sha256:"), "{lock}");

    // Not signed; signed by somebody else; with the signatures of another version: nothing of it is installed.
    let second = shop.publish("1.2.0", None);
    shop.command("install", "1.2.0")
        .exits(1)
        .tells(&["it is not signed (trust.yaml wants one by acme)"]);
    shop.sign("1.2.0", "keys/new.key");
    shop.command("install", "1.2.0")
        .exits(1)
        .tells(&["none of the known keys made it"]);
    for (tag, digest) in Shop::tags(&second).iter().zip(&signed) {
        registry.retag("shop/csv", tag, digest.as_deref().unwrap());
    }
    shop.command("install", "1.2.0")
        .exits(1)
        .tells(&["it was moved here from another version or plugin"]);
    shop.command("verify", "1.2.0").exits(1);
    // A signed old version under the tag of a new one.
    registry.retag("shop/csv", "3.0.0", &first);
    shop.command("install", "3.0.0")
        .exits(1)
        .tells(&["holds csv 1.0.0", "is refused"]);
    assert_eq!(host.text("plugins.lock"), lock);
    // What others put there is in nobody's way.
    shop.sign("1.2.0", "keys/acme.key");
    shop.command("install", "1.2.0").exits(0);
}

#[test]
fn another_key_of_a_publisher_asks_and_a_key_that_ended_stops_only_what_is_new() {
    let Some(shop) = Shop::open() else { return };
    shop.publish("1.0.0", Some("keys/acme.key"));
    shop.command("install", "1.0.0").exits(0);
    shop.trust(", { file: keys/new.pub }");
    shop.publish("1.2.0", Some("keys/new.key"));
    // A file of grants is no answer to whether the key is right; a person is.
    shop.host.write(
        "grants/csv.yaml",
        "plugin: csv\ngrants: { files: { read: [in], write: [out] } }\n",
    );
    let place = shop.registry.reference("shop/csv@1.2.0");
    shop.host
        .crossdock(["plugin", "install", &place, "--plain-http", "--yes"])
        .end()
        .exits(1)
        .tells(&[
            "but the installed version was signed with",
            "--yes is no answer to that",
        ]);
    shop.command("install", "1.2.0")
        .exits(0)
        .tells(&["ask acme whether the key was changed"]);
    let installed = shop
        .host
        .crossdock(["plugin", "info", "csv", "--json"])
        .end()
        .finished();
    let new = shop
        .host
        .crossdock(["key", "show", "keys/new.pub", "--json"])
        .end()
        .finished();
    assert_eq!(installed["installed"]["signed_by"], new["key"]);

    shop.publish("2.0.0", Some("keys/new.key"));
    shop.trust(", { file: keys/new.pub, not-after: 2020-12-31 }");
    shop.command("install", "2.0.0")
        .exits(1)
        .tells(&["of acme counts no more since 2021-01-01"]);
    // What is installed is known by its digest.
    shop.host.flow(
        "copy",
        "
source: { plugin: csv, config: { files: in/*.csv }, grants: { files: { read: [in] } } }
sinks: [{ plugin: jsonl, config: { file: out/a.jsonl }, grants: { files: { write: [out] } } }]
",
    );
    shop.host.write("in/a.csv", "sku\nx\n");
    shop.host.run("copy").finished();
}

#[test]
fn a_forged_signature_in_a_bundle_is_refused() {
    let Some(shop) = Shop::open() else { return };
    let (host, registry) = (&shop.host, &shop.registry);
    let good = shop.publish("1.0.0", Some("keys/acme.key"));
    // The site without a network knows the publisher; whoever fills the bundle knows nobody.
    let island = TestHost::new().with("CROSSDOCK_PLUGINS", "");
    island.write("keys/acme.pub", host.bytes("keys/acme.pub"));
    island.write("trust.yaml", host.text("trust.yaml"));
    fs::remove_file(host.path("trust.yaml")).unwrap();
    let carried = |version: &str| {
        shop.command("install", version).exits(0);
        host.crossdock(["plugin", "bundle", "csv.tar", "--plain-http"])
            .end()
            .exits(0);
        island.write("csv.tar", host.bytes("csv.tar"));
        island
            .crossdock(["plugin", "install", "csv.tar"])
            .input("y\n")
            .end()
    };
    carried("1.0.0")
        .exits(0)
        .tells(&["signed by acme", "csv 1.0.0 is installed"]);
    let lock = island.text("plugins.lock");
    let refused = |version: &str, said: &str| {
        let ended = carried(version);
        ended.exits(1).no_panic().tells(&[said]);
        assert_eq!(ended.stderr.lines().count(), 1, "{ended}");
        assert_eq!(island.text("plugins.lock"), lock);
    };
    // Signed by somebody else, by nobody, with the signature of another version, with one of which a bit is another.
    shop.publish("1.1.0", Some("keys/new.key"));
    refused("1.1.0", "none of the known keys made it");
    let unsigned = shop.publish("1.2.0", None);
    refused("1.2.0", "it is not signed");
    let bundle = bundle_of(registry, &good);
    registry.attach("shop/csv", &unsigned, BUNDLE, &bundle);
    refused("1.2.0", "it was moved here from another version or plugin");
    let damaged = shop.publish("1.3.0", None);
    shop.sign("1.3.0", "keys/acme.key");
    let mut forged: Value = serde_json::from_slice(&bundle_of(registry, &damaged)).unwrap();
    let signature = &mut forged["dsseEnvelope"]["signatures"][0]["sig"];
    let mut bytes = STANDARD.decode(signature.as_str().unwrap()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    *signature = STANDARD.encode(bytes).into();
    let list = registry.repositories().join("shop/csv/_manifests/tags");
    fs::remove_dir_all(list.join(damaged.replace(':', "-"))).unwrap();
    registry.attach("shop/csv", &damaged, BUNDLE, forged.to_string().as_bytes());
    refused("1.3.0", "none of the known keys made it");
    // The real one.
    shop.publish("1.4.0", Some("keys/acme.key"));
    carried("1.4.0").exits(0);
}

/// The signature in the newer layout of a manifest.
fn bundle_of(registry: &TestRegistry, manifest: &str) -> Vec<u8> {
    let list = registry
        .tag("shop/csv", &manifest.replace(':', "-"))
        .unwrap();
    let list = registry.document(&list);
    let all = list["manifests"].as_array().unwrap();
    let own = all
        .iter()
        .find(|one| one["artifactType"] == BUNDLE)
        .unwrap();
    let own = registry.document(own["digest"].as_str().unwrap());
    let layer = own["layers"][0]["digest"].as_str().unwrap().to_owned();
    fs::read(registry.blob(&layer)).unwrap()
}
