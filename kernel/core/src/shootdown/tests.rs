//! Without `--cfg loom` the plain sequence is tested; with it, every interleaving that the memory
//! model allows: `RUSTFLAGS="--cfg loom" cargo test -p spillway-kernel-core shootdown`.

extern crate std;

use super::*;

#[cfg(not(loom))]
mod sequence {
    use super::*;
    use std::{cell::Cell, sync::Arc, sync::atomic::AtomicBool, thread};

    #[test]
    fn one_flush_answers_all_requests_before_it_and_none_after() {
        let mailbox = Mailbox::default();
        let flushes = Cell::new(0);
        let flush = || flushes.set(flushes.get() + 1);
        mailbox.answer(flush);
        assert_eq!(flushes.get(), 0, "nobody asked");

        let tickets = [mailbox.request(), mailbox.request()];
        assert!(mailbox.is_pending());
        assert!(tickets.iter().all(|&ticket| !mailbox.is_done(ticket)));
        mailbox.answer(flush);
        assert!(tickets.iter().all(|&ticket| mailbox.is_done(ticket)));
        assert!(!mailbox.is_pending());
        mailbox.answer(flush);
        assert_eq!(flushes.get(), 1);
    }

    #[test]
    fn a_request_during_the_flush_waits_for_the_next() {
        let mailbox = Mailbox::new();
        let first = mailbox.request();
        let mut second = 0;
        mailbox.answer(|| second = mailbox.request());
        assert!(mailbox.is_done(first) && !mailbox.is_done(second));
        assert!(mailbox.is_pending());
        mailbox.answer(|| {});
        assert!(mailbox.is_done(second));
    }

    #[test]
    fn cores_that_all_ask_each_other_all_get_answers() {
        const CORES: usize = 3;
        let mailboxes: Arc<[Mailbox; CORES]> = Arc::default();
        let left = Arc::new(std::sync::atomic::AtomicUsize::new(CORES));
        let core = |me: usize| {
            let (mailboxes, left) = (Arc::clone(&mailboxes), Arc::clone(&left));
            move || {
                let flushed = AtomicBool::new(false);
                let answer = || mailboxes[me].answer(|| flushed.store(true, Ordering::Relaxed));
                for _ in 0..300 {
                    for other in (0..CORES).filter(|&other| other != me) {
                        let ticket = mailboxes[other].request();
                        while !mailboxes[other].is_done(ticket) {
                            answer();
                            thread::yield_now();
                        }
                    }
                }
                left.fetch_sub(1, Ordering::AcqRel);
                while left.load(Ordering::Acquire) > 0 {
                    answer();
                    thread::yield_now();
                }
            }
        };
        let threads: std::vec::Vec<_> = (0..CORES).map(|me| thread::spawn(core(me))).collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(mailboxes.iter().all(|mailbox| !mailbox.is_pending()));
    }
}

#[cfg(loom)]
mod model {
    use super::*;
    use loom::{
        sync::{Arc, atomic::AtomicUsize},
        thread,
    };

    /// Cores with a page table in memory, of which each core has a cached copy. An entry is 1 for
    /// "mapped" and 0 for "unmapped". All accesses to the entries are relaxed, so that only the
    /// mailboxes can order them.
    struct Machine<const CORES: usize, const ENTRIES: usize> {
        mailboxes: [Mailbox; CORES],
        table: [AtomicUsize; ENTRIES],
        cached: [[AtomicUsize; ENTRIES]; CORES],
        /// Threads that still need answers.
        busy: AtomicUsize,
    }

    impl<const CORES: usize, const ENTRIES: usize> Machine<CORES, ENTRIES> {
        fn new(busy: usize) -> Arc<Self> {
            let mapped = || core::array::from_fn(|_| AtomicUsize::new(1));
            Arc::new(Self {
                mailboxes: core::array::from_fn(|_| Mailbox::new()),
                table: mapped(),
                cached: core::array::from_fn(|_| mapped()),
                busy: AtomicUsize::new(busy),
            })
        }

        fn answer(&self, core: usize) {
            self.mailboxes[core].answer(|| {
                for (cached, entry) in self.cached[core].iter().zip(&self.table) {
                    cached.store(entry.load(Ordering::Relaxed), Ordering::Relaxed);
                }
            });
        }

        /// Takes a page away and asks `core` to forget it.
        fn request(&self, entry: usize, core: usize) -> u64 {
            self.table[entry].store(0, Ordering::Relaxed);
            self.mailboxes[core].request()
        }

        /// What must hold when the ticket is done.
        fn check(&self, entry: usize, core: usize) {
            let cached = self.cached[core][entry].load(Ordering::Relaxed);
            assert_eq!(cached, 0, "the frame is reused under a stale translation");
        }

        /// Takes a page away, with `wait` in the loop that waits for `core`.
        fn unmap(&self, entry: usize, core: usize, wait: impl Fn()) {
            let ticket = self.request(entry, core);
            while !self.mailboxes[core].is_done(ticket) {
                wait();
                thread::yield_now();
            }
            self.check(entry, core);
            self.busy.fetch_sub(1, Ordering::Release);
        }

        /// What a core does that has nothing else to do.
        fn serve(&self, core: usize) {
            while self.busy.load(Ordering::Acquire) > 0 {
                self.answer(core);
                thread::yield_now();
            }
        }
    }

    #[test]
    fn when_a_ticket_is_done_the_write_before_it_was_seen() {
        loom::model(|| {
            let machine = Machine::<1, 1>::new(1);
            let requester = thread::spawn({
                let machine = Arc::clone(&machine);
                move || machine.unmap(0, 0, || {})
            });
            machine.serve(0);
            requester.join().unwrap();
        });
    }

    /// The requesters look once instead of waiting, which keeps the number of interleavings of
    /// three threads small enough for all of them.
    #[test]
    fn two_requesters_each_get_a_flush_after_their_own_write() {
        loom::model(|| {
            let machine = Machine::<1, 2>::new(2);
            let requesters: [_; 2] = core::array::from_fn(|entry| {
                let machine = Arc::clone(&machine);
                thread::spawn(move || {
                    let ticket = machine.request(entry, 0);
                    if machine.mailboxes[0].is_done(ticket) {
                        machine.check(entry, 0);
                    }
                    ticket
                })
            });
            machine.answer(0);
            machine.answer(0);
            let tickets = requesters.map(|requester| requester.join().unwrap());
            machine.answer(0);
            for (entry, ticket) in tickets.into_iter().enumerate() {
                assert!(machine.mailboxes[0].is_done(ticket), "a request got lost");
                machine.check(entry, 0);
            }
            assert!(!machine.mailboxes[0].is_pending());
        });
    }

    #[test]
    fn two_cores_that_ask_each_other_both_get_answers() {
        loom::model(|| {
            let machine = Machine::<2, 2>::new(2);
            let run = |machine: &Machine<2, 2>, me: usize| {
                machine.unmap(me, 1 - me, || machine.answer(me));
                machine.serve(me);
            };
            let other = thread::spawn({
                let machine = Arc::clone(&machine);
                move || run(&machine, 1)
            });
            run(&machine, 0);
            other.join().unwrap();
        });
    }

    /// Loom gives up on a run in which nobody gets further: the rule that every loop answers is
    /// what keeps [`two_cores_that_ask_each_other_both_get_answers`] going.
    #[test]
    #[should_panic(expected = "exceeded maximum number of branches")]
    fn two_cores_that_only_wait_are_stuck() {
        loom::model(|| {
            let machine = Machine::<2, 2>::new(2);
            let other = thread::spawn({
                let machine = Arc::clone(&machine);
                move || machine.unmap(1, 0, || {})
            });
            machine.unmap(0, 1, || {});
            other.join().unwrap();
        });
    }
}
