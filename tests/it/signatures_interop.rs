//! What OpenSSL and sigstore-js make of our keys and signatures, and we of those of OpenSSL.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use crossdock_tests::host::{TestHost, target};
use serde_json::Value;

use crate::{
    signatures::{sign, with_key},
    signatures_published::{BUNDLE, Shop},
};

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
