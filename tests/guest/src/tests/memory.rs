//! Memory objects and mappings.

use driver_sdk::{
    abi::{PAGE_SIZE, layout, object::ProcessMeta},
    prelude::*,
    rt::syscall,
};

use crate::{
    child::leaves_nothing,
    harness::{Outcome, check, equal, tests},
};

tests![
    memory_has_whole_pages_and_comes_zeroed,
    memory_that_was_used_comes_back_zeroed,
    reads_and_writes_stay_inside,
    sizes_that_cannot_be_are_refused,
    no_page_is_writable_and_executable,
    mappings_do_not_overlap,
    mappings_begin_and_end_on_pages_inside_the_memory,
    addresses_that_are_not_for_programs_are_refused,
    only_whole_mappings_are_unmapped,
    neighbours_are_kept_apart,
    two_mappings_show_the_same_bytes,
    mapping_and_unmapping_leaves_nothing,
    contiguous_memory_is_memory,
];

const READ_WRITE: Rights = Rights::READ.union(Rights::WRITE);

/// Maps at a chosen address, which [`Memory::map`] does not offer.
fn map_at(
    memory: &Memory,
    address: u64,
    offset: u64,
    length: u64,
    access: Rights,
) -> Result<u64, Error> {
    let own = own_process().handle();
    // SAFETY: the tests use addresses where nothing of theirs is.
    unsafe { syscall::map(own, memory.handle(), address, offset, length, access) }
}

fn unmap(address: u64, length: u64) -> Result<(), Error> {
    // SAFETY: as above.
    unsafe { syscall::unmap(own_process().handle(), address, length) }
}

/// An address range that nobody uses: 64 pages.
const FREE: u64 = 0x2000_0000_0000;

fn memory_has_whole_pages_and_comes_zeroed() -> Outcome {
    for (length, size) in [
        (1, 4096),
        (4096, 4096),
        (4097, 8192),
        (1_000_000, 1_003_520),
    ] {
        let memory = Memory::new(length)?;
        equal!(memory.size(), Ok(size));
        check!(
            memory.read_all()?.iter().all(|&byte| byte == 0),
            "{length} bytes are not zero"
        );
    }
    Ok(())
}

fn memory_that_was_used_comes_back_zeroed() -> Outcome {
    const LENGTH: u64 = 2 << 20;
    for _ in 0..4 {
        let mut mapping = Memory::new(LENGTH)?.map(READ_WRITE)?;
        // SAFETY: the only mapping, and the only handle is closed.
        let bytes = unsafe { mapping.as_mut_slice() };
        check!(
            bytes.iter().all(|&byte| byte == 0),
            "new memory shows somebody's bytes"
        );
        bytes.fill(0xa5);
    }
    Ok(())
}

fn reads_and_writes_stay_inside() -> Outcome {
    let memory = Memory::new(8192)?;
    let mut bytes = [0; 4];
    equal!(memory.write(8188, b"last"), Ok(4));
    equal!(memory.read(8188, &mut bytes), Ok(4));
    equal!(&bytes, b"last");
    for offset in [8189, 8192, 8193, u64::MAX - 3, u64::MAX] {
        equal!(
            memory.read(offset, &mut bytes),
            Err(Error::OutOfRange),
            "read at {offset}"
        );
        equal!(
            memory.write(offset, b"else"),
            Err(Error::OutOfRange),
            "write at {offset}"
        );
    }
    // Nor was anything done up to the end.
    equal!(memory.read(8188, &mut bytes), Ok(4));
    equal!(&bytes, b"last");
    equal!(memory.read(8192, &mut []), Ok(0));
    // Across pages.
    equal!(memory.write(4090, b"across the edge"), Ok(15));
    let mut bytes = [0; 15];
    equal!(memory.read(4090, &mut bytes), Ok(15));
    equal!(&bytes, b"across the edge");
    Ok(())
}

fn sizes_that_cannot_be_are_refused() -> Outcome {
    equal!(Memory::new(0).map(drop), Err(Error::BadArgument));
    let limit = own_process().meta(ProcessMeta::MemoryLimit)?;
    for length in [
        limit + 1,
        1 << 40,
        u64::MAX - 4095,
        u64::MAX - 4094,
        u64::MAX,
    ] {
        let refused = Memory::new(length).map(drop);
        check!(
            matches!(refused, Err(Error::LimitReached | Error::BadArgument)),
            "{length:#x} bytes: {refused:?}"
        );
    }
    Ok(())
}

fn no_page_is_writable_and_executable() -> Outcome {
    let memory = Memory::new(4096)?;
    let refused = memory.map(Rights::ACCESS).map(drop);
    equal!(refused, Err(Error::WriteAndExecute));
    // Nor without reading, which the processor cannot forbid.
    for access in [
        Rights::WRITE,
        Rights::EXECUTE,
        Rights::WRITE | Rights::EXECUTE,
    ] {
        let refused = memory.map(access).map(drop);
        equal!(
            refused,
            Err(Error::BadArgument),
            "a mapping for {access:?} alone"
        );
    }
    Ok(())
}

fn mappings_do_not_overlap() -> Outcome {
    let memory = Memory::new(4 * PAGE_SIZE)?;
    let at = |address, length| map_at(&memory, address, 0, length, Rights::READ);
    equal!(at(FREE, 2 * PAGE_SIZE), Ok(FREE));
    for address in [FREE, FREE + PAGE_SIZE] {
        equal!(at(address, PAGE_SIZE), Err(Error::AddressInUse));
    }
    equal!(
        at(FREE - PAGE_SIZE, 2 * PAGE_SIZE),
        Err(Error::AddressInUse)
    );
    equal!(
        at(FREE - PAGE_SIZE, 4 * PAGE_SIZE),
        Err(Error::AddressInUse)
    );
    // This program's own text.
    equal!(at(layout::IMAGE_START, PAGE_SIZE), Err(Error::AddressInUse));
    // Neighbours at chosen addresses are allowed.
    equal!(
        at(FREE + 2 * PAGE_SIZE, PAGE_SIZE),
        Ok(FREE + 2 * PAGE_SIZE)
    );
    equal!(unmap(FREE, 3 * PAGE_SIZE), Ok(()));
    Ok(())
}

fn mappings_begin_and_end_on_pages_inside_the_memory() -> Outcome {
    let memory = Memory::new(4 * PAGE_SIZE)?;
    let refused = |address, offset, length| map_at(&memory, address, offset, length, Rights::READ);
    equal!(refused(FREE + 1, 0, PAGE_SIZE), Err(Error::BadArgument));
    equal!(refused(FREE, 8, PAGE_SIZE), Err(Error::BadArgument));
    equal!(refused(FREE, 0, PAGE_SIZE + 1), Err(Error::BadArgument));
    equal!(refused(0, 0, 0), Err(Error::BadArgument));
    equal!(refused(0, 0, 5 * PAGE_SIZE), Err(Error::OutOfRange));
    equal!(refused(0, 4 * PAGE_SIZE, PAGE_SIZE), Err(Error::OutOfRange));
    equal!(
        refused(0, u64::MAX - 4095, 2 * PAGE_SIZE),
        Err(Error::OutOfRange)
    );
    equal!(
        refused(0, PAGE_SIZE, u64::MAX - 4095),
        Err(Error::OutOfRange)
    );
    // Accesses that are no accesses.
    equal!(
        map_at(&memory, 0, 0, PAGE_SIZE, Rights::empty()),
        Err(Error::BadArgument)
    );
    equal!(
        map_at(&memory, 0, 0, PAGE_SIZE, Rights::READ | Rights::WAIT),
        Err(Error::BadArgument)
    );
    Ok(())
}

fn addresses_that_are_not_for_programs_are_refused() -> Outcome {
    let memory = Memory::new(4096)?;
    for address in [
        PAGE_SIZE,
        layout::USER_START - PAGE_SIZE,
        layout::MAP_END,
        layout::TIME_PAGE,
        layout::TIME_PAGE + PAGE_SIZE,
        layout::USER_END - PAGE_SIZE,
        layout::USER_END,
        0x8000_0000_0000,
        0xffff_8000_0000_0000,
        0xffff_ffff_ffff_f000,
    ] {
        let refused = map_at(&memory, address, 0, PAGE_SIZE, Rights::READ);
        equal!(
            refused,
            Err(Error::BadArgument),
            "a mapping at {address:#x}"
        );
    }
    equal!(unmap(layout::TIME_PAGE, PAGE_SIZE), Err(Error::NotMapped));
    equal!(
        unmap(layout::TIME_PAGE, 2 * PAGE_SIZE),
        Err(Error::NotMapped)
    );
    Ok(())
}

fn only_whole_mappings_are_unmapped() -> Outcome {
    let memory = Memory::new(4 * PAGE_SIZE)?;
    equal!(
        map_at(&memory, FREE, 0, 4 * PAGE_SIZE, Rights::READ),
        Ok(FREE)
    );
    for (address, length) in [
        (FREE, PAGE_SIZE),
        (FREE + PAGE_SIZE, 3 * PAGE_SIZE),
        (FREE + PAGE_SIZE, PAGE_SIZE),
        (FREE - PAGE_SIZE, 5 * PAGE_SIZE),
        (FREE, 5 * PAGE_SIZE),
        (FREE + 4 * PAGE_SIZE, PAGE_SIZE),
    ] {
        equal!(
            unmap(address, length),
            Err(Error::NotMapped),
            "{length:#x} at {address:#x}"
        );
    }
    for (address, length) in [
        (FREE + 8, PAGE_SIZE),
        (FREE, PAGE_SIZE - 1),
        (FREE, 0),
        (FREE, u64::MAX),
    ] {
        let refused = unmap(address, length);
        check!(
            matches!(refused, Err(Error::BadArgument | Error::NotMapped)),
            "{length:#x} at {address:#x}: {refused:?}"
        );
    }
    // SAFETY: it is still mapped, whole.
    let last_page = unsafe { ((FREE + 3 * PAGE_SIZE) as *const u8).read_volatile() };
    equal!(last_page, 0);
    equal!(unmap(FREE, 4 * PAGE_SIZE), Ok(()));
    equal!(unmap(FREE, 4 * PAGE_SIZE), Err(Error::NotMapped));
    Ok(())
}

fn neighbours_are_kept_apart() -> Outcome {
    let memory = Memory::new(PAGE_SIZE)?;
    let mut mappings = alloc::vec::Vec::new();
    for _ in 0..20 {
        mappings.push(memory.map(Rights::READ)?);
    }
    mappings.sort_by_key(|mapping| mapping.address());
    for pair in mappings.windows(2) {
        let gap = pair[1].address() - pair[0].address() - PAGE_SIZE;
        check!(gap >= PAGE_SIZE, "only {gap} bytes between two mappings");
    }
    Ok(())
}

fn two_mappings_show_the_same_bytes() -> Outcome {
    let memory = Memory::new(3 * PAGE_SIZE)?;
    let (one, two) = (
        memory.map(READ_WRITE)?,
        memory.map_range(PAGE_SIZE, PAGE_SIZE, Rights::READ)?,
    );
    for value in 1..=3u8 {
        // SAFETY: both addresses are mapped; the accesses are volatile.
        let seen = unsafe {
            one.as_ptr()
                .add(PAGE_SIZE as usize + 5)
                .write_volatile(value);
            two.as_ptr().add(5).read_volatile()
        };
        equal!(seen, value);
        let mut byte = [0];
        memory.read(PAGE_SIZE + 5, &mut byte)?;
        equal!(byte[0], value);
    }
    Ok(())
}

fn mapping_and_unmapping_leaves_nothing() -> Outcome {
    leaves_nothing(|| {
        let memory = Memory::new(16 * PAGE_SIZE)?;
        for round in 0..200u64 {
            let address = FREE + ((round * 0x4000_1000) & !4095);
            equal!(
                map_at(&memory, address, 0, 16 * PAGE_SIZE, READ_WRITE),
                Ok(address)
            );
            // SAFETY: just mapped.
            unsafe { (address as *mut u64).write_volatile(round) };
            equal!(unmap(address, 16 * PAGE_SIZE), Ok(()));
        }
        Ok(())
    })
}

fn contiguous_memory_is_memory() -> Outcome {
    leaves_nothing(|| {
        let memory = Memory::contiguous(256 << 10)?;
        equal!(memory.size(), Ok(256 << 10));
        check!(memory.read_all()?.iter().all(|&byte| byte == 0));
        Ok(())
    })
}
