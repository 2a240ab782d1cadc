//! What a device tried and was not allowed to.

use core::fmt;

use crate::pci::FunctionId;

/// A request of a device that was blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The device function that signed the request.
    pub function: FunctionId,
    /// What it tried.
    pub attempt: Attempt,
    /// Why that was blocked, for people.
    pub reason: &'static str,
    /// The hardware's number for the reason.
    pub code: u8,
}

/// What a blocked request would have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Read the page at this I/O address.
    Read(u64),
    /// Write the page at this I/O address.
    Write(u64),
    /// Interrupt, through this entry of the remapping table if the message names one.
    Interrupt(Option<u16>),
}

impl Fault {
    /// The I/O address, if it was an access to memory.
    pub const fn address(&self) -> Option<u64> {
        match self.attempt {
            Attempt::Read(address) | Attempt::Write(address) => Some(address),
            Attempt::Interrupt(_) => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            function,
            reason,
            code,
            ..
        } = self;
        match self.attempt {
            Attempt::Read(address) => write!(f, "{function} may not read {address:#x}")?,
            Attempt::Write(address) => write!(f, "{function} may not write {address:#x}")?,
            Attempt::Interrupt(Some(entry)) => {
                write!(f, "{function} may not interrupt by entry {entry}")?;
            }
            Attempt::Interrupt(None) => write!(f, "{function} may not interrupt")?,
        }
        write!(f, ": {reason} ({code:#x})")
    }
}
