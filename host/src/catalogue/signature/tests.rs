//! What verifies, and everything that must not.

use serde_json::{Value, json};

use super::*;

const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const OTHER: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";
const ARTIFACT: Subject<'static> = Subject::Artifact {
    digest: DIGEST,
    name: "csv",
};

fn key() -> PrivateKey {
    PrivateKey::random().unwrap()
}

/// Both layouts of a registry.
fn both(key: &PrivateKey) -> [Signature; 2] {
    [
        Signature::simple(key, "registry.example.com/acme/csv", DIGEST).unwrap(),
        Signature::bundle(key, "csv", DIGEST).unwrap(),
    ]
}

fn refused(signature: &Signature, subject: &Subject<'_>, key: &PrivateKey) -> SignatureError {
    signature.verify(subject, [key.public()]).unwrap_err()
}

/// A bundle, changed as JSON.
fn changed(signature: &Signature, change: impl FnOnce(&mut Value)) -> Signature {
    let Signature::Bundle(bytes) = signature else {
        panic!("no bundle")
    };
    let mut value = serde_json::from_slice(bytes).unwrap();
    change(&mut value);
    Signature::Bundle(value.to_string().into_bytes())
}

/// A bundle around a statement that the key really signed.
fn stating(key: &PrivateKey, kind: &str, statement: &Value) -> Signature {
    let payload = statement.to_string().into_bytes();
    let signature = STANDARD.encode(key.sign(&encoded(kind, &payload)).unwrap());
    changed(&Signature::bundle(key, "csv", DIGEST).unwrap(), |bundle| {
        bundle["dsseEnvelope"] = json!({
            "payload": STANDARD.encode(&payload), "payloadType": kind, "signatures": [{ "sig": signature, "keyid": "" }],
        });
    })
}

fn statement() -> Value {
    json!({
        "_type": STATEMENT, "subject": [{ "digest": { "sha256": &DIGEST[7..] } }], "predicateType": PREDICATE_TYPE,
        "predicate": {},
    })
}

#[test]
fn the_key_that_signed_is_found_among_others() {
    let (acme, other) = (key(), key());
    for signature in both(&acme) {
        let found = signature.verify(&ARTIFACT, [other.public(), acme.public()]);
        assert_eq!(found.unwrap().id(), acme.public().id());
        assert_eq!(
            refused(&signature, &ARTIFACT, &other),
            SignatureError::UnknownKey
        );
        assert_eq!(
            signature.verify(&ARTIFACT, []).unwrap_err(),
            SignatureError::UnknownKey
        );
    }
}

#[test]
fn a_signature_that_was_moved_to_another_digest_or_name_is_refused() {
    let acme = key();
    for signature in both(&acme) {
        let moved = Subject::Artifact {
            digest: OTHER,
            name: "csv",
        };
        let error = refused(&signature, &moved, &acme);
        assert!(
            matches!(&error, SignatureError::OtherDigest { signed, .. } if signed == DIGEST),
            "{error}"
        );
        let renamed = Subject::Artifact {
            digest: DIGEST,
            name: "jsonl",
        };
        let error = refused(&signature, &renamed, &acme);
        assert!(matches!(error, SignatureError::OtherName { .. }), "{error}");
    }
    // A mirror under another namespace is no other name, and cosign writes none into bundles.
    let mirrored = Signature::simple(&acme, "mirror.internal:5000/copies/csv", DIGEST).unwrap();
    mirrored.verify(&ARTIFACT, [acme.public()]).unwrap();
    stating(&acme, STATEMENT_TYPE, &statement())
        .verify(&ARTIFACT, [acme.public()])
        .unwrap();
}

#[test]
fn statements_that_are_no_signature_of_this_plugin_are_refused() {
    let acme = key();
    let error = |change: &dyn Fn(&mut Value)| {
        let mut statement = statement();
        change(&mut statement);
        refused(
            &stating(&acme, STATEMENT_TYPE, &statement),
            &ARTIFACT,
            &acme,
        )
    };
    let attestation = error(&|one| one["predicateType"] = json!("https://cyclonedx.org/bom"));
    assert!(
        matches!(attestation, SignatureError::OtherType { .. }),
        "{attestation}"
    );
    let old = error(&|one| one["_type"] = json!("https://in-toto.io/Statement/v0.1"));
    assert!(matches!(old, SignatureError::OtherType { .. }), "{old}");
    let two = error(&|one| one["subject"] = json!([one["subject"][0], one["subject"][0]]));
    assert!(matches!(two, SignatureError::Malformed { .. }), "{two}");
    let none = error(&|one| one["subject"] = json!([]));
    assert!(matches!(none, SignatureError::Malformed { .. }), "{none}");
    let sha1 = error(&|one| one["subject"] = json!([{ "digest": { "sha1": "00" } }]));
    assert!(matches!(sha1, SignatureError::Malformed { .. }), "{sha1}");
    // The same text, signed as another type.
    let other = refused(
        &stating(&acme, "text/plain", &statement()),
        &ARTIFACT,
        &acme,
    );
    assert!(
        matches!(&other, SignatureError::OtherType { found, .. } if found == "text/plain"),
        "{other}"
    );
    // The type is a part of what is signed.
    let renamed = changed(&stating(&acme, "text/plain", &statement()), |bundle| {
        bundle["dsseEnvelope"]["payloadType"] = json!(STATEMENT_TYPE);
    });
    assert_eq!(
        refused(&renamed, &ARTIFACT, &acme),
        SignatureError::UnknownKey
    );
    // A text that is signed in the older layout and is something else.
    let payload = br#"{"critical":{"identity":{"docker-reference":""},"image":{"docker-manifest-digest":""},"type":"x"}}"#;
    let signature = STANDARD.encode(acme.sign(payload).unwrap());
    let other = Signature::Simple {
        payload: payload.to_vec(),
        signature,
    };
    assert!(matches!(
        refused(&other, &ARTIFACT, &acme),
        SignatureError::OtherType { .. }
    ));
}

#[test]
fn damaged_and_huge_signatures_are_refused_in_words() {
    let acme = key();
    let [simple, bundle] = both(&acme);
    let Signature::Simple { payload, signature } = simple else {
        panic!("no simple one")
    };
    let with = |payload: &[u8], signature: &str| {
        let damaged = Signature::Simple {
            payload: payload.to_vec(),
            signature: signature.to_owned(),
        };
        refused(&damaged, &ARTIFACT, &acme)
    };
    let malformed = |error: SignatureError, words: &str| {
        assert!(
            matches!(error, SignatureError::Malformed { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(words), "{error}");
    };
    malformed(with(&payload, "!!!"), "no base64");
    malformed(with(&payload, &STANDARD.encode([0; 64])), "DER");
    malformed(with(&payload, ""), "DER");
    assert!(matches!(
        with(&payload, &"A".repeat(1000)),
        SignatureError::TooLarge { .. }
    ));
    assert!(matches!(
        with(&vec![b' '; MAX_PAYLOAD + 1], &signature),
        SignatureError::TooLarge { .. }
    ));
    assert_eq!(with(b"{}", &signature), SignatureError::UnknownKey);
    let nonsense = STANDARD.encode(acme.sign(b"nonsense").unwrap());
    malformed(with(b"nonsense", &nonsense), "the signed text is damaged");

    let of = |change: &dyn Fn(&mut Value)| {
        refused(&changed(&bundle, |bundle| change(bundle)), &ARTIFACT, &acme)
    };
    malformed(
        of(&|one| one["dsseEnvelope"]["payload"] = json!("%")),
        "no base64",
    );
    malformed(
        of(&|one| one["dsseEnvelope"]["signatures"] = json!([])),
        "0 signatures",
    );
    malformed(
        of(&|one| one["dsseEnvelope"]["signatures"][0]["sig"] = json!("AAAA")),
        "DER",
    );
    malformed(
        of(&|one| one["dsseEnvelope"] = json!(7)),
        "bundle is damaged",
    );
    malformed(
        of(&|one| {
            one.as_object_mut().unwrap().remove("dsseEnvelope");
        }),
        "bundle is damaged",
    );
    assert!(matches!(
        of(&|one| one["mediaType"] = json!("application/json")),
        SignatureError::Unread(_)
    ));
    let certificate =
        of(&|one| one["verificationMaterial"] = json!({ "certificate": { "rawBytes": "" } }));
    assert!(
        certificate.to_string().contains("certificate"),
        "{certificate}"
    );
    let long = STANDARD.encode(vec![b' '; MAX_PAYLOAD + 8]);
    assert!(matches!(
        of(&|one| one["dsseEnvelope"]["payload"] = json!(long)),
        SignatureError::TooLarge { .. }
    ));
    let huge = Signature::Bundle(vec![b'['; MAX_BUNDLE + 1]);
    assert!(matches!(
        refused(&huge, &ARTIFACT, &acme),
        SignatureError::TooLarge { .. }
    ));
    let deep = Signature::Bundle(vec![b'['; MAX_BUNDLE]);
    assert!(matches!(
        refused(&deep, &ARTIFACT, &acme),
        SignatureError::Malformed { .. }
    ));
}

/// Not one bit of what counts can change. (What is only a hint may.)
#[test]
fn every_changed_bit_of_the_signed_text_is_noticed() {
    let acme = key();
    let [simple, bundle] = both(&acme);
    let Signature::Simple { payload, signature } = &simple else {
        panic!("no simple one")
    };
    for at in 0..payload.len() {
        let mut payload = payload.clone();
        payload[at] ^= 1;
        let damaged = Signature::Simple {
            payload,
            signature: signature.clone(),
        };
        assert_eq!(
            refused(&damaged, &ARTIFACT, &acme),
            SignatureError::UnknownKey,
            "byte {at}"
        );
    }
    let Signature::Bundle(bytes) = &bundle else {
        panic!("no bundle")
    };
    let value: Value = serde_json::from_slice(bytes).unwrap();
    let payload = STANDARD
        .decode(value["dsseEnvelope"]["payload"].as_str().unwrap())
        .unwrap();
    for at in 0..payload.len() {
        let mut payload = payload.clone();
        payload[at] ^= 1;
        let damaged = changed(&bundle, |bundle| {
            bundle["dsseEnvelope"]["payload"] = json!(STANDARD.encode(&payload));
        });
        assert_eq!(
            refused(&damaged, &ARTIFACT, &acme),
            SignatureError::UnknownKey,
            "byte {at}"
        );
    }
}

#[test]
fn a_file_has_a_signature_of_its_own_that_no_manifest_can_use() {
    let (acme, other) = (key(), key());
    let bytes = b"\0asm and more";
    let digest = super::super::digest(bytes);
    let signature = Signature::of_file(&acme, bytes).unwrap();
    let subject = Subject::File(bytes);
    let found = signature.verify(&subject, [acme.public()]).unwrap();
    assert_eq!(found.id(), acme.public().id());
    assert_eq!(
        refused(&signature, &subject, &other),
        SignatureError::UnknownKey
    );
    let elsewhere = b"\0asm and other";
    let moved = refused(&signature, &Subject::File(elsewhere), &acme);
    assert!(
        matches!(moved, SignatureError::OtherDigest { .. }),
        "{moved}"
    );
    // Whoever changes the digest that is written there has no signature for it.
    let rewritten = changed(&signature, |bundle| {
        let digest = hex::decode(&super::super::digest(elsewhere)[7..]).unwrap();
        bundle["messageSignature"]["messageDigest"]["digest"] = json!(STANDARD.encode(digest));
    });
    let error = refused(&rewritten, &Subject::File(elsewhere), &acme);
    assert_eq!(error, SignatureError::UnknownKey);
    let manifest = Subject::Artifact {
        digest: &digest,
        name: "csv",
    };
    let manifest = refused(&signature, &manifest, &acme);
    assert!(matches!(manifest, SignatureError::Unread(_)), "{manifest}");
    let sha512 = changed(&signature, |bundle| {
        bundle["messageSignature"]["messageDigest"]["algorithm"] = json!("SHA2_512");
    });
    assert!(matches!(
        refused(&sha512, &subject, &acme),
        SignatureError::OtherType { .. }
    ));
    // A statement about the file's digest is as good.
    let statement = Signature::bundle(&acme, "csv", &digest).unwrap();
    statement.verify(&subject, [acme.public()]).unwrap();
}
