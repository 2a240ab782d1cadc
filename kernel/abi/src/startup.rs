//! What a program finds when it starts: its handles by name and its arguments.
//!
//! Whoever creates a process writes a startup block into the new address space and passes its
//! address and length in `rdi` and `rsi`. Little-endian, without alignment:
//!
//! ```text
//! u32 magic   u32 ABI version   u32 handles   u32 arguments
//! handles ×   u8 length, name, u32 handle
//! arguments × u16 length, text
//! ```
//!
//! The `fs` base of a process's first thread is the address of this block, so that `fs:0` reads
//! [`MAGIC`] and the version there. That is how a run time tells its first thread from those that
//! it created itself, where `fs:0` is whatever their creator put there.

use crate::{ABI_VERSION, Handle};

/// "SPWY", the first word of a block.
pub const MAGIC: u32 = u32::from_le_bytes(*b"SPWY");
/// The most bytes that a block has.
pub const MAX_STARTUP: usize = 64 << 10;

/// The process itself, with [`crate::Rights::MANAGE`]: it makes Memory and threads.
pub const SELF: &str = "self";
/// The Log.
pub const LOG: &str = "log";
/// The Clock.
pub const CLOCK: &str = "clock";
/// The system's Counters.
pub const COUNTERS: &str = "counters";
/// The Power switch.
pub const POWER: &str = "power";
/// The table of PCI functions.
pub const DEVICES: &str = "devices";
/// Before the name of a granted PCI function, as the manifest calls it.
pub const DEVICE_PREFIX: &str = "device:";
/// The table of the process's own descendants, in which it can make more.
pub const PROCESSES: &str = "processes";
/// Before the name of a Service that the process is to serve, as the manifest calls it.
pub const SERVICE_PREFIX: &str = "service:";
/// Before the name of a boot module, in what `init` gets.
pub const MODULE_PREFIX: &str = "module:";
/// The ELF file that the program was loaded from, for its symbols.
pub const IMAGE: &str = "image";

/// Why a startup block was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartupError {
    /// It does not begin with [`MAGIC`].
    Magic,
    /// It was made for another ABI version, this one.
    Version(u32),
    /// It ends too early, or a text in it is not UTF-8.
    Malformed,
    /// It does not fit the space, or a name or argument is too long.
    TooLong,
}

/// A checked startup block.
#[derive(Clone, Copy, Debug)]
pub struct Startup<'a> {
    handles: &'a [u8],
    arguments: &'a [u8],
    handle_count: u32,
    argument_count: u32,
}

impl<'a> Startup<'a> {
    /// Checks a whole block; afterwards reading from it cannot fail.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, StartupError> {
        let mut reader = Reader(bytes);
        if reader.u32()? != MAGIC {
            return Err(StartupError::Magic);
        }
        let version = reader.u32()?;
        if version != ABI_VERSION {
            return Err(StartupError::Version(version));
        }
        let (handle_count, argument_count) = (reader.u32()?, reader.u32()?);
        let handles = reader.0;
        for _ in 0..handle_count {
            reader.handle()?;
        }
        let arguments = reader.0;
        for _ in 0..argument_count {
            reader.argument()?;
        }
        Ok(Self {
            handles,
            arguments,
            handle_count,
            argument_count,
        })
    }

    /// The handle that goes by this name.
    pub fn handle(&self, name: &str) -> Option<Handle> {
        self.handles()
            .find(|(candidate, _)| *candidate == name)
            .map(|(_, handle)| handle)
    }

    /// All handles with their names.
    pub fn handles(&self) -> impl Iterator<Item = (&'a str, Handle)> + use<'a> {
        let mut reader = Reader(self.handles);
        (0..self.handle_count).map_while(move |_| reader.handle().ok())
    }

    /// The arguments, in order.
    pub fn arguments(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut reader = Reader(self.arguments);
        (0..self.argument_count).map_while(move |_| reader.argument().ok())
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], StartupError> {
        let (head, tail) = self
            .0
            .split_at_checked(length)
            .ok_or(StartupError::Malformed)?;
        self.0 = tail;
        Ok(head)
    }

    fn u32(&mut self) -> Result<u32, StartupError> {
        let bytes = self.bytes(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn text(&mut self, length: usize) -> Result<&'a str, StartupError> {
        core::str::from_utf8(self.bytes(length)?).map_err(|_| StartupError::Malformed)
    }

    fn handle(&mut self) -> Result<(&'a str, Handle), StartupError> {
        let length = self.bytes(1)?[0];
        let name = self.text(length as usize)?;
        Ok((name, Handle::from_raw(self.u32()?)))
    }

    fn argument(&mut self) -> Result<&'a str, StartupError> {
        let length = self.bytes(2)?;
        self.text(u16::from_le_bytes([length[0], length[1]]) as usize)
    }
}

/// Writes a startup block into `out` and returns its length in bytes.
pub fn write<'a>(
    out: &mut [u8],
    handles: impl IntoIterator<Item = (&'a str, Handle)>,
    arguments: impl IntoIterator<Item = &'a str>,
) -> Result<usize, StartupError> {
    let mut writer = Writer { out, length: 16 };
    let (mut handle_count, mut argument_count) = (0u32, 0u32);
    for (name, handle) in handles {
        let length = u8::try_from(name.len()).map_err(|_| StartupError::TooLong)?;
        writer.put(&[length])?;
        writer.put(name.as_bytes())?;
        writer.put(&handle.raw().to_le_bytes())?;
        handle_count += 1;
    }
    for argument in arguments {
        let length = u16::try_from(argument.len()).map_err(|_| StartupError::TooLong)?;
        writer.put(&length.to_le_bytes())?;
        writer.put(argument.as_bytes())?;
        argument_count += 1;
    }
    let length = writer.length;
    let header = writer.out.get_mut(..16).ok_or(StartupError::TooLong)?;
    for (word, value) in
        header
            .chunks_exact_mut(4)
            .zip([MAGIC, ABI_VERSION, handle_count, argument_count])
    {
        word.copy_from_slice(&value.to_le_bytes());
    }
    Ok(length)
}

struct Writer<'a> {
    out: &'a mut [u8],
    length: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), StartupError> {
        let end = self.length + bytes.len();
        self.out
            .get_mut(self.length..end)
            .ok_or(StartupError::TooLong)?
            .copy_from_slice(bytes);
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::{string::String, vec, vec::Vec};

    proptest! {
        #[test]
        fn what_was_written_is_read(
            handles in prop::collection::vec(("[a-z]{0,20}", any::<u32>()), 0..20),
            arguments in prop::collection::vec(".{0,30}", 0..20),
        ) {
            let mut block = vec![0; MAX_STARTUP];
            let named = handles.iter().map(|(n, h)| (n.as_str(), Handle::from_raw(*h)));
            let length = write(&mut block, named.clone(), arguments.iter().map(String::as_str)).unwrap();
            let startup = Startup::parse(&block[..length]).unwrap();
            prop_assert_eq!(startup.handles().collect::<Vec<_>>(), named.collect::<Vec<_>>());
            prop_assert_eq!(startup.arguments().collect::<Vec<_>>(), arguments);
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut block = vec![0; 16];
            block[..4].copy_from_slice(&MAGIC.to_le_bytes());
            block[4..8].copy_from_slice(&ABI_VERSION.to_le_bytes());
            block.extend(bytes);
            if let Ok(startup) = Startup::parse(&block) {
                startup.handles().count();
                startup.arguments().count();
            }
        }

        #[test]
        fn a_cut_block_is_refused(cut in 0usize..40) {
            let mut block = [0; 64];
            let length = write(&mut block, [("log", Handle::new(1, 1))], ["hello", "there"]).unwrap();
            let cut = cut.min(length - 1);
            prop_assert!(Startup::parse(&block[..cut]).is_err());
        }
    }

    #[test]
    fn too_small_a_space_and_another_version_are_named() {
        assert_eq!(write(&mut [0; 15], [], []), Err(StartupError::TooLong));
        assert_eq!(
            write(&mut [0; 20], [("log", Handle::NULL)], []),
            Err(StartupError::TooLong)
        );
        let mut block = [0; 16];
        write(&mut block, [], []).unwrap();
        block[4] = 77;
        assert_eq!(
            Startup::parse(&block).unwrap_err(),
            StartupError::Version(77)
        );
    }
}
