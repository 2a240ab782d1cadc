//! The admin command set, as far as a driver needs it (Base 2.0, 5).

use super::Nvme;
use super::fetch::{Command, Outcome};
use super::prp::walk;
use super::queues::{CompletionQueue, SubmissionQueue};
use super::status::*;
use crate::Bus;

const DELETE_SUBMISSION_QUEUE: u8 = 0x00;
const CREATE_SUBMISSION_QUEUE: u8 = 0x01;
const DELETE_COMPLETION_QUEUE: u8 = 0x04;
const CREATE_COMPLETION_QUEUE: u8 = 0x05;
const IDENTIFY: u8 = 0x06;
const ABORT: u8 = 0x08;
const SET_FEATURES: u8 = 0x09;
const GET_FEATURES: u8 = 0x0a;
const ASYNCHRONOUS_EVENT_REQUEST: u8 = 0x0c;
/// Feature identifier of Number of Queues (5.27.1.5).
const NUMBER_OF_QUEUES: u32 = 0x07;

impl Nvme {
    pub(super) fn admin(&mut self, bus: &Bus<'_>, command: Command) -> Outcome {
        let status = match command.opcode() {
            DELETE_SUBMISSION_QUEUE => self.delete_submission_queue(command),
            CREATE_SUBMISSION_QUEUE => self.create_submission_queue(command),
            DELETE_COMPLETION_QUEUE => self.delete_completion_queue(command),
            CREATE_COMPLETION_QUEUE => self.create_completion_queue(command),
            IDENTIFY => self.identify(bus, command),
            SET_FEATURES | GET_FEATURES if command.dword(10) & 0xff == NUMBER_OF_QUEUES => {
                let zero_based = u32::from(self.config.pairs) - 1;
                return Some((SUCCESS, zero_based << 16 | zero_based));
            }
            SET_FEATURES | GET_FEATURES => INVALID_FIELD,
            // Bit 0 of dword 0: the command was not aborted (5.1).
            ABORT => return Some((SUCCESS, 1)),
            // There are no events, so it stays in flight (5.2).
            ASYNCHRONOUS_EVENT_REQUEST => return None,
            _ => INVALID_OPCODE,
        };
        if status != SUCCESS {
            self.complain(|| format!("admin command {command:x?} failed with {status:#x}"));
        }
        Some((status, 0))
    }

    /// The queue that a command names, and its size (5.4, 5.5).
    fn queue_and_entries(&self, command: Command) -> (usize, u32) {
        let dword10 = command.dword(10);
        ((dword10 & 0xffff) as usize, (dword10 >> 16) + 1)
    }

    fn create_completion_queue(&mut self, command: Command) -> Status {
        let (queue, entries) = self.queue_and_entries(command);
        let (base, flags) = (command.prps().0, command.dword(11));
        let vector = (flags >> 16) as u16;
        match self.completions.get(queue) {
            Some(None) if queue > 0 => {}
            _ => return QUEUE_IDENTIFIER_INVALID,
        }
        if entries < 2 || entries > self.config.max_entries {
            return QUEUE_SIZE_INVALID;
        }
        if vector >= self.config.vectors {
            return VECTOR_INVALID;
        }
        // PC must be set, as CAP.CQR is.
        if base % 4096 != 0 || flags & 1 == 0 {
            return INVALID_FIELD;
        }
        let vector = (flags & 2 != 0).then_some(vector);
        self.completions[queue] = Some(CompletionQueue::new(base, entries, vector));
        SUCCESS
    }

    fn create_submission_queue(&mut self, command: Command) -> Status {
        let (queue, entries) = self.queue_and_entries(command);
        let (base, flags) = (command.prps().0, command.dword(11));
        let completion = (flags >> 16) as u16;
        match self.submissions.get(queue) {
            Some(None) if queue > 0 => {}
            _ => return QUEUE_IDENTIFIER_INVALID,
        }
        if entries < 2 || entries > self.config.max_entries {
            return QUEUE_SIZE_INVALID;
        }
        match self.completions.get(usize::from(completion)) {
            Some(Some(_)) if completion > 0 => {}
            _ => return COMPLETION_QUEUE_INVALID,
        }
        if base % 4096 != 0 || flags & 1 == 0 {
            return INVALID_FIELD;
        }
        self.submissions[queue] = Some(SubmissionQueue::new(base, entries, completion));
        SUCCESS
    }

    /// Commands in flight are completed as aborted (5.7); here they are carried out when they are
    /// fetched, so only completions are left, which still come.
    fn delete_submission_queue(&mut self, command: Command) -> Status {
        let queue = (command.dword(10) & 0xffff) as usize;
        let Some(submissions @ Some(_)) = self.submissions.get_mut(queue).filter(|_| queue > 0)
        else {
            return QUEUE_IDENTIFIER_INVALID;
        };
        *submissions = None;
        for (_, posting) in self
            .completions
            .iter_mut()
            .flatten()
            .flat_map(|q| &mut q.waiting)
        {
            if usize::from(posting.submission_queue) == queue {
                posting.status = ABORTED_SQ_DELETED;
            }
        }
        SUCCESS
    }

    fn delete_completion_queue(&mut self, command: Command) -> Status {
        let queue = (command.dword(10) & 0xffff) as usize;
        let in_use = |submissions: &SubmissionQueue| usize::from(submissions.completion) == queue;
        if self.submissions.iter().flatten().any(in_use) {
            return QUEUE_DELETION_INVALID;
        }
        match self.completions.get_mut(queue).filter(|_| queue > 0) {
            Some(completions @ Some(_)) => {
                *completions = None;
                SUCCESS
            }
            _ => QUEUE_IDENTIFIER_INVALID,
        }
    }

    fn identify(&mut self, bus: &Bus<'_>, command: Command) -> Status {
        let cns = command.dword(10) as u8;
        let mut page = [0; 4096];
        let status = self.structure(cns, command.namespace(), &mut page);
        if status != SUCCESS {
            return status;
        }
        if let Some(mischief) = &mut self.mischief {
            mischief.identify(cns, &mut page);
        }
        let mut rest = &page[..];
        let moved = walk(bus, command.prps(), page.len(), |address, bytes| {
            let (piece, after) = rest.split_at(bytes);
            rest = after;
            bus.write(address, piece).map_err(|_| DATA_TRANSFER_ERROR)
        });
        moved.err().unwrap_or(SUCCESS)
    }
}
