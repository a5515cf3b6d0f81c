//! `crossdock schema`: what editors complete flow, connection, trust and catalogue files with.

use super::{arguments::SchemaArguments, output::Output};
use crate::{
    app,
    catalogue::{index::NotesSpec, registry::settings::SettingsSpec, trust::TrustSpec},
    flow::{schema, spec::FlowSpec},
};

pub(super) fn schema(arguments: &SchemaArguments, output: Output) -> u8 {
    match arguments.kind.as_str() {
        "connection" => output.print_json(&app::connection_schema()),
        "registries" => output.print_json(&schema::of::<SettingsSpec>()),
        "catalogue" => output.print_json(&schema::of::<NotesSpec>()),
        "trust" => output.print_json(&schema::of::<TrustSpec>()),
        // The argument allows only these.
        _ => output.print_json(&schema::of::<FlowSpec>()),
    }
    0
}
