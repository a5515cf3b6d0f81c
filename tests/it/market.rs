//! A publisher and a user with a registry between them: what the tests of catalogues are made of.

use std::fs;

use crossdock_tests::{
    host::{Ended, TestHost, plugin},
    registry::{MANIFEST, RawArtifact, TestRegistry, digest},
    variant,
};
use serde_json::{Value, json};

const KIND: &str = "application/vnd.crossdock.catalogue.v1+json";
pub(crate) const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

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

    pub(crate) fn publish(&self, name: &str, version: &str) {
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
    pub(crate) fn publish_all(&self) {
        for version in ["1.0.0", "1.1.0", "1.2.0", "2.0.0-rc.1"] {
            self.publish("csv", version);
        }
        self.publish("jsonl", "1.0.0");
    }

    fn place(&self) -> String {
        self.registry.reference("shop")
    }

    pub(crate) fn build(&self) -> Ended {
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

    pub(crate) fn sign(&self, file: &str, key: &str) {
        let key = format!("keys/{key}.key");
        self.publisher
            .crossdock(["catalogue", "sign", file, "--key", &key])
            .end()
            .exits(0);
    }

    pub(crate) fn serve(&self) -> Ended {
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
    pub(crate) fn index(&self) -> Value {
        serde_json::from_slice(&self.publisher.bytes("catalogue.json")).unwrap()
    }

    /// Puts an index there that this program would not put there, signed with a key or by nobody.
    pub(crate) fn smuggle(&self, index: &[u8], key: Option<&str>) {
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
pub(crate) fn manifest_of(index: &[u8]) -> String {
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
pub(crate) fn signature_in(host: &TestHost, folder: &str) -> Vec<u8> {
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
