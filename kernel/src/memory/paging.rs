//! Page tables: four levels of 512 entries, reached through the direct map.

use spillway_abi::{Error, PAGE_SIZE, Rights, device::Caching, layout};
use spillway_kernel_core::frames::Extent;
use spin::Once;
use x86_64::{
    PhysAddr,
    registers::control::{Cr3, Cr3Flags},
    structures::paging::{PageTable, PageTableFlags, PhysFrame, page_table::PageTableEntry},
};

use super::{direct, frames};
use crate::{arch::cpu, sync::Spin};

/// Bytes in a large page.
pub const LARGE_PAGE: u64 = 2 << 20;

/// The kernel's own top table: the kernel's half, and nothing below.
static KERNEL_ROOT: Once<PhysAddr> = Once::new();

/// Keeps two cores from building the kernel's tables at once.
static KERNEL_TABLES: Spin<()> = Spin::new(());

/// The entry that all address spaces share for the time page.
static TIME_ENTRY: Once<PageTableEntry> = Once::new();

const TABLE: PageTableFlags = PageTableFlags::PRESENT
    .union(PageTableFlags::WRITABLE)
    .union(PageTableFlags::USER_ACCESSIBLE);

/// The flag that forbids execution, where the processor has it.
pub fn no_execute() -> PageTableFlags {
    if cpu::features().no_execute {
        PageTableFlags::NO_EXECUTE
    } else {
        PageTableFlags::empty()
    }
}

/// The position of an address in the table of a level, 4 being the top.
fn index(address: u64, level: u32) -> usize {
    (address >> (12 + 9 * (level - 1))) as usize % 512
}

/// The table at a physical address.
///
/// # Safety
///
/// It must be a page table, and the caller must be the only one who uses the result: under the
/// kernel lock for programs' tables, under `KERNEL_TABLES` for the kernel's.
unsafe fn table<'a>(address: PhysAddr) -> &'a mut PageTable {
    // SAFETY: by the caller's promise; tables are whole frames in the direct map.
    unsafe { &mut *direct(address).as_mut_ptr() }
}

/// Replaces the loader's top table by one without the low half. Once, on the first core.
pub fn init_kernel_root(loader_root: u64) {
    let extent = frames::allocate_for_kernel(1, 1).expect("no memory for the top page table");
    frames::zero(extent);
    let root = PhysAddr::new(extent.start * PAGE_SIZE);
    // The trampoline of the other cores runs in 32-bit mode for a while.
    assert!(
        root.as_u64() < 1 << 32,
        "the top page table must lie below 4 GiB"
    );
    // SAFETY: the loader's table and the new one; no other core runs.
    unsafe {
        let (from, to) = (table(PhysAddr::new(loader_root)), table(root));
        // The slot of the device window exists before any address space copies it.
        let window = frames::allocate_for_kernel(1, 1).expect("no memory for a page table");
        frames::zero(window);
        // The loader's tables get it too: the other cores begin on those.
        from[index(super::device::WINDOW, 4)]
            .set_addr(PhysAddr::new(window.start * PAGE_SIZE), TABLE);
        for slot in 256..512 {
            to[slot] = from[slot].clone();
        }
    }
    KERNEL_ROOT.call_once(|| root);
    load(root);
}

/// The kernel's own top table.
pub fn kernel_root() -> PhysAddr {
    *KERNEL_ROOT
        .get()
        .expect("the kernel's tables are set up first")
}

/// Loads a top table.
#[inline]
pub fn load(root: PhysAddr) {
    // SAFETY: every top table has the kernel's half, so the kernel goes on.
    unsafe { Cr3::write(PhysFrame::containing_address(root), Cr3Flags::empty()) }
}

/// Maps one page of the kernel's window. `None` without memory for a table. At boot only: the
/// entry was not present before, so nothing needs to be flushed.
pub fn map_kernel(address: u64, frame: PhysAddr, flags: PageTableFlags) -> Option<()> {
    let _tables = KERNEL_TABLES.lock();
    let mut current = kernel_root();
    for level in [4, 3, 2] {
        // SAFETY: under the lock, along tables that this function made.
        let entry = &mut unsafe { table(current) }[index(address, level)];
        if entry.is_unused() {
            let extent = frames::allocate_for_kernel(1, 1)?;
            frames::zero(extent);
            entry.set_addr(PhysAddr::new(extent.start * PAGE_SIZE), TABLE);
        }
        current = entry.addr();
    }
    // SAFETY: as above.
    let table = unsafe { table(current) };
    table[index(address, 1)].set_addr(frame, flags);
    Some(())
}

/// Makes two frames appear read-only at [`layout::TIME_PAGE`] in every address space from here
/// on. `None` without memory for the tables.
pub fn share_time_pages(pages: Extent) -> Option<()> {
    let mut below: Option<(PhysAddr, PageTableFlags)> = None;
    for level in 1..=3 {
        let extent = frames::allocate_for_kernel(1, 1)?;
        frames::zero(extent);
        let address = PhysAddr::new(extent.start * PAGE_SIZE);
        // SAFETY: a frame of our own.
        let entries = unsafe { table(address) };
        let slot = index(layout::TIME_PAGE, level);
        match below {
            Some((next, flags)) => entries[slot].set_addr(next, flags),
            None => {
                let flags =
                    PageTableFlags::PRESENT | PageTableFlags::USER_ACCESSIBLE | no_execute();
                for page in 0..pages.count {
                    let frame = PhysAddr::new((pages.start + page) * PAGE_SIZE);
                    entries[slot + page as usize].set_addr(frame, flags);
                }
            }
        }
        below = Some((address, TABLE));
    }
    let (address, flags) = below?;
    TIME_ENTRY.call_once(|| {
        let mut entry = PageTableEntry::new();
        entry.set_addr(address, flags);
        entry
    });
    Some(())
}

/// A top table for a program: the kernel's half and the time page.
pub fn new_root() -> Result<PhysAddr, Error> {
    let root = frames::allocate_table()?;
    // SAFETY: the new table is ours alone; the kernel's is only read, and its top level does not
    // change any more.
    let (from, to) = unsafe { (table(kernel_root()), table(root)) };
    for slot in 256..512 {
        if !from[slot].is_unused() {
            to[slot] = from[slot].clone();
        }
    }
    if let Some(entry) = TIME_ENTRY.get() {
        to[index(layout::TIME_PAGE, 4)] = entry.clone();
    }
    Ok(root)
}

/// The flags for an access that has been checked: readable at least, never writable and
/// executable.
pub fn user_flags(access: Rights, caching: Option<Caching>) -> PageTableFlags {
    let mut flags = PageTableFlags::PRESENT | PageTableFlags::USER_ACCESSIBLE;
    flags.set(PageTableFlags::WRITABLE, access.contains(Rights::WRITE));
    if !access.contains(Rights::EXECUTE) {
        flags |= no_execute();
    }
    match caching {
        None => {}
        // Entries 3 and 1 of the page attribute table (SDM vol. 3, 12.12.3): `arch::cpu` sets
        // entry 1 to write combining; entry 3 is uncached from the start.
        Some(Caching::Uncached) => {
            flags |= PageTableFlags::NO_CACHE | PageTableFlags::WRITE_THROUGH;
        }
        Some(Caching::WriteCombining) => flags |= PageTableFlags::WRITE_THROUGH,
    }
    flags
}

/// Maps frames that follow each other at addresses that follow each other, with large pages
/// where both sides allow. The kernel lock must be held. `charge` is called before each new
/// table. The addresses must not be mapped.
///
/// After an error some may be mapped; [`unmap`] takes them away.
pub fn map(
    root: PhysAddr,
    mut address: u64,
    mut frame: PhysAddr,
    mut length: u64,
    flags: PageTableFlags,
    mut charge: impl FnMut() -> Result<(), Error>,
) -> Result<(), Error> {
    while length > 0 {
        let large = length >= LARGE_PAGE
            && address.is_multiple_of(LARGE_PAGE)
            && frame.is_aligned(LARGE_PAGE);
        let (last_level, size) = if large {
            (2, LARGE_PAGE)
        } else {
            (1, PAGE_SIZE)
        };
        let mut current = root;
        for level in (last_level + 1..=4).rev() {
            // SAFETY: tables of this address space, under the kernel lock.
            let entry = &mut unsafe { table(current) }[index(address, level)];
            if entry.is_unused() {
                let lower = frames::allocate_table()?;
                charge().inspect_err(|_| free_table(lower))?;
                entry.set_addr(lower, TABLE);
            }
            current = entry.addr();
        }
        // A table that an earlier mapping left behind may stand where a large page would.
        // SAFETY: as above.
        let entry = &mut unsafe { table(current) }[index(address, last_level)];
        if large && !entry.is_unused() {
            let lower = entry.addr();
            // SAFETY: as above.
            for (page, entry) in unsafe { table(lower) }.iter_mut().enumerate() {
                entry.set_addr(frame + page as u64 * PAGE_SIZE, flags);
            }
        } else if large {
            entry.set_addr(frame, flags | PageTableFlags::HUGE_PAGE);
        } else {
            // Fill the rest of this table without walking down again.
            // SAFETY: as above.
            let table = unsafe { table(current) };
            let first = index(address, 1);
            let pages = (512 - first as u64).min(length / PAGE_SIZE);
            for page in 0..pages {
                table[first + page as usize].set_addr(frame + page * PAGE_SIZE, flags);
            }
            let run = pages * PAGE_SIZE;
            (address, frame, length) = (address + run, frame + run, length - run);
            continue;
        }
        (address, frame, length) = (address + size, frame + size, length - size);
    }
    Ok(())
}

/// Unmaps a range. The kernel lock must be held. Tables stay; what the processors remember must
/// be flushed afterwards. Pages that are not mapped are passed over.
pub fn unmap(root: PhysAddr, start: u64, length: u64) {
    let end = start + length;
    let mut address = start;
    while address < end {
        let mut current = root;
        let mut level = 4;
        let step = loop {
            // SAFETY: tables of this address space, under the kernel lock.
            let entry = &mut unsafe { table(current) }[index(address, level)];
            let size = 1 << (12 + 9 * (level - 1));
            if level == 1 || entry.is_unused() || entry.flags().contains(PageTableFlags::HUGE_PAGE)
            {
                entry.set_unused();
                break size;
            }
            current = entry.addr();
            level -= 1;
        };
        address = (address / step + 1) * step;
    }
}

/// Frees at most `most` tables below the top of an address space that no core has loaded.
/// Returns how many were freed; fewer than `most` means that all are.
pub fn free_tables(root: PhysAddr, most: u64) -> u64 {
    // SAFETY: tables of an address space that nobody uses any more, under the kernel lock.
    let top = unsafe { table(root) };
    let time = index(layout::TIME_PAGE, 4);
    let mut freed = 0;
    for (slot, entry) in top.iter_mut().enumerate().take(256) {
        if slot != time && !entry.is_unused() {
            freed += free_below(entry, 3, most - freed);
            if freed == most {
                break;
            }
        }
    }
    freed
}

/// Frees the table behind an entry, of the given level, and those below it, up to a number.
fn free_below(entry: &mut PageTableEntry, level: u32, most: u64) -> u64 {
    let mut freed = 0;
    if level > 1 {
        // SAFETY: as in `free_tables`.
        for lower in unsafe { table(entry.addr()) }.iter_mut() {
            if !lower.is_unused() && !lower.flags().contains(PageTableFlags::HUGE_PAGE) {
                freed += free_below(lower, level - 1, most - freed);
            }
            if freed == most {
                return freed;
            }
        }
    }
    if freed == most {
        return freed;
    }
    frames::free(Extent {
        start: entry.addr().as_u64() / PAGE_SIZE,
        count: 1,
    });
    entry.set_unused();
    freed + 1
}

/// Frees one table.
pub fn free_table(root: PhysAddr) {
    frames::free(Extent {
        start: root.as_u64() / PAGE_SIZE,
        count: 1,
    });
}
