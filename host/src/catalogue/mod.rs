//! Plugins on disk: what a file says of itself, where names are found, whether a config fits, who signed it. Nothing is
//! executed here.

pub mod compare;
pub mod config;
pub mod inspect;
pub mod key;
pub mod locate;
pub mod manifest;
pub mod signature;
pub mod trust;

pub use compare::{Asked, Comparison, compare};
pub use config::{ConfigFinding, check_schema, validate_config};
pub use inspect::{Import, ImportGroup, InspectError, Inspection, digest, inspect, read_component};
pub use key::{KeyError, KeyId, Passphrase, PrivateKey, PublicKey};
pub use locate::{LocateError, Located, Locator};
pub use manifest::{Kind, Manifest, ManifestError};
pub use signature::{Signature, SignatureError, Subject};
pub use trust::{Decision, Trust};
