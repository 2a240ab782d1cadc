//! Making other cores forget translations.
//!
//! A request is a ticket in the other core's mailbox and an interrupt. The other core answers
//! from the interrupt or from any loop in which it spins, so two cores that wait for each other
//! both go on. The protocol is in [`spillway_kernel_core::shootdown`], with its model.

use core::sync::atomic::Ordering;

use spillway_abi::counters::Counter;
use x86_64::{VirtAddr, instructions::tlb};

use super::core_data::{core, of};
use crate::{
    memory::space,
    platform::{apic, vectors},
};

/// Answers what other cores asked of this one.
#[inline]
pub fn answer() {
    core().mailbox.answer(|| {
        if core().has_current() {
            tlb::flush_all();
        } else {
            // In the scheduler the last program's address space is loaded but not needed; it
            // may be about to go away.
            space::leave();
        }
    });
}

/// Makes every core in the set (a bit each) forget the translations of programs, and waits until
/// they have. Must not be called with a lock held.
pub fn flush_others(cores: u64) {
    let me = core().index.get();
    let mut tickets = [0u64; spillway_abi::limits::MAX_CORES];
    let others = cores & !(1 << me);
    for index in bits(others) {
        tickets[index] = of(index).mailbox.request();
        apic::send(
            of(index).apic_id.load(Ordering::Relaxed),
            vectors::SHOOTDOWN,
        );
        core().count(Counter::Shootdowns, 1);
    }
    for index in bits(others) {
        while !of(index).mailbox.is_done(tickets[index]) {
            answer();
            core::hint::spin_loop();
        }
    }
}

/// Makes this core forget the translations of a range, or all of programs' if it is long.
pub fn flush_here(start: u64, length: u64) {
    /// From here on reloading everything is cheaper than page by page.
    const MOST_PAGES: u64 = 32;
    if length / spillway_abi::PAGE_SIZE > MOST_PAGES {
        tlb::flush_all();
    } else {
        (start..start + length)
            .step_by(spillway_abi::PAGE_SIZE as usize)
            .for_each(|address| tlb::flush(VirtAddr::new(address)));
    }
}

/// The positions of the bits that are set.
pub fn bits(mut set: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        (set != 0).then(|| {
            let index = set.trailing_zeros() as usize;
            set &= set - 1;
            index
        })
    })
}
