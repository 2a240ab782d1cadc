//! Batches through two rings in memory that both sides map; the kernel only hands the turn over.

use core::ptr::NonNull;

use bench_harness::{
    measure::{SAMPLES, samples},
    report::Method,
};
use driver_sdk::{
    prelude::*,
    rt::{
        object::{Event, Mapping, Operations, Remote},
        serve::{Ask, Server},
    },
};
use spillway_ring::{Consumer, Producer, RingHeader};

use crate::{BATCH, counted};

/// Batches in a sample.
const BATCHES: u32 = 20;
/// An entry of either ring.
pub type Entry = [u64; 8];
/// Bytes of the memory: two headers, two rings.
pub const BYTES: u64 = 512 + 2 * (BATCH * size_of::<Entry>()) as u64;
/// What is shared, by its key.
const MEMORY: u64 = 0;
const TO_SERVER: u64 = 1;
const TO_CLIENT: u64 = 2;

pub const ACCESS: Rights = Rights::READ.union(Rights::WRITE);

/// The two rings of a memory: requests first, then replies.
pub struct Rings(Mapping);

impl Rings {
    pub fn map(memory: &Memory) -> Result<Self, Error> {
        Ok(Self(memory.map(ACCESS)?))
    }

    fn header(&self, index: usize) -> NonNull<RingHeader> {
        // SAFETY: the mapping begins with two headers.
        unsafe { NonNull::new_unchecked(self.0.as_ptr().add(256 * index)).cast() }
    }

    fn words(&self, index: usize) -> NonNull<spillway_ring::Word> {
        let offset = 512 + index * BATCH * size_of::<Entry>();
        // SAFETY: behind the headers lie the entries of two rings.
        unsafe { NonNull::new_unchecked(self.0.as_ptr().add(offset)).cast() }
    }

    pub fn initialise(&self) {
        for index in 0..2 {
            // SAFETY: a header of zeros, which nobody uses yet.
            let header = unsafe { self.header(index).as_ref() };
            header.initialise::<Entry>(BATCH as u32, 0);
        }
    }

    pub fn producer(&self, index: usize) -> Result<Producer<'_, Entry>, Error> {
        // SAFETY: the memory is mapped as long as `self` lives, and each side makes one half of
        // each ring.
        unsafe { Producer::new(self.header(index), self.words(index), BATCH as u32) }
            .map_err(|_| Error::Corrupt)
    }

    pub fn consumer(&self, index: usize) -> Result<Consumer<'_, Entry>, Error> {
        // SAFETY: as for the producer.
        unsafe { Consumer::new(self.header(index), self.words(index), BATCH as u32) }
            .map_err(|_| Error::Corrupt)
    }
}

/// Takes what the client shares, then answers what is in the ring, until a signal comes with nothing.
pub fn serve() -> Result<(), Error> {
    let server = Server::named("shared", 1, 64)?;
    let (mut memory, mut to_server, mut to_client) = (None, None, None);
    let mut answer = driver_sdk::rt::serve::Answer::later();
    while memory.is_none() || to_server.is_none() || to_client.is_none() {
        let mut request = server.next(answer, Deadline::NEVER)?;
        match request.ask {
            Ask::Share { key: MEMORY, .. } => memory = request.take_gift::<Memory>(),
            Ask::Share { key: TO_SERVER, .. } => to_server = request.take_gift::<Event>(),
            Ask::Share { key: TO_CLIENT, .. } => to_client = request.take_gift::<Event>(),
            Ask::Closed => return Ok(()),
            _ => {}
        }
        answer = request.done();
    }
    answer.send();
    let (Some(memory), Some(own), Some(other)) = (memory, to_server, to_client) else {
        return Err(Error::Failed);
    };
    let rings = Rings::map(&memory)?;
    let (mut requests, mut replies) = (rings.consumer(0)?, rings.producer(1)?);
    own.wait(Deadline::NEVER)?;
    loop {
        let ready = requests.ready().map_err(|_| Error::Corrupt)?;
        if replies.extend(ready).map_err(|_| Error::Corrupt)? == 0 {
            return other.signal();
        }
        requests.release();
        replies.publish();
        other.signal_and_wait(&own, Deadline::NEVER)?;
    }
}

/// Batches of 32 on one core, a switch each way.
pub fn measure(method: Method) -> Result<(), Error> {
    let object = object::<Remote>("shared").ok_or(Error::NotFound)?;
    let memory = Memory::new(BYTES)?;
    let rings = Rings::map(&memory)?;
    rings.initialise();
    let (to_server, to_client) = (Event::new()?, Event::new()?);
    let signal = Rights::WRITE | Rights::WAIT;
    object.share(&memory, ACCESS | Rights::MAP, MEMORY)?;
    object.share(&to_server, signal, TO_SERVER)?;
    object.share(&to_client, signal, TO_CLIENT)?;
    let (mut requests, mut replies) = (rings.producer(0)?, rings.consumer(1)?);
    let mut outcome = Ok(());
    let count = u64::from(BATCHES) * BATCH as u64;
    let mut batch = || -> Result<(), Error> {
        let entries = (0..BATCH as u64).map(|number| [number, 0, 0, 0, 0, 0, 0, 0]);
        requests.extend(entries).map_err(|_| Error::Corrupt)?;
        requests.publish();
        to_server.signal_and_wait(&to_client, Deadline::NEVER)?;
        let mut sum = 0;
        for entry in replies.ready().map_err(|_| Error::Corrupt)? {
            sum += entry[0];
        }
        replies.release();
        match sum == (BATCH * (BATCH - 1) / 2) as u64 {
            true => Ok(()),
            false => Err(Error::Failed),
        }
    };
    counted(count * (SAMPLES as u64 + 1), || {
        Ok(samples(count as u32, || {
            for _ in 0..BATCHES {
                if let Err(error) = batch() {
                    outcome = Err(error);
                }
            }
        }))
    })?
    .report("ipc/shared_round_trip_batch32", method);
    to_server.signal_and_wait(&to_client, Deadline::NEVER)?;
    outcome
}
