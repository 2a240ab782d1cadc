//! The saved state of a thread that is not running, laid out for the entry code.
//!
//! The processor and the entry code push a trap's frame straight into the context of the thread
//! that trapped (the task segment's stack pointer leads there), so switching threads copies
//! nothing. A system call saves only what a function call preserves; the rest is clear on return.

use core::mem::offset_of;

use spillway_abi::{Error, service::Message};

use super::segments::{USER_CODE, USER_DATA};

/// How the thread left for the kernel, which decides how it goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Resume {
    /// By `syscall`: only what a call preserves is saved; back by `sysret`.
    Call = 0,
    /// Like [`Self::Call`], with a message in the registers that are cleared otherwise.
    Message = 2,
    /// By a trap or interrupt, or it has not run yet: all is saved; back by `iret`.
    Trap = 1,
}

/// The general registers as a trap leaves them, lowest address first.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Registers {
    /// Preserved by a call, like `rbx`, `rbp` and `r12` to `r14`.
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rax: u64,
    /// Which trap.
    pub vector: u64,
    /// The trap's error code, or 0.
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

/// Bytes for the vector state: legacy area, header, and the upper halves of AVX
/// (Intel SDM vol. 1, 13.4).
pub const VECTOR_STATE_SIZE: usize = 512 + 64 + 256;

/// The area of `xsave`, or of `fxsave` where there is no `xsave`.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct VectorState {
    /// x87 control word (SDM vol. 1, table 10-2).
    control_word: u16,
    unused: [u8; 22],
    /// SSE control and status.
    mxcsr: u32,
    legacy: [u8; 484],
    /// XSTATE_BV: which components the area holds; the others are in their initial state.
    present: u64,
    rest: [u8; VECTOR_STATE_SIZE - 520],
}

impl VectorState {
    /// What a thread starts with: everything initial, exceptions masked.
    const INITIAL: Self = Self {
        control_word: 0x37f,
        unused: [0; 22],
        mxcsr: 0x1f80,
        legacy: [0; 484],
        present: 0,
        rest: [0; VECTOR_STATE_SIZE - 520],
    };
}

/// A clean area for processors without `xsave`.
pub static INITIAL_VECTOR_STATE: VectorState = VectorState::INITIAL;

/// The saved state of one thread.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct Context {
    /// The general registers; the stack of a trap begins at their end.
    pub registers: Registers,
    /// How to go back.
    pub resume: Resume,
    reserved: u64,
    /// x87, SSE and AVX.
    pub vectors: VectorState,
}

/// Offset of the end of the registers: where a trap's frame begins.
pub const FRAME_TOP: usize = size_of::<Registers>();
/// Offset of [`Context::resume`].
pub const RESUME: usize = offset_of!(Context, resume);
/// Offset of [`Context::vectors`].
pub const VECTORS: usize = offset_of!(Context, vectors);
/// Offset of the MXCSR in the context.
pub const MXCSR: usize = VECTORS + offset_of!(VectorState, mxcsr);
/// Offset of XSTATE_BV in the context.
pub const PRESENT: usize = VECTORS + offset_of!(VectorState, present);

const _: () = {
    assert!(FRAME_TOP == 176 && FRAME_TOP.is_multiple_of(16));
    assert!(VECTORS == 192);
    assert!(offset_of!(VectorState, mxcsr) == 24);
    assert!(offset_of!(VectorState, present) == 512);
    assert!(size_of::<VectorState>() == VECTOR_STATE_SIZE);
    assert!(size_of::<Context>() == 1024);
};

impl Context {
    /// The state of a thread that has not run: at `entry`, with `stack` and two arguments.
    pub fn new(entry: u64, stack: u64, arguments: [u64; 2]) -> Self {
        let registers = Registers {
            rdi: arguments[0],
            rsi: arguments[1],
            rip: entry,
            cs: USER_CODE as u64,
            // Interrupts on; bit 1 is always set.
            rflags: 0x202,
            rsp: stack,
            ss: USER_DATA as u64,
            ..Registers::default()
        };
        Self {
            registers,
            resume: Resume::Trap,
            reserved: 0,
            vectors: VectorState::INITIAL,
        }
    }

    /// Sets what the system call that the thread is in returns.
    #[inline]
    pub fn set_result(&mut self, result: Result<u64, Error>) {
        (self.registers.rax, self.registers.rdx) = match result {
            Ok(value) => (0, value),
            Err(error) => (error as u64, 0),
        };
    }

    /// Sets a result that has a number beside the error.
    #[inline]
    pub fn set_answer(&mut self, answer: Result<u64, (Error, u64)>) {
        (self.registers.rax, self.registers.rdx) = match answer {
            Ok(value) => (0, value),
            Err((error, detail)) => (error as u64, detail),
        };
    }

    /// Sets a message as the result of the system call that the thread is in.
    #[inline]
    pub fn set_message(&mut self, message: &Message) {
        let registers = &mut self.registers;
        registers.rax = 0;
        registers.rdx = message.token.0;
        registers.rdi = message.object;
        registers.rsi = message.what.0;
        [registers.r10, registers.r8, registers.r9] = message.arguments;
        registers.r12 = message.trace;
        self.resume = Resume::Message;
    }
}
