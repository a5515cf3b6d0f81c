//! Random programs against a model: no block overlaps another, contents survive, everything comes back.

#![allow(
    unsafe_code,
    reason = "an allocator is called through its unsafe trait"
)]

use std::alloc::{GlobalAlloc, Layout};

use proptest::prelude::*;

use super::chunks::{COUNT, Chunks, SIZE};
use super::{Arena, MAX_SMALL, REGION};

#[derive(Debug, Clone)]
enum Step {
    Alloc {
        size: usize,
        align: u32,
    },
    Free(prop::sample::Index),
    Resize(prop::sample::Index, usize),
    /// What the end of a batch does: everything but every n-th block goes.
    Sweep(usize),
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        6 => 1usize..200,
        3 => 200..MAX_SMALL,
        1 => MAX_SMALL - 2..MAX_SMALL + 3,
        1 => MAX_SMALL..4 * SIZE,
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (size(), 0u32..7).prop_map(|(size, align)| Step::Alloc { size, align }),
        4 => any::<prop::sample::Index>().prop_map(Step::Free),
        4 => (any::<prop::sample::Index>(), size()).prop_map(|(at, size)| Step::Resize(at, size)),
        1 => (1usize..6).prop_map(Step::Sweep),
    ]
}

/// As the arena asks.
fn alloc(chunks: &mut Chunks, size: usize, align: usize) -> Option<usize> {
    chunks.cut(size, align).or_else(|| chunks.turn_page(size))
}

struct Block {
    at: *mut u8,
    layout: Layout,
    mark: u8,
}

impl Block {
    fn new(arena: &Arena, layout: Layout, mark: u8) -> Self {
        let at = unsafe { arena.alloc(layout) };
        assert!(!at.is_null() && at.addr().is_multiple_of(layout.align()));
        unsafe { at.write_bytes(mark, layout.size()) };
        Self { at, layout, mark }
    }

    fn check(&self, length: usize) {
        let bytes = unsafe { std::slice::from_raw_parts(self.at, length) };
        assert!(
            bytes.iter().all(|byte| *byte == self.mark),
            "the block was overwritten"
        );
    }

    fn free(self, arena: &Arena) {
        self.check(self.layout.size());
        unsafe { arena.dealloc(self.at, self.layout) };
    }

    fn resize(&mut self, arena: &Arena, size: usize) {
        self.check(self.layout.size());
        self.at = unsafe { arena.realloc(self.at, self.layout, size) };
        assert!(!self.at.is_null() && self.at.addr().is_multiple_of(self.layout.align()));
        self.check(self.layout.size().min(size));
        self.layout = Layout::from_size_align(size, self.layout.align()).unwrap();
        unsafe { self.at.write_bytes(self.mark, size) };
    }
}

proptest! {
    #[test]
    fn contents_survive_any_program(steps in prop::collection::vec(step(), 1..300)) {
        let arena = Arena::new();
        let mut blocks: Vec<Block> = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Alloc { size, align } => {
                    let layout = Layout::from_size_align(size, 1 << align).unwrap();
                    blocks.push(Block::new(&arena, layout, u8::try_from(number % 251).unwrap()));
                }
                Step::Free(at) if !blocks.is_empty() => {
                    let at = at.index(blocks.len());
                    blocks.swap_remove(at).free(&arena);
                }
                Step::Resize(at, size) if !blocks.is_empty() => {
                    let at = at.index(blocks.len());
                    blocks[at].resize(&arena, size);
                }
                Step::Sweep(nth) => {
                    let (kept, gone): (Vec<_>, Vec<_>) =
                        blocks.into_iter().enumerate().partition(|(at, _)| at % nth == 0);
                    for (_, block) in gone {
 block.free(&arena);
 }
                    blocks = kept.into_iter().map(|(_, block)| block).collect();
                }
                Step::Free(_) | Step::Resize(..) => {}
            }
        }
        for block in blocks {
 block.free(&arena);
 }
    }

    #[test]
    fn blocks_never_overlap(steps in prop::collection::vec(step(), 1..2000)) {
        let mut chunks = Chunks::new();
        let mut live: Vec<(usize, usize)> = Vec::new();
        for step in steps {
            match step {
                Step::Alloc { size, align } => {
                    let align = 1 << align.min(4);
                    if let Some(start) = alloc(&mut chunks, size, align) {
                        prop_assert!(start % align == 0 && start + size <= REGION);
                        prop_assert_eq!(start / SIZE, (start + size - 1) / SIZE, "crosses a chunk");
                        for (other, length) in &live {
                            prop_assert!(start + size <= *other || other + length <= start);
                        }
                        live.push((start, size));
                    } else {
                        prop_assert!(size > SIZE || live.len() >= COUNT - 1);
                    }
                }
                Step::Free(at) if !live.is_empty() => {
                    let (start, size) = live.swap_remove(at.index(live.len()));
                    chunks.free(start, size);
                }
                Step::Resize(at, new) if !live.is_empty() => {
                    let at = at.index(live.len());
                    let (start, old) = live[at];
                    if chunks.resize(start, old, new) {
                        live[at].1 = new;
                        for (index, (other, length)) in live.iter().enumerate() {
                            prop_assert!(index == at || start + new <= *other || other + length <= start);
                        }
                    }
                }
                Step::Sweep(nth) => {
                    for at in (0..live.len()).rev().filter(|at| at % nth != 0) {
                        let (start, size) = live.swap_remove(at);
                        chunks.free(start, size);
                    }
                }
                Step::Free(_) | Step::Resize(..) => {}
            }
        }
    }
}

/// One block of each batch stays for ever, as in a transformer with state, and the garbage between fills chunks.
#[test]
fn state_between_garbage_is_bounded() {
    let arena = Arena::new();
    let layout = Layout::from_size_align(24, 8).unwrap();
    let garbage = Layout::from_size_align(4000, 8).unwrap();
    let mut state = Vec::new();
    let mut ours = 0;
    for number in 0..2_000_u32 {
        let temporary: Vec<_> = (0..20).map(|_| Block::new(&arena, garbage, 1)).collect();
        let kept = Block::new(&arena, layout, u8::try_from(number % 251).unwrap());
        ours += usize::from(arena.state().offset_of(kept.at).is_some());
        state.push(kept);
        for block in temporary {
            block.free(&arena);
        }
    }
    // The region is all there is: what finds no free chunk goes to the system, and no second region is ever taken.
    assert!(ours < state.len(), "the region holds no more than it has");
    for block in state.drain(..) {
        block.free(&arena);
    }
    // Once the state is gone the region is of use again.
    let again = Block::new(&arena, layout, 7);
    assert!(arena.state().offset_of(again.at).is_some());
    again.free(&arena);
}

#[test]
fn a_record_at_a_time_stays_in_one_chunk() {
    let mut chunks = Chunks::new();
    for _ in 0..100_000 {
        let first = alloc(&mut chunks, 320, 8).unwrap();
        let second = alloc(&mut chunks, 100, 1).unwrap();
        assert!(second < SIZE);
        chunks.free(first, 320);
        chunks.free(second, 100);
    }
}

#[test]
fn the_last_block_grows_in_place() {
    let mut chunks = Chunks::new();
    let first = alloc(&mut chunks, 10, 1).unwrap();
    let last = alloc(&mut chunks, 10, 1).unwrap();
    assert!(chunks.resize(last, 10, 4000));
    assert!(!chunks.resize(first, 10, 11));
    assert!(chunks.resize(first, 10, 5));
    let next = alloc(&mut chunks, 1, 1).unwrap();
    assert_eq!(next, last + 4000);
    assert!(!chunks.resize(next, 1, SIZE));
}
