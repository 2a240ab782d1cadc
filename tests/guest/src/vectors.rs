//! The vector registers, filled and read back as a whole.

use core::arch::{asm, x86_64::__cpuid};

/// The content of all vector registers: 16 of 32 bytes. Without AVX only the lower halves count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(32))]
pub struct Vectors(pub [[u64; 4]; 16]);

impl Vectors {
    /// All zero, as after a system call.
    pub const CLEAR: Self = Self([[0; 4]; 16]);

    /// A different number in every lane.
    pub fn pattern(seed: u64) -> Self {
        let lane = |register: usize, lane: usize| seed << 32 | (register * 4 + lane + 1) as u64;
        let register = |register| core::array::from_fn(|index| lane(register, index));
        let mut vectors = Self(core::array::from_fn(register));
        if !has_avx() {
            vectors
                .0
                .iter_mut()
                .for_each(|register| register[2..].fill(0));
        }
        vectors
    }
}

/// Whether the upper halves exist and the kernel keeps them.
pub fn has_avx() -> bool {
    // CPUID.1:ECX bits 27 (OSXSAVE) and 28 (AVX), Intel SDM vol. 2A, CPUID.
    __cpuid(1).ecx & (0b11 << 27) == 0b11 << 27
}

/// Writes `asm!` that loads all registers from `[rsi]`, does something, and stores them to
/// `[r12]`. Nothing of the compiler's runs in between.
macro_rules! between_load_and_store {
    ($move:literal, $prefix:literal, $body:expr, $($operand:tt)*) => {
        asm!(
            ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            concat!($move, " ", $prefix, "\\n, [rsi + 32 * \\n]"),
            ".endr",
            $body,
            ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            concat!($move, " [r12 + 32 * \\n], ", $prefix, "\\n"),
            ".endr",
            $($operand)*
        )
    };
}

/// Fills the registers, spins until the time-stamp counter reaches `until`, and returns what is
/// in them then.
pub fn hold(vectors: &Vectors, until: u64) -> Vectors {
    let mut after = Vectors::CLEAR;
    macro_rules! spin {
        ($move:literal, $prefix:literal) => {
            between_load_and_store!(
                $move,
                $prefix,
                "2: rdtsc\n shl rdx, 32\n or rax, rdx\n cmp rax, rdi\n jb 2b",
                in("rsi") vectors,
                in("r12") &mut after,
                in("rdi") until,
                clobber_abi("sysv64"),
                options(nostack),
            )
        };
    }
    // SAFETY: loads and stores 512 bytes of our own; the registers are declared as changed.
    unsafe {
        if has_avx() {
            spin!("vmovups", "ymm");
            asm!("vzeroupper", options(nostack, nomem));
        } else {
            spin!("movups", "xmm");
        }
    }
    after
}

/// The general registers that a system call changes, besides the results: `rcx`, `rsi`, `rdi`,
/// `r8` to `r11`.
pub type Scratch = [u64; 7];

/// Fills the registers, makes a system call without arguments, and returns what is in the vector
/// and scratch registers then, and whether the preserved ones were preserved.
pub fn across_call(vectors: &Vectors, number: u64) -> (Vectors, Scratch, bool) {
    const SECRET: u64 = 0x5ec2_e75e_c2e7;
    let mut after = Vectors::CLEAR;
    let mut scratch: Scratch = [0; 7];
    let (mut r13, mut r14, mut r15) = (SECRET, SECRET + 1, SECRET + 2);
    macro_rules! call {
        ($move:literal, $prefix:literal) => {
            between_load_and_store!(
                $move,
                $prefix,
                "mov r8, r13\n mov r9, r13\n mov r10, r13\n mov rdi, r13\n mov rsi, r13\n syscall",
                inlateout("rax") number => _,
                inlateout("rsi") vectors => scratch[1],
                in("r12") &mut after,
                inlateout("r13") r13,
                inlateout("r14") r14,
                inlateout("r15") r15,
                lateout("rcx") scratch[0],
                lateout("rdi") scratch[2],
                lateout("r8") scratch[3],
                lateout("r9") scratch[4],
                lateout("r10") scratch[5],
                lateout("r11") scratch[6],
                clobber_abi("sysv64"),
                options(nostack),
            )
        };
    }
    // SAFETY: as in `hold`; the call has no arguments.
    unsafe {
        if has_avx() {
            call!("vmovups", "ymm");
            asm!("vzeroupper", options(nostack, nomem));
        } else {
            call!("movups", "xmm");
        }
    }
    let preserved = (r13, r14, r15) == (SECRET, SECRET + 1, SECRET + 2);
    (after, scratch, preserved)
}
