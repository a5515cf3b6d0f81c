//! An allocator for code that forgets nearly everything after each record.
//!
//! Small allocations are cut from 64 KiB chunks by moving one number. Each chunk counts what lives in it; when the
//! count falls to zero the chunk starts over. So freeing is a subtraction, a record's garbage is reused while it is
//! still in the cache, and what outlives a batch (state, caches) simply keeps its chunk: nothing is ever reset under
//! anybody's feet, and there is no call that could be made at the wrong time.
//!
//! **Bound.** The chunks are one region of [`REGION`] bytes, taken once. Allocations larger than [`MAX_SMALL`], and
//! all of them while no chunk is free, go to the system allocator. So a plugin never holds more than [`REGION`] bytes
//! above what it would hold with the system allocator alone, however its state and its garbage are mixed.
//!
//! **When it does not help.** A plugin that keeps many small things (a deduplicating set, a join) pins every chunk
//! with them after a while; then it runs at the system allocator's speed and has spent 4 MiB for nothing. Say
//! `allocator: system` in [`export!`](crate::export!) for those, and where the memory limit is a few MiB.

mod chunks;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr;

use chunks::Chunks;

/// All chunks together, in bytes.
pub const REGION: usize = chunks::COUNT * chunks::SIZE;

/// Larger allocations go to the system allocator, in bytes.
pub const MAX_SMALL: usize = chunks::SIZE / 8;

/// The largest alignment it serves itself.
const MAX_ALIGN: usize = 16;

/// The allocator. [`export!`](crate::export!) installs it for transformers, and with `allocator: arena` for others.
#[derive(Debug)]
pub struct Arena {
    state: UnsafeCell<State>,
}

#[derive(Debug)]
struct State {
    region: Region,
    chunks: Chunks,
}

#[derive(Debug, Clone, Copy)]
enum Region {
    /// Nothing was allocated yet.
    Unasked,
    /// The system allocator had no room for it: everything goes there.
    Refused,
    /// Here it starts.
    At(*mut u8),
}

// SAFETY: without the atomics feature WebAssembly has no threads, so no two calls ever overlap. On other targets the
// type is not `Sync` and cannot be a global allocator.
#[cfg(all(target_arch = "wasm32", not(target_feature = "atomics")))]
#[allow(unsafe_code, reason = "see the safety argument")]
unsafe impl Sync for Arena {}

/// What the host calls for room in the guest's memory. It gives memory of the system allocator, and never of the arena:
/// what comes in through WASI is taken by the C library, which frees it itself. Rust frees what is given to it by its
/// address, whosever it is. Without this the standard library's own would ask the global allocator, and a plugin that
/// runs on the arena would break as soon as it opens a file.
#[cfg(all(target_arch = "wasm32", target_env = "p2"))]
#[allow(unsafe_code, reason = "the signature is that of the component model")]
#[unsafe(no_mangle)]
unsafe extern "C" fn cabi_realloc(
    old: *mut u8,
    old_size: usize,
    align: usize,
    size: usize,
) -> *mut u8 {
    if size == 0 {
        // Nothing is there to be read or freed: any aligned address will do.
        return ptr::without_provenance_mut(align);
    }
    let block = match (
        Layout::from_size_align(old_size, align),
        Layout::from_size_align(size, align),
    ) {
        // SAFETY: the size is not zero.
        (Ok(_), Ok(layout)) if old_size == 0 => unsafe { System.alloc(layout) },
        // SAFETY: the host gives back a block that it got here, with the size and alignment that it asked for, and the
        // new size fits that alignment.
        (Ok(layout), Ok(_)) => unsafe { System.realloc(old, layout, size) },
        _ => ptr::null_mut(),
    };
    if block.is_null() {
        // The host has nobody else to tell that there is no room, or never can be.
        core::arch::wasm32::unreachable();
    }
    block
}

impl Arena {
    /// An allocator that has not taken its region yet.
    #[allow(clippy::new_without_default, reason = "it is for statics")]
    pub const fn new() -> Self {
        Self {
            state: UnsafeCell::new(State {
                region: Region::Unasked,
                chunks: Chunks::new(),
            }),
        }
    }

    /// The only way to the state.
    #[allow(unsafe_code, clippy::mut_from_ref, reason = "see the safety argument")]
    fn state(&self) -> &mut State {
        // SAFETY: the type is not `Sync` where there are threads, so calls do not overlap; every function of this file
        // asks for the state once, uses it, and calls nothing that could come back here while it holds it (`System`
        // is another allocator).
        unsafe { &mut *self.state.get() }
    }
}

impl State {
    /// A block where the way of most allocations ends: the first one, one that is large, one that a chunk has no room for.
    /// Null when the system has none either.
    #[cold]
    #[inline(never)]
    #[allow(unsafe_code, reason = "see the safety argument")]
    fn otherwise(&mut self, layout: Layout) -> *mut u8 {
        if layout.size() <= MAX_SMALL && layout.align() <= MAX_ALIGN {
            if let Region::Unasked = self.region {
                self.region = match Layout::from_size_align(REGION, MAX_ALIGN) {
                    // SAFETY: the size is not zero.
                    Ok(layout) => match unsafe { System.alloc(layout) } {
                        base if base.is_null() => Region::Refused,
                        base => Region::At(base),
                    },
                    Err(_) => Region::Refused,
                };
            }
            if let Region::At(base) = self.region
                && let Some(offset) = self.chunks.turn_page(layout.size())
            {
                // SAFETY: as in `cut`.
                return unsafe { base.add(offset) };
            }
        }
        // SAFETY: the caller's promise about the layout is passed on.
        unsafe { System.alloc(layout) }
    }

    /// The offset of a block of ours in the region. `None` for blocks of the system allocator.
    fn offset_of(&self, block: *mut u8) -> Option<usize> {
        let Region::At(base) = self.region else {
            return None;
        };
        let offset = block.addr().wrapping_sub(base.addr());
        (offset < REGION).then_some(offset)
    }

    /// A block of the current chunk. `None` where `otherwise` has to see to it.
    #[inline]
    #[allow(unsafe_code, reason = "see the safety argument")]
    fn cut(&mut self, layout: Layout) -> Option<*mut u8> {
        if layout.size() > MAX_SMALL || layout.align() > MAX_ALIGN {
            return None;
        }
        let Region::At(base) = self.region else {
            return None;
        };
        let offset = self.chunks.cut(layout.size(), layout.align())?;
        // SAFETY: `Chunks` gives out offsets with `offset + size <= REGION`, and the region is one allocation of that
        // many bytes. The base has the largest alignment asked for, so aligned offsets are aligned addresses.
        Some(unsafe { base.add(offset) })
    }
}

// SAFETY: a block is either of the system allocator, used with its own layout, or of the region: then `Chunks` proves
// (tested against a model) that it overlaps no other live block, and it is released only by `dealloc` of that block.
// Which of the two it is is told by its address, the region being one allocation that is never given back.
#[allow(unsafe_code, reason = "an allocator is unsafe by its trait")]
unsafe impl GlobalAlloc for Arena {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Small enough to stand wherever something is allocated: a call would cost more than what is done.
        let state = self.state();
        state.cut(layout).unwrap_or_else(|| state.otherwise(layout))
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let state = self.state();
        match state.offset_of(block) {
            Some(offset) => state.chunks.free(offset, layout.size()),
            // SAFETY: a block outside of the region came from `System` with this layout.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let state = self.state();
        let Some(offset) = state.offset_of(block) else {
            // SAFETY: a block outside of the region came from `System` with this layout.
            return unsafe { System.realloc(block, layout, new_size) };
        };
        if new_size <= MAX_SMALL && state.chunks.resize(offset, layout.size(), new_size) {
            return block;
        }
        // SAFETY: the caller promises that the new size, rounded up to the alignment, does not overflow. The new block
        // is another one than the old, which is alive until it is released here, and both have at least the number of
        // bytes that is copied.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !new.is_null() {
                ptr::copy_nonoverlapping(block, new, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests;
