//! The log: one line at a time, on the serial port and in memory.
//!
//! ```text
//! [    0.001234 c0 INFO ] text of the kernel
//! [    0.001240 c1 hello] text of the program `hello`
//! ```
//!
//! A line is put together on the stack and then written under one lock, so the lines of cores do
//! not mix. The lock is the last in the lock order: whoever holds it only copies bytes and talks
//! to the serial port. The last 64 KiB stay readable in memory ([`read`]).

use core::{
    fmt::{self, Write},
    sync::atomic::{AtomicU64, Ordering},
};

use ::log::{LevelFilter, Log, Metadata, Record};
use spillway_abi::limits::MAX_LOG_WRITE;
use spin::mutex::{SpinMutex, SpinMutexGuard};

use super::{clock, serial};
use crate::arch;

/// Bytes of text that are kept. A power of two.
const RING_SIZE: usize = 64 << 10;
/// Bytes of a program's name that are shown.
const MAX_LABEL: usize = 32;
/// Bytes of a line: the longest text and what stands before it.
const MAX_LINE: usize = MAX_LOG_WRITE as usize + MAX_LABEL + 64;
/// How often a panicking core looks at the lock before it takes it by force. The longest line
/// takes a tenth of a second on a real serial port.
const PANIC_PATIENCE: u32 = 10_000_000;

/// The end of a line that did not fit.
const CUT: &[u8] = b"...";

static SINK: SpinMutex<Sink> = SpinMutex::new(Sink {
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
        line.end().write(&mut SINK.lock());
    }
}

/// Copies text of the log from the position `from` on, counted in bytes since the start.
///
/// Returns the position of the first byte copied, which is later than `from` if that text is
/// gone already, and how many bytes were copied.
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

/// The position after the last byte of the log, for [`read`].
pub fn end() -> u64 {
    WRITTEN.load(Ordering::Relaxed)
}

/// Takes the log for the report of a panic, from another core by force if it does not let go.
///
/// Each line that is written to it gets the head `PANIC`.
pub fn panic_writer() -> PanicWriter {
    let mut patience = PANIC_PATIENCE;
    let sink = loop {
        if let Some(sink) = SINK.try_lock() {
            break sink;
        }
        patience = patience.saturating_sub(1);
        if patience == 0 {
            // SAFETY: the holder is this core, which never goes back there, or another one, and
            // those were stopped before the report or do not react at all. The state is bytes
            // without invariants.
            unsafe { SINK.force_unlock() };
        }
        core::hint::spin_loop();
    };
    PanicWriter { sink, line: None }
}

/// The log, held for a report ([`panic_writer`]).
pub struct PanicWriter {
    sink: SpinMutexGuard<'static, Sink>,
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
                line.end().write(&mut self.sink);
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
            line.end().write(&mut SINK.lock());
        }
    }

    fn flush(&self) {}
}

/// Who speaks; at most [`MAX_LABEL`] bytes are shown.
struct Label<'a>(&'a str);

/// A line in the making. What does not fit is cut, and the cut is shown.
struct Line {
    bytes: [u8; MAX_LINE + CUT.len() + 2],
    length: usize,
    cut: bool,
}

impl Line {
    fn begin(label: Label) -> Self {
        let mut line = Self {
            bytes: [0; MAX_LINE + CUT.len() + 2],
            length: 0,
            cut: false,
        };
        let micros = clock::now_ns() / 1000;
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        // Writing into a line never fails.
        let _ = write!(line, "[{seconds:5}.{micros:06} c{} ", arch::core_index());
        let text = &label.0[..label.0.floor_char_boundary(MAX_LABEL)];
        line.push_printable(text);
        line.push_bytes(&b"     "[text.len().min(5)..]);
        line.push_bytes(b"] ");
        line
    }

    fn push_bytes(&mut self, bytes: &[u8]) {
        let fits = bytes.len().min(MAX_LINE - self.length);
        self.bytes[self.length..self.length + fits].copy_from_slice(&bytes[..fits]);
        self.length += fits;
        self.cut |= fits < bytes.len();
    }

    /// Appends text from outside, which must not be able to forge another line or move the cursor.
    fn push_printable(&mut self, text: &str) {
        if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return self.push_bytes(text.as_bytes());
        }
        for character in text.chars() {
            let shown = match character {
                '\t' => ' ',
                c if c.is_control() => '?',
                c => c,
            };
            self.push_bytes(shown.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }

    fn end(mut self) -> Self {
        if self.cut {
            self.bytes[self.length..self.length + CUT.len()].copy_from_slice(CUT);
            self.length += CUT.len();
        }
        self
    }

    fn write(mut self, sink: &mut Sink) {
        // A terminal wants a carriage return; whoever reads the log from memory does not.
        self.bytes[self.length] = b'\n';
        sink.keep(&self.bytes[..=self.length]);
        self.bytes[self.length] = b'\r';
        self.bytes[self.length + 1] = b'\n';
        serial::write(&self.bytes[..self.length + 2]);
    }
}

impl Write for Line {
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
    fn keep(&mut self, bytes: &[u8]) {
        let written = WRITTEN.load(Ordering::Relaxed);
        let at = written as usize % RING_SIZE;
        let first = bytes.len().min(RING_SIZE - at);
        self.ring[at..at + first].copy_from_slice(&bytes[..first]);
        self.ring[..bytes.len() - first].copy_from_slice(&bytes[first..]);
        WRITTEN.store(written + bytes.len() as u64, Ordering::Relaxed);
    }
}
