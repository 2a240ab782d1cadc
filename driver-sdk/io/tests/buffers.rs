//! Buffers against a model: nobody's bytes are anybody else's, and all of them come back.

use std::thread;

use proptest::prelude::*;
use spillway_io::{BlockDevice, Buffer, Error, ErrorKind, MemoryDevice, Pool, SharedBuffer};

fn pool(bytes: usize) -> Pool {
    let device = MemoryDevice::new(512).unwrap();
    device.create_pool(bytes).unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Allocate(usize),
    Split(prop::sample::Index, usize),
    Select(prop::sample::Index, usize, usize),
    Freeze(prop::sample::Index),
    Clone(prop::sample::Index),
    Slice(prop::sample::Index, usize, usize),
    Thaw(prop::sample::Index),
    Drop(prop::sample::Index),
    DropShared(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let which = || any::<prop::sample::Index>();
    prop_oneof![
        (1usize..40_000).prop_map(Step::Allocate),
        (which(), 0usize..12).prop_map(|(which, at)| Step::Split(which, at * 512)),
        (which(), 0usize..5000, 0usize..5000).prop_map(|(w, from, to)| Step::Select(w, from, to)),
        which().prop_map(Step::Freeze),
        which().prop_map(Step::Clone),
        (which(), 0usize..5000, 0usize..5000).prop_map(|(w, from, to)| Step::Slice(w, from, to)),
        which().prop_map(Step::Thaw),
        which().prop_map(Step::Drop),
        which().prop_map(Step::DropShared),
    ]
}

/// A buffer, and the byte with which all of its capacity is filled.
struct Marked<B>(B, u8);

fn fill(buffer: &mut Buffer, mark: u8) {
    let whole = buffer.capacity();
    let length = buffer.len();
    buffer.select(0..whole).unwrap();
    buffer.fill(mark);
    buffer.select(0..length).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 8 } else { 128 }))]

    /// Each owner finds its own mark in all of its bytes, after whatever others did to theirs.
    #[test]
    fn nobody_touches_the_bytes_of_another(steps in prop::collection::vec(step(), 0..60)) {
        let pool = pool(128 * 1024);
        let mut owned: Vec<Marked<Buffer>> = Vec::new();
        let mut shared: Vec<Marked<SharedBuffer>> = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            let mark = number as u8 + 1;
            match step {
                Step::Allocate(bytes) => {
                    if let Ok(mut buffer) = pool.allocate(bytes) {
                        prop_assert_eq!(buffer.len(), bytes);
                        fill(&mut buffer, mark);
                        owned.push(Marked(buffer, mark));
                    }
                }
                Step::Split(which, at) if !owned.is_empty() => {
                    let index = which.index(owned.len());
                    let capacity = owned[index].0.capacity();
                    let before = owned[index].0.len();
                    let result = owned[index].0.split_off(at);
                    prop_assert_eq!(result.is_ok(), at > 0 && at < capacity);
                    if let Ok(rest) = result {
                        prop_assert_eq!(owned[index].0.len() + rest.len(), before);
                        prop_assert_eq!(owned[index].0.capacity(), at);
                        let mark = owned[index].1;
                        owned.push(Marked(rest, mark));
                    }
                }
                Step::Select(which, from, to) if !owned.is_empty() => {
                    let index = which.index(owned.len());
                    let buffer = &mut owned[index].0;
                    let fits = from <= to && to <= buffer.capacity();
                    prop_assert_eq!(buffer.select(from..to).is_ok(), fits);
                    if fits {
                        prop_assert_eq!(buffer.len(), to - from);
                    }
                }
                Step::Freeze(which) if !owned.is_empty() => {
                    let Marked(buffer, mark) = owned.swap_remove(which.index(owned.len()));
                    shared.push(Marked(buffer.freeze(), mark));
                }
                Step::Clone(which) if !shared.is_empty() => {
                    let Marked(buffer, mark) = &shared[which.index(shared.len())];
                    let clone = Marked(buffer.clone(), *mark);
                    shared.push(clone);
                }
                Step::Slice(which, from, to) if !shared.is_empty() => {
                    let Marked(buffer, mark) = &shared[which.index(shared.len())];
                    let part = buffer.slice(from..to);
                    prop_assert_eq!(part.is_ok(), from <= to && to <= buffer.len());
                    let part = part.ok().map(|part| Marked(part, *mark));
                    shared.extend(part);
                }
                Step::Thaw(which) if !shared.is_empty() => {
                    let Marked(buffer, mark) = shared.swap_remove(which.index(shared.len()));
                    match buffer.thaw() {
                        Ok(buffer) => owned.push(Marked(buffer, mark)),
                        Err(buffer) => shared.push(Marked(buffer, mark)),
                    }
                }
                Step::Drop(which) if !owned.is_empty() => {
                    owned.swap_remove(which.index(owned.len()));
                }
                Step::DropShared(which) if !shared.is_empty() => {
                    shared.swap_remove(which.index(shared.len()));
                }
                _ => {}
            }
            for Marked(buffer, mark) in &owned {
                prop_assert!(buffer.iter().all(|byte| byte == mark));
            }
            for Marked(buffer, mark) in &shared {
                prop_assert!(buffer.iter().all(|byte| byte == mark));
            }
        }
        // A last write to everything that is owned does not show in what is shared.
        for Marked(buffer, _) in &mut owned {
            fill(buffer, 0xff);
        }
        for Marked(buffer, mark) in &shared {
            prop_assert!(buffer.iter().all(|byte| byte == mark));
        }
        drop((owned, shared));
        prop_assert_eq!(pool.available(), pool.capacity());
    }
}

#[test]
fn a_page_under_write_back_can_be_read_and_is_taken_back() {
    let pool = pool(8192);
    let mut page = pool.allocate(4096).unwrap();
    page.fill(7);
    let page = page.freeze();
    let writing = page.clone();
    assert_eq!(page[4095], 7);
    let page = page.thaw().unwrap_err();
    drop(writing);
    let mut page = page.thaw().unwrap();
    page[0] = 8;
    assert_eq!(page.as_ref()[..2], [8, 7]);
}

#[test]
fn pieces_of_one_buffer_are_shared_and_taken_back_each_for_itself() {
    let pool = pool(8192);
    let mut first = pool.allocate(8192).unwrap();
    let second = first.split_off(4096).unwrap().freeze();
    let reader = second.clone();
    let first = first.freeze().thaw().unwrap();
    assert!(second.thaw().is_err());
    drop((first, reader));
    assert_eq!(pool.available(), 8192);
}

#[test]
fn buffers_do_not_cross_pages_without_need() {
    let pool = pool(1 << 20);
    let held: Vec<Buffer> = [512, 1024, 3000, 512, 4096, 2048, 512, 12_288]
        .into_iter()
        .map(|bytes| {
            let buffer = pool.allocate(bytes).unwrap();
            let start = buffer.as_ptr() as usize;
            let end = start + bytes - 1;
            assert!(start.is_multiple_of(4096) || start / 4096 == end / 4096);
            buffer
        })
        .collect();
    drop(held);
}

#[test]
fn the_limits_of_a_pool_are_errors() {
    let device = MemoryDevice::new(512).unwrap();
    let kind = |result: Result<Pool, Error>| result.unwrap_err().kind;
    assert_eq!(kind(device.create_pool(0)), ErrorKind::InvalidRequest);
    assert_eq!(
        kind(device.create_pool(usize::MAX)),
        ErrorKind::InvalidRequest
    );
    assert_eq!(
        kind(device.create_pool(isize::MAX as usize - 4096)),
        ErrorKind::OutOfMemory
    );

    let pool = pool(4096);
    let kind = |bytes| pool.allocate(bytes).unwrap_err().kind;
    assert_eq!(kind(0), ErrorKind::InvalidRequest);
    assert_eq!(kind(4097), ErrorKind::OutOfMemory);
    assert_eq!(kind(u32::MAX as usize), ErrorKind::OutOfMemory);
    assert_eq!(kind(u32::MAX as usize + 1), ErrorKind::InvalidRequest);
    let whole = pool.allocate(4096).unwrap();
    assert_eq!(kind(1), ErrorKind::OutOfMemory);
    drop(whole);
    assert!(pool.allocate(1).is_ok());
}

/// The memory outlives the pool, in any buffer.
#[test]
fn a_buffer_keeps_its_memory() {
    let pool = pool(4096);
    let mut buffer = pool.allocate(100).unwrap();
    drop(pool);
    buffer.fill(3);
    let shared = buffer.freeze();
    let clone = shared.clone();
    drop(shared);
    assert_eq!(clone[99], 3);
}

#[test]
fn threads_take_and_give_back_without_meeting() {
    let pool = pool(64 * 1024);
    let rounds = if cfg!(miri) { 20 } else { 2_000 };
    thread::scope(|scope| {
        for thread in 0..4u8 {
            let pool = pool.clone();
            scope.spawn(move || {
                for round in 0..rounds {
                    let bytes = [512, 4096, 700, 33_000][(round + thread as usize) % 4];
                    let Ok(mut buffer) = pool.allocate(bytes) else {
                        continue;
                    };
                    let mark = thread + 1;
                    buffer.fill(mark);
                    let shared = buffer.freeze();
                    let clone = shared.clone();
                    let check = move || assert!(clone.iter().all(|&byte| byte == mark));
                    if round % 100 == 0 {
                        thread::spawn(check);
                    }
                    assert!(shared.iter().all(|&byte| byte == mark));
                }
            });
        }
    });
    // The last reader may still be on its way.
    while pool.available() != pool.capacity() {
        thread::yield_now();
    }
}
