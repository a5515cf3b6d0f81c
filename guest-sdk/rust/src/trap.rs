//! A panic in the sandbox is a trap: its message would be lost. This says it first.

/// Makes panics log their message and place, once per instance.
pub(crate) fn install() {
    #[cfg(target_arch = "wasm32")]
    {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| {
            std::panic::set_hook(Box::new(|info| {
                crate::log::write(crate::log::Level::Error, format_args!("{info}"));
            }));
        });
    }
}
