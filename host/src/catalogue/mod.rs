//! Plugins on disk and in registries: what a file says of itself, where names are found, whether a config fits, who signed
//! it, what is installed. Nothing is executed here.

pub mod compare;
pub mod config;
pub mod conformance;
pub mod inspect;
pub mod key;
pub mod locate;
pub mod lock;
pub mod manifest;
pub mod reference;
pub mod registry;
pub mod signature;
pub mod store;
pub mod trust;
pub mod version;

pub use compare::{Asked, Comparison, compare};
pub use config::{ConfigFinding, check_schema, validate_config};
pub use inspect::{Import, ImportGroup, InspectError, Inspection, digest, inspect, read_component};
pub use key::{KeyError, KeyId, Passphrase, PrivateKey, PublicKey};
pub use locate::{LocateError, Located, Locator};
pub use lock::{Before, Change, Installed, Lock, LockError, Locked};
pub use manifest::{Kind, Manifest, ManifestError};
pub use reference::{Reference, ReferenceError, Repository, Selector};
pub use registry::{Registry, RegistryError, RegistryOptions};
pub use signature::{Signature, SignatureError, Subject};
pub use store::Store;
pub use trust::{Decision, Trust};
pub use version::Wanted;
