//! `crossdock schema`: what editors complete flow and connection files with.

use super::{arguments::SchemaArguments, output::Output};
use crate::{
    app,
    flow::{schema, spec::FlowSpec},
};

pub(super) fn schema(arguments: &SchemaArguments, output: Output) -> u8 {
    match arguments.kind.as_str() {
        "connection" => output.print_json(&app::connection_schema()),
        // The argument allows only these two.
        _ => output.print_json(&schema::of::<FlowSpec>()),
    }
    0
}
