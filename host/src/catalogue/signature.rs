//! Signatures of plugins with a publisher's key, in the layouts of cosign, so that it and other tools verify ours and we
//! verify theirs:
//!
//! - *simple signing*, the older one: a JSON text that names the manifest's digest, pushed under the tag
//!   `sha256-<hex>.sig`, with the signature in an annotation of its layer;
//! - *bundle* (v0.3), the newer one: a DSSE envelope around an in-toto statement, pushed as a referrer of the manifest;
//! - beside a file, a bundle with the signature of the file itself.
//!
//! Everything here is a function of bytes: no network, no clock. Whether a key is to be trusted, and until when, is
//! [`super::trust`]'s matter.

mod layout;
#[cfg(test)]
mod tests;
mod verify;

use std::{borrow::Cow, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use self::{
    layout::{
        Bundle, Content, Critical, DigestSet, Empty, Envelope, EnvelopeSignature, Identity, Image,
        Message, MessageDigest, SIMPLE, STATEMENT, STATEMENT_TYPE, SimplePayload, Statement,
        StatementSubject, bounded, decode, encoded, json, parse,
    },
    verify::{bundle, simple},
};
use super::key::{KeyError, PrivateKey, PublicKey};

/// Media type of a bundle, as a layer and as the artifact type of its manifest.
pub const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// Media type of the layer that holds a simple signing payload.
pub const SIMPLE_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation of that layer that holds the signature.
pub const SIMPLE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// What a statement must say to be a signature, and not an attestation of something else about the plugin.
pub const PREDICATE_TYPE: &str = "https://sigstore.dev/cosign/sign/v1";
/// What is behind the name of a file that is signed.
pub const FILE_SUFFIX: &str = "sigstore.json";

/// A larger bundle is refused, in bytes.
pub const MAX_BUNDLE: usize = 1 << 20;
/// A larger signed text is refused, in bytes: ours have some hundred.
pub const MAX_PAYLOAD: usize = 64 << 10;

/// Why a signature does not count. Each is one line that says what was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// Larger than anything that is one.
    #[error("the {what} has {size} bytes; {most} are allowed")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How many.
        size: usize,
        /// How many may be.
        most: usize,
    },
    /// Not in the form that it should have.
    #[error("the {what} is damaged: {why}")]
    Malformed {
        /// Which part.
        what: &'static str,
        /// How.
        why: String,
    },
    /// A version or kind of bundle that this host does not read.
    #[error(
        "the bundle is {0}, which this host does not read: it reads {BUNDLE_TYPE} with a key's signature"
    )]
    Unread(String),
    /// A signature of something that is no statement about a plugin.
    #[error("it is a signature of {found:?}, not of {expected:?}")]
    OtherType {
        /// What is signed.
        found: String,
        /// What should be.
        expected: &'static str,
    },
    /// Made for something else.
    #[error(
        "it was made for {signed}, not for {asked}: it was moved here from another version or plugin"
    )]
    OtherDigest {
        /// The digest that is signed.
        signed: String,
        /// The digest at hand.
        asked: String,
    },
    /// Made under another name.
    #[error("it was made for `{signed}`, not for `{asked}`")]
    OtherName {
        /// The name that is signed.
        signed: String,
        /// The name asked for.
        asked: String,
    },
    /// No known key made it.
    #[error("none of the known keys made it")]
    UnknownKey,
}

/// What a signature must be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// An artifact in a registry: the digest of its manifest, and the plugin's name.
    Artifact {
        /// `sha256:…` of the manifest.
        digest: &'a str,
        /// The plugin's name, the last part of its repository.
        name: &'a str,
    },
    /// A file: its bytes.
    File(&'a [u8]),
}

impl Subject<'_> {
    fn digest(&self) -> Cow<'_, str> {
        match self {
            Self::Artifact { digest, .. } => Cow::Borrowed(digest),
            Self::File(bytes) => Cow::Owned(super::digest(bytes)),
        }
    }

    /// A name that was signed, if any, is that of the plugin. Where a mirror keeps it does not matter: the digest says
    /// what it is.
    fn check(&self, digest: &str, name: &str) -> Result<(), SignatureError> {
        let asked = self.digest();
        if digest != asked {
            return Err(SignatureError::OtherDigest {
                signed: digest.to_owned(),
                asked: asked.into_owned(),
            });
        }
        let signed = name.rsplit('/').next().unwrap_or_default();
        let signed = signed.split(['@', ':']).next().unwrap_or_default();
        match self {
            Self::Artifact { name: asked, .. } if !signed.is_empty() && signed != *asked => {
                Err(SignatureError::OtherName {
                    signed: name.to_owned(),
                    asked: (*asked).to_owned(),
                })
            }
            _ => Ok(()),
        }
    }
}

/// A signature as it is found, not yet believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// The older layout.
    Simple {
        /// The layer's bytes.
        payload: Vec<u8>,
        /// Its annotation [`SIMPLE_ANNOTATION`].
        signature: String,
    },
    /// The newer layout: the bundle's bytes.
    Bundle(Vec<u8>),
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Simple { .. } => "simple signing",
            Self::Bundle(_) => "bundle",
        })
    }
}

impl Signature {
    /// Signs a manifest in the older layout. `repository` is the registry's name with the repository's, without a tag.
    ///
    /// # Errors
    /// When the system gives no random numbers, as with the others.
    pub fn simple(key: &PrivateKey, repository: &str, digest: &str) -> Result<Self, KeyError> {
        let payload = SimplePayload {
            critical: Critical {
                identity: Identity {
                    docker_reference: repository.to_owned(),
                },
                image: Image {
                    docker_manifest_digest: digest.to_owned(),
                },
                kind: SIMPLE.to_owned(),
            },
            optional: (),
        };
        let payload = json(&payload);
        let signature = STANDARD.encode(key.sign(&payload)?);
        Ok(Self::Simple { payload, signature })
    }

    /// Signs a manifest in the newer layout.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn bundle(key: &PrivateKey, name: &str, digest: &str) -> Result<Self, KeyError> {
        let statement = Statement {
            kind: STATEMENT.to_owned(),
            subject: vec![StatementSubject {
                name: name.to_owned(),
                digest: DigestSet {
                    sha256: hex_of(digest).to_owned(),
                },
            }],
            predicate_type: PREDICATE_TYPE.to_owned(),
            predicate: Empty {},
        };
        let payload = json(&statement);
        let signature = key.sign(&encoded(STATEMENT_TYPE, &payload))?;
        let content = Content::Envelope(Envelope {
            payload: STANDARD.encode(payload),
            payload_type: STATEMENT_TYPE.to_owned(),
            signatures: vec![EnvelopeSignature {
                sig: STANDARD.encode(signature),
            }],
        });
        Ok(Self::Bundle(json(&Bundle::new(key, content))))
    }

    /// Signs a file: its bytes, as `openssl dgst -sha256 -sign` does.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn of_file(key: &PrivateKey, bytes: &[u8]) -> Result<Self, KeyError> {
        let digest = super::digest(bytes);
        let content = Content::Message(Message {
            message_digest: MessageDigest {
                algorithm: "SHA2_256".to_owned(),
                digest: STANDARD.encode(hex::decode(hex_of(&digest)).unwrap_or_default()),
            },
            signature: STANDARD.encode(key.sign(bytes)?),
        });
        Ok(Self::Bundle(json(&Bundle::new(key, content))))
    }

    /// Whether it is about exactly this subject, whoever made it: nothing is believed by that.
    ///
    /// # Errors
    /// When it is damaged, or about something else.
    pub fn is_about(&self, subject: &Subject<'_>) -> Result<(), SignatureError> {
        match self {
            Self::Simple { payload, .. } => {
                bounded("signed text", payload.len(), MAX_PAYLOAD)?;
                let signed: SimplePayload<serde::de::IgnoredAny> = parse("signed text", payload)?;
                let critical = &signed.critical;
                subject.check(
                    &critical.image.docker_manifest_digest,
                    &critical.identity.docker_reference,
                )
            }
            Self::Bundle(bytes) => {
                bounded("bundle", bytes.len(), MAX_BUNDLE)?;
                let bundle: Bundle = parse("bundle", bytes)?;
                let Content::Envelope(envelope) = bundle.content else {
                    return Err(SignatureError::Unread("the signature of a file".to_owned()));
                };
                bounded("signed text", envelope.payload.len() / 4 * 3, MAX_PAYLOAD)?;
                let payload = decode("signed text", &envelope.payload)?;
                let statement: Statement<serde::de::IgnoredAny> = parse("statement", &payload)?;
                let [signed] = statement.subject.as_slice() else {
                    let why = format!("it is about {} things", statement.subject.len());
                    return Err(SignatureError::Malformed {
                        what: "statement",
                        why,
                    });
                };
                subject.check(&format!("sha256:{}", signed.digest.sha256), &signed.name)
            }
        }
    }

    /// Which of the keys made it, for exactly this subject.
    ///
    /// # Errors
    /// When none of them did, or it is about something else.
    pub fn verify<'k>(
        &self,
        subject: &Subject<'_>,
        keys: impl IntoIterator<Item = &'k PublicKey>,
    ) -> Result<&'k PublicKey, SignatureError> {
        match self {
            Self::Simple { payload, signature } => simple(payload, signature, subject, keys),
            Self::Bundle(bytes) => bundle(bytes, subject, keys),
        }
    }
}

/// What is behind `sha256:`.
fn hex_of(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}
