//! Plugins on disk and in registries: what a file says of itself, where names are found, whether a config fits, who signed
//! it, what is installed. Nothing is executed here.

pub mod archive;
pub mod compare;
pub mod config;
pub mod conformance;
pub mod index;
pub mod inspect;
pub mod key;
pub mod locate;
pub mod lock;
pub mod manifest;
pub mod reference;
pub mod registry;
pub mod sbom;
pub mod signature;
pub mod store;
pub mod trust;
pub mod verdict;
pub mod version;

pub use archive::ArchiveError;
pub use compare::{Asked, Comparison, compare};
pub use config::{ConfigFinding, check_schema, validate_config};
pub use index::{Advisory, Deprecated, Entry, Index, Release};
pub use inspect::{Import, ImportGroup, InspectError, Inspection, digest, inspect, read_component};
pub use key::{KeyError, KeyId, Passphrase, PrivateKey, PublicKey};
pub use locate::{LocateError, Located, Locator};
pub use lock::{Before, Installed, Lock, LockError, Locked};
pub use manifest::{Kind, Manifest, ManifestError};
pub use reference::{Reference, ReferenceError, Repository, Selector};
pub use registry::{Registry, RegistryError, RegistryOptions, Settings};
pub use signature::{Signature, SignatureError, Subject};
pub use store::Store;
pub use trust::{Decision, Trust};
pub use verdict::{Change, Judgement, Verdict, judge};
pub use version::Wanted;
