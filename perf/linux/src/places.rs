//! Where the reads go: the same sequence of blocks as `perf/guest/nvme/src/load.rs` makes, by the generator
//! that `perf/guest/io/src/script.rs` has, too.

/// Bytes of a read.
pub const BYTES: usize = 4096;

/// A disk as far as a place on it is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Blocks of the disk.
    pub capacity: u64,
    /// Bytes of a block, a power of two up to [`BYTES`].
    pub block_size: u32,
}

/// An endless sequence of first blocks of reads.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    random: u64,
    /// The bits of a random number that make a place to read from.
    mask: u64,
}

impl Places {
    /// The sequence that begins with a seed.
    pub fn new(disk: Geometry, seed: u64) -> Self {
        let blocks = BYTES as u64 / u64::from(disk.block_size);
        // The largest power of two that is not more, and aligned to a read.
        let capacity: u64 = 1 << disk.capacity.max(1).ilog2().min(32);
        Self {
            random: seed,
            mask: (capacity - 1) & !(blocks - 1),
        }
    }

    /// The next place. Knuth's MMIX generator, of which the upper bits are used.
    #[inline(always)]
    pub fn next(&mut self) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.random >> 32) & self.mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(capacity: u64, block_size: u32) -> [u64; 4] {
        let disk = Geometry {
            capacity,
            block_size,
        };
        let mut places = Places::new(disk, 0);
        [(); 4].map(|()| places.next())
    }

    #[test]
    fn the_sequence_is_that_of_the_other_side() {
        // The upper halves of the generator's first numbers from 0 on, computed apart.
        const RANDOM: [u64; 4] = [0x14057b7e, 0x1a08ee11, 0x9af67822, 0x66b61ae9];
        assert_eq!(first(1 << 32, 512), RANDOM.map(|number| number & !7));
        assert_eq!(first(1 << 21, 512), RANDOM.map(|number| number & 0x1f_fff8));
        assert_eq!(first(1 << 18, 4096), RANDOM.map(|number| number & 0x3_ffff));
    }

    #[test]
    fn the_other_side_has_not_changed() {
        const GENERATOR: [&str; 3] = ["6364136223846793005", "1442695040888963407", "self.0 >> 32"];
        let script = include_str!("../../guest/io/src/script.rs");
        for part in GENERATOR {
            assert!(script.contains(part), "`{part}` is no longer there");
        }
        let load = include_str!("../../guest/nvme/src/load.rs");
        let places = [
            "limits.capacity.0.max(1).ilog2().min(32)",
            "(capacity - 1) & !(blocks.0 - 1)",
            "Random(0)",
        ];
        for part in GENERATOR.into_iter().chain(places) {
            assert!(load.contains(part), "`{part}` is no longer there");
        }
    }

    #[test]
    fn every_read_is_within_the_disk_and_aligned() {
        for (capacity, block_size) in [(8, 512), (15, 512), (1, 4096), (1000, 4096), (1 << 40, 512)]
        {
            let per_read = BYTES as u64 / u64::from(block_size);
            let disk = Geometry {
                capacity,
                block_size,
            };
            let mut places = Places::new(disk, 7);
            for _ in 0..1000 {
                let place = places.next();
                assert!(place.is_multiple_of(per_read), "{place}");
                assert!(place + per_read <= capacity, "{place} of {capacity}");
            }
        }
    }
}
