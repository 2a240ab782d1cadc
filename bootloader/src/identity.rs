//! The identity map that the entry runs on and the hand-over goes through.

use core::ops::Range;
use spillway_bootloader_core::page_tables::{Features, bits};

const PAGE: u64 = 2 << 20;

unsafe extern "C" {
    static mut identity_directories: [u64; 2048];
    static mut identity_pointers: [u64; 512];
    static loader_start: u8;
    static loader_end: u8;
}

/// The physical address of the table that maps the low 4 GiB, for a new top table.
pub fn pointers() -> u64 {
    (&raw const identity_pointers).expose_provenance() as u64
}

/// The loader's own memory: its segments, its stack and these tables.
pub fn loader() -> Range<u64> {
    (&raw const loader_start).addr() as u64..(&raw const loader_end).addr() as u64
}

/// Leaves the identity map no more rights than the hand-over needs: nothing but the loader's
/// 2 MiB is executable, and in the 2 MiB blocks with the kernel's text and read-only data nothing
/// is writable. It may take effect at once: the loader must not write there any more.
pub fn restrict(read_only: impl Iterator<Item = Range<u64>>, features: Features) {
    let (pointers, directories) = (&raw mut identity_pointers, &raw mut identity_directories);
    // SAFETY: the tables are the loader's own data, one processor runs, and these are the only
    // references to them. The processor may set accessed and dirty bits meanwhile, in entries
    // whose other bits it does not change.
    let (pointers, directories) = unsafe { (&mut *pointers, &mut *directories) };
    if features.no_execute {
        for pointer in &mut pointers[1..4] {
            *pointer |= bits::NO_EXECUTE;
        }
        // `link.ld` asserts that the loader lies in the first 2 MiB.
        for entry in &mut directories[1..512] {
            *entry |= bits::NO_EXECUTE;
        }
    }
    for range in read_only {
        let (first, end) = (range.start / PAGE, range.end.div_ceil(PAGE));
        for entry in &mut directories[first as usize..end as usize] {
            *entry &= !bits::WRITABLE;
        }
    }
}
