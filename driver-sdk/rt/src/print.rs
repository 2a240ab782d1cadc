//! `print!` and `println!` through the Log handle. Without one, they do nothing.

use core::fmt::{self, Write};

use spillway_abi::limits::MAX_LOG_WRITE;

use crate::{object::Log, startup::environment};

/// Gathers one text, so that a line reaches the log in one piece as long as it fits.
struct Line<'a> {
    log: &'a Log,
    bytes: [u8; MAX_LOG_WRITE as usize],
    length: usize,
}

impl Line<'_> {
    fn flush(&mut self) {
        if self.length > 0 {
            // A log that refuses leaves nobody to tell.
            let _ = self.log.write(&self.bytes[..self.length]);
            self.length = 0;
        }
    }
}

impl Write for Line<'_> {
    fn write_str(&mut self, mut text: &str) -> fmt::Result {
        while !text.is_empty() {
            let space = self.bytes.len() - self.length;
            let (now, later) = text.split_at(text.floor_char_boundary(space));
            self.bytes[self.length..self.length + now.len()].copy_from_slice(now.as_bytes());
            self.length += now.len();
            if !later.is_empty() {
                self.flush();
            }
            text = later;
        }
        Ok(())
    }
}

/// What the macros expand to.
#[doc(hidden)]
pub fn print(arguments: fmt::Arguments<'_>) {
    let Some(log) = environment().and_then(|environment| environment.log.as_ref()) else {
        return;
    };
    let mut line = Line {
        log,
        bytes: [0; MAX_LOG_WRITE as usize],
        length: 0,
    };
    // Only a `Display` that fails by itself can fail here; what it wrote so far is shown.
    let _ = line.write_fmt(arguments);
    line.flush();
}

/// Writes a text to the log.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => { $crate::print::print(::core::format_args!($($argument)*)) };
}

/// Writes a line to the log.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($argument:tt)*) => { $crate::print!("{}\n", ::core::format_args!($($argument)*)) };
}

/// Writes a line to the log, which is where errors go, too.
#[macro_export]
macro_rules! eprintln {
    ($($argument:tt)*) => { $crate::println!($($argument)*) };
}
