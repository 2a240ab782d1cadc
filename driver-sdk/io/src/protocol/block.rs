//! The protocol of block devices.
//!
//! | flag | meaning |
//! |---|---|
//! | [`FUA`] | force unit access |
//! | [`FLUSH`] | a write of no bytes: every write of this client that has completed is durable |
//!
//! The place is the byte offset from the beginning of the client's range. The server answers with
//! the bytes that were moved, or with `Failed` and a detail that has the kind of the error and the
//! device's own status ([`detail`]).

use spillway_abi::Error as Code;
use spillway_hal::block::{BlockCount, BlockLimits, BlockSize, ByteOffset, Lba, Operation};

use super::{Answer, Call, FLAG_SHIFT, Finished, NO_MEMORY, Place, Protocol, Registered, key};
use crate::{Buffers, Completion, Error, ErrorKind, Rejected, Request, TraceId};

/// Force unit access: a write is durable when it completes, a read comes from the medium.
pub const FUA: u8 = 1;
/// A write of no bytes, with [`NO_MEMORY`]: a flush.
pub const FLUSH: u8 = 2;

/// What the server tells, by `GetMeta` on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum BlockKey {
    /// The exponent of two of the block size.
    BlockShift = key::FIRST_OWN,
    /// Blocks of the client's range.
    Blocks,
    /// Blocks of the largest request.
    MaxTransfer,
    /// What places in a pool are multiples of.
    Alignment,
    /// Blocks that are written whole or not at all.
    AtomicWrite,
    /// 1 if a completed write may be lost when power fails, unless it is flushed.
    VolatileCache,
    /// 1 if pools must be contiguous in memory, because nothing confines the device.
    ContiguousPools,
}

impl BlockKey {
    /// The key of this number, if there is one.
    pub const fn from_raw(raw: u64) -> Option<Self> {
        const FIRST: u64 = key::FIRST_OWN;
        Some(match raw.wrapping_sub(FIRST) {
            0 => Self::BlockShift,
            1 => Self::Blocks,
            2 => Self::MaxTransfer,
            3 => Self::Alignment,
            4 => Self::AtomicWrite,
            5 => Self::VolatileCache,
            6 => Self::ContiguousPools,
            _ => return None,
        })
    }
}

/// What a client knows of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockFacts {
    /// The range, as a device of its own. A request has one buffer.
    pub limits: BlockLimits,
    /// Whether pools must be contiguous in memory.
    pub contiguous_pools: bool,
}

impl BlockFacts {
    /// What a server answers to a key.
    pub const fn get(&self, key: BlockKey) -> u64 {
        let limits = &self.limits;
        match key {
            BlockKey::BlockShift => limits.block_size.shift() as u64,
            BlockKey::Blocks => limits.capacity.0,
            BlockKey::MaxTransfer => limits.max_transfer.0,
            BlockKey::Alignment => limits.segment_alignment as u64,
            BlockKey::AtomicWrite => limits.atomic_write.0,
            BlockKey::VolatileCache => limits.volatile_cache as u64,
            BlockKey::ContiguousPools => self.contiguous_pools as u64,
        }
    }
}

/// The protocol of block devices.
#[derive(Clone, Copy, Debug)]
pub struct Block;

/// A block request without its memory.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    operation: Operation,
    fua: bool,
    offset: ByteOffset,
    user_data: u64,
    trace: TraceId,
}

impl Protocol for Block {
    /// "block", and the version.
    const ID: u64 = u64::from_le_bytes(*b"block\0\0\x01");
    type Facts = BlockFacts;
    type Checks = LengthChecks;
    type Request = Request;
    type Rest = Rest;
    type Completion = Completion;
    type Rejected = Rejected;

    fn facts(ask: &mut dyn FnMut(u64) -> Result<u64, Error>) -> Result<BlockFacts, Error> {
        const ODD: Error = Error::new(
            ErrorKind::Protocol,
            "the server describes a device that cannot be",
        );
        let mut get = |key: BlockKey| ask(key as u64);
        let shift = u32::try_from(get(BlockKey::BlockShift)?).map_err(|_| ODD)?;
        let block_size = BlockSize::from_shift(shift).ok_or(ODD)?;
        let capacity = BlockCount(get(BlockKey::Blocks)?);
        let fits = capacity
            .bytes(block_size)
            .is_some_and(|bytes| bytes <= 1 << FLAG_SHIFT);
        let alignment = u32::try_from(get(BlockKey::Alignment)?).map_err(|_| ODD)?;
        let max_transfer = BlockCount(get(BlockKey::MaxTransfer)?);
        let is_empty = capacity.0 == 0 || max_transfer.0 == 0;
        if !fits || is_empty || !alignment.is_power_of_two() {
            return Err(ODD);
        }
        Ok(BlockFacts {
            limits: BlockLimits {
                block_size,
                capacity,
                max_transfer,
                max_segments: 1,
                segment_alignment: alignment,
                atomic_write: BlockCount(get(BlockKey::AtomicWrite)?),
                volatile_cache: get(BlockKey::VolatileCache)? != 0,
            },
            contiguous_pools: get(BlockKey::ContiguousPools)? != 0,
        })
    }

    fn needs_contiguous_pools(facts: &BlockFacts) -> bool {
        facts.contiguous_pools
    }

    #[inline(always)]
    fn apart(request: Request) -> (Buffers, Rest) {
        let Request {
            operation,
            fua,
            offset,
            user_data,
            trace,
            buffers,
        } = request;
        let rest = Rest {
            operation,
            fua,
            offset,
            user_data,
            trace,
        };
        (buffers, rest)
    }

    #[inline(always)]
    fn together(rest: Rest, buffers: Buffers) -> Request {
        let Rest {
            operation,
            fua,
            offset,
            user_data,
            trace,
        } = rest;
        Request {
            operation,
            fua,
            offset,
            user_data,
            trace,
            buffers,
        }
    }

    fn checks(facts: &BlockFacts) -> LengthChecks {
        LengthChecks::new(&facts.limits)
    }

    #[inline(always)]
    fn call(
        checks: &mut LengthChecks,
        rest: &Rest,
        buffers: &Buffers,
        memory: Registered,
    ) -> Result<Call, Error> {
        let fua = (rest.fua as u64) << FLAG_SHIFT;
        if rest.operation == Operation::Flush {
            return flush(buffers);
        }
        let (memory, length) = memory.place(buffers)?;
        match checks.check(rest.offset.0, length, memory.0) {
            Ok(()) => Ok(Call {
                write: rest.operation == Operation::Write,
                length,
                place: rest.offset.0 | fua,
                memory,
            }),
            Err(Code::OutOfRange) => Err(BEYOND),
            Err(_) => Err(RAGGED),
        }
    }

    #[inline(always)]
    fn names(rest: &Rest) -> (u64, TraceId) {
        (rest.user_data, rest.trace)
    }

    #[inline(always)]
    fn completion(kept: Finished, failure: Option<Answer>) -> Completion {
        Completion {
            id: kept.id,
            user_data: kept.user_data,
            trace: kept.trace,
            result: match failure {
                None => Ok(()),
                Some(answer) => Err(answer_error(answer, kept.writes)),
            },
            buffers: kept.buffers,
        }
    }

    fn rejected(request: Request, error: Error) -> Rejected {
        Rejected { request, error }
    }
}

#[cold]
#[inline(never)]
fn answer_error(answer: Answer, writes: bool) -> Error {
    let code = answer.error().unwrap_or(Code::Failed);
    error(code, answer.detail, writes)
}

#[cold]
fn flush(buffers: &Buffers) -> Result<Call, Error> {
    if buffers.count() != 0 {
        return Err(Error::new(
            ErrorKind::InvalidRequest,
            "a flush has no buffers",
        ));
    }
    Ok(Call {
        write: true,
        length: 0,
        place: (FLUSH as u64) << FLAG_SHIFT,
        memory: Place::new(NO_MEMORY, 0),
    })
}

const RAGGED: Error = Error::new(
    ErrorKind::InvalidRequest,
    "offset and length are whole blocks, at least one and at most as many as the limits say, in an aligned buffer",
);
const BEYOND: Error = Error::new(
    ErrorKind::OutOfRange,
    "the request reaches past the end of the device",
);

/// The limits of a range in the form in which both sides check a request: in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Checks {
    block_mask: u64,
    alignment_mask: u64,
    /// The longest request; not more than the range.
    longest: u64,
    /// The range.
    end: u64,
}

impl Checks {
    /// The checks for a range, whose bytes are fewer than 2^56.
    pub fn new(limits: &BlockLimits) -> Self {
        let bytes = |blocks: BlockCount| blocks.bytes(limits.block_size).unwrap_or(0);
        let end = bytes(limits.capacity);
        Self {
            block_mask: u64::from(limits.block_size.bytes()) - 1,
            alignment_mask: u64::from(limits.segment_alignment) - 1,
            longest: bytes(limits.max_transfer).min(end),
            end,
        }
    }

    /// Checks an offset in the range, a length, and a place in memory.
    ///
    /// # Errors
    ///
    /// `BadArgument` for parts of blocks, none or too many, and places that are not aligned;
    /// `OutOfRange` beyond the end.
    #[inline(always)]
    pub fn check(&self, offset: u64, length: u64, at: u64) -> Result<(), Code> {
        if (offset | length) & self.block_mask | at & self.alignment_mask != 0 {
            return Err(Code::BadArgument);
        }
        if length.wrapping_sub(1) >= self.longest {
            return Err(Code::BadArgument);
        }
        // The longest is not longer than the range.
        if offset > self.end - length {
            return Err(Code::OutOfRange);
        }
        Ok(())
    }
}

/// The same, for requests of which most are as long as the last one.
#[derive(Clone, Copy, Debug)]
pub struct LengthChecks {
    checks: Checks,
    /// A length that is allowed, and the last offset at which there are so many bytes.
    length: u32,
    last: u64,
}

impl LengthChecks {
    /// The checks for a range of at least a block, whose bytes are fewer than 2^56.
    pub fn new(limits: &BlockLimits) -> Self {
        let checks = Checks::new(limits);
        let block = limits.block_size.bytes();
        Self {
            checks,
            length: block,
            last: checks.end.saturating_sub(block.into()),
        }
    }

    /// As [`Checks::check`].
    ///
    /// # Errors
    ///
    /// The same.
    #[inline(always)]
    pub fn check(&mut self, offset: u64, length: u32, at: u64) -> Result<(), Code> {
        let Checks {
            block_mask,
            alignment_mask,
            ..
        } = self.checks;
        if length == self.length
            && offset & block_mask == 0
            && at & alignment_mask == 0
            && offset <= self.last
        {
            return Ok(());
        }
        self.check_other(offset, length, at)
    }

    #[cold]
    #[inline(never)]
    fn check_other(&mut self, offset: u64, length: u32, at: u64) -> Result<(), Code> {
        self.checks.check(offset, length.into(), at)?;
        self.length = length;
        self.last = self.checks.end - u64::from(length);
        Ok(())
    }
}

/// A part of a device that a client may use, for a server.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    checks: Checks,
    shift: u32,
    first: Lba,
}

/// What a server does for a call: blocks of the namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What.
    pub operation: Operation,
    /// With force unit access.
    pub fua: bool,
    /// The first block.
    pub lba: Lba,
    /// How many.
    pub blocks: BlockCount,
}

impl Extent {
    /// The part that begins at a block; its limits say how long it is.
    pub fn new(first: Lba, limits: &BlockLimits) -> Self {
        Self {
            checks: Checks::new(limits),
            shift: limits.block_size.shift(),
            first,
        }
    }

    /// The bits of an offset that are zero where a block begins.
    pub const fn block_mask(&self) -> u64 {
        self.checks.block_mask
    }

    /// Bytes of it.
    pub const fn bytes(&self) -> u64 {
        self.checks.end
    }

    /// Its first block.
    pub const fn first(&self) -> Lba {
        self.first
    }

    /// Checks a call, on a private copy. Whether the memory is there is another matter.
    ///
    /// # Errors
    ///
    /// Those of [`Checks::check`]; `BadArgument` also for flags that are not known.
    #[inline(always)]
    pub fn check(&self, call: &Call) -> Result<Checked, Code> {
        let flags = call.flags();
        if flags > FUA {
            return self.check_flush(call);
        }
        let (offset, length) = (call.offset(), u64::from(call.length));
        self.checks.check(offset, length, call.memory.at())?;
        Ok(Checked {
            operation: match call.write {
                true => Operation::Write,
                false => Operation::Read,
            },
            fua: flags == FUA,
            lba: Lba(self.first.0.wrapping_add(offset >> self.shift)),
            blocks: BlockCount(length >> self.shift),
        })
    }

    #[cold]
    fn check_flush(&self, call: &Call) -> Result<Checked, Code> {
        if call.flags() != FLUSH || !call.write || call.length != 0 {
            return Err(Code::BadArgument);
        }
        Ok(Checked {
            operation: Operation::Flush,
            fua: false,
            lba: self.first,
            blocks: BlockCount(0),
        })
    }
}

macro_rules! kinds {
    ($($number:literal $kind:ident $reason:literal,)*) => {
        /// The number of a kind of error, in a detail; 0 for one that is told by a code of its own.
        const fn number(kind: ErrorKind) -> u64 {
            match kind {
                $(ErrorKind::$kind => $number,)*
                _ => 0,
            }
        }

        /// The error behind a number.
        const fn kind(number: u64) -> Error {
            match number {
                $($number => Error::new(ErrorKind::$kind, $reason),)*
                _ => Error::new(ErrorKind::Device, "the server reports an error of its own"),
            }
        }
    };
}

kinds! {
    1 Unsupported "the device has no such operation",
    2 InvalidRequest "the request contradicts a limit of the device",
    3 OutOfRange "the request reaches past the end of the device",
    4 WriteProtected "the medium cannot be written",
    5 Media "the medium failed",
    6 Device "the device reported an error",
    7 Protocol "the device broke its own rules",
    8 TimedOut "the device did not answer in time",
    9 Lost "the device was reset while it had the request",
    10 Gone "the device is gone for good",
    11 Busy "a limit of the server is reached for the moment",
    12 OutOfMemory "the server has no memory left",
    13 Denied "the server may not do this",
}

/// What stands beside `Failed`: the kind in the lowest byte, the device's own status above it.
pub const fn detail(error: Error) -> u64 {
    number(error.kind) | error.status << 8
}

/// What an answer means to an application.
#[cold]
pub fn error(code: Code, detail: u64, writes: bool) -> Error {
    let plain = |kind, reason| Error::new(kind, reason);
    match code {
        Code::Failed => kind(detail & 0xff).with_status(detail >> 8),
        Code::ServerGone if writes => plain(
            ErrorKind::Lost,
            "the server died while it had the write, which may be done or not: connect again",
        ),
        Code::ServerGone | Code::Gone => plain(
            ErrorKind::Gone,
            "the server is gone: connect again through the table that it came from",
        ),
        Code::Cancelled => plain(ErrorKind::Cancelled, "the request was cancelled"),
        Code::MissingRight => plain(ErrorKind::Denied, "the handle has no right to do this"),
        Code::OutOfRange => BEYOND,
        Code::NotFound => plain(
            ErrorKind::NotRegistered,
            "the server does not know the memory: use a pool of this device",
        ),
        Code::BadArgument | Code::TooLong | Code::BadOperation => plain(
            ErrorKind::InvalidRequest,
            "the server refuses the request: it is outside of the limits",
        ),
        Code::LimitReached | Code::Busy => plain(
            ErrorKind::Busy,
            "a limit is reached for the moment: take completions first",
        ),
        Code::OutOfMemory => plain(ErrorKind::OutOfMemory, "no memory is left"),
        Code::Interrupted => plain(ErrorKind::Interrupted, "the process was asked to stop"),
        Code::TimedOut => plain(ErrorKind::TimedOut, "the deadline passed"),
        Code::Corrupt => plain(
            ErrorKind::Protocol,
            "the other side wrote what cannot be into a ring: the connection is over",
        ),
        _ => plain(ErrorKind::Device, "the server reports an error"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn call(offset: u64, length: u32, flags: u8) -> Call {
        Call {
            write: true,
            length,
            place: offset | u64::from(flags) << FLAG_SHIFT,
            memory: Place::new(1, 0),
        }
    }

    const LIMITS: BlockLimits = BlockLimits {
        block_size: BlockSize::B512,
        capacity: BlockCount(64),
        max_transfer: BlockCount(8),
        max_segments: 1,
        segment_alignment: 4,
        atomic_write: BlockCount(1),
        volatile_cache: false,
    };

    fn check(call: &Call) -> Result<Checked, Code> {
        Extent::new(Lba(1000), &LIMITS).check(call)
    }

    proptest! {
        /// Whatever a client says, what comes out is inside of its blocks.
        #[test]
        fn nothing_outside_is_let_through(write: bool, length: u32, place: u64, memory: u64) {
            let call = Call { write, length, place, memory: Place(memory) };
            if let Ok(checked) = check(&call) {
                prop_assert!(checked.lba.0 >= 1000);
                prop_assert!(checked.lba.0 + checked.blocks.0 <= 1064);
                prop_assert!(checked.blocks.0 <= 8);
            }
        }

        #[test]
        fn facts_survive(shift in 9u32..=16, blocks in 0u64..1 << 40, transfer: u64, bits in 0u32..13) {
            let facts = BlockFacts {
                limits: BlockLimits {
                    block_size: BlockSize::from_shift(shift).unwrap(),
                    capacity: BlockCount(blocks),
                    max_transfer: BlockCount(transfer),
                    max_segments: 1,
                    segment_alignment: 1 << bits,
                    atomic_write: BlockCount(1),
                    volatile_cache: true,
                },
                contiguous_pools: false,
            };
            let mut ask = |key| Ok(facts.get(BlockKey::from_raw(key).unwrap()));
            prop_assert_eq!(Block::facts(&mut ask), Ok(facts));
        }
    }

    #[test]
    fn the_limits_are_where_they_are_said_to_be() {
        let last = check(&call(63 * 512, 512, 0)).unwrap();
        assert_eq!((last.lba, last.blocks), (Lba(1063), BlockCount(1)));
        assert_eq!(check(&call(64 * 512, 512, 0)), Err(Code::OutOfRange));
        assert_eq!(check(&call(63 * 512, 1024, 0)), Err(Code::OutOfRange));
        assert!(check(&call(0, 8 * 512, 0)).is_ok());
        assert_eq!(check(&call(0, 9 * 512, 0)), Err(Code::BadArgument));
        assert_eq!(check(&call(0, 0, 0)), Err(Code::BadArgument));
        assert_eq!(check(&call(1, 512, 0)), Err(Code::BadArgument));
        assert_eq!(check(&call(0, 511, 0)), Err(Code::BadArgument));
        let place = |at| Call {
            memory: Place::new(1, at),
            ..call(0, 512, 0)
        };
        assert!(check(&place(4)).is_ok());
        assert_eq!(check(&place(2)), Err(Code::BadArgument));
        let short = BlockLimits {
            capacity: BlockCount(2),
            ..LIMITS
        };
        let short = Extent::new(Lba(0), &short);
        assert!(short.check(&call(0, 1024, 0)).is_ok());
        assert_eq!(short.check(&call(0, 1536, 0)), Err(Code::BadArgument));
    }

    #[test]
    fn flags_are_what_they_are() {
        assert!(check(&call(0, 512, FUA)).unwrap().fua);
        let flush = check(&call(0, 0, FLUSH)).unwrap();
        assert_eq!(flush.operation, Operation::Flush);
        assert_eq!(check(&call(0, 512, FLUSH)), Err(Code::BadArgument));
        assert_eq!(check(&call(0, 0, FLUSH | FUA)), Err(Code::BadArgument));
        assert_eq!(check(&call(0, 512, 4)), Err(Code::BadArgument));
    }

    #[test]
    fn an_error_keeps_its_kind_and_status() {
        let media = Error::new(ErrorKind::Media, "x").with_status(0x281);
        let back = error(Code::Failed, detail(media), false);
        assert_eq!((back.kind, back.status), (ErrorKind::Media, 0x281));
        assert_eq!(error(Code::Failed, 0, false).kind, ErrorKind::Device);
        assert_eq!(error(Code::ServerGone, 0, true).kind, ErrorKind::Lost);
        assert_eq!(error(Code::ServerGone, 0, false).kind, ErrorKind::Gone);
    }
}
