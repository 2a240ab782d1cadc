//! Locks that never keep another core waiting for long.
//!
//! The rules, in `docs/locking.md` with their reasons: interrupts are off; nobody waits for
//! another core while holding a lock; whoever spins answers shootdown requests. The order is
//! IOMMU reports → kernel lock → IOMMU → heap → frames → log.

use core::{
    cell::UnsafeCell,
    sync::atomic::{AtomicBool, Ordering},
};

use spillway_kernel_core::queue::Links;

use crate::{arch, ipc::requests::Requests, kernel::Kernel};

/// A spin lock that answers shootdown requests while it waits.
#[derive(Debug)]
pub struct RawSpin(AtomicBool);

// SAFETY: `lock` returns only after the exchange from false to true succeeded with acquire
// ordering, and only `unlock` stores false, with release ordering: one holder at a time, and
// each sees what the one before wrote.
unsafe impl lock_api::RawMutex for RawSpin {
    #[allow(
        clippy::declare_interior_mutable_const,
        reason = "the trait asks for it"
    )]
    const INIT: Self = Self(AtomicBool::new(false));

    type GuardMarker = lock_api::GuardNoSend;

    #[inline]
    fn lock(&self) {
        while !self.try_lock() {
            self.wait();
        }
    }

    #[inline]
    fn try_lock(&self) -> bool {
        self.0
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    #[inline]
    unsafe fn unlock(&self) {
        self.0.store(false, Ordering::Release);
    }
}

impl RawSpin {
    #[cold]
    fn wait(&self) {
        while self.0.load(Ordering::Relaxed) {
            arch::shootdown::answer();
            core::hint::spin_loop();
        }
    }
}

/// A value behind a [`RawSpin`].
pub type Spin<T> = lock_api::Mutex<RawSpin, T>;

/// State that belongs to the kernel lock but lies inside a shared object.
///
/// There is exactly one [`Kernel`], and it is reached only through the kernel lock. So a
/// reference to it proves that this core holds the lock, and borrowing it for as long as the
/// state is borrowed makes two borrows of any two such states at once a compile error.
#[derive(Debug)]
pub struct Locked<T>(UnsafeCell<T>);

// SAFETY: the value is only reached with a borrow of the one Kernel, which is behind a mutex: a
// mutex makes a `Send` value `Sync`.
unsafe impl<T: Send> Sync for Locked<T> {}

impl<T: Default> Default for Locked<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Locked<T> {
    /// Puts a value under the kernel lock.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// The value of an object that nobody else can reach any more.
    pub fn get_alone(&mut self) -> &mut T {
        self.0.get_mut()
    }

    /// The value, shared.
    #[inline]
    pub fn get<'a>(&'a self, _kernel: &'a Kernel) -> &'a T {
        // SAFETY: the shared borrow of the one Kernel excludes any `get_mut` for as long as the
        // result lives.
        unsafe { &*self.0.get() }
    }

    /// The value, and the neighbours on lists of waiters, both exclusive: for lists that lie in
    /// objects.
    #[inline]
    pub fn get_with_links<'a>(&'a self, kernel: &'a mut Kernel) -> (&'a mut T, &'a mut Links) {
        // SAFETY: as in `get_mut`; the links lie in the kernel, not in any such state.
        (unsafe { &mut *self.0.get() }, kernel.sched.links())
    }

    /// The value, and the requests of queues, both exclusive.
    #[inline]
    pub fn get_with_requests<'a>(
        &'a self,
        kernel: &'a mut Kernel,
    ) -> (&'a mut T, &'a mut Requests) {
        // SAFETY: as in `get_mut`; the requests lie in the kernel, not in any such state.
        (unsafe { &mut *self.0.get() }, &mut kernel.requests)
    }

    /// The values of two objects and the requests of queues, all exclusive. `None` if it is one
    /// object.
    #[inline]
    pub fn get_both<'a>(
        &'a self,
        other: &'a Self,
        kernel: &'a mut Kernel,
    ) -> Option<(&'a mut T, &'a mut T, &'a mut Requests)> {
        if core::ptr::eq(self, other) {
            return None;
        }
        // SAFETY: as in `get_with_requests`; the two are not the same.
        let (first, second) = unsafe { (&mut *self.0.get(), &mut *other.0.get()) };
        Some((first, second, &mut kernel.requests))
    }

    /// The value, exclusive.
    #[inline]
    #[allow(clippy::mut_from_ref, reason = "the exclusive borrow is the kernel's")]
    pub fn get_mut<'a>(&'a self, _kernel: &'a mut Kernel) -> &'a mut T {
        // SAFETY: the exclusive borrow of the one Kernel excludes any other `get` or `get_mut`
        // for as long as the result lives.
        unsafe { &mut *self.0.get() }
    }
}
