//! A queue that does what a test says, and buffers that notice when they are freed too early.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use spillway_task::{Full, Next, Popped, Queue};

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Cancelled,
}

/// A request: which one.
pub type Submission = u64;

#[derive(Default)]
pub struct State {
    /// Entries that the ring holds.
    pub room: usize,
    /// Requests that can be under way.
    pub most_under_way: usize,
    pub ring: VecDeque<(u64, Submission)>,
    /// By request; the user data, and whether it was cancelled.
    pub under_way: BTreeMap<Submission, (u64, bool)>,
    pub completions: VecDeque<(u64, Submission, Outcome)>,
    pub messages: VecDeque<u64>,
    /// Requests whose completion was popped.
    pub over: BTreeSet<Submission>,
    /// Requests that never end by themselves.
    pub endless: BTreeSet<Submission>,
    /// Requests that do not even end when they are cancelled.
    pub stubborn: BTreeSet<Submission>,
    pub now: u64,
    /// A source of choices.
    pub seed: u64,
    pub entered: usize,
    /// The queue fails from now on.
    pub broken: bool,
    /// Buffers that were freed.
    pub freed: usize,
}

impl State {
    pub fn choose(&mut self, among: usize) -> usize {
        self.seed = self
            .seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.seed >> 33) as usize % among.max(1)
    }

    /// Ends a request.
    pub fn complete(&mut self, submission: Submission) {
        if let Some((user_data, cancelled)) = self.under_way.remove(&submission) {
            let outcome = match cancelled {
                true => Outcome::Cancelled,
                false => Outcome::Done,
            };
            self.completions.push_back((user_data, submission, outcome));
        }
    }

    fn hand_over(&mut self) {
        while self.under_way.len() < self.most_under_way {
            let Some((user_data, submission)) = self.ring.pop_front() else {
                return;
            };
            self.under_way.insert(submission, (user_data, false));
        }
    }

    /// Requests that can end now.
    fn candidates(&self) -> Vec<Submission> {
        let can_end = |(submission, (_, cancelled)): (&Submission, &(u64, bool))| {
            let ends = match cancelled {
                true => !self.stubborn.contains(submission),
                false => !self.endless.contains(submission) && !self.stubborn.contains(submission),
            };
            ends.then_some(*submission)
        };
        self.under_way.iter().filter_map(can_end).collect()
    }
}

/// The queue, and the test's way to it.
#[derive(Clone)]
pub struct Fake(pub Rc<RefCell<State>>);

impl Fake {
    pub fn new(room: usize, most_under_way: usize, seed: u64) -> Self {
        Self(Rc::new(RefCell::new(State {
            room,
            most_under_way,
            seed,
            ..State::default()
        })))
    }

    pub fn state(&self) -> std::cell::RefMut<'_, State> {
        self.0.borrow_mut()
    }

    /// The buffers of a request.
    pub fn buffer(&self, submission: Submission) -> Buffer {
        Buffer {
            fake: self.clone(),
            submission,
            submitted: true,
        }
    }
}

/// May be freed only when its request is over.
pub struct Buffer {
    fake: Fake,
    pub submission: Submission,
    pub submitted: bool,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut state = self.fake.0.borrow_mut();
        state.freed += 1;
        assert!(
            !self.submitted || state.over.contains(&self.submission),
            "the buffer of request {} was freed while it was under way",
            self.submission
        );
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({})", self.submission)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// How often any alarm rang.
pub static ALARMS: AtomicUsize = AtomicUsize::new(0);

impl Queue for Fake {
    type Submission = Submission;
    type Completion = Outcome;
    type Message = u64;
    type Error = Broken;

    fn submit(&mut self, user_data: u64, submission: &Submission) -> Result<(), Full> {
        let mut state = self.0.borrow_mut();
        if state.ring.len() == state.room {
            return Err(Full);
        }
        state.ring.push_back((user_data, *submission));
        Ok(())
    }

    fn enter(&mut self, minimum: u32, deadline: u64) -> Result<(), Broken> {
        let mut state = self.0.borrow_mut();
        state.entered += 1;
        if state.broken {
            return Err(Broken);
        }
        state.hand_over();
        while state.completions.len() + state.messages.len() < minimum as usize {
            let candidates = state.candidates();
            // Moments that are near may come before any completion; far ones only when nothing else
            // can happen.
            let near = deadline <= state.now + 1000;
            let by_time = near && state.choose(candidates.len() + 1) == 0;
            if candidates.is_empty() || by_time {
                assert_ne!(deadline, u64::MAX, "everybody waits for ever");
                state.now = state.now.max(deadline);
                return Ok(());
            }
            let chosen = state.choose(candidates.len());
            state.complete(candidates[chosen]);
            state.now += 1;
            state.hand_over();
        }
        Ok(())
    }

    fn pop(&mut self) -> Result<Next<Self>, Broken> {
        let mut state = self.0.borrow_mut();
        if let Some(message) = state.messages.pop_front() {
            return Ok(Some(Popped::Message(message)));
        }
        let Some((user_data, submission, outcome)) = state.completions.pop_front() else {
            return Ok(None);
        };
        state.over.insert(submission);
        Ok(Some(Popped::Completion(user_data, outcome)))
    }

    fn cancel(&mut self, user_data: u64) {
        let mut state = self.0.borrow_mut();
        let most = state.most_under_way;
        // What is still in the ring is handed over first.
        state.most_under_way = usize::MAX;
        state.hand_over();
        state.most_under_way = most;
        for (data, cancelled) in state.under_way.values_mut() {
            if *data == user_data {
                *cancelled = true;
            }
        }
    }

    fn now(&self) -> u64 {
        self.0.borrow().now
    }

    fn alarm(&self) -> impl Fn() + Send + Sync + 'static {
        let rung = Arc::new(());
        move || {
            let _ = &rung;
            ALARMS.fetch_add(1, Ordering::SeqCst);
        }
    }
}
