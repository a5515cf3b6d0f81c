//! The texts of both layouts, as they are written and read. Nothing is believed here.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::{super::key::PrivateKey, BUNDLE_TYPE, SignatureError};

pub(super) const STATEMENT_TYPE: &str = "application/vnd.in-toto+json";
pub(super) const STATEMENT: &str = "https://in-toto.io/Statement/v1";
pub(super) const SIMPLE: &str = "cosign container image signature";

/// What DSSE signs: type and text, each with its length, so that neither can be taken for a part of the other.
pub(super) fn encoded(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

pub(super) fn bounded(what: &'static str, size: usize, most: usize) -> Result<(), SignatureError> {
    if size > most {
        return Err(SignatureError::TooLarge { what, size, most });
    }
    Ok(())
}

pub(super) fn parse<'b, T: Deserialize<'b>>(
    what: &'static str,
    bytes: &'b [u8],
) -> Result<T, SignatureError> {
    serde_json::from_slice(bytes).map_err(|error| SignatureError::Malformed {
        what,
        why: error.to_string(),
    })
}

pub(super) fn decode(what: &'static str, text: &str) -> Result<Vec<u8>, SignatureError> {
    STANDARD
        .decode(text)
        .map_err(|error| SignatureError::Malformed {
            what,
            why: format!("it is no base64: {error}"),
        })
}

pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    // Of texts and lists of them: nothing that JSON cannot say.
    serde_json::to_vec(value).unwrap_or_default()
}

#[derive(Serialize, Deserialize)]
pub(super) struct SimplePayload<T = ()> {
    pub(super) critical: Critical,
    #[serde(default)]
    pub(super) optional: T,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Critical {
    pub(super) identity: Identity,
    pub(super) image: Image,
    #[serde(rename = "type")]
    pub(super) kind: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Identity {
    pub(super) docker_reference: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Image {
    pub(super) docker_manifest_digest: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Statement<T = Empty> {
    #[serde(rename = "_type")]
    pub(super) kind: String,
    pub(super) subject: Vec<StatementSubject>,
    #[serde(rename = "predicateType")]
    pub(super) predicate_type: String,
    #[serde(default)]
    pub(super) predicate: T,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StatementSubject {
    #[serde(default)]
    pub(super) name: String,
    pub(super) digest: DigestSet,
}

#[derive(Serialize, Deserialize)]
pub(super) struct DigestSet {
    pub(super) sha256: String,
}

#[derive(Default, Serialize, Deserialize)]
pub(super) struct Empty {}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Bundle {
    pub(super) media_type: String,
    pub(super) verification_material: Material,
    #[serde(flatten)]
    pub(super) content: Content,
}

impl Bundle {
    pub(super) fn new(key: &PrivateKey, content: Content) -> Self {
        Self {
            media_type: BUNDLE_TYPE.to_owned(),
            verification_material: Material {
                public_key: Some(Hint {
                    hint: key.public().id().hint(),
                }),
            },
            content,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Material {
    #[serde(default)]
    pub(super) public_key: Option<Hint>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Hint {
    #[serde(default)]
    pub(super) hint: String,
}

#[derive(Serialize, Deserialize)]
pub(super) enum Content {
    #[serde(rename = "dsseEnvelope")]
    Envelope(Envelope),
    #[serde(rename = "messageSignature")]
    Message(Message),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Envelope {
    pub(super) payload: String,
    pub(super) payload_type: String,
    pub(super) signatures: Vec<EnvelopeSignature>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct EnvelopeSignature {
    pub(super) sig: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Message {
    pub(super) message_digest: MessageDigest,
    pub(super) signature: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct MessageDigest {
    pub(super) algorithm: String,
    pub(super) digest: String,
}
