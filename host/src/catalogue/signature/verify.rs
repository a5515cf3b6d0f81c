//! Whether a signature is about a subject, and which of some keys made it.

use super::{
    super::key::PublicKey,
    BUNDLE_TYPE, MAX_BUNDLE, MAX_PAYLOAD, PREDICATE_TYPE, SignatureError, Subject,
    layout::{
        Bundle, Content, Envelope, Message, SIMPLE, STATEMENT, STATEMENT_TYPE, SimplePayload,
        Statement, bounded, decode, encoded, parse,
    },
};

pub(super) fn simple<'k>(
    payload: &[u8],
    signature: &str,
    subject: &Subject<'_>,
    keys: impl IntoIterator<Item = &'k PublicKey>,
) -> Result<&'k PublicKey, SignatureError> {
    bounded("signed text", payload.len(), MAX_PAYLOAD)?;
    let signature = ecdsa(signature)?;
    let key = maker(payload, &signature, keys)?;
    let signed: SimplePayload<serde::de::IgnoredAny> = parse("signed text", payload)?;
    let critical = &signed.critical;
    if critical.kind != SIMPLE {
        return Err(SignatureError::OtherType {
            found: critical.kind.clone(),
            expected: SIMPLE,
        });
    }
    subject.check(
        &critical.image.docker_manifest_digest,
        &critical.identity.docker_reference,
    )?;
    Ok(key)
}

pub(super) fn bundle<'k>(
    bytes: &[u8],
    subject: &Subject<'_>,
    keys: impl IntoIterator<Item = &'k PublicKey>,
) -> Result<&'k PublicKey, SignatureError> {
    bounded("bundle", bytes.len(), MAX_BUNDLE)?;
    let bundle: Bundle = parse("bundle", bytes)?;
    if bundle.media_type != BUNDLE_TYPE {
        return Err(SignatureError::Unread(format!("{:?}", bundle.media_type)));
    }
    if bundle.verification_material.public_key.is_none() {
        return Err(SignatureError::Unread(
            "signed with a certificate".to_owned(),
        ));
    }
    match (bundle.content, subject) {
        (Content::Envelope(envelope), _) => statement(&envelope, subject, keys),
        (Content::Message(message), Subject::File(bytes)) => file(&message, bytes, keys),
        // A bare signature of a manifest says nothing of what it is meant for.
        (Content::Message(_), Subject::Artifact { .. }) => {
            Err(SignatureError::Unread("the signature of a file".to_owned()))
        }
    }
}

/// A statement in an envelope.
fn statement<'k>(
    envelope: &Envelope,
    subject: &Subject<'_>,
    keys: impl IntoIterator<Item = &'k PublicKey>,
) -> Result<&'k PublicKey, SignatureError> {
    if envelope.payload_type != STATEMENT_TYPE {
        return Err(SignatureError::OtherType {
            found: envelope.payload_type.clone(),
            expected: STATEMENT_TYPE,
        });
    }
    let [signature] = envelope.signatures.as_slice() else {
        let why = format!(
            "it has {} signatures, expected one",
            envelope.signatures.len()
        );
        return Err(SignatureError::Malformed {
            what: "envelope",
            why,
        });
    };
    let signature = ecdsa(&signature.sig)?;
    // Base64 is 4/3 as long.
    bounded("signed text", envelope.payload.len() / 4 * 3, MAX_PAYLOAD)?;
    let payload = decode("signed text", &envelope.payload)?;
    let key = maker(&encoded(STATEMENT_TYPE, &payload), &signature, keys)?;
    let statement: Statement<serde::de::IgnoredAny> = parse("statement", &payload)?;
    if statement.kind != STATEMENT {
        return Err(SignatureError::OtherType {
            found: statement.kind,
            expected: STATEMENT,
        });
    }
    // An attestation by the same key ("this version has a hole") is not its signature.
    if statement.predicate_type != PREDICATE_TYPE {
        return Err(SignatureError::OtherType {
            found: statement.predicate_type,
            expected: PREDICATE_TYPE,
        });
    }
    let [signed] = statement.subject.as_slice() else {
        let why = format!(
            "it is about {} things, expected one",
            statement.subject.len()
        );
        return Err(SignatureError::Malformed {
            what: "statement",
            why,
        });
    };
    subject.check(&format!("sha256:{}", signed.digest.sha256), &signed.name)?;
    Ok(key)
}

/// The signature of a file's bytes.
fn file<'k>(
    message: &Message,
    bytes: &[u8],
    keys: impl IntoIterator<Item = &'k PublicKey>,
) -> Result<&'k PublicKey, SignatureError> {
    let digest = &message.message_digest;
    if digest.algorithm != "SHA2_256" {
        return Err(SignatureError::OtherType {
            found: digest.algorithm.clone(),
            expected: "SHA2_256",
        });
    }
    let signature = ecdsa(&message.signature)?;
    let signed = format!("sha256:{}", hex::encode(decode("digest", &digest.digest)?));
    let asked = super::super::digest(bytes);
    if signed != asked {
        return Err(SignatureError::OtherDigest { signed, asked });
    }
    maker(bytes, &signature, keys)
}

fn maker<'k>(
    bytes: &[u8],
    signature: &[u8],
    keys: impl IntoIterator<Item = &'k PublicKey>,
) -> Result<&'k PublicKey, SignatureError> {
    keys.into_iter()
        .find(|key| key.verifies(bytes, signature))
        .ok_or(SignatureError::UnknownKey)
}

/// The bytes of a signature, which must have the form of one: two numbers, each in a few bytes.
fn ecdsa(text: &str) -> Result<Vec<u8>, SignatureError> {
    bounded("signature", text.len(), 256)?;
    let bytes = decode("signature", text)?;
    let number = |rest: &[u8]| match rest {
        [2, length @ 1..=33, rest @ ..] => rest.get(usize::from(*length)..).map(<[u8]>::to_vec),
        _ => None,
    };
    let is_pair = match bytes.as_slice() {
        [0x30, length, rest @ ..] if usize::from(*length) == rest.len() => {
            number(rest).and_then(|rest| number(&rest)) == Some(Vec::new())
        }
        _ => false,
    };
    if is_pair {
        return Ok(bytes);
    }
    Err(SignatureError::Malformed {
        what: "signature",
        why: "it is no ECDSA signature in DER form".to_owned(),
    })
}
