//! What the server knows of a client: what it may do, the memory that it shared, and what waits.

use alloc::{collections::VecDeque, vec::Vec};
use core::num::NonZeroU16;

use driver_sdk::io::ServerRings;
use driver_sdk::{
    abi::{Error, Rights, service::Token},
    hal::{
        IoAddress,
        block::{
            BlockCount, BlockDriver, BlockDriverQueue, BlockLimits, NamespaceId, Operation,
            Request, RequestFlags, Segment, Shape,
        },
    },
    io::protocol::{
        Call, NO_MEMORY,
        block::{Checked, Extent},
    },
    rt::object::Event,
};

use crate::{backend::Backend, usual::Usual};

/// Memories that a client can have registered at once.
pub const MAX_POOLS: usize = 64;
/// Rings that a client can have at once.
pub const MAX_LINKS: usize = 16;
/// Requests of levels 1 and 2 that a client can have waiting for room in the driver's queue; more
/// are refused as `LimitReached`.
pub const MAX_PENDING: usize = 1024;

/// A range of blocks that the manifest lets clients have.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// The number of the object.
    pub object: u64,
    /// Of which namespace.
    pub namespace: NamespaceId,
    /// Which blocks.
    pub extent: Extent,
    /// Whether it can be written, whatever a client's handle says.
    pub writable: bool,
    /// What the namespace permits; its capacity is that of the range.
    pub limits: BlockLimits,
}

/// A memory that the device reaches.
pub struct Pool<P> {
    address: IoAddress,
    bytes: u64,
    _pinned: P,
}

/// One that is connected.
pub struct Client<B: Backend> {
    /// The number of its object, with the number of its use.
    pub object: u64,
    /// What it may read and write.
    pub range: Range,
    may_read: bool,
    may_write: bool,
    /// By registration, from one.
    pools: Vec<Option<Pool<B::Pinned>>>,
    /// Memory that was given back while requests were under way.
    retired: Vec<Pool<B::Pinned>>,
    /// What its reads and its writes are like, by the lowest bit of the operation's number.
    usual: [Option<Usual<PreparedOf<B>>>; 2],
    /// Rings that it has.
    pub links: usize,
    /// Requests that the driver has.
    pub in_flight: u32,
    /// Something is to be done when nothing is in flight.
    pub waits_for_quiet: bool,
    /// Nobody has a handle to it any more.
    pub closed: bool,
    /// Requests by messages for which there was no room.
    pub pending: VecDeque<(Call, Token)>,
}

impl<B: Backend> Client<B> {
    /// A client of a range, by a handle with these rights.
    pub fn new(object: u64, range: Range, rights: Rights) -> Self {
        Self {
            object,
            may_read: rights.contains(Rights::READ),
            may_write: rights.contains(Rights::WRITE) && range.writable,
            range,
            pools: Vec::new(),
            retired: Vec::new(),
            usual: [None, None],
            links: 0,
            in_flight: 0,
            waits_for_quiet: false,
            closed: false,
            pending: VecDeque::new(),
        }
    }

    /// What its handle to the connection allows.
    pub fn rights(&self) -> Rights {
        let mut rights = Rights::READ | Rights::MAP | Rights::PASS;
        rights.set(Rights::WRITE, self.may_write);
        rights
    }

    /// Remembers a memory; its registration. [`Error::LimitReached`].
    pub fn register(
        &mut self,
        pinned: B::Pinned,
        address: IoAddress,
        bytes: u64,
    ) -> Result<u64, Error> {
        let pool = Some(Pool {
            address,
            bytes,
            _pinned: pinned,
        });
        match self.pools.iter().position(Option::is_none) {
            Some(free) => {
                self.pools[free] = pool;
                Ok(free as u64 + 1)
            }
            None if self.pools.len() < MAX_POOLS => {
                self.pools.push(pool);
                Ok(self.pools.len() as u64)
            }
            None => Err(Error::LimitReached),
        }
    }

    /// Whether there is room for one more memory.
    pub fn can_register(&self) -> bool {
        self.pools.len() < MAX_POOLS || self.pools.iter().any(Option::is_none)
    }

    /// Forgets a memory, as soon as no request is under way. [`Error::NotFound`].
    pub fn forget(&mut self, registration: u64) -> Result<(), Error> {
        let index = usize::try_from(registration)
            .ok()
            .and_then(|r| r.checked_sub(1));
        let pool = index.and_then(|index| self.pools.get_mut(index)?.take());
        let pool = pool.ok_or(Error::NotFound)?;
        self.forget_usual();
        if self.in_flight > 0 {
            self.retired.push(pool);
            self.waits_for_quiet = true;
        }
        Ok(())
    }

    /// Nothing is usual any more.
    pub fn forget_usual(&mut self) {
        self.usual = [None, None];
    }

    /// Remembers what calls like this one have in common, which was accepted.
    pub fn learn(&mut self, call: &Call, queue: &QueueOf<B>) {
        let range = &self.range;
        let pool = NonZeroU16::new(call.memory.registration())
            .and_then(|registration| self.pools.get(usize::from(registration.get()) - 1));
        let shape = Shape {
            operation: match call.write {
                true => Operation::Write,
                false => Operation::Read,
            },
            namespace: range.namespace,
            blocks: BlockCount(u64::from(call.length) >> range.limits.block_size.shift()),
            flags: RequestFlags::default(),
        };
        if let Some(Some(pool)) = pool
            && call.flags() == 0
            && let Some(prepared) = queue.prepare(&shape)
        {
            let memory = (pool.address, pool.bytes);
            self.usual[call.operation() as usize & 1] =
                Usual::new(call, &range.extent, memory, prepared);
        }
    }

    /// What its reads, or writes, are like: those whose first word is like this one. Who finds a call
    /// there has looked at everything that [`check`](Self::check) looks at.
    #[inline(always)]
    pub fn usual(&self, first: u64) -> Option<&Usual<PreparedOf<B>>> {
        self.usual[first as usize & 1].as_ref()
    }

    /// Nothing is in flight: what waited for that goes.
    pub fn is_quiet(&mut self) {
        self.retired.clear();
        self.waits_for_quiet = self.closed;
    }

    /// Checks a call, and finds its memory: a private copy that names blocks of the client's own and
    /// memory of its own. `window` is where the data of a call without registration is.
    pub fn check(&self, call: &Call, window: Option<IoAddress>) -> Result<Ready, Error> {
        let range = &self.range;
        let checked = range.extent.check(call)?;
        if !(if call.write {
            self.may_write
        } else {
            self.may_read
        }) {
            return Err(Error::MissingRight);
        }
        let (registration, at) = (call.memory.registration(), call.memory.at());
        let address = match self.pools.get(usize::from(registration).wrapping_sub(1)) {
            Some(Some(pool)) => {
                let length = u64::from(call.length);
                if at > pool.bytes || length > pool.bytes - at {
                    return Err(Error::OutOfRange);
                }
                pool.address + at
            }
            _ => match (registration, window) {
                (0, Some(window)) => window,
                (NO_MEMORY, _) if call.length == 0 => IoAddress(0),
                _ => return Err(Error::NotFound),
            },
        };
        Ok(Ready {
            namespace: range.namespace,
            checked,
            segment: Segment {
                address,
                bytes: call.length,
            },
        })
    }
}

/// A call that was checked.
pub struct Ready {
    namespace: NamespaceId,
    checked: Checked,
    segment: Segment,
}

impl Ready {
    /// The request for the driver.
    pub fn request(&self, tag: u64) -> Request<'_> {
        let BlockCount(blocks) = self.checked.blocks;
        Request {
            operation: self.checked.operation,
            namespace: self.namespace,
            lba: self.checked.lba,
            blocks: self.checked.blocks,
            segments: match blocks {
                0 => &[],
                _ => core::slice::from_ref(&self.segment),
            },
            flags: RequestFlags {
                fua: self.checked.fua,
            },
            tag,
        }
    }
}

/// The rings of one queue of a client.
pub struct Link {
    /// Whose, as an index.
    pub client: u32,
    /// The rings.
    pub rings: ServerRings,
    /// What the server waits for; with the next one the rings are in use.
    pub own: Option<Event>,
    /// What the client waits for.
    pub theirs: Option<Event>,
    /// A request of the queue waits for [`own`](Self::own).
    pub is_waited_for: bool,
    /// Requests that the driver has.
    pub in_flight: u32,
    /// Completions were pushed that the client has not been woken for.
    pub dirty: bool,
    /// Nothing more is taken: the client broke the rules, or goes.
    pub closing: bool,
    /// To be answered when the rings are forgotten.
    pub lifeline: Option<Token>,
}

impl Link {
    /// Whether there is no room for the answer to one more call.
    #[cold]
    pub fn is_full(&mut self) -> bool {
        let in_flight = self.in_flight;
        self.rings.dones.free().is_ok_and(|free| free <= in_flight)
    }

    /// Whether calls are taken.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.theirs.is_some() && !self.closing
    }
}

/// What the queue of a backend's driver has checked.
pub type PreparedOf<B> = <QueueOf<B> as BlockDriverQueue>::Prepared;
/// The queue of a backend's driver.
pub type QueueOf<B> = <<B as Backend>::Driver as BlockDriver>::Queue;
