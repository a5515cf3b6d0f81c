//! The bookkeeping of the arena, in offsets: no pointer, nothing unsafe.

/// Bytes of one chunk.
pub(super) const SIZE: usize = 64 * 1024;

/// Chunks of the region.
pub(super) const COUNT: usize = 64;

/// Which parts of the region are in use.
///
/// A chunk without live blocks is free as a whole. The current one is filled from the front; the others wait until
/// their last block is gone.
#[derive(Debug)]
pub(super) struct Chunks {
    /// Blocks alive in each chunk.
    live: [u32; COUNT],
    /// The chunk that is being filled.
    current: usize,
    /// Where its free part starts, as an offset in the region.
    front: usize,
    /// Whether another chunk than the current one may be free.
    any_free: bool,
}

impl Chunks {
    /// Chunks whose current one counts as full, so that nothing is cut from them before a page is turned.
    pub(super) const fn new() -> Self {
        Self {
            live: [0; COUNT],
            current: 0,
            front: SIZE,
            any_free: true,
        }
    }

    /// A block of the current chunk, as an offset. `None` when there is no room in it.
    #[inline]
    pub(super) fn cut(&mut self, size: usize, align: usize) -> Option<usize> {
        // An alignment is a power of two. `next_multiple_of` would divide by it.
        let start = (self.front + align - 1) & !(align - 1);
        let front = start + size;
        if front > self.end() {
            return None;
        }
        *self.live.get_mut(self.current)? += 1;
        self.front = front;
        Some(start)
    }

    /// A block of another chunk that is free, which is the current one then. `None` when there is none, or for blocks
    /// larger than a chunk. The start of a chunk has every alignment that is asked for.
    pub(super) fn turn_page(&mut self, size: usize) -> Option<usize> {
        if !self.any_free || size > SIZE {
            return None;
        }
        let Some(next) = self.live.iter().position(|live| *live == 0) else {
            self.any_free = false;
            return None;
        };
        self.current = next;
        self.front = next * SIZE;
        self.cut(size, 1)
    }

    /// Gives a block back.
    #[inline]
    pub(super) fn free(&mut self, offset: usize, size: usize) {
        let chunk = offset / SIZE;
        self.live[chunk] -= 1;
        if chunk == self.current {
            if self.live[chunk] == 0 {
                self.front = chunk * SIZE;
            } else if offset + size == self.front {
                self.front = offset;
            }
        } else if self.live[chunk] == 0 {
            self.any_free = true;
        }
    }

    /// Changes the size of a block in place. Only the last block of the current chunk can grow, any can shrink.
    #[inline]
    pub(super) fn resize(&mut self, offset: usize, old: usize, new: usize) -> bool {
        let last = offset / SIZE == self.current && offset + old == self.front;
        if last && new <= self.end() - offset {
            self.front = offset + new;
            return true;
        }
        new <= old
    }

    /// Where the current chunk ends.
    fn end(&self) -> usize {
        (self.current + 1) * SIZE
    }
}
