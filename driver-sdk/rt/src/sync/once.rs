//! A value that is made when it is first asked for.

use core::{
    cell::UnsafeCell,
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

use super::Mutex;

/// A cell that is written at most once. A second thread that asks while the value is being made
/// waits for it; one that asks for the value in its own making deadlocks.
pub struct OnceLock<T> {
    ready: AtomicBool,
    making: Mutex<()>,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: the value is written once, under the lock, before `ready` is set; afterwards it is
// only read. Whoever writes it may be another thread than who drops it, hence `Send`.
unsafe impl<T: Send + Sync> Sync for OnceLock<T> {}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnceLock").field(&self.get()).finish()
    }
}

impl<T> OnceLock<T> {
    /// Without a value.
    pub const fn new() -> Self {
        Self {
            ready: AtomicBool::new(false),
            making: Mutex::new(()),
            value: UnsafeCell::new(None),
        }
    }

    /// The value, if it was made.
    pub fn get(&self) -> Option<&T> {
        if !self.ready.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: it was written before `ready` was set, and is not written again.
        unsafe { (*self.value.get()).as_ref() }
    }

    /// The value; made now if there is none.
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        let making = self.making.lock();
        if let Some(value) = self.get() {
            return value;
        }
        // SAFETY: nobody reads before `ready` is set, and nobody else writes under the lock.
        let value = unsafe { (*self.value.get()).insert(make()) };
        self.ready.store(true, Ordering::Release);
        drop(making);
        value
    }
}
