//! What `wit-bindgen` makes of the contract: one module per world, with the shared types in [`host`].
//!
//! Nothing here is public API: the traits and types of this crate are. Only the export macro reaches in.

#![allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]

/// The imports, and the types that all worlds share.
pub mod host {
    wit_bindgen::generate!({
        path: "../../wit/v0.1",
        world: "imports",
    });
}

/// World `source-plugin`.
pub mod source {
    wit_bindgen::generate!({
        path: "../../wit/v0.1",
        world: "source-plugin",
        pub_export_macro: true,
        export_macro_name: "__export_source",
        default_bindings_module: "crossdock_sdk::__private::bindings::source",
        with: {
            "crossdock:plugin/plugin-types@0.1.0": super::host::crossdock::plugin::plugin_types,
            "crossdock:plugin/log@0.1.0": super::host::crossdock::plugin::log,
            "crossdock:plugin/metrics@0.1.0": super::host::crossdock::plugin::metrics,
            "crossdock:plugin/tables@0.1.0": super::host::crossdock::plugin::tables,
            "crossdock:plugin/http-client@0.1.0": super::host::crossdock::plugin::http_client,
            "crossdock:plugin/clock@0.1.0": super::host::crossdock::plugin::clock,
            "crossdock:plugin/random@0.1.0": super::host::crossdock::plugin::random,
        },
    });
}

/// World `transformer-plugin`.
pub mod transformer {
    wit_bindgen::generate!({
        path: "../../wit/v0.1",
        world: "transformer-plugin",
        pub_export_macro: true,
        export_macro_name: "__export_transformer",
        default_bindings_module: "crossdock_sdk::__private::bindings::transformer",
        with: {
            "crossdock:plugin/plugin-types@0.1.0": super::host::crossdock::plugin::plugin_types,
            "crossdock:plugin/log@0.1.0": super::host::crossdock::plugin::log,
            "crossdock:plugin/metrics@0.1.0": super::host::crossdock::plugin::metrics,
            "crossdock:plugin/tables@0.1.0": super::host::crossdock::plugin::tables,
            "crossdock:plugin/http-client@0.1.0": super::host::crossdock::plugin::http_client,
            "crossdock:plugin/clock@0.1.0": super::host::crossdock::plugin::clock,
            "crossdock:plugin/random@0.1.0": super::host::crossdock::plugin::random,
        },
    });
}

/// World `sink-plugin`.
pub mod sink {
    wit_bindgen::generate!({
        path: "../../wit/v0.1",
        world: "sink-plugin",
        pub_export_macro: true,
        export_macro_name: "__export_sink",
        default_bindings_module: "crossdock_sdk::__private::bindings::sink",
        with: {
            "crossdock:plugin/plugin-types@0.1.0": super::host::crossdock::plugin::plugin_types,
            "crossdock:plugin/log@0.1.0": super::host::crossdock::plugin::log,
            "crossdock:plugin/metrics@0.1.0": super::host::crossdock::plugin::metrics,
            "crossdock:plugin/tables@0.1.0": super::host::crossdock::plugin::tables,
            "crossdock:plugin/http-client@0.1.0": super::host::crossdock::plugin::http_client,
            "crossdock:plugin/clock@0.1.0": super::host::crossdock::plugin::clock,
            "crossdock:plugin/random@0.1.0": super::host::crossdock::plugin::random,
        },
    });
}
