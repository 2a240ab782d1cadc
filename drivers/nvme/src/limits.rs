//! What requests and queues may be, so that every request that is allowed can be carried out by
//! an empty queue.

use crate::controller::MAX_DEPTH;
use crate::identify::ControllerInfo;
use crate::registers::Capabilities;

/// Bytes of the largest request, and of the largest command: its PRP list fits into half a page.
const MAX_TRANSFER: u32 = 1 << 20;
/// Segments of a request.
const MAX_SEGMENTS: u32 = 32;

/// The limits of a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of the largest command: a power of two, at least two pages.
    pub(crate) command_bytes: u32,
    /// Bytes of the largest request.
    pub(crate) max_transfer: u32,
    pub(crate) max_segments: u32,
    /// Commands of one request, at most.
    commands: u32,
    /// Entries of the largest queue: a power of two.
    entries: u32,
}

impl Limits {
    pub(crate) fn new(capabilities: Capabilities, info: &ControllerInfo) -> Self {
        let entries = capabilities.max_entries();
        let entries = (entries.next_power_of_two() >> u32::from(!entries.is_power_of_two()))
            .min(2 * u32::from(MAX_DEPTH));
        let slots = entries - 1;
        let command_bytes = info.command_bytes(MAX_TRANSFER);
        let transfers = (MAX_TRANSFER / command_bytes).min((slots / 2).max(1));
        let max_segments = MAX_SEGMENTS.min(slots - transfers + 1);
        Self {
            command_bytes,
            max_transfer: transfers * command_bytes,
            max_segments,
            // A request is cut at the limit of a command and between its segments.
            commands: transfers + max_segments - 1,
            entries,
        }
    }

    /// The depth, the command slots and the ring entries of a queue for `depth` requests.
    pub(crate) fn queue(&self, depth: u16) -> (u16, u16, u32) {
        let spare = self.commands - 1;
        let depth = u32::from(depth.min(MAX_DEPTH)).min(self.entries - 1 - spare);
        let slots = depth + spare;
        (depth as u16, slots as u16, (slots + 1).next_power_of_two())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use spillway_hal::block::BlockCount;

    fn limits(mqes: u16, exponent: u8) -> Limits {
        let info = ControllerInfo {
            serial: [0; 20],
            model: [0; 40],
            firmware: [0; 8],
            version: 0,
            namespaces: 1,
            max_transfer_exponent: exponent,
            volatile_cache: false,
            atomic_write: BlockCount(1),
        };
        Limits::new(Capabilities(mqes.into()), &info)
    }

    #[test]
    fn the_smallest_queue_does_one_command() {
        let smallest = limits(1, 7);
        assert_eq!(smallest.queue(1000), (1, 1, 2));
        assert_eq!(
            (smallest.max_transfer, smallest.max_segments),
            (512 << 10, 1)
        );
    }

    #[test]
    fn a_usual_controller() {
        let usual = limits(2047, 7);
        assert_eq!((usual.max_transfer, usual.max_segments), (1 << 20, 32));
        assert_eq!(usual.queue(1024), (1024, 1056, 2048));
        assert_eq!(usual.queue(1), (1, 33, 64));
    }

    proptest! {
        #[test]
        fn whatever_is_allowed_fits(mqes in 1u16.., exponent: u8, depth in 1u16..) {
            let limits = limits(mqes, exponent);
            let (depth, slots, entries) = limits.queue(depth);
            prop_assert!((1..=MAX_DEPTH).contains(&depth) && depth <= slots);
            prop_assert!(entries.is_power_of_two() && u32::from(slots) < entries);
            prop_assert!(entries <= u32::from(mqes) + 1);
            let transfers = limits.max_transfer / limits.command_bytes;
            prop_assert!(transfers >= 1 && limits.max_segments >= 1);
            prop_assert!(transfers + limits.max_segments - 1 <= u32::from(slots));
        }
    }
}
