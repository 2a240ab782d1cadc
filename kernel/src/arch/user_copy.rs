//! The only place where the kernel touches programs' memory through their own addresses.
//!
//! A range that lies below the end of user addresses may still be unmapped, read-only or
//! vanish under the copy: then the processor faults inside [`copy`], and the trap handler makes
//! it return instead. Between `stac` and `clac` nothing else happens.

use core::{arch::global_asm, mem::MaybeUninit};

use spillway_abi::{Error, counters::Counter, layout};

use super::{
    core,
    cpu::{HAS_AVX, HAS_SMAP},
};

global_asm!(
    // rdi = destination, rsi = source, rdx = bytes; eax = 0 if all were copied, 1 after a fault.
    ".global copy_user",
    "copy_user:",
    "cmp byte ptr [rip + {smap}], 0",
    "je 2f",
    "stac",
    "2:",
    ".global copy_user_start",
    "copy_user_start:",
    "cmp rdx, 64",
    "jb 4f",
    "cmp byte ptr [rip + {avx}], 0",
    "jne 9f",
    "3:",
    "movups xmm0, [rsi]",
    "movups xmm1, [rsi + 16]",
    "movups xmm2, [rsi + 32]",
    "movups xmm3, [rsi + 48]",
    "movups [rdi], xmm0",
    "movups [rdi + 16], xmm1",
    "movups [rdi + 32], xmm2",
    "movups [rdi + 48], xmm3",
    "add rsi, 64",
    "add rdi, 64",
    "sub rdx, 64",
    "cmp rdx, 64",
    "jae 3b",
    "4:",
    "cmp rdx, 8",
    "jb 5f",
    "mov rax, [rsi]",
    "mov [rdi], rax",
    "add rsi, 8",
    "add rdi, 8",
    "sub rdx, 8",
    "jmp 4b",
    "5:",
    "test rdx, rdx",
    "jz 6f",
    "mov al, [rsi]",
    "mov [rdi], al",
    "inc rsi",
    "inc rdi",
    "dec rdx",
    "jmp 5b",
    "6:",
    ".global copy_user_end",
    "copy_user_end:",
    "xor eax, eax",
    "7:",
    "cmp byte ptr [rip + {smap}], 0",
    "je 8f",
    "clac",
    "8:",
    "ret",
    ".global copy_user_fault",
    "copy_user_fault:",
    "mov eax, 1",
    "jmp 7b",
    // As many lines of 128 bytes as there are; rcx goes up to 0.
    ".global copy_user_wide",
    "copy_user_wide:",
    "9:",
    "mov rcx, rdx",
    "and rcx, -128",
    "je 3b",
    "and edx, 127",
    "add rsi, rcx",
    "add rdi, rcx",
    "neg rcx",
    "10:",
    "vmovups ymm0, [rsi + rcx]",
    "vmovups ymm1, [rsi + rcx + 32]",
    "vmovups ymm2, [rsi + rcx + 64]",
    "vmovups ymm3, [rsi + rcx + 96]",
    "vmovups [rdi + rcx], ymm0",
    "vmovups [rdi + rcx + 32], ymm1",
    "vmovups [rdi + rcx + 64], ymm2",
    "vmovups [rdi + rcx + 96], ymm3",
    "add rcx, 128",
    "jne 10b",
    "vzeroupper",
    ".global copy_user_wide_end",
    "copy_user_wide_end:",
    "cmp rdx, 64",
    "jae 3b",
    "jmp 4b",
    smap = sym HAS_SMAP,
    avx = sym HAS_AVX,
);

unsafe extern "C" {
    fn copy_user(destination: *mut u8, source: *const u8, length: usize) -> u32;
    static copy_user_start: u8;
    static copy_user_end: u8;
    static copy_user_fault: u8;
    static copy_user_wide: u8;
    static copy_user_wide_end: u8;
}

/// Where a fault at this instruction goes on, if the instruction is part of a copy.
pub fn recovery(rip: u64) -> Option<u64> {
    let address = |symbol: *const u8| symbol as u64;
    let copy = address(&raw const copy_user_start)..address(&raw const copy_user_end);
    let wide = address(&raw const copy_user_wide)..address(&raw const copy_user_wide_end);
    (copy.contains(&rip) || wide.contains(&rip)).then(|| address(&raw const copy_user_fault))
}

/// A range of a program's addresses that lies below the end of user addresses. That says nothing
/// about what is mapped there, now or later: only a copy finds out.
#[derive(Clone, Copy, Debug)]
pub struct UserRange {
    start: u64,
    length: usize,
}

impl UserRange {
    /// Checks the bounds. [`Error::BadPointer`] if the range wraps or leaves user addresses.
    pub fn new(start: u64, length: u64) -> Result<Self, Error> {
        let end = start.checked_add(length).ok_or(Error::BadPointer)?;
        if end > layout::USER_END {
            return Err(Error::BadPointer);
        }
        Ok(Self {
            start,
            length: length as usize,
        })
    }

    /// Copies the whole range out of the program. [`Error::BadPointer`] if a byte cannot be read.
    ///
    /// # Panics
    ///
    /// If `out` has another length than the range.
    pub fn read(self, out: &mut [MaybeUninit<u8>]) -> Result<(), Error> {
        assert_eq!(out.len(), self.length);
        // SAFETY: the destination is `length` bytes of the kernel's own; the source is below the
        // end of user addresses, and a fault there makes the copy return.
        let fault = unsafe {
            copy_user(
                out.as_mut_ptr().cast(),
                self.start as *const u8,
                self.length,
            )
        };
        self.done(fault)
    }

    /// Copies into the whole range. [`Error::BadPointer`] if a byte cannot be written; those
    /// before it may have been.
    ///
    /// # Panics
    ///
    /// If `from` has another length than the range.
    pub fn write(self, from: &[u8]) -> Result<(), Error> {
        assert_eq!(from.len(), self.length);
        // SAFETY: the source is `length` bytes of the kernel's own; the destination is below the
        // end of user addresses, where no kernel memory is, and a fault there makes it return.
        let fault = unsafe { copy_user(self.start as *mut u8, from.as_ptr(), self.length) };
        self.done(fault)
    }

    /// Copies the kernel's view of some pages into the whole range. [`Error::BadPointer`] as
    /// above, and if the lengths differ.
    pub fn write_from(self, pages: *mut [u8]) -> Result<(), Error> {
        if pages.len() != self.length {
            return Err(Error::BadPointer);
        }
        // SAFETY: the source is frames of a Memory that the caller holds; a program may change
        // them meanwhile, which changes what is copied and nothing else. The destination is as
        // in `write`.
        let fault = unsafe { copy_user(self.start as *mut u8, pages.cast(), self.length) };
        self.done(fault)
    }

    /// Copies the whole range into the kernel's view of some pages. [`Error::BadPointer`] as
    /// above, and if the lengths differ.
    pub fn read_into(self, pages: *mut [u8]) -> Result<(), Error> {
        if pages.len() != self.length {
            return Err(Error::BadPointer);
        }
        // SAFETY: as in `write_from`, the other way round.
        let fault = unsafe { copy_user(pages.cast(), self.start as *const u8, self.length) };
        self.done(fault)
    }

    fn done(self, fault: u32) -> Result<(), Error> {
        if fault != 0 {
            return Err(Error::BadPointer);
        }
        core().count(Counter::Copies, 1);
        core().count(Counter::BytesCopied, self.length as u64);
        Ok(())
    }
}

/// Types that any bytes are a value of, without padding that could carry kernel data out.
///
/// # Safety
///
/// Every bit pattern must be valid.
pub unsafe trait AnyBytes: Copy {}

// SAFETY: integers only, no padding (sizes are asserted where they are defined).
unsafe impl AnyBytes for spillway_abi::object::ThreadArguments {}
// SAFETY: bytes and integers only.
unsafe impl AnyBytes for spillway_abi::object::ProcessArguments {}
// SAFETY: integers only, no padding.
unsafe impl AnyBytes for spillway_abi::device::PinArguments {}
// SAFETY: an integer.
unsafe impl AnyBytes for u32 {}

/// Reads one value out of the program's memory. [`Error::BadArgument`] if the address is not
/// aligned for it, [`Error::BadPointer`] if it cannot be read.
pub fn read_value<T: AnyBytes>(address: u64) -> Result<T, Error> {
    if !address.is_multiple_of(align_of::<T>() as u64) {
        return Err(Error::BadArgument);
    }
    let mut value = MaybeUninit::<T>::uninit();
    UserRange::new(address, size_of::<T>() as u64)?.read(value.as_uninitialised_bytes())?;
    // SAFETY: every byte was written, and `AnyBytes` says that any bytes are a value.
    Ok(unsafe { value.assume_init() })
}

/// A view of uninitialised memory as bytes.
trait UninitialisedBytes {
    fn as_uninitialised_bytes(&mut self) -> &mut [MaybeUninit<u8>];
}

impl<T> UninitialisedBytes for MaybeUninit<T> {
    fn as_uninitialised_bytes(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: the value's own bytes, as bytes that need not be initialised.
        unsafe { core::slice::from_raw_parts_mut(self.as_mut_ptr().cast(), size_of::<T>()) }
    }
}

/// A buffer as [`UserRange::read`] takes it.
pub fn uninitialised(buffer: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    // SAFETY: the same bytes with a weaker promise; `read` only ever writes initialised ones.
    unsafe { core::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast(), buffer.len()) }
}
