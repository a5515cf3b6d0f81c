//! The one line that makes a component of a crate.

use std::marker::PhantomData;

use crate::bindings::host::crossdock::plugin::plugin_types as types;
use crate::bindings::sink::exports::crossdock::plugin::sink as wit_sink;
use crate::bindings::source::exports::crossdock::plugin::source as wit_source;
use crate::bindings::transformer::exports::crossdock::plugin::transformer as wit_transformer;
use crate::glue::Slot;
use crate::sink::Sink;
use crate::source::Source;
use crate::transformer::Transformer;

type Answer<T> = Result<T, types::Fault>;

/// Where the one instance of a plugin lives: a static of the plugin's crate, made by [`export!`](crate::export!).
pub trait Home: 'static {
    /// The type that implements the trait.
    type Plugin: 'static;

    /// Calls with the place of the instance.
    fn with<R>(call: impl FnOnce(&mut Slot<Self::Plugin>) -> R) -> R;
}

/// Implements the contract's `source` for a [`Source`].
#[derive(Debug)]
pub struct ExportSource<H>(PhantomData<H>);

/// Implements the contract's `transformer` for a [`Transformer`].
#[derive(Debug)]
pub struct ExportTransformer<H>(PhantomData<H>);

/// Implements the contract's `sink` for a [`Sink`].
#[derive(Debug)]
pub struct ExportSink<H>(PhantomData<H>);

impl<H: Home<Plugin: Source>> wit_source::Guest for ExportSource<H> {
    fn check(config: String) -> Answer<()> {
        crate::trap::install();
        Slot::<H::Plugin>::source_check(&config)
    }

    fn streams(config: String) -> Answer<Vec<wit_source::StreamInfo>> {
        crate::trap::install();
        Slot::<H::Plugin>::source_streams(&config)
    }

    fn open(config: String, snapshot: Option<Vec<u8>>) -> Answer<()> {
        crate::trap::install();
        H::with(|slot| slot.source_open(&config, snapshot.as_deref()))
    }

    fn read(budget: wit_source::Budget) -> Answer<wit_source::ReadOutcome> {
        H::with(|slot| slot.source_read(budget))
    }

    fn snapshot() -> Answer<Vec<u8>> {
        H::with(Slot::source_snapshot)
    }

    fn committed(snapshot: Vec<u8>) -> Answer<()> {
        H::with(|slot| slot.source_committed(&snapshot))
    }

    fn close() {
        H::with(Slot::source_close);
    }
}

impl<H: Home<Plugin: Transformer>> wit_transformer::Guest for ExportTransformer<H> {
    fn check(config: String) -> Answer<()> {
        crate::trap::install();
        Slot::<H::Plugin>::transformer_check(&config)
    }

    fn open(config: String, snapshot: Option<Vec<u8>>) -> Answer<wit_transformer::Mode> {
        crate::trap::install();
        H::with(|slot| slot.transformer_open(&config, snapshot.as_deref()))
    }

    fn apply(batch: types::Batch) -> Answer<wit_transformer::Applied> {
        H::with(|slot| slot.transformer_apply(batch))
    }

    fn finish() -> Answer<Vec<types::Batch>> {
        H::with(Slot::transformer_finish)
    }

    fn snapshot() -> Answer<Vec<u8>> {
        H::with(Slot::transformer_snapshot)
    }

    fn close() {
        H::with(Slot::transformer_close);
    }
}

impl<H: Home<Plugin: Sink>> wit_sink::Guest for ExportSink<H> {
    fn check(config: String) -> Answer<()> {
        crate::trap::install();
        Slot::<H::Plugin>::sink_check(&config)
    }

    fn open(config: String, snapshot: Option<Vec<u8>>) -> Answer<()> {
        crate::trap::install();
        H::with(|slot| slot.sink_open(&config, snapshot.as_deref()))
    }

    fn write(batch: types::Batch) -> Answer<wit_sink::Written> {
        H::with(|slot| slot.sink_write(batch))
    }

    fn finish() -> Answer<()> {
        H::with(Slot::sink_finish)
    }

    fn snapshot() -> Answer<Vec<u8>> {
        H::with(Slot::sink_snapshot)
    }

    fn commit(snapshot: Vec<u8>) -> Answer<()> {
        H::with(|slot| slot.sink_commit(&snapshot))
    }

    fn close() {
        H::with(Slot::sink_close);
    }
}

/// Makes a component of the crate: `export! { manifest: "plugin.json", source: MySource, sink: MySink }`.
///
/// Any of `source`, `transformer` and `sink`, in this order, each the type that implements the trait. The manifest is a
/// path relative to the crate's `Cargo.toml`; it becomes the custom section `crossdock:manifest`.
///
/// `allocator: arena` or `allocator: system` says which [allocator](crate::arena) the plugin runs on; without it a
/// transformer gets the arena, and a plugin that is only a source or a sink the system's.
///
/// It emits nothing outside of WebAssembly, so that unit tests link natively.
#[macro_export]
macro_rules! export {
    (
        manifest: $manifest:literal
        $(, source: $source:ty)?
        $(, transformer: $transformer:ty)?
        $(, sink: $sink:ty)?
        $(, allocator: $allocator:ident)?
        $(,)?
    ) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            $crate::__manifest!($manifest);
            $crate::__allocator!($($allocator)? $(, $transformer)?);
            $( $crate::__export_one!(__export_source, ExportSource, source, $source); )?
            $( $crate::__export_one!(__export_transformer, ExportTransformer, transformer, $transformer); )?
            $( $crate::__export_one!(__export_sink, ExportSink, sink, $sink); )?
        };
        // The types must fit on every target, so that a native `cargo check` finds what does not.
        $( const _: fn() = $crate::__private::is_source::<$source>; )?
        $( const _: fn() = $crate::__private::is_transformer::<$transformer>; )?
        $( const _: fn() = $crate::__private::is_sink::<$sink>; )?
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __manifest {
    ($manifest:literal) => {
        const MANIFEST: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $manifest));
        #[used]
        #[unsafe(link_section = "crossdock:manifest")]
        static SECTION: [u8; MANIFEST.len()] =
            *include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $manifest));
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __allocator {
    (arena $(, $transformer:ty)?) => {
        #[global_allocator]
        static ALLOCATOR: $crate::arena::Arena = $crate::arena::Arena::new();
    };
    (system $(, $transformer:ty)?) => {};
    (, $transformer:ty) => {
        $crate::__allocator!(arena);
    };
    () => {};
    ($other:ident $(, $transformer:ty)?) => {
        compile_error!("`allocator` is `arena` or `system`");
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_one {
    ($export:ident, $shell:ident, $world:ident, $plugin:ty) => {
        const _: () = {
            struct Place;
            impl $crate::__private::Home for Place {
                type Plugin = $plugin;
                fn with<R>(call: impl FnOnce(&mut $crate::__private::Slot<$plugin>) -> R) -> R {
                    ::std::thread_local! {
                        static INSTANCE: ::std::cell::RefCell<$crate::__private::Slot<$plugin>> =
                            const { ::std::cell::RefCell::new($crate::__private::Slot::new()) };
                    }
                    INSTANCE.with_borrow_mut(call)
                }
            }
            type Shell = $crate::__private::$shell<Place>;
            $crate::__private::bindings::$world::$export!(Shell with_types_in $crate::__private::bindings::$world);
        };
    };
}
