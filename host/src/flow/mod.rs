//! What runs: the flow file, its findings, the plan. Pure: no tokio, no WebAssembly.
