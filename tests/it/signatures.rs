//! Who made a plugin: keys, signatures of files, and `trust.yaml`, through the command line and with other tools.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use crossdock_tests::{
    host::{Ended, TestHost, plugin, target},
    registry::TestRegistry,
    variant,
};
use serde_json::{Value, json};

/// A project with a plugin's file and a key.
fn with_key() -> TestHost {
    let host = TestHost::new();
    host.write("csv.wasm", fs::read(plugin("csv")).unwrap());
    let made = host
        .crossdock(["key", "new", "--out", "keys/acme.key", "--json"])
        .end();
    let made = made.finished();
    assert_eq!(made["encrypted"], false, "{made:#}");
    let mode = fs::metadata(host.path("keys/acme.key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    host
}

fn sign(host: &TestHost) -> Value {
    host.crossdock([
        "plugin",
        "sign",
        "csv.wasm",
        "--key",
        "keys/acme.key",
        "--json",
    ])
    .end()
    .finished()
}

const TRUST: &str = "publishers: [{ publisher: acme, keys: [{ file: keys/acme.pub }] }]\n";

/// `openssl`, as on every machine that builds this. Where it is missing, the test says so; in CI it fails.
fn openssl(folder: &Path, arguments: &[&str]) -> Option<(bool, String)> {
    let done = match Command::new("openssl")
        .current_dir(folder)
        .args(arguments)
        .output()
    {
        Ok(done) => done,
        Err(error) if error.kind() == ErrorKind::NotFound && std::env::var_os("CI").is_none() => {
            println!("skipped: there is no `openssl` on this machine");
            return None;
        }
        Err(error) => panic!("openssl: {error}"),
    };
    let told = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    Some((done.status.success(), told.into_owned()))
}

fn bundle(host: &TestHost) -> Value {
    serde_json::from_slice(&host.bytes("csv.wasm.sigstore.json")).unwrap()
}

#[test]
fn a_signed_file_is_told_from_one_that_was_changed_or_signed_by_somebody_else() {
    let host = with_key();
    let verify = || {
        host.crossdock(["plugin", "verify", "csv.wasm", "--json"])
            .end()
    };
    // Nobody is known: a mistake of the project, not of the file.
    assert!(
        verify().exits(2).json()["error"]
            .as_str()
            .unwrap()
            .contains("nobody is known")
    );
    host.write("trust.yaml", TRUST);
    let unsigned = verify().exits(1).json();
    assert_eq!(
        unsigned["error"], "it is not signed (trust.yaml wants one by a known publisher)",
        "{unsigned:#}"
    );

    let signed = sign(&host);
    let good = verify().finished();
    assert_eq!(
        (&good["publisher"], &good["key"]),
        (&json!("acme"), &signed["key"]),
        "{good:#}"
    );
    assert_eq!(good["digest"], signed["digest"]);
    let shown = host
        .crossdock(["plugin", "verify", "csv.wasm", "--key", "keys/acme.pub"])
        .end();
    assert!(
        shown.exits(0).text().contains("✓ csv 0.1.0: signed by"),
        "{shown}"
    );

    host.crossdock(["key", "new", "--out", "keys/evil.key"])
        .end()
        .exits(0);
    let other = host
        .crossdock([
            "plugin",
            "verify",
            "csv.wasm",
            "--key",
            "keys/evil.pub",
            "--json",
        ])
        .end();
    assert!(
        other.exits(1).json()["error"]
            .as_str()
            .unwrap()
            .contains("none of the known keys made it"),
        "{other}"
    );
    // Another file with the signature of this one.
    host.write("csv.wasm", fs::read(plugin("jsonl")).unwrap());
    let moved = verify().exits(1).json();
    assert_eq!(moved["decision"], "refused");
    assert!(
        moved["error"]
            .as_str()
            .unwrap()
            .contains("it was moved here from another version or plugin"),
        "{moved:#}"
    );
    // Signed by somebody else.
    host.write("csv.wasm", fs::read(plugin("csv")).unwrap());
    host.crossdock(["plugin", "sign", "csv.wasm"])
        .env("CROSSDOCK_SIGNING_KEY", "keys/evil.key")
        .end()
        .exits(0);
    assert!(
        verify().exits(1).json()["notes"][0]
            .as_str()
            .unwrap()
            .contains("none of the known keys")
    );
    // A key that counts no more.
    sign(&host);
    host.write(
        "trust.yaml",
        TRUST.replace("acme.pub", "acme.pub, not-after: 2020-12-31"),
    );
    let late = verify().exits(1).json();
    assert!(
        late["error"]
            .as_str()
            .unwrap()
            .contains("counts no more since 2021-01-01"),
        "{late:#}"
    );
    // A mistake in the file is told at its line.
    host.write(
        "trust.yaml",
        TRUST.replace("keys/acme.pub", "keys/none.pub"),
    );
    let wrong = verify().exits(2).json();
    assert_eq!(wrong["findings"][0]["location"]["line"], 1, "{wrong:#}");
    assert!(
        wrong["findings"][0]["message"]
            .as_str()
            .unwrap()
            .contains("keys/none.pub"),
        "{wrong:#}"
    );
}

#[test]
fn openssl_verifies_our_signature_and_we_verify_that_of_openssl() {
    let host = with_key();
    let folder = host.path("");
    sign(&host);
    let mut signed = bundle(&host);
    let signature = STANDARD
        .decode(signed["messageSignature"]["signature"].as_str().unwrap())
        .unwrap();
    host.write("csv.sig", &signature);
    let verify = [
        "dgst",
        "-sha256",
        "-verify",
        "keys/acme.pub",
        "-signature",
        "csv.sig",
        "csv.wasm",
    ];
    let Some((good, told)) = openssl(&folder, &verify) else {
        return;
    };
    assert!(good && told.contains("Verified OK"), "{told}");
    let (good, told) = openssl(
        &folder,
        &[
            "dgst",
            "-sha256",
            "-verify",
            "keys/acme.pub",
            "-signature",
            "csv.sig",
            "keys/acme.pub",
        ],
    )
    .unwrap();
    assert!(!good, "{told}");

    // The other way round: a key and a signature of theirs.
    let pairs = [
        [
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-out",
            "keys/theirs.key",
        ]
        .as_slice(),
        &[
            "pkey",
            "-in",
            "keys/theirs.key",
            "-pubout",
            "-out",
            "keys/theirs.pub",
        ],
        &[
            "dgst",
            "-sha256",
            "-sign",
            "keys/theirs.key",
            "-out",
            "csv.sig",
            "csv.wasm",
        ],
    ];
    for arguments in pairs {
        let (good, told) = openssl(&folder, arguments).unwrap();
        assert!(good, "{told}");
    }
    signed["messageSignature"]["signature"] = STANDARD.encode(host.bytes("csv.sig")).into();
    host.write("csv.wasm.sigstore.json", signed.to_string());
    host.crossdock(["plugin", "verify", "csv.wasm", "--key", "keys/theirs.pub"])
        .end()
        .exits(0);
    host.crossdock(["plugin", "verify", "csv.wasm", "--key", "keys/acme.pub"])
        .end()
        .exits(1);
    host.crossdock(["plugin", "sign", "csv.wasm", "--key", "keys/theirs.key"])
        .end()
        .exits(0);
}

#[test]
fn a_key_with_a_passphrase_is_used_with_it_only() {
    let host = TestHost::new().with("CROSSDOCK_KEY_PASSPHRASE_FILE", "passphrase");
    host.write("passphrase", "correct horse battery\n");
    host.write("csv.wasm", fs::read(plugin("csv")).unwrap());
    let made = host.crossdock(["key", "new", "--json"]).end().finished();
    assert_eq!(made["encrypted"], true, "{made:#}");
    // Outside of the project, where the user's things are.
    let private = PathBuf::from(made["private"].as_str().unwrap());
    assert_eq!(private, host.path(".config/crossdock/publisher.key"));
    host.crossdock(["plugin", "sign", "csv.wasm"])
        .end()
        .exits(0);
    let without = host
        .crossdock(["plugin", "sign", "csv.wasm"])
        .env("CROSSDOCK_KEY_PASSPHRASE_FILE", "")
        .end();
    assert!(
        without.exits(2).stderr.contains("CROSSDOCK_KEY_PASSPHRASE"),
        "{without}"
    );
    host.write("passphrase", "wrong");
    let wrong = host.crossdock(["plugin", "sign", "csv.wasm"]).end();
    assert!(
        wrong
            .exits(2)
            .stderr
            .contains("the passphrase does not open the key"),
        "{wrong}"
    );
    // The public key needs none.
    let shown = host.crossdock(["key", "show", "--json"]).end().finished();
    assert_eq!(shown["key"], made["key"]);
    // Nothing is overwritten.
    let again = host.crossdock(["key", "new"]).end();
    assert!(
        again.exits(2).stderr.contains("never overwritten"),
        "{again}"
    );
}

#[test]
fn what_is_no_plugin_is_not_signed_and_no_key_is_told() {
    let host = TestHost::new();
    host.write("text.wasm", "hello");
    host.write("csv.wasm", fs::read(plugin("csv")).unwrap());
    let text = host.crossdock(["plugin", "sign", "text.wasm"]).end();
    assert!(text.exits(2).stderr.contains("no WebAssembly"), "{text}");
    let none = host.crossdock(["plugin", "sign", "csv.wasm"]).end();
    assert!(none.exits(2).stderr.contains("crossdock key new"), "{none}");
    let schema = host.crossdock(["schema", "trust"]).end();
    assert_eq!(schema.exits(0).json()["title"], "crossdock trust");
}

/// `shop/csv` in a registry, with what is done to it.
struct Shop {
    host: TestHost,
    registry: TestRegistry,
}

impl Shop {
    /// Nothing is published yet; `acme` may publish there.
    fn open() -> Option<Self> {
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
    fn publish(&self, version: &str, key: Option<&str>) -> String {
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
    fn tags(digest: &str) -> [String; 2] {
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

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

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

/// What the reference implementation in JavaScript makes of a bundle: the program ends with 0 when it verifies.
const SIGSTORE_JS: &str = "
const fs = require('fs'), crypto = require('crypto');
const { bundleFromJSON } = require('@sigstore/bundle');
const { Verifier, toSignedEntity } = require('@sigstore/verify');
const [, , file, key, artifact] = process.argv;
const bundle = bundleFromJSON(JSON.parse(fs.readFileSync(file)));
const publicKey = crypto.createPublicKey(fs.readFileSync(key));
const trust = {
  certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [],
  publicKey: () => ({ publicKey, validFor: () => true }),
};
const none = { tlogThreshold: 0, ctlogThreshold: 0, tsaThreshold: 0, timestampThreshold: 0 };
new Verifier(trust, none).verify(toSignedEntity(bundle, artifact && fs.readFileSync(artifact)));
";

/// The verifier of sigstore-js, from its ordinary registry into the target folder, once. Where it cannot be had the test
/// says so; in CI it fails.
fn sigstore_js() -> Option<PathBuf> {
    let folder = target().join("it/sigstore-js");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("verify.js"), SIGSTORE_JS).unwrap();
    if !folder
        .join("node_modules/@sigstore/verify/package.json")
        .is_file()
    {
        let packages = ["@sigstore/verify@3.1.1", "@sigstore/bundle@4.0.0"];
        let npm = Command::new("npm")
            .current_dir(&folder)
            .args([
                "install",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "--silent",
            ])
            .args(packages)
            .output();
        let done = npm.is_ok_and(|done| done.status.success());
        if !done {
            assert!(
                std::env::var_os("CI").is_none(),
                "npm cannot install {packages:?}"
            );
            println!("skipped: npm cannot install {packages:?}");
            return None;
        }
    }
    Some(folder.join("verify.js"))
}

#[test]
fn sigstore_js_verifies_what_we_publish() {
    let Some(program) = sigstore_js() else { return };
    let Some(shop) = Shop::open() else { return };
    let digest = shop.publish("1.0.0", Some("keys/acme.key"));
    // The list of what belongs to the manifest, the one that does, its one layer.
    let [_, list] = Shop::tags(&digest);
    let list = shop.registry.tag("shop/csv", &list).unwrap();
    let read = |digest: &str| -> Value {
        serde_json::from_slice(&fs::read(shop.registry.blob(digest)).unwrap()).unwrap()
    };
    let listed = read(&list);
    let mut all = listed["manifests"].as_array().unwrap().iter();
    let referrer = all.find(|one| one["artifactType"] == BUNDLE).unwrap();
    let referrer = referrer["digest"].as_str().unwrap().to_owned();
    let layer = read(&referrer)["layers"][0]["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    let verifies = |bundle: &Path, key: &str, file: Option<&str>| {
        let done = Command::new("node")
            .current_dir(shop.host.path(""))
            .arg(&program)
            .arg(bundle)
            .arg(key)
            .args(file)
            .output()
            .unwrap();
        (
            done.status.success(),
            String::from_utf8_lossy(&done.stderr).into_owned(),
        )
    };
    let published = shop.registry.blob(&layer);
    assert_eq!(
        verifies(&published, "keys/acme.pub", None),
        (true, String::new())
    );
    let (good, told) = verifies(&published, "keys/new.pub", None);
    assert!(!good && told.contains("SIGNATURE_ERROR"), "{told}");
    // And what lies beside a file.
    sign(&shop.host);
    let beside = shop.host.path("csv.wasm.sigstore.json");
    assert_eq!(
        verifies(&beside, "keys/acme.pub", Some("csv.wasm")),
        (true, String::new())
    );
    assert!(!verifies(&beside, "keys/acme.pub", Some("trust.yaml")).0);
}
