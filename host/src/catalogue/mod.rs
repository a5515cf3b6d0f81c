//! Plugins on disk: what a file says of itself, where names are found, whether a config fits. Nothing is executed here.

pub mod compare;
pub mod config;
pub mod conformance;
pub mod inspect;
pub mod locate;
pub mod manifest;

pub use compare::{Asked, Comparison, compare};
pub use config::{ConfigFinding, check_schema, validate_config};
pub use inspect::{Import, ImportGroup, InspectError, Inspection, digest, inspect, read_component};
pub use locate::{LocateError, Located, Locator};
pub use manifest::{Kind, Manifest, ManifestError};
