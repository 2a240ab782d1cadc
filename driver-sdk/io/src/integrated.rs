//! Level 4: the driver inside the application.
//!
//! # What it promises
//!
//! The whole controller belongs to this program. No system call, no other process and no copy is on
//! the path of a request; the kernel granted the device and is not heard of again, except by a
//! thread that wants to sleep. What only this kind of device has stays reachable:
//! [`Integrated::driver`].
//!
//! # What it costs
//!
//! The device is not shared with other programs, and a crash of this one resets it. The program is
//! built with one kind of driver, and trusts it with its address space. Beyond the driver's own
//! instructions a request costs this file's, and no allocation; `docs/io.md` has the figures.
//!
//! # The path of a request
//!
//! ```text
//! push   buffers -> slot; their device addresses -> the driver's submission queue
//! kick   the driver rings the doorbell: one register write a batch
//!        ... the device reads or writes the memory and posts a completion ...
//! poll   the driver reaps it by its tag, which is the slot's name; buffers -> the application
//! ```

use alloc::{sync::Arc, vec::Vec};
use core::{
    mem::{self, ManuallyDrop},
    ops::DerefMut,
    sync::atomic::{Ordering, fence},
};

use spillway_hal::{
    Both, Clock, Device, DmaBuffer, DmaConstraints, DriverError, DriverErrorKind,
    block::{
        self, BlockDriver, BlockDriverQueue, BlockLimits, Completed, NamespaceId, Operation,
        Segment,
    },
};

use crate::{
    BlockDevice, BlockQueue, Buffers, Cancel, Completion, Error, ErrorKind, Pool, PoolMemory,
    QueueOptions, Rejected, Request, RequestId, Statistics, WaitMode,
    pool::IoSpace,
    slots::{Filled, Slots},
};

/// A namespace of a device whose driver `D` is linked into the application, on the back end `V`.
///
/// ```ignore
/// let nvme = Nvme::new(function, Default::default())?;
/// let device = Integrated::new(nvme, Nvme::device, NamespaceId(1))?;
/// ```
pub struct Integrated<D: BlockDriver, V: Device> {
    shared: Arc<Shared<D, V>>,
    namespace: NamespaceId,
    limits: BlockLimits,
}

/// What all namespaces and queues of a controller share. Not touched on the path of a request.
struct Shared<D: BlockDriver, V: Device> {
    driver: spin::Mutex<D>,
    device: fn(&D) -> &V,
    clock: V::Clock,
    space: IoSpace,
    /// Queues that were dropped while the device had memory of theirs and would not give it back.
    /// Each keeps this structure alive, and with it the driver, until a reset frees it.
    stuck: spin::Mutex<Vec<IntegratedQueue<D, V>>>,
}

impl<D: BlockDriver, V: Device> Integrated<D, V>
where
    V::Dma: PoolMemory,
{
    /// Takes over an initialised driver, and opens one of its namespaces. `device` says where the
    /// driver keeps the function that it drives: that is asked for memory and for the time.
    ///
    /// # Errors
    ///
    /// `OutOfRange` if there is no such namespace.
    pub fn new(driver: D, device: fn(&D) -> &V, namespace: NamespaceId) -> Result<Self, Error> {
        let limits = limits(&driver, namespace)?;
        let shared = Shared {
            clock: device(&driver).clock(),
            device,
            driver: spin::Mutex::new(driver),
            space: IoSpace::new(),
            stuck: spin::Mutex::new(Vec::new()),
        };
        Ok(Self {
            shared: Arc::new(shared),
            namespace,
            limits,
        })
    }

    /// Another namespace of the same controller. Pools serve all of them.
    ///
    /// # Errors
    ///
    /// `OutOfRange` if there is no such namespace.
    pub fn namespace(&self, namespace: NamespaceId) -> Result<Self, Error> {
        let limits = limits(&*self.driver(), namespace)?;
        Ok(Self {
            shared: self.shared.clone(),
            namespace,
            limits,
        })
    }

    /// The driver itself, with everything that only it has. Queues do not need it, so they go on
    /// while it is held; whoever opens a queue or asks for the driver waits.
    ///
    /// A raw request that names memory of a pool is like a device that writes where it was not
    /// asked to: whoever owns the buffer there finds other bytes in it.
    pub fn driver(&self) -> impl DerefMut<Target = D> {
        lock(&self.shared.driver, &self.shared.clock)
    }

    /// Resets the controller, all namespaces and queues of it. Queues then give back what they have
    /// in flight as `Lost`, and accept nothing more: open others. Memory that had to be leaked when
    /// queues were dropped is back.
    ///
    /// # Errors
    ///
    /// Those of the driver; `TimedOut` and `Gone` when the device did not come back. Also then all
    /// memory is.
    pub fn reset(&self) -> Result<(), Error> {
        let result = self.driver().reset();
        // Each of these now finds nothing in flight when it is dropped, outside of the lock.
        let stuck = core::mem::take(&mut *lock(&self.shared.stuck, &self.shared.clock));
        drop(stuck);
        Ok(result?)
    }
}

/// What a namespace permits.
fn limits(driver: &impl BlockDriver, namespace: NamespaceId) -> Result<BlockLimits, Error> {
    driver.limits(namespace).ok_or(Error::new(
        ErrorKind::OutOfRange,
        "the controller has no such namespace: its driver lists them",
    ))
}

/// Takes a lock that is held while a device is initialised or reset. It sleeps between two attempts,
/// so a holder of lower priority gets on.
fn lock<'a, T>(mutex: &'a spin::Mutex<T>, clock: &impl Clock) -> spin::MutexGuard<'a, T> {
    const PAUSE: u64 = 10_000;
    loop {
        if let Some(guard) = mutex.try_lock() {
            return guard;
        }
        clock.delay(PAUSE);
    }
}

impl<D: BlockDriver, V: Device> Clone for Integrated<D, V> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            ..*self
        }
    }
}

impl<D: BlockDriver, V: Device> BlockDevice for Integrated<D, V>
where
    V::Dma: PoolMemory,
{
    type Queue = IntegratedQueue<D, V>;
    type Memory = DmaBuffer<V::Dma, Both>;

    fn limits(&self) -> BlockLimits {
        self.limits
    }

    fn create_pool(&self, bytes: usize) -> Result<Pool, Error> {
        let memory = (self.shared.device)(&*self.driver())
            .allocate::<Both>(bytes, DmaConstraints::default())?;
        self.register(memory)
    }

    fn register(&self, memory: Self::Memory) -> Result<Pool, Error> {
        let address = memory.io_address(0);
        Pool::new(memory, self.shared.space, address)
    }

    fn open_queue(&self, options: QueueOptions) -> Result<Self::Queue, Error> {
        let driver = self.driver().open_queue(block::QueueOptions {
            depth: options.depth,
            interrupt: options.wait != WaitMode::Poll,
        })?;
        let capacity = u32::try_from(driver.capacity()).unwrap_or(u32::MAX);
        Ok(IntegratedQueue {
            driver: ManuallyDrop::new(driver),
            usual: [None, None],
            slots: Slots::new(capacity),
            target: Target {
                namespace: self.namespace,
                space: self.shared.space,
                block_shift: self.limits.block_size.shift(),
                block_mask: u64::from(self.limits.block_size.bytes()) - 1,
            },
            rung: 0,
            given_back: 0,
            statistics: Statistics::default(),
            segments: Vec::with_capacity(self.limits.max_segments.min(MANY) as usize),
            options,
            shared: self.shared.clone(),
        })
    }
}

/// Segments for which there is room from the start; more are allocated when they first come.
const MANY: u32 = 256;

/// A queue of the driver, and the buffers that the device has.
pub struct IntegratedQueue<D: BlockDriver, V: Device> {
    /// Dropped, or kept from it, by the queue's own `drop`.
    driver: ManuallyDrop<D::Queue>,
    slots: Slots,
    /// What the last read and the last write of one buffer were like.
    usual: [Option<Usual<D>>; 2],
    target: Target,
    /// Of the requests that the slots have counted, those for which the doorbell was rung, and those
    /// that were given back, counted without end.
    rung: u32,
    given_back: u32,
    statistics: Statistics,
    /// Where the segments of a list of buffers are put together.
    segments: Vec<Segment>,
    // What follows is not touched on the path of a request.
    options: QueueOptions,
    shared: Arc<Shared<D, V>>,
}

/// Turns what the driver gives back into completions.
struct Taker<'a, F> {
    slots: &'a mut Slots,
    completed: F,
    /// Tags that lead nowhere.
    strays: usize,
}

impl<F: FnMut(Completion)> Completed for Taker<'_, F> {
    #[inline(always)]
    fn done(&mut self, tag: u64) {
        // What the device stored comes before what the application loads.
        fence(Ordering::Acquire);
        match self.slots.find(RequestId(tag)) {
            Some(kept) => (self.completed)(kept.complete(Ok(()))),
            None => self.strays += 1,
        }
    }

    #[cold]
    #[inline(never)]
    fn failed(&mut self, tag: u64, error: DriverError) {
        fence(Ordering::Acquire);
        match self.slots.find(RequestId(tag)) {
            Some(kept) => (self.completed)(kept.complete(Err(error.into()))),
            None => self.strays += 1,
        }
    }
}

/// Reads, or writes, of one length, as the driver has checked them.
struct Usual<D: BlockDriver> {
    bytes: u32,
    prepared: <D::Queue as BlockDriverQueue>::Prepared,
}

/// What has to be known to name a request to the driver.
#[derive(Clone, Copy)]
struct Target {
    namespace: NamespaceId,
    space: IoSpace,
    block_shift: u32,
    /// Bytes of a block, less one.
    block_mask: u64,
}

impl Target {
    /// Gives a request to the driver, and keeps it in a slot. Any other than that of one buffer
    /// which is a usual one and which the driver accepts comes back.
    #[allow(clippy::result_large_err)]
    #[inline(always)]
    fn place<D: BlockDriver>(
        &self,
        request: Request,
        slots: &mut Slots,
        usual: &[Option<Usual<D>>; 2],
        driver: &mut D::Queue,
    ) -> Result<RequestId, Request> {
        let Request {
            operation,
            fua,
            offset,
            user_data,
            trace,
            buffers,
        } = request;
        let together = |buffers| Request {
            operation,
            fua,
            offset,
            user_data,
            trace,
            buffers,
        };
        let filled = slots.fill(buffers).map_err(together)?;
        if let Buffers::One(buffer) = filled.buffers()
            && let Some(address) = buffer.address(self.space)
            && let Some(usual) = usual_of(usual, operation)
            && usual.bytes == buffer.length()
            && !fua
            && offset.0 & self.block_mask == 0
            && let lba = block::Lba(offset.0 >> self.block_shift)
            && driver.submit_prepared(&usual.prepared, lba, address, filled.id().0)
        {
            return Ok(filled.keep(user_data, trace));
        }
        Err(together(filled.empty()))
    }

    /// What there is to know of requests that are like this one, which the driver has accepted.
    fn learn<D: BlockDriver>(
        self,
        request: &Request,
        buffers: &Buffers,
        usual: &mut [Option<Usual<D>>; 2],
        driver: &D::Queue,
    ) {
        let place = match request.operation {
            Operation::Read => &mut usual[0],
            Operation::Write => &mut usual[1],
            Operation::Flush => return,
        };
        let Buffers::One(buffer) = buffers else {
            return;
        };
        let bytes = buffer.length();
        let prepared = driver.prepare(&block::Shape {
            operation: request.operation,
            namespace: self.namespace,
            blocks: block::BlockCount(u64::from(bytes) >> self.block_shift),
            flags: block::RequestFlags { fua: false },
        });
        if let Some(prepared) = prepared {
            *place = Some(Usual { bytes, prepared });
        }
    }

    /// Gives a request of any kind to the driver, and says why not.
    fn try_place(
        self,
        request: &Request,
        filled: &Filled<'_>,
        driver: &mut impl BlockDriverQueue,
        segments: &mut Vec<Segment>,
    ) -> Result<(), Error> {
        let buffers = filled.buffers();
        segments.clear();
        let mut total = 0;
        for part in (0..).map_while(|index| buffers.get(index)) {
            let address = part.address(self.space).ok_or(FOREIGN)?;
            let bytes = part.bytes().len() as u32;
            segments.push(Segment { address, bytes });
            total += u64::from(bytes);
        }
        if (request.offset.0 | total) & self.block_mask != 0 {
            return Err(RAGGED);
        }
        driver.submit(&block::Request {
            operation: request.operation,
            namespace: self.namespace,
            lba: block::Lba(request.offset.0 >> self.block_shift),
            blocks: block::BlockCount(total >> self.block_shift),
            segments,
            flags: block::RequestFlags { fua: request.fua },
            tag: filled.id().0,
        })?;
        Ok(())
    }
}

/// What requests of an operation are usually like.
#[inline(always)]
fn usual_of<D: BlockDriver>(
    usual: &[Option<Usual<D>>; 2],
    operation: Operation,
) -> Option<&Usual<D>> {
    match operation {
        Operation::Read => usual[0].as_ref(),
        Operation::Write => usual[1].as_ref(),
        Operation::Flush => None,
    }
}

impl<D: BlockDriver, V: Device> BlockQueue for IntegratedQueue<D, V> {
    #[inline(always)]
    fn push(&mut self, request: Request) -> Result<RequestId, Rejected> {
        let (slots, driver) = (&mut self.slots, &mut *self.driver);
        match self.target.place(request, slots, &self.usual, driver) {
            Ok(id) => Ok(id),
            Err(request) => self.push_other(request),
        }
    }

    #[inline]
    fn kick(&mut self) {
        let pushed = self.slots.count();
        if pushed != self.rung {
            // What the application stored in its buffers comes before the doorbell.
            fence(Ordering::Release);
            self.driver.kick();
            self.statistics.rung(pushed.wrapping_sub(self.rung));
            self.rung = pushed;
        }
    }

    #[inline(always)]
    fn poll(&mut self, completed: impl FnMut(Completion)) -> usize {
        self.kick();
        let mut taker = Taker {
            slots: &mut self.slots,
            completed,
            strays: 0,
        };
        let reaped = self.driver.reap_into(&mut taker);
        let strays = taker.strays;
        self.statistics.strays += strays as u64;
        let count = reaped - strays;
        self.given_back = self.given_back.wrapping_add(count as u32);
        self.statistics.polled(count);
        count
    }

    fn wait(
        &mut self,
        deadline: u64,
        mut completed: impl FnMut(Completion),
    ) -> Result<usize, Error> {
        let mut count = self.poll(&mut completed);
        let mut now = self.now();
        let look_until = match self.options.wait {
            WaitMode::Poll => u64::MAX,
            WaitMode::Interrupt => now,
            WaitMode::Adaptive(nanoseconds) => now.saturating_add(nanoseconds),
        };
        while count == 0 && self.in_flight() != 0 {
            if now >= deadline {
                self.statistics.time_outs += 1;
                return Err(LATE);
            }
            if now < look_until {
                self.shared.clock.pause();
            } else {
                self.sleep(deadline)?;
            }
            // The time before the look: whatever is late, there is a look after the deadline.
            now = self.now();
            count = self.poll(&mut completed);
        }
        Ok(count)
    }

    /// A driver's queue has no way to stop a request, so it completes by itself. If it never does,
    /// [`Integrated::reset`] takes everything back.
    fn cancel(&mut self, id: RequestId) -> Cancel {
        if self.slots.contains(id) {
            Cancel::Pending
        } else {
            Cancel::Unknown
        }
    }

    fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    #[inline]
    fn in_flight(&self) -> usize {
        self.slots.count().wrapping_sub(self.given_back) as usize
    }

    fn now(&self) -> u64 {
        self.shared.clock.now()
    }

    fn statistics(&self) -> Statistics {
        self.statistics
    }
}

impl<D: BlockDriver, V: Device> IntegratedQueue<D, V> {
    /// Pushes a request of any kind, and says why not.
    #[cold]
    #[inline(never)]
    #[allow(clippy::result_large_err)]
    fn push_other(&mut self, mut request: Request) -> Result<RequestId, Rejected> {
        let Self {
            driver,
            slots,
            usual,
            target,
            segments,
            ..
        } = self;
        let filled = match slots.fill(mem::take(&mut request.buffers)) {
            Ok(filled) => filled,
            Err(buffers) => {
                request.buffers = buffers;
                let error = FULL;
                return Err(Rejected { request, error });
            }
        };
        match target.try_place(&request, &filled, &mut **driver, segments) {
            Ok(()) => {
                target.learn::<D>(&request, filled.buffers(), usual, driver);
                Ok(filled.keep(request.user_data, request.trace))
            }
            Err(error) => {
                request.buffers = filled.empty();
                Err(Rejected { request, error })
            }
        }
    }

    /// Sleeps until there may be something to reap.
    fn sleep(&mut self, deadline: u64) -> Result<(), Error> {
        match self.driver.wait(deadline) {
            Ok(()) => self.statistics.wake_ups += 1,
            // The caller looks once more, and then sees for itself how late it is.
            Err(error) if error.kind == DriverErrorKind::TimedOut => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Reaps until the device has let go of everything, or the time for that is over; says whether
    /// it has.
    fn drain(&mut self) -> bool {
        let clock = self.shared.clock.clone();
        let deadline = clock.now().saturating_add(self.options.drain);
        let quiet = clock.poll_until(deadline, || {
            self.poll(drop);
            (self.driver.in_flight() == 0).then_some(())
        });
        quiet.is_some()
    }
}

/// Waits for the device, with a bound. What it does not give back in time is kept from any other
/// use, together with the driver's queue and the driver, until [`Integrated::reset`].
impl<D: BlockDriver, V: Device> Drop for IntegratedQueue<D, V> {
    fn drop(&mut self) {
        if self.drain() {
            // SAFETY: it is not used any more, and dropped nowhere else.
            unsafe { ManuallyDrop::drop(&mut self.driver) };
            return;
        }
        let stuck = Self {
            // SAFETY: it is not used here any more, and not dropped.
            driver: ManuallyDrop::new(unsafe { ManuallyDrop::take(&mut self.driver) }),
            usual: [None, None],
            slots: core::mem::replace(&mut self.slots, Slots::new(0)),
            segments: Vec::new(),
            shared: self.shared.clone(),
            ..*self
        };
        lock(&self.shared.stuck, &self.shared.clock).push(stuck);
    }
}

const FULL: Error = Error::new(
    ErrorKind::QueueFull,
    "the queue has no room: take completions first",
);
const FOREIGN: Error = Error::new(
    ErrorKind::NotRegistered,
    "a buffer is of another device's pool: use a pool of this one",
);
const RAGGED: Error = Error::new(
    ErrorKind::InvalidRequest,
    "offset and length are multiples of the device's block size",
);
const LATE: Error = Error::new(
    ErrorKind::TimedOut,
    "nothing completed before the deadline: the requests are still in flight",
);
