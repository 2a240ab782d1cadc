//! What most requests of a client are like: reads, or writes, of one length in one memory. What they
//! have in common was checked with the first of them; of each there is only left to check that its
//! place is a block of the range, and that the memory reaches as far.

use driver_sdk::{
    hal::{IoAddress, block::Lba},
    io::protocol::{Call, Place, block::Extent, first_word},
};

/// Reads, or writes, of one length in one memory of a client.
pub struct Usual<K> {
    /// Direction and bytes.
    first: u64,
    /// The beginning of the memory.
    memory: Place,
    /// The last place in it at which there are so many bytes.
    last_at: u64,
    /// Where the device finds its beginning.
    address: IoAddress,
    /// The offsets at which blocks begin have these bits zero.
    block_mask: u64,
    /// The last offset at which there are so many bytes.
    last_offset: u64,
    shift: u32,
    /// The first block of the range.
    base: Lba,
    /// What the driver has checked.
    pub prepared: K,
}

impl<K> Usual<K> {
    /// What there is to know of calls like this one, which was accepted: without flags, in a memory of
    /// so many bytes at this address.
    pub fn new(
        call: &Call,
        extent: &Extent,
        (address, bytes): (IoAddress, u64),
        prepared: K,
    ) -> Option<Self> {
        let length = u64::from(call.length);
        Some(Self {
            first: first_word(call.write, call.length),
            memory: Place::new(call.memory.registration(), 0),
            last_at: bytes.checked_sub(length)?,
            address,
            block_mask: extent.block_mask(),
            last_offset: extent.bytes().checked_sub(length)?,
            shift: extent.block_mask().count_ones(),
            base: extent.first(),
            prepared,
        })
    }

    /// The block and the address of a call whose words these are, if it is one of those. A place with
    /// flags is beyond every range.
    #[inline(always)]
    pub fn find(&self, first: u64, place: u64, memory: u64) -> Option<(Lba, IoAddress)> {
        let at = memory.wrapping_sub(self.memory.0);
        let is_usual = first == self.first
            && place & self.block_mask == 0
            && place <= self.last_offset
            && at <= self.last_at;
        let lba = Lba(self.base.0.wrapping_add(place >> self.shift));
        is_usual.then_some((lba, self.address + at))
    }
}
