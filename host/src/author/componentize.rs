//! A component of a core module, so that no author has to install tools for that.

use std::path::Path;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use super::{contract, error::AuthorError};
use crate::catalogue::Kind;

/// Custom sections in which bindings embed the types of the world they were made for.
const TYPES: &str = "component-type";

/// Makes a component of a core module that implements these kinds. A module whose bindings have not embedded the types of
/// the contract gets them here; its imports of WASI preview 1 are served by the standard adapter.
pub(super) fn componentize(
    project: &Path,
    kinds: &[Kind],
    mut module: Vec<u8>,
) -> Result<Vec<u8>, AuthorError> {
    if !has_types(&module) {
        let (resolve, world) = contract::resolve(project, kinds)?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
            .map_err(|error| wrong(format!("{error:#}")))?;
    }
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true);
    encoder
        .module(&module)
        .and_then(|encoder| {
            encoder.adapter(
                WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME,
                WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
            )
        })
        .and_then(ComponentEncoder::encode)
        .map_err(|error| wrong(format!("{error:#}")))
}

fn wrong(message: String) -> AuthorError {
    AuthorError::Componentize { message }
}

fn has_types(module: &[u8]) -> bool {
    Parser::new(0).parse_all(module).any(|payload| {
        matches!(payload, Ok(Payload::CustomSection(section)) if section.name().starts_with(TYPES))
    })
}
