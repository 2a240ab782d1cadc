//! IoQueues: the kernel's end of the rings that it shares with a program.

mod waiter;

use core::ptr::NonNull;

use alloc::{sync::Arc, vec::Vec};
use spillway_abi::{
    Error, PAGE_SIZE,
    limits::{MAX_COMPLETIONS, MAX_QUEUE_ENTRIES},
    queue::{
        COMPLETION_HEADER, Completion, ENTRIES, ENTRY_SIZE, SUBMISSION_HEADER, Submission,
        ring_bytes, submission_word,
    },
};
use spillway_kernel_core::{places::Free, queue::List};
use spillway_ring::{Consumer, Producer, RingHeader, Word, Words};

use super::{Memory, Process, Service};
use crate::{
    ipc::{
        has_news,
        reply::Answer,
        requests::{self, Entry, FIRST},
    },
    kernel::{Guard, Kernel},
    memory::{direct, frames},
    sync::Locked,
};

use waiter::Waiter;

/// What a queue costs of the kernel's own memory besides its rings, in bytes; charged to its owner.
const QUEUE_COST: u64 = 512;
/// The same for each request that can be under way.
const REQUEST_COST: u64 = 256;

/// An entry of either ring.
type RingEntry = Words<{ ENTRY_SIZE / 8 }>;

/// Submission and completion rings.
#[derive(Debug)]
pub struct IoQueue {
    /// Who uses it.
    pub owner: Arc<Process>,
    /// Its rings.
    pub memory: Arc<Memory>,
    /// Entries of the submission ring, which is how many requests can be under way.
    pub submissions: u32,
    /// Entries of the completion ring.
    pub completions: u32,
    /// What the kernel lock protects.
    pub state: Locked<QueueState>,
}

/// The part of a queue that the kernel lock protects.
pub struct QueueState {
    /// Its end of the submission ring.
    pub submitted: Consumer<'static, RingEntry>,
    /// Its end of the completion ring.
    pub completed: Producer<'static, RingEntry>,
    /// An entry that was taken off the ring and must wait for room in a window. It counts as under
    /// way.
    stalled: Option<Submission>,
    /// The places of its requests.
    pub slots: Vec<u16>,
    /// Those of them in which nothing is under way.
    pub free: Free,
    /// Requests that have no completion yet, with those that a thread is working on; each has a
    /// place in the completion ring.
    pub under_way_count: u32,
    /// Those of them whose data is to be copied out.
    pub answered: List,
    /// The thread that waits for completions.
    waiter: Option<Waiter>,
    /// Services that are bound to it.
    pub services: Vec<Arc<Service>>,
    /// Services that were ever bound.
    bound: u32,
    /// Handles to it.
    pub handles: u32,
    /// Nothing comes any more: nobody has a handle, or the rings cannot be.
    pub ended: bool,
}

impl core::fmt::Debug for QueueState {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("QueueState")
            .field("under_way", &self.under_way_count)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// The next entry as it was at one look: the program can still change it.
pub struct Front {
    /// The handle, and above it the operation.
    pub first: u64,
    /// Comes back with the completion.
    pub user_data: u64,
    /// Comes back with the completion.
    pub trace: u64,
    /// The first argument.
    pub a: u64,
    /// The second argument.
    pub b: u64,
    /// The third argument.
    pub c: u64,
    /// The fourth argument.
    pub d: u64,
    /// The deadline.
    pub deadline: u64,
}

impl Drop for IoQueue {
    fn drop(&mut self) {
        self.owner.account.release(self.cost());
    }
}

impl IoQueue {
    /// A queue of a process, with rings of so many entries, powers of two. [`Error::BadArgument`],
    /// [`Error::LimitReached`], [`Error::OutOfMemory`].
    pub fn new(
        kernel: &mut Kernel,
        owner: &Arc<Process>,
        submissions: u64,
        completions: u64,
    ) -> Result<Arc<Self>, Error> {
        let completions = match completions {
            0 => submissions.saturating_mul(2),
            some => some,
        };
        let in_range = |count: u64, most: u32| {
            let count = u32::try_from(count).ok()?;
            (count.is_power_of_two() && count <= most).then_some(count)
        };
        let submissions = in_range(submissions, MAX_QUEUE_ENTRIES).ok_or(Error::BadArgument)?;
        let completions = in_range(completions, MAX_COMPLETIONS)
            .filter(|&count| count >= submissions)
            .ok_or(Error::BadArgument)?;
        let slots = requests::reserve(kernel, &owner.account, submissions)?;
        let made = Self::make(owner, &slots, completions);
        match &made {
            Ok(queue) => {
                let (state, requests) = queue.state.get_with_requests(kernel);
                for slot in slots.iter().rev() {
                    requests.places.give(&mut state.free, slot - FIRST);
                }
            }
            Err(_) => requests::release(kernel, &owner.account, &slots),
        }
        made
    }

    fn make(owner: &Arc<Process>, slots: &[u16], completions: u32) -> Result<Arc<Self>, Error> {
        let submissions = slots.len() as u32;
        let slots = copy_of(slots)?;
        let pages = (ring_bytes(submissions, completions) as u64).div_ceil(PAGE_SIZE);
        let mut memory = Memory::empty(owner.account.clone(), pages * PAGE_SIZE)?;
        let extent = frames::allocate_contiguous(pages, u64::BITS)?;
        frames::zero(extent);
        memory.push(extent)?;
        let (start, _) = memory.run(0, PAGE_SIZE).ok_or(Error::OutOfMemory)?;
        let base = NonNull::new(direct(start).as_mut_ptr::<u8>()).ok_or(Error::OutOfMemory)?;
        let second = ENTRIES + submissions as usize * ENTRY_SIZE;
        // SAFETY: the offsets lie inside the frames, which follow each other and stay as long as
        // the memory is held: by the queue, like the two halves. Programs see the same bytes, which
        // the halves expect to change at any time. There is one half of each kind on this side.
        let halves = unsafe {
            let header = |offset| base.add(offset).cast::<RingHeader>();
            let words = |offset| base.add(offset).cast::<Word>();
            let (first, other) = (header(SUBMISSION_HEADER), header(COMPLETION_HEADER));
            first.as_ref().initialise::<RingEntry>(submissions, 0);
            other.as_ref().initialise::<RingEntry>(completions, 0);
            let submitted = Consumer::new(first, words(ENTRIES), submissions);
            (submitted, Producer::new(other, words(second), completions))
        };
        let (Ok(submitted), Ok(completed)) = halves else {
            return Err(Error::BadArgument);
        };
        let cost = QUEUE_COST + REQUEST_COST * u64::from(submissions);
        owner.account.charge(cost)?;
        Ok(Arc::new(Self {
            owner: owner.clone(),
            memory: Arc::new(memory),
            submissions,
            completions,
            state: Locked::new(QueueState {
                submitted,
                completed,
                stalled: None,
                slots,
                free: Free::none(),
                under_way_count: 0,
                answered: List::new(),
                waiter: None,
                services: Vec::new(),
                bound: 0,
                handles: 0,
                ended: false,
            }),
        }))
    }

    fn cost(&self) -> u64 {
        QUEUE_COST + REQUEST_COST * u64::from(self.submissions)
    }

    /// The next entry, if there is one, a request can be under way, and its completion has a place.
    /// [`Error::Gone`]; [`Error::Corrupt`] for indices that cannot be.
    #[inline]
    pub fn next_entry(&self, kernel: &mut Kernel) -> Result<Option<Submission>, Error> {
        let state = self.state.get_mut(kernel);
        if state.ended {
            return Err(Error::Gone);
        }
        if let Some(entry) = state.stalled.take() {
            state.under_way_count -= 1;
            return Ok(Some(entry));
        }
        if state.under_way_count >= self.submissions || !state.can_complete()? {
            return Ok(None);
        }
        let words = state.submitted.pop().map_err(|_| Error::Corrupt)?;
        Ok(words.map(|Words(words)| Submission::from_words(words)))
    }

    /// Keeps an entry, of those that were taken, for when there is room in a window.
    pub fn stall(&self, kernel: &mut Kernel, entry: Submission) {
        let state = self.state.get_mut(kernel);
        state.stalled = Some(entry);
        state.under_way_count += 1;
    }

    /// Takes back an entry that waits for room in a window, by its user data. Its place is kept
    /// for [`Self::post`], which comes next.
    pub fn unstall(&self, kernel: &mut Kernel, user_data: u64) -> Option<Submission> {
        let state = self.state.get_mut(kernel);
        let entry = state
            .stalled
            .take_if(|entry| entry.user_data == user_data)?;
        state.under_way_count -= 1;
        Some(entry)
    }

    /// Does what may let go of the lock for an entry that was taken. A place for its completion
    /// stays kept, which comes next or is kept by [`Self::begin`].
    pub fn with_place<R>(&self, guard: &mut Guard, f: impl FnOnce(&mut Guard) -> R) -> R {
        self.state.get_mut(guard).under_way_count += 1;
        let result = f(guard);
        self.state.get_mut(guard).under_way_count -= 1;
        result
    }

    /// The rings cannot be: nothing comes any more, and the one who waits is told.
    pub fn fail(&self, kernel: &mut Kernel) {
        self.state.get_mut(kernel).ended = true;
        self.end_wait(kernel, Err(Error::Gone));
    }

    /// [`Error::Gone`] if nothing comes any more.
    pub fn check(&self, kernel: &Kernel) -> Result<(), Error> {
        if self.state.get(kernel).ended {
            Err(Error::Gone)
        } else {
            Ok(())
        }
    }

    /// Lets the program see how far its entries were taken.
    pub fn publish_taken(&self, kernel: &mut Kernel) {
        self.state.get_mut(kernel).submitted.release();
    }

    /// Whether entries are left that were not taken.
    pub fn has_entries(&self, kernel: &mut Kernel) -> bool {
        let state = self.state.get_mut(kernel);
        state.stalled.is_some() || state.submitted.available().is_ok_and(|count| count > 0)
    }

    /// Whether there is nothing to do but to wait: no entry, no data to be copied, and no message that
    /// waits for room.
    pub fn is_quiet(&self, kernel: &mut Kernel) -> bool {
        let state = self.state.get_mut(kernel);
        let is_empty = !state.ended
            && state.stalled.is_none()
            && state.answered.is_empty()
            && state.submitted.available() == Ok(0);
        let services = &self.state.get(kernel).services;
        is_empty
            && !services
                .iter()
                .any(|service| has_news(service.state.get(kernel)))
    }

    /// Whether a message finds room beside the completions that are still to come.
    pub fn has_room(&self, kernel: &mut Kernel) -> bool {
        let state = self.state.get_mut(kernel);
        !state.ended && state.can_complete() == Ok(true)
    }

    /// A place for a request that is under way from here on. One is free whenever fewer are under
    /// way than the submission ring has entries.
    #[inline]
    pub fn begin(&self, kernel: &mut Kernel) -> Option<u16> {
        let (state, requests) = self.state.get_with_requests(kernel);
        let (place, _) = requests.places.take(&mut state.free)?;
        state.under_way_count += 1;
        Some(FIRST + place)
    }

    /// A request is no longer under way; its place is empty.
    #[inline]
    pub fn forget(&self, kernel: &mut Kernel, slot: u16) {
        let (state, requests) = self.state.get_with_requests(kernel);
        requests.places.give(&mut state.free, slot - FIRST);
        state.under_way_count -= 1;
    }

    /// A request that was under way is done.
    pub fn complete(&self, kernel: &mut Kernel, slot: u16, entry: &Entry, answer: Answer) {
        self.forget(kernel, slot);
        self.post(kernel, &completion(entry.user_data, entry.trace, answer));
    }

    /// Puts a completion or a message into the ring, where a place was kept for it.
    pub fn post(&self, kernel: &mut Kernel, completion: &Completion) {
        if self.put(kernel, completion) {
            self.wake(kernel);
        }
    }

    /// The same; whether somebody has what it waits for is returned, as by [`Self::publish`].
    pub fn put(&self, kernel: &mut Kernel, completion: &Completion) -> bool {
        let state = self.state.get_mut(kernel);
        // If there is no room the program moved its index back: its ring is its own.
        let _ = state.completed.push(Words(completion.to_words()));
        self.publish(kernel, 1)
    }

    /// A request was answered, and its data is to be copied by a thread of the owner.
    pub fn to_copy(&self, kernel: &mut Kernel, slot: u16) {
        let (state, links) = self.state.get_with_links(kernel);
        state.answered.push_back(links, slot);
        self.wake_to_work(kernel);
    }

    /// That has been done.
    pub fn copied(&self, kernel: &mut Kernel, slot: u16) {
        let (state, links) = self.state.get_with_links(kernel);
        state.answered.remove(links, slot);
    }

    /// Completions that the program has not taken.
    pub fn available(&self, kernel: &mut Kernel) -> Result<u32, Error> {
        let free = self.state.get_mut(kernel).completed.free();
        Ok(self.completions - free.map_err(|_| Error::Corrupt)?)
    }

    /// Binds a service; its number here. [`Error::OutOfMemory`], [`Error::Gone`].
    pub fn bind(&self, kernel: &mut Kernel, service: &Arc<Service>) -> Result<u32, Error> {
        let state = self.state.get_mut(kernel);
        if state.ended {
            return Err(Error::Gone);
        }
        state
            .services
            .try_reserve(1)
            .map_err(|_| Error::OutOfMemory)?;
        state.services.push(service.clone());
        state.bound += 1;
        Ok(state.bound - 1)
    }

    /// Unbinds a service.
    pub fn unbind(&self, kernel: &mut Kernel, service: &Arc<Service>) {
        let services = &mut self.state.get_mut(kernel).services;
        services.retain(|other| !Arc::ptr_eq(other, service));
    }

    /// Nobody can reach it any more, and nothing is under way.
    pub fn end(&self, kernel: &mut Kernel) {
        let state = self.state.get_mut(kernel);
        state.ended = true;
        for service in core::mem::take(&mut state.services) {
            service.state.get_mut(kernel).queue = None;
        }
        self.end_wait(kernel, Err(Error::Gone));
        let state = self.state.get_mut(kernel);
        state.free = Free::none();
        let slots = core::mem::take(&mut state.slots);
        requests::release(kernel, &self.owner.account, &slots);
    }
}

impl QueueState {
    /// The entry at the front of the ring, if it comes next. What is wrong with the ring
    /// [`IoQueue::next_entry`] finds.
    pub fn front(&mut self) -> Option<Front> {
        if self.ended || self.stalled.is_some() {
            return None;
        }
        let entry = self.submitted.front().ok()??;
        Some(Front {
            first: entry.load(submission_word::OBJECT),
            user_data: entry.load(submission_word::USER_DATA),
            trace: entry.load(submission_word::TRACE),
            a: entry.load(submission_word::A),
            b: entry.load(submission_word::B),
            c: entry.load(submission_word::C),
            d: entry.load(submission_word::D),
            deadline: entry.load(submission_word::DEADLINE),
        })
    }

    /// Takes the entry at the front of the ring, which was looked at, and shows the program that.
    pub fn take_front(&mut self) {
        self.submitted.skip();
        self.submitted.release();
    }

    /// Entries that can be taken and be under way, each with a place for its completion.
    pub fn request_room(&mut self) -> u32 {
        let places = (self.slots.len() as u32).saturating_sub(self.under_way_count);
        places.min(self.message_room())
    }

    /// Messages that find room beside the completions that are still to come.
    pub fn message_room(&mut self) -> u32 {
        if self.ended {
            return 0;
        }
        let free = self.completed.free().unwrap_or(0);
        free.saturating_sub(self.under_way_count)
    }

    /// Whether one more completion than those that are to come finds room.
    #[inline]
    fn can_complete(&mut self) -> Result<bool, Error> {
        let needed = self.under_way_count + 1;
        self.completed.has_room(needed).map_err(|_| Error::Corrupt)
    }
}

fn copy_of(slots: &[u16]) -> Result<Vec<u16>, Error> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(slots.len())
        .map_err(|_| Error::OutOfMemory)?;
    copy.extend_from_slice(slots);
    Ok(copy)
}

/// A completion of an entry.
#[inline]
pub fn completion(user_data: u64, trace: u64, answer: Answer) -> Completion {
    let (status, value) = match answer {
        Ok(value) => (0, value),
        Err((error, detail)) => (error as u32, detail),
    };
    Completion {
        user_data,
        status,
        value,
        trace,
        ..Completion::default()
    }
}
