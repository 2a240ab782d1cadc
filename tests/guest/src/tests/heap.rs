//! The heap grows with the need and gives back.

use alloc::{vec, vec::Vec};

use driver_sdk::{abi::object::ProcessMeta, prelude::*};

use crate::harness::{Outcome, check, equal, tests};

tests![
    the_heap_grows_and_gives_back,
    large_and_aligned_requests_are_met,
    many_threads_share_the_heap,
    fresh_zeroed_vectors_are_zero,
];

/// What the heap may keep: one empty region, and the one in use.
const KEPT: u64 = 3 << 20;

fn memory_used() -> Outcome<u64> {
    Ok(own_process().meta(ProcessMeta::MemoryUsed)?)
}

fn the_heap_grows_and_gives_back() -> Outcome {
    let before = memory_used()?;
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for part in 0..200usize {
        parts.push(vec![part as u8; 50_000]);
    }
    let full = memory_used()?;
    check!(
        full >= before + 200 * 50_000 - KEPT,
        "{before} bytes, then {full}"
    );
    for (part, bytes) in parts.iter().enumerate() {
        check!(
            bytes.iter().all(|&byte| byte == part as u8),
            "part {part} has changed"
        );
    }
    drop(parts);
    let after = memory_used()?;
    check!(
        after <= before + KEPT,
        "{before} bytes before, {full} in between, {after} after"
    );
    Ok(())
}

fn large_and_aligned_requests_are_met() -> Outcome {
    use alloc::alloc::{Layout, alloc, dealloc};
    let before = memory_used()?;
    for align in [1usize, 64, 4096, 64 << 10] {
        for size in [1usize, 4095, 100_000, 5 << 20] {
            let layout = Layout::from_size_align(size, align)?;
            // SAFETY: the size is not 0; the memory is given back with the same layout.
            let start = unsafe { alloc(layout) };
            check!(!start.is_null(), "no {size} bytes at a multiple of {align}");
            equal!(start as usize % align, 0);
            // SAFETY: first and last byte are inside; see above.
            unsafe {
                start.write(1);
                start.add(size - 1).write(2);
                dealloc(start, layout);
            }
        }
    }
    check!(memory_used()? <= before + KEPT);
    Ok(())
}

fn many_threads_share_the_heap() -> Outcome {
    let threads: Vec<_> = (0..6u8)
        .map(|thread| {
            thread::spawn(move || {
                let mut kept: Vec<Vec<u8>> = Vec::new();
                for round in 0..300usize {
                    kept.push(vec![thread; 1 + round * 37 % 3000]);
                    if round % 3 == 0 {
                        kept.swap_remove(round % kept.len());
                    }
                }
                kept.iter().flatten().all(|&byte| byte == thread)
            })
        })
        .collect();
    for thread in threads {
        check!(
            thread.join(),
            "a thread found bytes of another in its vectors"
        );
    }
    Ok(())
}

fn fresh_zeroed_vectors_are_zero() -> Outcome {
    drop(vec![0xaau8; 900_000]);
    check!(vec![0u8; 900_000].iter().all(|&byte| byte == 0));
    Ok(())
}
