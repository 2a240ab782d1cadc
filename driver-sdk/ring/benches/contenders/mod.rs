//! The rings that are compared, each by the interface that it has for one entry, for entries that
//! are made and looked at one by one, and for slices.

pub mod ways;

use spillway_ring::{RingHeader, Word};

/// Entries in a batch.
pub const BATCH: usize = 32;

/// Entries in every ring.
const CAPACITY: usize = 256;

/// What is carried.
pub type Entry<const WORDS: usize> = [u64; WORDS];

/// A ring. Whatever moves fewer entries than it was asked to, says how many it moved.
pub trait Contender<const WORDS: usize> {
    const NAME: &str;
    type Producer: Send + 'static;
    type Consumer: Send + 'static;

    fn pair() -> (Self::Producer, Self::Consumer);
    fn push(producer: &mut Self::Producer, entry: Entry<WORDS>) -> bool;
    fn pop(consumer: &mut Self::Consumer) -> Option<Entry<WORDS>>;
    fn push_each(
        producer: &mut Self::Producer,
        entries: impl ExactSizeIterator<Item = Entry<WORDS>>,
    ) -> usize;
    fn pop_each(consumer: &mut Self::Consumer, each: impl FnMut(Entry<WORDS>)) -> usize;
    fn push_slice(producer: &mut Self::Producer, entries: &[Entry<WORDS>]) -> usize;
    fn pop_slice(consumer: &mut Self::Consumer, entries: &mut [Entry<WORDS>]) -> usize;
}

/// The ring of this crate.
pub struct Ours;

impl<const WORDS: usize> Contender<WORDS> for Ours {
    const NAME: &str = "spillway-ring";
    type Producer = spillway_ring::Producer<'static, Entry<WORDS>>;
    type Consumer = spillway_ring::Consumer<'static, Entry<WORDS>>;

    fn pair() -> (Self::Producer, Self::Consumer) {
        // Aligned as shared memory is.
        let length = CAPACITY * WORDS;
        let words: Vec<_> = (0..length + 7).map(|_| Word::new(0)).collect();
        let words = Vec::leak(words);
        let start = words.as_ptr().align_offset(64);
        let words = &mut words[start..][..length];
        spillway_ring::split(Box::leak(Box::<RingHeader>::default()), words, 0).unwrap()
    }

    fn push(producer: &mut Self::Producer, entry: Entry<WORDS>) -> bool {
        let pushed = producer.push(entry).is_ok();
        if pushed {
            producer.publish();
        }
        pushed
    }

    fn pop(consumer: &mut Self::Consumer) -> Option<Entry<WORDS>> {
        let entry = consumer.pop().unwrap()?;
        consumer.release();
        Some(entry)
    }

    fn push_each(
        producer: &mut Self::Producer,
        entries: impl ExactSizeIterator<Item = Entry<WORDS>>,
    ) -> usize {
        let pushed = producer.extend(entries).unwrap();
        producer.publish();
        pushed as usize
    }

    fn pop_each(consumer: &mut Self::Consumer, each: impl FnMut(Entry<WORDS>)) -> usize {
        let ready = consumer.ready().unwrap();
        let popped = ready.len();
        ready.for_each(each);
        consumer.release();
        popped
    }

    fn push_slice(producer: &mut Self::Producer, entries: &[Entry<WORDS>]) -> usize {
        let pushed = producer.push_slice(entries).unwrap();
        producer.publish();
        pushed
    }

    fn pop_slice(consumer: &mut Self::Consumer, entries: &mut [Entry<WORDS>]) -> usize {
        let popped = consumer.pop_slice(entries).unwrap();
        consumer.release();
        popped
    }
}

/// `rtrb`.
pub struct Rtrb;

impl<const WORDS: usize> Contender<WORDS> for Rtrb {
    const NAME: &str = "rtrb";
    type Producer = rtrb::Producer<Entry<WORDS>>;
    type Consumer = rtrb::Consumer<Entry<WORDS>>;

    fn pair() -> (Self::Producer, Self::Consumer) {
        rtrb::RingBuffer::new(CAPACITY)
    }

    fn push(producer: &mut Self::Producer, entry: Entry<WORDS>) -> bool {
        producer.push(entry).is_ok()
    }

    fn pop(consumer: &mut Self::Consumer) -> Option<Entry<WORDS>> {
        consumer.pop().ok()
    }

    fn push_each(
        producer: &mut Self::Producer,
        entries: impl ExactSizeIterator<Item = Entry<WORDS>>,
    ) -> usize {
        let room = match entries.len() {
            length if length <= producer.cached_slots() => length,
            length => length.min(producer.slots()),
        };
        let chunk = producer.write_chunk_uninit(room).unwrap();
        chunk.fill_from_iter(entries)
    }

    fn pop_each(consumer: &mut Self::Consumer, each: impl FnMut(Entry<WORDS>)) -> usize {
        let popped = consumer.slots();
        let chunk = consumer.read_chunk(popped).unwrap();
        chunk.into_iter().for_each(each);
        popped
    }

    fn push_slice(producer: &mut Self::Producer, entries: &[Entry<WORDS>]) -> usize {
        producer.push_partial_slice(entries).0.len()
    }

    fn pop_slice(consumer: &mut Self::Consumer, entries: &mut [Entry<WORDS>]) -> usize {
        consumer.pop_partial_slice(entries).0.len()
    }
}

/// `ringbuf`, with cached indices.
pub struct Ringbuf;

impl<const WORDS: usize> Contender<WORDS> for Ringbuf {
    const NAME: &str = "ringbuf";
    type Producer = ringbuf::HeapProd<Entry<WORDS>>;
    type Consumer = ringbuf::HeapCons<Entry<WORDS>>;

    fn pair() -> (Self::Producer, Self::Consumer) {
        use ringbuf::traits::Split;
        ringbuf::HeapRb::new(CAPACITY).split()
    }

    fn push(producer: &mut Self::Producer, entry: Entry<WORDS>) -> bool {
        use ringbuf::traits::Producer;
        producer.try_push(entry).is_ok()
    }

    fn pop(consumer: &mut Self::Consumer) -> Option<Entry<WORDS>> {
        use ringbuf::traits::Consumer;
        consumer.try_pop()
    }

    fn push_each(
        producer: &mut Self::Producer,
        entries: impl ExactSizeIterator<Item = Entry<WORDS>>,
    ) -> usize {
        use ringbuf::traits::Producer;
        producer.push_iter(entries)
    }

    fn pop_each(consumer: &mut Self::Consumer, mut each: impl FnMut(Entry<WORDS>)) -> usize {
        use ringbuf::traits::Consumer;
        let mut popped = 0;
        consumer.pop_iter().for_each(|entry| {
            popped += 1;
            each(entry);
        });
        popped
    }

    fn push_slice(producer: &mut Self::Producer, entries: &[Entry<WORDS>]) -> usize {
        use ringbuf::traits::Producer;
        producer.push_slice(entries)
    }

    fn pop_slice(consumer: &mut Self::Consumer, entries: &mut [Entry<WORDS>]) -> usize {
        use ringbuf::traits::Consumer;
        consumer.pop_slice(entries)
    }
}

/// The `ArrayQueue` of `crossbeam-queue`, which serves several producers and consumers, and has no
/// batches.
pub struct Crossbeam;

impl<const WORDS: usize> Contender<WORDS> for Crossbeam {
    const NAME: &str = "crossbeam-queue";
    type Producer = std::sync::Arc<crossbeam_queue::ArrayQueue<Entry<WORDS>>>;
    type Consumer = Self::Producer;

    fn pair() -> (Self::Producer, Self::Consumer) {
        let queue = std::sync::Arc::new(crossbeam_queue::ArrayQueue::new(CAPACITY));
        (queue.clone(), queue)
    }

    fn push(producer: &mut Self::Producer, entry: Entry<WORDS>) -> bool {
        producer.push(entry).is_ok()
    }

    fn pop(consumer: &mut Self::Consumer) -> Option<Entry<WORDS>> {
        consumer.pop()
    }

    fn push_each(
        producer: &mut Self::Producer,
        entries: impl ExactSizeIterator<Item = Entry<WORDS>>,
    ) -> usize {
        let mut pushed = 0;
        for entry in entries {
            if producer.push(entry).is_err() {
                break;
            }
            pushed += 1;
        }
        pushed
    }

    fn pop_each(consumer: &mut Self::Consumer, mut each: impl FnMut(Entry<WORDS>)) -> usize {
        let mut popped = 0;
        while let Some(entry) = consumer.pop() {
            popped += 1;
            each(entry);
        }
        popped
    }

    fn push_slice(producer: &mut Self::Producer, entries: &[Entry<WORDS>]) -> usize {
        <Self as Contender<WORDS>>::push_each(producer, entries.iter().copied())
    }

    fn pop_slice(consumer: &mut Self::Consumer, entries: &mut [Entry<WORDS>]) -> usize {
        let mut popped = 0;
        for place in entries {
            let Some(entry) = consumer.pop() else {
                break;
            };
            popped += 1;
            *place = entry;
        }
        popped
    }
}
