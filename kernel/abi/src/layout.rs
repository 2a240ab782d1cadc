//! The address space of a program.
//!
//! ```text
//! 0                      never mapped: null pointers fault
//! USER_START             the lowest mapping; programs are linked at IMAGE_START
//! MAP_START … MAP_END    where the kernel places mappings that name no address
//! TIME_PAGE              the time page and the page of the cores, read-only
//! USER_END               the end of what a program can name
//! ```

/// The lowest address that can be mapped.
pub const USER_START: u64 = 0x1_0000;
/// Where programs are linked.
pub const IMAGE_START: u64 = 0x40_0000;
/// The kernel chooses addresses from here …
pub const MAP_START: u64 = 0x1000_0000;
/// … to here, which is also the end of what can be mapped at a chosen address.
pub const MAP_END: u64 = 0x7f80_0000_0000;
/// The read-only [`crate::time::TimePage`], followed by a page with a line per core.
pub const TIME_PAGE: u64 = 0x7ffe_0000_0000;
/// The end of user addresses. The last page below the hole is never mapped: a `syscall` there
/// would return to an address that is not canonical.
pub const USER_END: u64 = 0x7fff_ffff_f000;
