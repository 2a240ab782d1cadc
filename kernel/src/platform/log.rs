//! The log: one line at a time, on the serial port and in memory.
//!
//! ```text
//! [    0.001234 c0 INFO ] text of the kernel
//! [    0.001240 c1 hello] text of the program `hello`
//! ```
//!
//! A line is put together on the stack, then stamped and written under one lock: the lines of
//! cores do not mix, and their times never go back. The lock is the last in the lock order:
//! whoever holds it only copies bytes and talks to the serial port. The last 64 KiB stay readable
//! in memory ([`read`]).

use core::{
    fmt::{self, Write},
    sync::atomic::{AtomicU64, Ordering},
};

use ::log::{LevelFilter, Log, Metadata, Record};
use lock_api::MutexGuard;
use spillway_abi::limits::MAX_LOG_WRITE;

use super::{clock, serial};
use crate::{
    arch,
    sync::{RawSpin, Spin},
};

/// Bytes of text that are kept. A power of two.
const RING_SIZE: usize = 64 << 10;
/// Bytes of a program's name that are shown.
const MAX_LABEL: usize = 32;
/// Bytes of a line: a label and the longest text.
const MAX_LINE: usize = MAX_LOG_WRITE as usize + MAX_LABEL + 8;
/// Bytes of the time and the core before it.
const MAX_STAMP: usize = 48;
/// How long a panicking core waits for the lock before it takes it by force, in nanoseconds. The
/// longest line takes half of that on a real serial port.
const PANIC_PATIENCE: u64 = 200_000_000;

static SINK: Spin<Sink> = Spin::new(Sink {
    ring: [0; RING_SIZE],
});
/// Bytes that were ever written to the ring.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

/// Opens the serial port and makes `log`'s macros write here, from `level` on.
///
/// Returns whether there is a serial port.
pub fn init(level: LevelFilter) -> bool {
    let port = serial::init();
    // Only a second call fails, and it finds the logger that it wants.
    let _ = ::log::set_logger(&Kernel);
    ::log::set_max_level(level);
    port
}

/// Writes what a program said: a line for each line of the text. Control characters are replaced.
pub fn write_program_line(name: &str, text: &str) {
    for text in text.lines() {
        let mut line = Line::begin(Label(name));
        line.push_printable(text);
        SINK.lock().write(&line);
    }
}

/// Copies text of the log from the position `from` on, counted in bytes since the start.
///
/// Returns the position of the first byte copied, which is later than `from` if that text is
/// gone already, and how many bytes were copied.
#[expect(
    dead_code,
    reason = "for reads of the Log object, which are still to come"
)]
pub fn read(from: u64, buffer: &mut [u8]) -> (u64, usize) {
    let sink = SINK.lock();
    let end = WRITTEN.load(Ordering::Relaxed);
    let start = from.clamp(end.saturating_sub(RING_SIZE as u64), end);
    let length = buffer.len().min((end - start) as usize);
    let at = start as usize % RING_SIZE;
    let first = length.min(RING_SIZE - at);
    buffer[..first].copy_from_slice(&sink.ring[at..at + first]);
    buffer[first..length].copy_from_slice(&sink.ring[..length - first]);
    (start, length)
}

/// Takes the log for the report of a panic, from another core by force if it does not let go.
///
/// Each line that is written to it gets the head `PANIC`.
pub fn panic_writer() -> PanicWriter {
    let end = clock::tsc_after(PANIC_PATIENCE);
    let sink = loop {
        if let Some(sink) = SINK.try_lock() {
            break sink;
        }
        if clock::now_tsc() > end {
            // SAFETY: no line takes so long, so the holder is this core, which never goes back
            // there, or one that stands still. The state is bytes without invariants.
            unsafe { SINK.force_unlock() };
        }
        core::hint::spin_loop();
    };
    PanicWriter { sink, line: None }
}

/// The log, held for a report ([`panic_writer`]).
pub struct PanicWriter {
    sink: MutexGuard<'static, RawSpin, Sink>,
    line: Option<Line>,
}

impl Write for PanicWriter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive('\n') {
            let line = self.line.get_or_insert_with(|| Line::begin(Label("PANIC")));
            line.push_printable(part.trim_end_matches('\n'));
            if part.ends_with('\n')
                && let Some(line) = self.line.take()
            {
                self.sink.write(&line);
            }
        }
        Ok(())
    }
}

/// The `log` crate's way here.
struct Kernel;

impl Log for Kernel {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.level() <= ::log::max_level()
    }

    fn log(&self, record: &Record) {
        if self.enabled(record.metadata()) {
            let mut line = Line::begin(Label(record.level().as_str()));
            // Formatting fails only when a value refuses; what came before it is shown.
            let _ = line.write_fmt(*record.args());
            SINK.lock().write(&line);
        }
    }

    fn flush(&self) {}
}

/// Who speaks; at most [`MAX_LABEL`] bytes are shown.
struct Label<'a>(&'a str);

/// A line in the making, from the label on. What does not fit is cut, and the cut is shown.
type Line = Text<MAX_LINE>;

impl Line {
    fn begin(label: Label) -> Self {
        let mut line = Self::new();
        let text = &label.0[..label.0.floor_char_boundary(MAX_LABEL)];
        line.push_printable(text);
        line.push(&b"     "[text.len().min(5)..]);
        line.push(b"] ");
        line
    }
}

/// Text of at most `N` bytes.
struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
    cut: bool,
}

impl<const N: usize> Text<N> {
    fn new() -> Self {
        Self {
            bytes: [0; N],
            length: 0,
            cut: false,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        let fits = bytes.len().min(N - self.length);
        self.bytes[self.length..self.length + fits].copy_from_slice(&bytes[..fits]);
        self.length += fits;
        self.cut |= fits < bytes.len();
    }

    /// Appends text from outside, which must not be able to forge another line or move the cursor.
    fn push_printable(&mut self, text: &str) {
        if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return self.push(text.as_bytes());
        }
        for character in text.chars() {
            let shown = match character {
                '\t' => ' ',
                c if c.is_control() => '?',
                c => c,
            };
            self.push(shown.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl<const N: usize> Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_printable(text);
        Ok(())
    }
}

/// What the lock protects: the ring, and the right to use the serial port.
struct Sink {
    ring: [u8; RING_SIZE],
}

impl Sink {
    fn write(&mut self, line: &Line) {
        let mut stamp = Text::<MAX_STAMP>::new();
        let micros = clock::now_ns() / 1000;
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        // Writing to a text never fails.
        let _ = write!(stamp, "[{seconds:5}.{micros:06} c{} ", arch::core_index());
        let cut = if line.cut { "..." } else { "" };
        for part in [stamp.as_bytes(), line.as_bytes(), cut.as_bytes()] {
            self.keep(part);
            serial::write(part);
        }
        // A terminal wants a carriage return; whoever reads the log from memory does not.
        self.keep(b"\n");
        serial::write(b"\r\n");
    }

    fn keep(&mut self, bytes: &[u8]) {
        let written = WRITTEN.load(Ordering::Relaxed);
        let at = written as usize % RING_SIZE;
        let first = bytes.len().min(RING_SIZE - at);
        self.ring[at..at + first].copy_from_slice(&bytes[..first]);
        self.ring[..bytes.len() - first].copy_from_slice(&bytes[first..]);
        WRITTEN.store(written + bytes.len() as u64, Ordering::Relaxed);
    }
}
