//! Fetching commands and posting completions.

use super::Nvme;
use super::mischief::Posting;
use super::status::{INVALID_FIELD, Status};
use crate::Bus;

/// A fetched command: a private copy, as a real controller has one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command(pub(super) [u64; 8]);

impl Command {
    pub(super) fn opcode(&self) -> u8 {
        self.0[0] as u8
    }

    pub(super) fn identifier(&self) -> u16 {
        (self.0[0] >> 16) as u16
    }

    pub(super) fn namespace(&self) -> u32 {
        (self.0[0] >> 32) as u32
    }

    pub(super) fn prps(&self) -> (u64, u64) {
        (self.0[3], self.0[4])
    }

    /// Command dwords 10 to 15.
    pub(super) fn dword(&self, number: usize) -> u32 {
        (self.0[number / 2] >> (32 * (number % 2))) as u32
    }

    /// FUSE, PSDT, and the reserved bits of dword 0; dwords 2 and 3; the metadata pointer.
    fn is_plain(&self) -> bool {
        self.0[0] >> 8 & 0xff == 0 && self.0[1] == 0 && self.0[2] == 0
    }
}

/// What a command came to; `None` for one that stays in flight.
pub(super) type Outcome = Option<(Status, u32)>;

impl Nvme {
    /// Fetches and carries out all commands, and posts what is due.
    pub(super) fn run(&mut self, bus: &Bus<'_>) {
        for queue in 0..self.submissions.len() {
            while let Some((command, head)) = self.fetch(bus, queue) {
                let outcome = self.execute(bus, queue as u16, command);
                if let Some((status, result)) = outcome {
                    self.complete(bus, queue as u16, command, head, status, result);
                }
            }
        }
        self.do_what_is_due(bus);
    }

    /// The next command of a queue, and the head after it.
    fn fetch(&mut self, bus: &Bus<'_>, queue: usize) -> Option<(Command, u16)> {
        if !self.registers.is_ready() || self.hung {
            return None;
        }
        let submissions = self.submissions[queue].as_mut()?;
        if submissions.head == submissions.tail {
            return None;
        }
        let address = submissions.base + 64 * u64::from(submissions.head);
        let Ok(words) = bus.load_words(address) else {
            self.registers.set_fatal();
            return None;
        };
        submissions.head = (submissions.head + 1) % submissions.entries;
        let (command, head) = (Command(words), submissions.head as u16);
        if command.identifier() == 0xffff {
            self.complain(|| format!("queue {queue}: identifier FFFFh is reserved"));
        }
        Some((command, head))
    }

    fn execute(&mut self, bus: &Bus<'_>, queue: u16, command: Command) -> Outcome {
        if !command.is_plain() {
            self.complain(|| format!("queue {queue}: reserved fields in {command:x?}"));
            return Some((INVALID_FIELD, 0));
        }
        match queue {
            0 => self.admin(bus, command),
            _ => {
                self.statistics.commands += 1;
                Some((self.io(bus, command), 0))
            }
        }
    }

    /// Queues the completion of a command.
    fn complete(
        &mut self,
        bus: &Bus<'_>,
        queue: u16,
        command: Command,
        head: u16,
        status: Status,
        result: u32,
    ) {
        let Some(submissions) = &self.submissions[usize::from(queue)] else {
            return;
        };
        let mut posting = Posting {
            queue: submissions.completion,
            result,
            head,
            submission_queue: queue,
            identifier: command.identifier(),
            status,
            stale_phase: false,
            times: 1,
            delay: if queue == 0 { 0 } else { self.config.latency },
            silent: false,
            scribble: None,
            die: false,
        };
        let completion = posting.queue;
        if let Some(mischief) = &mut self.mischief {
            mischief.completion(&mut posting);
        }
        if posting.die {
            return self.die();
        }
        if let Some(Some(completions)) = self.completions.get_mut(usize::from(completion))
            && posting.times > 0
        {
            completions.wait(bus.now() + posting.delay, posting);
        }
    }

    /// Lets the status settle, posts what is due, and finds out what is next.
    pub(super) fn do_what_is_due(&mut self, bus: &Bus<'_>) {
        self.due = self.settle(bus.now());
        if !self.registers.is_ready() {
            return;
        }
        for queue in self.completions.iter_mut().flatten() {
            let next = queue.post(bus);
            self.due = [self.due, next].into_iter().flatten().min();
        }
    }
}
