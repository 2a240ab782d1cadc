//! The part of a ring that is not entries: what it is, and how far each side has come.

#[cfg(not(loom))]
use core::sync::atomic::{AtomicU32, Ordering};
#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, Ordering};

use crate::{Entry, Refused};

/// The version of the layout.
pub const VERSION: u32 = 1;

/// The optional features of a ring: none yet. A ring with a bit that one side does not know is
/// refused.
pub const FEATURES: u32 = 0;

/// The most entries that a ring can have. Far below 2³¹, so that the distance of two free-running
/// indices is never mistaken.
pub const MAX_ENTRIES: u32 = 32768;

/// What stands at the beginning of a ring's shared memory. Each side writes a cache line of its
/// own. The two are not in the same pair of lines either, as some processors fetch pairs.
///
/// Memory full of zeros is a valid header that every half refuses, until
/// [`initialise`](Self::initialise) was called. Everything is atomic, as the other side may write
/// to all of it at any time.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct RingHeader {
    /// What the ring is. Written once, and never trusted: a half compares it with what it expects
    /// when it is made, and keeps its own copy.
    pub info: Info,
    /// The producer's line.
    pub producer: Side,
    /// The consumer's line.
    pub consumer: Side,
    /// For later versions.
    pub reserved: Side,
}

/// What a ring is.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Info {
    /// [`VERSION`].
    pub version: AtomicU32,
    /// [`FEATURES`].
    pub features: AtomicU32,
    /// How many entries there are.
    pub entries: AtomicU32,
    /// The bytes of an entry.
    pub entry_size: AtomicU32,
    /// Zero.
    pub reserved: [AtomicU32; 12],
}

/// What one side tells the other.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Side {
    /// How many entries this side has finished with, modulo 2³²: the tail of the producer, the
    /// head of the consumer.
    pub index: AtomicU32,
    /// Whether this side wants to be woken: 0 or 1. See [`wake`](crate::wake).
    pub sleeps: AtomicU32,
    /// Zero.
    pub reserved: [AtomicU32; 14],
}

#[cfg(not(loom))]
const _: () = {
    use core::mem::offset_of;

    assert!(size_of::<RingHeader>() == 256 && align_of::<RingHeader>() == 128);
    assert!(offset_of!(RingHeader, info.version) == 0);
    assert!(offset_of!(RingHeader, info.features) == 4);
    assert!(offset_of!(RingHeader, info.entries) == 8);
    assert!(offset_of!(RingHeader, info.entry_size) == 12);
    assert!(offset_of!(RingHeader, info.reserved) == 16);
    assert!(offset_of!(RingHeader, producer.index) == 64);
    assert!(offset_of!(RingHeader, producer.sleeps) == 68);
    assert!(offset_of!(RingHeader, producer.reserved) == 72);
    assert!(offset_of!(RingHeader, consumer.index) == 128);
    assert!(offset_of!(RingHeader, consumer.sleeps) == 132);
    assert!(offset_of!(RingHeader, consumer.reserved) == 136);
    assert!(offset_of!(RingHeader, reserved) == 192);
};

impl RingHeader {
    /// Makes this the header of an empty ring whose next entry has the index `start`, which is 0
    /// unless a half [resumes](crate::Producer::resume). To be done by the side that made the
    /// memory, before there is a half.
    pub fn initialise<E: Entry>(&self, count: u32, start: u32) {
        let Self { info, .. } = self;
        info.version.store(VERSION, Ordering::Relaxed);
        info.features.store(FEATURES, Ordering::Relaxed);
        info.entries.store(count, Ordering::Relaxed);
        info.entry_size.store(E::SIZE, Ordering::Relaxed);
        for side in [&self.producer, &self.consumer] {
            side.index.store(start, Ordering::Relaxed);
            side.sleeps.store(0, Ordering::Relaxed);
        }
    }

    /// Compares with what is expected. Says nothing about what will stand here later.
    pub(crate) fn check<E: Entry>(&self, count: u32) -> Result<(), Refused> {
        let expect = |field: &AtomicU32, expected, refused: fn(u32) -> Refused| {
            let found = field.load(Ordering::Relaxed);
            if found == expected {
                Ok(())
            } else {
                Err(refused(found))
            }
        };
        let Self { info, .. } = self;
        expect(&info.version, VERSION, Refused::Version)?;
        expect(&info.features, FEATURES, Refused::Features)?;
        expect(&info.entries, count, Refused::Entries)?;
        expect(&info.entry_size, E::SIZE, Refused::EntrySize)
    }
}
