//! The memory of a queue pair: a submission queue, a completion queue and the PRP lists.

use spillway_hal::{Device, DmaBuffer, DriverError, FromDevice, ToDevice};

use crate::command::{COMPLETION_BYTES, Entry, SUBMISSION_BYTES};
use crate::shared::CONSTRAINTS;

/// Entries of the admin queues: there is one command at a time.
pub(crate) const ADMIN_ENTRIES: u32 = 16;

/// The memory of a queue pair, which the controller holds on to until the device has let go.
pub(crate) struct Memory<D: Device> {
    pub(crate) submissions: DmaBuffer<D::Dma, ToDevice>,
    pub(crate) completions: DmaBuffer<D::Dma, FromDevice>,
    /// One list for each command slot; for the admin queue a page that nobody uses.
    pub(crate) lists: DmaBuffer<D::Dma, ToDevice>,
}

impl<D: Device> Memory<D> {
    /// Allocates zeroed memory for queues of `entries`, a power of two, and `lists` bytes of PRP
    /// lists.
    pub(crate) fn allocate(device: &D, entries: u32, lists: usize) -> Result<Self, DriverError> {
        let entries = entries as usize;
        let mut submissions: DmaBuffer<_, ToDevice> =
            device.allocate(entries * SUBMISSION_BYTES, CONSTRAINTS)?;
        submissions.set_ring(entries * SUBMISSION_BYTES);
        Ok(Self {
            submissions,
            completions: device.allocate(entries * COMPLETION_BYTES, CONSTRAINTS)?,
            lists: device.allocate(lists.max(1), CONSTRAINTS)?,
        })
    }

    /// Stores a command in the submission queue, where the `place`th one comes: all words but those
    /// that are zero in every command, as they are in the ring from the start.
    #[inline(always)]
    pub(crate) fn place(&self, place: u32, [word0, _, _, prp1, prp2, word5, word6, _]: Entry) {
        let (prp1, prp2, word5, word6) = (Some(prp1), Some(prp2), Some(word5), Some(word6));
        let words = [Some(word0), None, None, prp1, prp2, word5, word6, None];
        self.submissions.store_entry(place as usize, words);
    }
}
