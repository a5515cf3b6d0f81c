//! Components as the engine's stages. The only module that knows wasmtime.
