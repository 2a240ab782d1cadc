//! The physical frame allocator.
//!
//! Memory is seen as blocks of 512 frames (2 MiB). A [`Block`] has a bit per free frame, a summary
//! of the words with a bit set, and a count. Blocks with some free frames are on one doubly linked
//! list, blocks with all of them free on another. A single frame comes from the first list as long
//! as it has a block, so that whole blocks stay whole for large extents.
//!
//! Costs: one frame taken or freed is a constant handful of instructions, without any search. An
//! extent costs a few instructions per block and word that it covers. Only
//! [`FrameAllocator::allocate_run`] searches: first in a few blocks of the lists, where a short run
//! is usually found; then, and for long runs or those that must lie low, from the lowest frame
//! upwards, at a step for each full block and for each word of the others.
//!
//! Lists are last in, first out, and boot adds memory upwards: ordinary memory is taken from the
//! top, and the low addresses that some devices are confined to are used up last.
//!
//! The bookkeeping is 144 bytes per 2 MiB. Every operation touches only the blocks concerned and
//! their neighbours in the lists. A second bitmap says which frames were ever added, so that a
//! frame that is not the allocator's can never be freed into it.

mod block;

pub use block::{Block, FRAMES_PER_BLOCK};
use block::{WHOLE_COUNT, WORDS, masks};

/// The most whole blocks that one call takes, so that it stays short.
const MOST_BLOCKS: usize = 64;
/// The partial blocks in which a run is looked for before all memory is searched.
const MOST_NEARBY: usize = 8;

/// Frames that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The number of the first frame: its physical address divided by the page size.
    pub start: u64,
    /// How many frames.
    pub count: u64,
}

impl Extent {
    /// The parts that lie in each block: `(block, first frame in the block, frames)`.
    /// Nothing if the extent wraps around.
    #[inline]
    fn pieces(self) -> impl Iterator<Item = (usize, u32, u32)> {
        let end = self.start.checked_add(self.count).unwrap_or(self.start);
        let mut frame = self.start;
        core::iter::from_fn(move || {
            if frame == end {
                return None;
            }
            let first = frame % FRAMES_PER_BLOCK;
            let count = (FRAMES_PER_BLOCK - first).min(end - frame);
            let piece = (
                (frame / FRAMES_PER_BLOCK) as usize,
                first as u32,
                count as u32,
            );
            frame += count;
            Some(piece)
        })
    }
}

/// Why frames were not taken back. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreeError {
    /// A frame was never added to this allocator.
    Foreign,
    /// A frame is free already.
    AlreadyFree,
}

impl core::fmt::Display for FreeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Foreign => "a frame is not memory of this allocator",
            Self::AlreadyFree => "a frame is free already",
        })
    }
}

impl core::error::Error for FreeError {}

/// Blocks with some, but not all, frames free.
const PARTIAL: usize = 0;
/// Blocks with all frames free.
const WHOLE: usize = 1;

/// The list for a block with so many free frames.
#[inline]
fn list_for(count: u16) -> Option<usize> {
    match count {
        0 => None,
        WHOLE_COUNT => Some(WHOLE),
        _ => Some(PARTIAL),
    }
}

/// Hands out physical frames; see the head of this module.
#[derive(Debug)]
pub struct FrameAllocator<'a> {
    blocks: &'a mut [Block],
    /// The first block of each list, as index + 1; 0 is none.
    heads: [u32; 2],
    free: u64,
}

impl<'a> FrameAllocator<'a> {
    /// An allocator without frames. `blocks` must be [`Block::EMPTY`], that is, zeroed memory;
    /// there must be at least [`blocks_for`](Self::blocks_for) the highest frame.
    pub fn new(blocks: &'a mut [Block]) -> Self {
        Self {
            blocks,
            heads: [0; 2],
            free: 0,
        }
    }

    /// How many blocks are needed for frames below `end_frame`.
    pub const fn blocks_for(end_frame: u64) -> usize {
        end_frame.div_ceil(FRAMES_PER_BLOCK) as usize
    }

    /// Makes frames available, and returns how many. Frames beyond the bookkeeping and frames that
    /// were added before are left out.
    pub fn add(&mut self, extent: Extent) -> u64 {
        let before = self.free;
        let limit = self.limit();
        let start = extent.start.min(limit);
        let count = extent.count.min(limit - start);
        for (index, first, count) in (Extent { start, count }).pieces() {
            self.add_piece(index, first, count);
        }
        self.free - before
    }

    fn add_piece(&mut self, index: usize, first: u32, count: u32) {
        let block = &mut self.blocks[index];
        let before = block.count;
        if count == WHOLE_COUNT as u32 && block.ours == [0; WORDS] {
            block.ours = [!0; WORDS];
            block.free = [!0; WORDS];
            block.words = !0;
            block.count = WHOLE_COUNT;
        } else {
            for (word, mask) in masks(first, count) {
                let new = mask & !block.ours[word];
                block.ours[word] |= new;
                block.free[word] |= new;
                block.words |= u8::from(new != 0) << word;
                block.count += new.count_ones() as u16;
            }
        }
        let after = block.count;
        self.free += u64::from(after - before);
        self.relink(index, before, after);
    }

    /// Takes one frame.
    #[inline]
    pub fn allocate(&mut self) -> Option<u64> {
        let index = self.head(PARTIAL).or_else(|| self.head(WHOLE))?;
        let block = &mut self.blocks[index];
        let word = (block.words.trailing_zeros() & 7) as usize;
        let bits = block.free[word];
        let rest = bits & bits.wrapping_sub(1);
        block.free[word] = rest;
        if rest == 0 {
            block.words &= block.words.wrapping_sub(1);
        }
        let before = block.count;
        block.count = before.wrapping_sub(1);
        self.free -= 1;
        if before == WHOLE_COUNT || before == 1 {
            self.relink(index, before, before - 1);
        }
        let frame = index * FRAMES_PER_BLOCK as usize + word * 64 + bits.trailing_zeros() as usize;
        Some(frame as u64)
    }

    /// Takes between 1 and `most` frames that follow each other: as many as can be had without
    /// searching. Whoever needs more asks again for the rest. `None` if no frame is free, or `most`
    /// is 0.
    pub fn allocate_extent(&mut self, most: u64) -> Option<Extent> {
        if most == 0 {
            return None;
        }
        let whole = self.head(WHOLE);
        if most >= FRAMES_PER_BLOCK
            && let Some(index) = whole
        {
            return Some(self.take_whole_blocks(index, (most / FRAMES_PER_BLOCK) as usize));
        }
        let index = self.head(PARTIAL).or(whole)?;
        let (first, count) = self.blocks[index].first_run(most.min(FRAMES_PER_BLOCK) as u32);
        self.take(index, first, count);
        Some(Extent {
            start: index as u64 * FRAMES_PER_BLOCK + u64::from(first),
            count: u64::from(count),
        })
    }

    /// Takes a whole block and its neighbours that are whole too, up to `most`.
    fn take_whole_blocks(&mut self, index: usize, most: usize) -> Extent {
        let most = most.min(MOST_BLOCKS);
        let is_whole = |index: usize| {
            let block = self.blocks.get(index);
            block.is_some_and(|block| block.count == WHOLE_COUNT)
        };
        let (mut first, mut end) = (index, index + 1);
        while end - first < most {
            if is_whole(first.wrapping_sub(1)) {
                first -= 1;
            } else if is_whole(end) {
                end += 1;
            } else {
                break;
            }
        }
        for index in first..end {
            self.take(index, 0, WHOLE_COUNT.into());
        }
        Extent {
            start: first as u64 * FRAMES_PER_BLOCK,
            count: (end - first) as u64 * FRAMES_PER_BLOCK,
        }
    }

    /// Takes exactly `count` frames that follow each other, the first of which is a multiple of
    /// `align_frames`, all below `below_frame` (`u64::MAX` is no limit). `None` if there is no such
    /// run, or `count` is 0.
    pub fn allocate_run(
        &mut self,
        count: u64,
        align_frames: u64,
        below_frame: u64,
    ) -> Option<Extent> {
        if count == 0 || count > self.free {
            return None;
        }
        let align = align_frames.max(1);
        let end = below_frame.min(self.limit());
        let nearby = if end == self.limit() && count <= FRAMES_PER_BLOCK {
            self.find_nearby(count, align)
        } else {
            None
        };
        let start = nearby.or_else(|| self.find_run(count, align, 0, end))?;
        let run = Extent { start, count };
        for (index, first, count) in run.pieces() {
            self.take(index, first, count);
        }
        Some(run)
    }

    /// Finds a run in one of the first partial blocks, or in the first whole one.
    fn find_nearby(&self, count: u64, align: u64) -> Option<u64> {
        let partial = core::iter::successors(self.head(PARTIAL), |&index| {
            (self.blocks[index].next as usize).checked_sub(1)
        });
        partial
            .take(MOST_NEARBY)
            .chain(self.head(WHOLE))
            .find_map(|index| {
                let start = index as u64 * FRAMES_PER_BLOCK;
                self.find_run(count, align, start, start + FRAMES_PER_BLOCK)
            })
    }

    /// The first run of free frames in `from..end`.
    fn find_run(&self, count: u64, align: u64, from: u64, end: u64) -> Option<u64> {
        let mut start = self.find(from, end, true);
        loop {
            start = start.checked_next_multiple_of(align)?;
            let stop = start.checked_add(count).filter(|&stop| stop <= end)?;
            let used = self.find(start, stop, false);
            if used == stop {
                return Some(start);
            }
            start = self.find(used, end, true);
        }
    }

    /// The first frame in `from..end` that is free, or is not; `end` if there is none.
    fn find(&self, from: u64, end: u64, free: bool) -> u64 {
        let (skip, flip) = if free { (0, 0) } else { (WHOLE_COUNT, !0) };
        let mut frame = from;
        while frame < end {
            let block = &self.blocks[(frame / FRAMES_PER_BLOCK) as usize];
            if block.count == skip {
                frame = (frame / FRAMES_PER_BLOCK + 1) * FRAMES_PER_BLOCK;
                continue;
            }
            let bits = block.free[(frame / 64) as usize % WORDS] ^ flip;
            let rest = bits >> (frame % 64);
            if rest != 0 {
                return (frame + u64::from(rest.trailing_zeros())).min(end);
            }
            frame = (frame / 64 + 1) * 64;
        }
        end
    }

    /// Takes frames of one block that are known to be free.
    fn take(&mut self, index: usize, first: u32, count: u32) {
        let block = &mut self.blocks[index];
        let before = block.count;
        if count == WHOLE_COUNT as u32 {
            block.free = [0; WORDS];
            block.words = 0;
        } else {
            for (word, mask) in masks(first, count) {
                debug_assert_eq!(block.free[word] & mask, mask, "a frame is given out twice");
                block.free[word] &= !mask;
                if block.free[word] == 0 {
                    block.words &= !(1 << word);
                }
            }
        }
        let after = before - count as u16;
        block.count = after;
        self.free -= u64::from(count);
        self.relink(index, before, after);
    }

    /// Takes frames back. An empty extent is fine and does nothing.
    ///
    /// Fails, and changes nothing, if a frame was never added or is free already.
    pub fn free(&mut self, extent: Extent) -> Result<(), FreeError> {
        if extent.start.checked_add(extent.count).is_none() {
            return Err(FreeError::Foreign);
        }
        for (index, first, count) in extent.pieces() {
            let block = self.blocks.get(index).ok_or(FreeError::Foreign)?;
            for (word, mask) in masks(first, count) {
                if block.ours[word] & mask != mask {
                    return Err(FreeError::Foreign);
                }
                if block.free[word] & mask != 0 {
                    return Err(FreeError::AlreadyFree);
                }
            }
        }
        for (index, first, count) in extent.pieces() {
            let block = &mut self.blocks[index];
            for (word, mask) in masks(first, count) {
                block.free[word] |= mask;
                block.words |= 1 << word;
            }
            let before = block.count;
            block.count = before + count as u16;
            let after = block.count;
            self.relink(index, before, after);
        }
        self.free += extent.count;
        Ok(())
    }

    /// How many frames are free.
    #[inline]
    pub const fn free_count(&self) -> u64 {
        self.free
    }

    /// One more than the highest frame that the bookkeeping has room for.
    fn limit(&self) -> u64 {
        self.blocks.len() as u64 * FRAMES_PER_BLOCK
    }

    #[inline]
    fn head(&self, list: usize) -> Option<usize> {
        (self.heads[list] as usize).checked_sub(1)
    }

    /// Moves a block to the list for its new count of free frames.
    #[inline]
    fn relink(&mut self, index: usize, before: u16, after: u16) {
        let (from, to) = (list_for(before), list_for(after));
        if from == to {
            return;
        }
        if let Some(list) = from {
            self.unlink(list, index);
        }
        if let Some(list) = to {
            self.link(list, index);
        }
    }

    fn link(&mut self, list: usize, index: usize) {
        let number = index as u32 + 1;
        let next = core::mem::replace(&mut self.heads[list], number);
        if let Some(next) = self.blocks.get_mut((next as usize).wrapping_sub(1)) {
            next.previous = number;
        }
        self.blocks[index].next = next;
        self.blocks[index].previous = 0;
    }

    fn unlink(&mut self, list: usize, index: usize) {
        let Block { next, previous, .. } = self.blocks[index];
        match self.blocks.get_mut((previous as usize).wrapping_sub(1)) {
            Some(block) => block.next = next,
            None => self.heads[list] = next,
        }
        if let Some(block) = self.blocks.get_mut((next as usize).wrapping_sub(1)) {
            block.previous = previous;
        }
    }
}

#[cfg(test)]
mod tests;
