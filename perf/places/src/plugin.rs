//! What QEMU calls, by the interface of its `qemu-plugin.h`, version 3.
//!
//! QEMU adds to two counters at each instruction by itself, and calls back at markers, at changes of
//! the address space, and at writes to memory, to find those that go to devices.

use core::{
    ffi::{CStr, c_char, c_int, c_uint, c_void},
    ptr,
};
use std::{
    fs::File,
    io::Write,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use crate::{
    books::{Books, Counts},
    decode::{Kind, decode},
};

/// The version of the interface.
#[unsafe(no_mangle)]
pub static qemu_plugin_version: c_int = 3;

type Opaque = *mut c_void;

/// A place in the counters of a processor (`qemu_plugin_u64`).
#[repr(C)]
#[derive(Clone, Copy)]
struct Entry {
    score: Opaque,
    offset: usize,
}

/// `qemu_plugin_reg_descriptor`.
#[repr(C)]
struct Register {
    handle: Opaque,
    name: *const c_char,
    feature: *const c_char,
}

/// `GArray` and `GByteArray` of GLib, whose public parts are the same.
#[repr(C)]
struct Array {
    data: *mut c_void,
    length: c_uint,
}

/// `QEMU_PLUGIN_CB_NO_REGS`, `QEMU_PLUGIN_CB_R_REGS`.
const NO_REGISTERS: c_int = 0;
const READS_REGISTERS: c_int = 1;
/// `QEMU_PLUGIN_INLINE_ADD_U64`.
const ADD: c_int = 0;
/// `QEMU_PLUGIN_MEM_W`.
const WRITES: c_int = 2;

unsafe extern "C" {
    fn qemu_plugin_register_vcpu_init_cb(id: u64, call: extern "C" fn(u64, c_uint));
    fn qemu_plugin_register_vcpu_tb_trans_cb(id: u64, call: extern "C" fn(u64, Opaque));
    fn qemu_plugin_tb_n_insns(block: Opaque) -> usize;
    fn qemu_plugin_tb_get_insn(block: Opaque, index: usize) -> Opaque;
    fn qemu_plugin_insn_vaddr(instruction: Opaque) -> u64;
    fn qemu_plugin_insn_size(instruction: Opaque) -> usize;
    fn qemu_plugin_insn_data(instruction: Opaque, to: *mut u8, length: usize) -> usize;
    fn qemu_plugin_register_vcpu_insn_exec_cb(
        instruction: Opaque,
        call: extern "C" fn(c_uint, *mut c_void),
        flags: c_int,
        data: *mut c_void,
    );
    fn qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(
        instruction: Opaque,
        operation: c_int,
        entry: Entry,
        value: u64,
    );
    fn qemu_plugin_register_vcpu_mem_cb(
        instruction: Opaque,
        call: extern "C" fn(c_uint, u32, u64, *mut c_void),
        flags: c_int,
        access: c_int,
        data: *mut c_void,
    );
    fn qemu_plugin_get_hwaddr(access: u32, address: u64) -> Opaque;
    fn qemu_plugin_hwaddr_is_io(address: Opaque) -> bool;
    fn qemu_plugin_hwaddr_phys_addr(address: Opaque) -> u64;
    fn qemu_plugin_scoreboard_new(bytes: usize) -> Opaque;
    fn qemu_plugin_u64_get(entry: Entry, processor: c_uint) -> u64;
    fn qemu_plugin_get_registers() -> *mut Array;
    fn qemu_plugin_read_register(handle: Opaque, to: *mut Array) -> c_int;
    fn g_byte_array_new() -> *mut Array;
    fn g_byte_array_set_size(array: *mut Array, length: c_uint) -> *mut Array;
}

/// Names of the general registers in the order of their numbers (Intel SDM vol. 2, 2.2.1).
const NAMES: [&CStr; 16] = [
    c"rax", c"rcx", c"rdx", c"rbx", c"rsp", c"rbp", c"rsi", c"rdi", c"r8", c"r9", c"r10", c"r11",
    c"r12", c"r13", c"r14", c"r15",
];
/// The number of `rax`.
const RAX: usize = 0;
/// Where the IOMMU of QEMU's `q35` takes new entries of its invalidation queue (Intel VT-d 11.4.9.3,
/// Invalidation Queue Tail Register).
const INVALIDATION_TAIL: u64 = 0xfed9_0088;

/// Everything that the plugin knows.
struct State {
    out: File,
    kernel: Entry,
    user: Entry,
    registers: [Opaque; NAMES.len()],
    /// Where QEMU puts the value of a register.
    value: *mut Array,
    mmio_writes: u64,
    iotlb_flushes: u64,
    books: Books,
}

// SAFETY: the pointers are QEMU's, which may be used by any of its threads; the state is used by one at a
// time, under the lock.
unsafe impl Send for State {}

static STATE: OnceLock<Mutex<State>> = OnceLock::new();

/// The state, once the plugin is installed.
fn state() -> Option<MutexGuard<'static, State>> {
    let state = STATE.get()?.lock();
    Some(state.unwrap_or_else(PoisonError::into_inner))
}

/// Called by QEMU when it loads the plugin. The argument is `out=FILE`.
///
/// # Safety
///
/// `words` are `count` texts, as in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    id: u64,
    _: *const c_void,
    count: c_int,
    words: *const *const c_char,
) -> c_int {
    let words = (0..usize::try_from(count).unwrap_or(0)).map(|index| {
        // SAFETY: the caller says so.
        unsafe { CStr::from_ptr(*words.add(index)) }.to_string_lossy()
    });
    let path = words
        .filter_map(|word| Some(word.strip_prefix("out=")?.to_string()))
        .next_back();
    let Some(Ok(out)) = path.map(File::create) else {
        eprintln!("places: write out=FILE, a file that can be written");
        return 1;
    };
    // SAFETY: plain calls, allowed while a plugin is installed; the closures' signatures are those of the
    // interface.
    unsafe {
        let score = qemu_plugin_scoreboard_new(2 * size_of::<u64>());
        let state = State {
            out,
            kernel: Entry { score, offset: 0 },
            user: Entry {
                score,
                offset: size_of::<u64>(),
            },
            registers: [ptr::null_mut(); NAMES.len()],
            value: g_byte_array_new(),
            mmio_writes: 0,
            iotlb_flushes: 0,
            books: Books::default(),
        };
        if STATE.set(Mutex::new(state)).is_err() {
            return 1;
        }
        qemu_plugin_register_vcpu_init_cb(id, started);
        qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    }
    0
}

/// A processor is there: its registers can be asked for.
extern "C" fn started(_: u64, _: c_uint) {
    let Some(mut state) = state() else { return };
    // SAFETY: this is called by the processor's thread, as the interface wants it; the array is of such
    // descriptors, whose names are texts.
    unsafe {
        let all = qemu_plugin_get_registers();
        if all.is_null() {
            return;
        }
        let list = (*all).data.cast::<Register>();
        for index in 0..(*all).length as usize {
            let Register { handle, name, .. } = ptr::read(list.add(index));
            let name = CStr::from_ptr(name);
            if let Some(number) = NAMES.iter().position(|known| *known == name) {
                state.registers[number] = handle;
            }
        }
    }
}

/// Instructions have been translated: says what is to be counted when they are executed.
extern "C" fn translated(_: u64, block: Opaque) {
    let Some(state) = state() else { return };
    // SAFETY: the block and its instructions live until this returns, and the indices are in it.
    unsafe {
        for index in 0..qemu_plugin_tb_n_insns(block) {
            let instruction = qemu_plugin_tb_get_insn(block, index);
            let is_kernel = qemu_plugin_insn_vaddr(instruction) >> 63 == 1;
            let entry = if is_kernel { state.kernel } else { state.user };
            qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(instruction, ADD, entry, 1);
            let none = ptr::null_mut();
            qemu_plugin_register_vcpu_mem_cb(instruction, written, NO_REGISTERS, WRITES, none);
            let mut bytes = [0; 4];
            let length = qemu_plugin_insn_size(instruction);
            if length > bytes.len() {
                continue;
            }
            let length = qemu_plugin_insn_data(instruction, bytes.as_mut_ptr(), length);
            let (call, data): (extern "C" fn(c_uint, *mut c_void), _) =
                match decode(bytes.get(..length).unwrap_or(&[])) {
                    Kind::Marker if !is_kernel => (marker, RAX),
                    Kind::Switch(register) if is_kernel => (switched, register),
                    _ => continue,
                };
            let data = ptr::without_provenance_mut(data);
            qemu_plugin_register_vcpu_insn_exec_cb(instruction, call, READS_REGISTERS, data);
        }
    }
}

/// A program comes to a marker.
extern "C" fn marker(processor: c_uint, register: *mut c_void) {
    let Some(mut state) = state() else { return };
    let number = state.read(register.addr());
    let counts = state.counts(processor);
    if let Some(region) = state.books.marker(counts, number) {
        // Whoever reads the file finds that a line is missing.
        let _ = writeln!(state.out, "{region}");
    }
}

/// The kernel changes the address space, to what is in a register.
extern "C" fn switched(processor: c_uint, register: *mut c_void) {
    let Some(mut state) = state() else { return };
    let space = state.read(register.addr());
    let counts = state.counts(processor);
    state.books.switch(counts, space);
}

/// Something is written to memory, or to a device.
extern "C" fn written(_: c_uint, access: u32, address: u64, _: *mut c_void) {
    // SAFETY: the handle lives until this returns.
    let place = unsafe {
        let place = qemu_plugin_get_hwaddr(access, address);
        if place.is_null() || !qemu_plugin_hwaddr_is_io(place) {
            return;
        }
        qemu_plugin_hwaddr_phys_addr(place)
    };
    let Some(mut state) = state() else { return };
    match place {
        INVALIDATION_TAIL => state.iotlb_flushes += 1,
        _ => state.mmio_writes += 1,
    }
}

impl State {
    fn counts(&self, processor: c_uint) -> Counts {
        // SAFETY: the entries are of a scoreboard that is never freed.
        let (kernel, user) = unsafe {
            (
                qemu_plugin_u64_get(self.kernel, processor),
                qemu_plugin_u64_get(self.user, processor),
            )
        };
        Counts {
            kernel,
            user,
            mmio_writes: self.mmio_writes,
            iotlb_flushes: self.iotlb_flushes,
        }
    }

    /// The value of a general register; 0 if QEMU does not know it.
    fn read(&self, register: usize) -> u64 {
        let handle = self.registers.get(register).copied();
        let Some(handle) = handle.filter(|handle| !handle.is_null()) else {
            return 0;
        };
        // SAFETY: the handle is the register's, and this is called from a call-back that reads registers.
        // GLib's array has as many bytes as it says.
        unsafe {
            g_byte_array_set_size(self.value, 0);
            if qemu_plugin_read_register(handle, self.value) < size_of::<u64>() as c_int {
                return 0;
            }
            ptr::read_unaligned((*self.value).data.cast())
        }
    }
}
