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
//! upwards, at a step for each full block and for each run of free frames that is
//! too short.
//!
//! Lists are last in, first out, and boot adds memory upwards: ordinary memory is taken from the
//! top, and the low addresses that some devices are confined to are used up last.
//!
//! The bookkeeping is 144 bytes per 2 MiB. Every operation touches only the blocks concerned and
//! their neighbours in the lists. A second bitmap says which frames were ever added, so that a
//! frame that is not the allocator's can never be freed into it.

mod block;

use block::WHOLE;
pub use block::{Block, FRAMES_PER_BLOCK, FreeError};

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

/// Blocks with all frames free.
const WHOLE_LIST: usize = 0;
/// Blocks with some, but not all, frames free.
const PARTIAL_LIST: usize = 1;
/// Blocks without a free frame are on no list.
const NO_LIST: usize = 2;

/// The list for a block with so many free frames.
fn list_for(count: u16) -> usize {
    match count {
        0 => NO_LIST,
        WHOLE => WHOLE_LIST,
        _ => PARTIAL_LIST,
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
            self.change(index, |block| block.add(first, count));
        }
        self.free - before
    }

    /// Takes one frame.
    #[inline]
    pub fn allocate(&mut self) -> Option<u64> {
        let index = self.head(PARTIAL_LIST).or_else(|| self.head(WHOLE_LIST))?;
        let frame = self.change(index, Block::take_first);
        Some(index as u64 * FRAMES_PER_BLOCK + u64::from(frame))
    }

    /// Takes between 1 and `most` frames that follow each other: as many as can be had without
    /// searching. Whoever needs more asks again for the rest. `None` if no frame is free, or `most`
    /// is 0.
    pub fn allocate_extent(&mut self, most: u64) -> Option<Extent> {
        if most == 0 {
            return None;
        }
        let whole = self.head(WHOLE_LIST);
        if most >= FRAMES_PER_BLOCK
            && let Some(index) = whole
        {
            return Some(self.take_whole_blocks(index, (most / FRAMES_PER_BLOCK) as usize));
        }
        let index = self.head(PARTIAL_LIST).or(whole)?;
        let most = most.min(FRAMES_PER_BLOCK) as u32;
        let (first, count) = self.change(index, |block| {
            let (first, count) = block.first_run(most);
            block.take(first, count);
            (first, count)
        });
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
            block.is_some_and(|block| block.count == WHOLE)
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
            self.change(index, |block| block.take(0, WHOLE.into()));
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
            self.change(index, |block| block.take(first, count));
        }
        Some(run)
    }

    /// Finds a run in one of the first partial blocks, or in the first whole one.
    fn find_nearby(&self, count: u64, align: u64) -> Option<u64> {
        let partial = core::iter::successors(self.head(PARTIAL_LIST), |&index| {
            (self.blocks[index].next as usize).checked_sub(1)
        });
        let mut blocks = partial.take(MOST_NEARBY).chain(self.head(WHOLE_LIST));
        blocks.find_map(|index| {
            let start = index as u64 * FRAMES_PER_BLOCK;
            self.find_run(count, align, start, start + FRAMES_PER_BLOCK)
        })
    }

    /// The first run of free frames in `from..end`. Every used frame found moves the search
    /// behind it; looking for the last one in the way makes that the longest step.
    fn find_run(&self, count: u64, align: u64, from: u64, end: u64) -> Option<u64> {
        let mut start = from;
        loop {
            start = self
                .next_free(start, end)?
                .checked_next_multiple_of(align)?;
            let stop = start.checked_add(count).filter(|&stop| stop <= end)?;
            match self.last_used(start, stop) {
                Some(used) => start = used + 1,
                None => return Some(start),
            }
        }
    }

    /// The first frame in `from..end` that is free.
    fn next_free(&self, from: u64, end: u64) -> Option<u64> {
        let mut from = from;
        while from < end {
            let base = from - from % FRAMES_PER_BLOCK;
            let block = &self.blocks[(from / FRAMES_PER_BLOCK) as usize];
            if block.count > 0
                && let Some(frame) = block.next_free((from - base) as u32)
            {
                return Some(base + u64::from(frame)).filter(|&frame| frame < end);
            }
            from = base + FRAMES_PER_BLOCK;
        }
        None
    }

    /// The last frame in `from..end` that is not free.
    fn last_used(&self, from: u64, end: u64) -> Option<u64> {
        let mut end = end;
        while end > from {
            let last = end - 1;
            let base = last - last % FRAMES_PER_BLOCK;
            let block = &self.blocks[(last / FRAMES_PER_BLOCK) as usize];
            let first = from.saturating_sub(base);
            if block.count < WHOLE
                && let Some(frame) = block.last_used(first as u32, (last - base) as u32)
            {
                return Some(base + u64::from(frame));
            }
            end = base;
        }
        None
    }

    /// Takes frames back. An empty extent is fine and does nothing.
    ///
    /// Fails, and changes nothing, if a frame was never added or is free already.
    pub fn free(&mut self, extent: Extent) -> Result<(), FreeError> {
        let Extent { start, count } = extent;
        let first = (start % FRAMES_PER_BLOCK) as u32;
        if count > FRAMES_PER_BLOCK - u64::from(first) {
            return self.free_across_blocks(extent);
        }
        if count == 0 {
            return Ok(());
        }
        let index = (start / FRAMES_PER_BLOCK) as usize;
        let block = self.blocks.get(index).ok_or(FreeError::Foreign)?;
        if count == 1 {
            // By far the most frequent case, at a third of the instructions.
            block.check_used_one(first)?;
            self.change(index, |block| block.put_back_one(first));
        } else {
            block.check_used(first, count as u32)?;
            self.change(index, |block| block.put_back(first, count as u32));
        }
        Ok(())
    }

    #[inline(never)]
    fn free_across_blocks(&mut self, extent: Extent) -> Result<(), FreeError> {
        if extent.start.checked_add(extent.count).is_none() {
            return Err(FreeError::Foreign);
        }
        for (index, first, count) in extent.pieces() {
            let block = self.blocks.get(index).ok_or(FreeError::Foreign)?;
            block.check_used(first, count)?;
        }
        for (index, first, count) in extent.pieces() {
            self.change(index, |block| block.put_back(first, count));
        }
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

    /// Changes a block, keeps the sum of free frames, and moves the block to the list where it
    /// belongs now.
    #[inline]
    fn change<R>(&mut self, index: usize, change: impl FnOnce(&mut Block) -> R) -> R {
        let block = &mut self.blocks[index];
        let before = block.count;
        let result = change(block);
        let after = block.count;
        self.free = self.free + u64::from(after) - u64::from(before);
        if !(1..WHOLE).contains(&before) || !(1..WHOLE).contains(&after) {
            self.move_block(index, list_for(before), list_for(after));
        }
        result
    }

    #[inline(never)]
    fn move_block(&mut self, index: usize, from: usize, to: usize) {
        if from == to {
            return;
        }
        if from != NO_LIST {
            self.unlink(from, index);
        }
        if to != NO_LIST {
            self.link(to, index);
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
