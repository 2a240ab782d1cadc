//! With an allocator that refuses, everything that grows says [`Error::OutOfMemory`], keeps what
//! it had, and works again when there is memory.

use spillway_abi::{Error, PAGE_SIZE, Rights};
use spillway_kernel_core::{
    deadlines::Deadlines, handles::HandleTable, queue::Links, regions::RegionMap, slots::Slots,
    waits::WaitTable,
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

struct Refusing;

thread_local! {
    static REFUSE: Cell<bool> = const { Cell::new(false) };
}

#[global_allocator]
static ALLOCATOR: Refusing = Refusing;

// SAFETY: every call goes to the system's allocator unchanged, or returns null, which is always
// allowed.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if REFUSE.get() {
            return core::ptr::null_mut();
        }
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer is from `alloc` above, that is, from the system.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn without_memory<R>(action: impl FnOnce() -> R) -> R {
    REFUSE.set(true);
    let result = action();
    REFUSE.set(false);
    result
}

#[test]
fn what_is_sized_at_boot_reports_it() {
    let results = without_memory(|| {
        [
            Links::new(4096).err(),
            Deadlines::new(4096).err(),
            WaitTable::new(4096).err(),
            Slots::new(4096).err(),
        ]
    });
    assert_eq!(results, [Some(Error::OutOfMemory); 4]);
}

#[test]
fn a_handle_table_keeps_what_it_had() {
    let mut table = HandleTable::new(4096);
    let mut handles = Vec::with_capacity(4096);
    let error = loop {
        // Every insertion that needs no growth works without memory, and each growth is refused
        // once before it is allowed.
        match without_memory(|| table.insert(handles.len(), Rights::READ)) {
            Ok(handle) => handles.push(handle),
            Err(Error::OutOfMemory) => {
                let handle = table.insert(handles.len(), Rights::READ).unwrap();
                handles.push(handle);
            }
            Err(error) => break error,
        }
    };
    assert_eq!((error, handles.len()), (Error::LimitReached, 4096));
    for (object, &handle) in handles.iter().enumerate() {
        assert_eq!(table.get(handle), Ok((&object, Rights::READ)));
    }
}

#[test]
fn a_region_map_keeps_what_it_had() {
    let mut map = RegionMap::new();
    let mut refused = 0;
    for n in 0..1024 {
        let start = n * PAGE_SIZE;
        if let Err(error) = without_memory(|| map.insert(start, PAGE_SIZE, n)) {
            assert_eq!(error, Error::OutOfMemory);
            assert!(map.find(start).is_none());
            refused += 1;
            map.insert(start, PAGE_SIZE, n).unwrap();
        }
    }
    assert!(refused > 0);
    assert_eq!(map.len(), 1024);
    assert!((0..1024).all(|n| map.find(n * PAGE_SIZE).unwrap().value == n));
}
