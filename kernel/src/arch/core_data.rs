//! What each core has for itself, found through `gs`.

use core::{
    arch::asm,
    cell::{Cell, UnsafeCell},
    mem::{ManuallyDrop, offset_of},
    ptr,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

use alloc::sync::Arc;
use spillway_abi::{
    counters::{COUNTER_COUNT, Counter},
    limits::MAX_CORES,
};
use spillway_kernel_core::shootdown::Mailbox;
use x86_64::{
    registers::model_specific::{GsBase, KernelGsBase},
    structures::tss::TaskStateSegment,
};

use super::{context::Context, segments::Segments};
use crate::{memory::space::AddressSpace, object::Thread};

/// One core's data. The first fields are for the entry code.
///
/// Plain cells belong to the core itself and are touched with interrupts off; what other cores
/// may look at is atomic.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Core {
    /// The context of the running thread.
    context: Cell<*mut Context>,
    /// The top of this core's kernel stack.
    kernel_stack: Cell<u64>,
    /// Where the entry code keeps a program's stack pointer for some instructions.
    user_stack: Cell<u64>,
    /// System calls on this core.
    system_calls: AtomicU64,
    /// Set when the running thread may have to make room before it goes on.
    reschedule: Cell<bool>,
    /// This structure's own address.
    this: Cell<*const Core>,
    /// The core's number, from 0 without gaps.
    pub index: Cell<usize>,
    /// The bit of that number.
    pub bit: Cell<u64>,
    /// The number by which its interrupt controller is addressed.
    pub apic_id: AtomicU32,
    /// The running thread, as a counted reference; null while the core is in the scheduler.
    current: Cell<*const Thread>,
    /// The address space of a program that is loaded; null for none.
    pub space: Cell<*const AddressSpace>,
    /// `fs` base of the program that ran last.
    pub fs_base: Cell<u64>,
    /// The time-stamp counter at which the timer is set to fire; the maximum if it is not set.
    pub timer_at: Cell<u64>,
    /// When the running thread's slice ends, in ticks.
    pub slice_end: Cell<u64>,
    /// System calls that were already counted for a process.
    pub system_calls_counted: Cell<u64>,
    /// Requests of other cores to forget translations.
    pub mailbox: Mailbox,
    /// Whether the core takes part in scheduling.
    pub online: AtomicBool,
    /// Counters of this core, at [`spillway_abi::counters::Counter`].
    pub counters: [AtomicU64; COUNTER_COUNT],
    /// The task segment and the descriptor table.
    pub segments: UnsafeCell<Segments>,
}

// SAFETY: cells and the segments are only touched by the core that the structure belongs to
// (`core()` hands out no other's; `of()` hands out the atomic parts' structure, and its users
// keep to those), with interrupts off; the rest is atomic.
unsafe impl Sync for Core {}

static CORES: [Core; MAX_CORES] = [const { Core::new() }; MAX_CORES];

/// Offsets for the entry code.
pub const CONTEXT: usize = offset_of!(Core, context);
/// Offset of the kernel stack's top.
pub const KERNEL_STACK: usize = offset_of!(Core, kernel_stack);
/// Offset of the scratch word.
pub const USER_STACK: usize = offset_of!(Core, user_stack);
/// Offset of the count of system calls.
pub const SYSTEM_CALLS: usize = offset_of!(Core, system_calls);
/// Offset of the reschedule flag.
pub const RESCHEDULE: usize = offset_of!(Core, reschedule);

impl Core {
    const fn new() -> Self {
        Self {
            context: Cell::new(ptr::null_mut()),
            kernel_stack: Cell::new(0),
            user_stack: Cell::new(0),
            system_calls: AtomicU64::new(0),
            reschedule: Cell::new(false),
            this: Cell::new(ptr::null()),
            index: Cell::new(0),
            bit: Cell::new(0),
            apic_id: AtomicU32::new(0),
            current: Cell::new(ptr::null()),
            space: Cell::new(ptr::null()),
            fs_base: Cell::new(0),
            timer_at: Cell::new(u64::MAX),
            slice_end: Cell::new(0),
            system_calls_counted: Cell::new(0),
            mailbox: Mailbox::new(),
            online: AtomicBool::new(false),
            counters: [const { AtomicU64::new(0) }; COUNTER_COUNT],
            segments: UnsafeCell::new(Segments::new()),
        }
    }

    /// Asks the entry code to look for another thread before the program goes on.
    #[inline]
    pub fn set_reschedule(&self, wanted: bool) {
        self.reschedule.set(wanted);
    }

    /// Whether the running thread may have to make room.
    #[inline]
    pub fn must_reschedule(&self) -> bool {
        self.reschedule.get()
    }

    /// The core's number, where the compiler is to know that it is one.
    #[inline(always)]
    pub fn index(&self) -> usize {
        self.index.get() % MAX_CORES
    }

    /// Counts something on this core, and for the process whose thread runs on it.
    #[inline]
    pub fn count(&self, counter: Counter, by: u64) {
        self.count_here(counter, by);
        if self.has_current() {
            self.with_current(|thread| thread.process.count(counter, by));
        }
    }

    /// Counts something on this core only.
    #[inline]
    pub fn count_here(&self, counter: Counter, by: u64) {
        // Only this core writes its counters, so no locked addition is needed.
        let counter = &self.counters[counter as usize];
        counter.store(counter.load(Ordering::Relaxed) + by, Ordering::Relaxed);
    }

    /// Sets the stack that the entry code switches to.
    pub fn set_kernel_stack(&self, top: u64) {
        self.kernel_stack.set(top);
    }

    /// The top of this core's kernel stack.
    pub fn kernel_stack(&self) -> u64 {
        self.kernel_stack.get()
    }

    /// System calls on this core so far.
    #[inline]
    pub fn system_calls(&self) -> u64 {
        self.system_calls.load(Ordering::Relaxed)
    }

    /// Makes a thread the running one: traps and system calls save into its context from here on.
    #[inline]
    pub fn set_current(&self, thread: Arc<Thread>) {
        let context = thread.context_pointer();
        self.context.set(context);
        // SAFETY: the segments are this core's own, and nothing else borrows them.
        unsafe { (*self.segments.get()).set_trap_stack(context) };
        let before = self.current.replace(Arc::into_raw(thread));
        debug_assert!(before.is_null());
    }

    /// Ends what [`Self::set_current`] began; `None` if no thread was running.
    #[inline]
    pub fn take_current(&self) -> Option<Arc<Thread>> {
        let pointer = self.current.replace(ptr::null());
        // SAFETY: a pointer that is not null came from `Arc::into_raw` in `set_current`, and the
        // exchange with null gives the reference back exactly once.
        (!pointer.is_null()).then(|| unsafe { Arc::from_raw(pointer) })
    }

    /// Makes another thread the running one, and returns the one that was.
    ///
    /// # Safety
    ///
    /// A thread must be running: this is not the scheduler.
    #[inline(always)]
    pub unsafe fn exchange_current(&self, thread: Arc<Thread>) -> Arc<Thread> {
        let context = thread.context_pointer();
        self.context.set(context);
        // SAFETY: the segments are this core's own, and nothing else borrows them.
        unsafe { (*self.segments.get()).set_trap_stack(context) };
        let before = self.current.replace(Arc::into_raw(thread));
        debug_assert!(!before.is_null());
        // SAFETY: as in `take_current`; the caller promises that it is not null.
        unsafe { Arc::from_raw(before) }
    }

    /// Whether a thread is running, as opposed to the scheduler.
    #[inline]
    pub fn has_current(&self) -> bool {
        !self.current.get().is_null()
    }

    /// Calls `f` with the running thread.
    ///
    /// The thread stays alive at least until the closure returns or leaves for the scheduler.
    /// Must not be called while the core is in the scheduler.
    #[inline]
    pub fn with_current<R>(&self, f: impl FnOnce(&Arc<Thread>) -> R) -> R {
        let pointer = self.current.get();
        assert!(!pointer.is_null(), "no thread is running on this core");
        // SAFETY: the pointer came from `Arc::into_raw` and its reference has not been taken
        // back, since it is not null. `ManuallyDrop` leaves that reference where it is.
        let thread = ManuallyDrop::new(unsafe { Arc::from_raw(pointer) });
        f(&thread)
    }

    /// Where this core's task segment lies, for the descriptor.
    pub fn task_segment(&self) -> *const TaskStateSegment {
        // SAFETY: only the address of a field is taken.
        unsafe { &raw const (*self.segments.get()).task }
    }
}

/// This core's data.
#[inline]
pub fn core() -> &'static Core {
    let this: *const Core;
    // SAFETY: `install` ran before anything else on this core, so `gs` leads to its structure,
    // whose `this` field holds its own address, in a static.
    unsafe {
        asm!(
            "mov {}, gs:[{this}]",
            out(reg) this,
            this = const offset_of!(Core, this),
            options(nostack, pure, readonly, preserves_flags),
        );
        &*this
    }
}

/// This core's number.
#[inline]
pub fn core_index() -> usize {
    core().index.get()
}

/// Another core's data: only what is atomic may be used.
#[inline]
pub fn of(index: usize) -> &'static Core {
    &CORES[index]
}

/// Makes `gs` lead to the data of this core. First thing on every core.
pub fn install(index: usize) {
    let core = &CORES[index];
    core.index.set(index);
    core.bit.set(1 << index);
    core.this.set(core);
    let address = x86_64::VirtAddr::from_ptr(core);
    // The kernel keeps its own value in GsBase and the program's, always 0, in KernelGsBase;
    // `swapgs` on the way out and in exchanges them.
    GsBase::write(address);
    KernelGsBase::write(x86_64::VirtAddr::zero());
}
