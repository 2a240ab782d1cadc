//! What the processor can do, and switching on what protects the kernel.

use core::sync::atomic::{AtomicBool, Ordering};

use raw_cpuid::CpuId;
use spin::Once;
use x86_64::registers::{
    control::{Cr0, Cr0Flags, Cr4, Cr4Flags},
    model_specific::Msr,
    rflags::{self, RFlags},
    xcontrol::{XCr0, XCr0Flags},
};

/// What matters of `cpuid`, found once on the first core.
#[derive(Clone, Copy, Debug, Default)]
pub struct Features {
    /// Supervisor mode execution prevention.
    pub smep: bool,
    /// Supervisor mode access prevention.
    pub smap: bool,
    /// User mode instruction prevention.
    pub umip: bool,
    /// No-execute pages.
    pub no_execute: bool,
    /// `xsave` and its family.
    pub xsave: bool,
    /// AVX registers.
    pub avx: bool,
    /// `rdtscp`, and with it the core's number for programs.
    pub rdtscp: bool,
    /// The time-stamp counter runs at one rate in all power states.
    pub invariant_tsc: bool,
    /// The processor says that it is not open to Meltdown (or is of a maker whose never were).
    pub meltdown_immune: bool,
    /// The indirect branch predictor barrier exists.
    pub branch_barrier: bool,
}

static FEATURES: Once<Features> = Once::new();

/// Whether the entry code may use `xsave`. Read by assembly.
pub static HAS_XSAVE: AtomicBool = AtomicBool::new(false);
/// Whether copies may use the registers of AVX.
pub static HAS_AVX: AtomicBool = AtomicBool::new(false);
/// Whether user memory is only reached between `stac` and `clac`.
pub static HAS_SMAP: AtomicBool = AtomicBool::new(false);

/// IA32_ARCH_CAPABILITIES (Intel SDM vol. 4, table 2-2); bit 0 is RDCL_NO.
const ARCH_CAPABILITIES: u32 = 0x10a;
/// IA32_PRED_CMD (Intel SDM vol. 4, table 2-2); bit 0 is IBPB.
const PREDICTOR_COMMAND: u32 = 0x49;

/// The features of this machine.
pub fn features() -> &'static Features {
    FEATURES.call_once(detect)
}

fn detect() -> Features {
    let cpuid = CpuId::new();
    let basic = cpuid.get_feature_info();
    let extended = cpuid.get_extended_feature_info();
    let amd = cpuid.get_extended_processor_and_feature_identifiers();
    let xsave = basic.as_ref().is_some_and(|f| f.has_xsave());
    // Leaf 7, EDX: bit 26 says that IA32_PRED_CMD exists, bit 29 that IA32_ARCH_CAPABILITIES
    // does (Intel SDM vol. 2A, CPUID).
    let leaf7 = if cpuid.get_vendor_info().is_some() && extended.is_some() {
        core::arch::x86_64::__cpuid_count(7, 0).edx
    } else {
        0
    };
    let is_amd = cpuid
        .get_vendor_info()
        .is_some_and(|v| matches!(v.as_str(), "AuthenticAMD" | "HygonGenuine"));
    let capabilities = if leaf7 & 1 << 29 != 0 {
        // SAFETY: the register exists where leaf 7 says so, and reading it has no effect.
        unsafe { Msr::new(ARCH_CAPABILITIES).read() }
    } else {
        0
    };
    Features {
        smep: extended.as_ref().is_some_and(|f| f.has_smep()),
        smap: extended.as_ref().is_some_and(|f| f.has_smap()),
        umip: extended.as_ref().is_some_and(|f| f.has_umip()),
        no_execute: amd.as_ref().is_some_and(|f| f.has_execute_disable()),
        xsave,
        avx: xsave && basic.as_ref().is_some_and(|f| f.has_avx()),
        rdtscp: amd.as_ref().is_some_and(|f| f.has_rdtscp()),
        invariant_tsc: cpuid
            .get_advanced_power_mgmt_info()
            .is_some_and(|f| f.has_invariant_tsc()),
        meltdown_immune: is_amd || capabilities & 1 != 0,
        branch_barrier: leaf7 & 1 << 26 != 0,
    }
}

/// Switches on, on this core, what the kernel relies on and what protects it.
pub fn enable_features() {
    let features = features();
    // SAFETY: the bits make the processor stricter or enable state that the entry code saves;
    // each optional one is set only where `cpuid` has it. Kernel text is not writable and never
    // touches user pages outside `user_copy`, so the stricter rules hold at once.
    unsafe {
        Cr0::update(|flags| {
            flags.remove(Cr0Flags::EMULATE_COPROCESSOR | Cr0Flags::TASK_SWITCHED);
            flags.insert(
                Cr0Flags::MONITOR_COPROCESSOR | Cr0Flags::NUMERIC_ERROR | Cr0Flags::WRITE_PROTECT,
            );
        });
        Cr4::update(|flags| {
            flags.insert(Cr4Flags::OSFXSR | Cr4Flags::OSXMMEXCPT_ENABLE | Cr4Flags::PAGE_GLOBAL);
            flags.set(
                Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION,
                features.smep,
            );
            flags.set(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION, features.smap);
            flags.set(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION, features.umip);
            flags.set(Cr4Flags::OSXSAVE, features.xsave);
            // `fs` and `gs` bases stay the kernel's to set, and `rdpmc` stays privileged.
            flags.remove(Cr4Flags::FSGSBASE | Cr4Flags::PERFORMANCE_MONITOR_COUNTER);
        });
        if features.xsave {
            let mut state = XCr0Flags::X87 | XCr0Flags::SSE;
            state.set(XCr0Flags::AVX, features.avx);
            XCr0::write(state);
        }
    }
    set_write_combining();
    HAS_XSAVE.store(features.xsave, Ordering::Relaxed);
    HAS_AVX.store(features.avx, Ordering::Relaxed);
    HAS_SMAP.store(features.smap, Ordering::Relaxed);
}

/// Makes entry 1 of the page attribute table, which write-through would be and which nobody uses,
/// write combining (Intel SDM vol. 3, 12.12).
fn set_write_combining() {
    /// IA32_PAT (Intel SDM vol. 4, table 2-2): a byte per entry; 1 is write combining.
    const PAT: u32 = 0x277;
    // SAFETY: every x86_64 processor has the register, and no mapping uses the entry yet.
    unsafe {
        let mut pat = Msr::new(PAT);
        let value = pat.read();
        pat.write(value & !0xff00 | 0x0100);
    }
}

/// Makes sure that no flag which a program can set has come into the kernel: AC, which would open
/// programs' memory to it, DF, which turns copies round, and NT, which forbids `iret`. Asked where
/// it costs nothing: when a program has done something wrong.
///
/// # Panics
///
/// If one has, which is a bug of the entry code.
pub fn assert_clean_flags() {
    let mut forbidden = RFlags::DIRECTION_FLAG | RFlags::NESTED_TASK;
    forbidden.set(RFlags::ALIGNMENT_CHECK, features().smap);
    let flags = rflags::read();
    assert!(
        !flags.intersects(forbidden),
        "a program's flags came into the kernel: {flags:?}"
    );
}

/// Sets the base of `fs`, an address of a program.
#[inline(always)]
pub fn set_fs_base(base: u64) {
    /// IA32_FS_BASE (Intel SDM vol. 4, table 2-2).
    const FS_BASE: u32 = 0xc000_0100;
    // SAFETY: the kernel does not use `fs`.
    unsafe { Msr::new(FS_BASE).write(base) }
}

static FLUSH_BRANCHES: AtomicBool = AtomicBool::new(false);

/// Sets whether the branch predictor is flushed when another program runs; only where the
/// processor has the barrier.
pub fn set_branch_flush(flush: bool) {
    FLUSH_BRANCHES.store(flush, Ordering::Relaxed);
}

/// Whether the branch predictor is flushed when another program runs.
#[inline]
pub fn flushes_branches() -> bool {
    FLUSH_BRANCHES.load(Ordering::Relaxed)
}

/// Makes the processor forget what it predicted for the program that ran before.
#[inline]
pub fn flush_branch_predictor() {
    // SAFETY: called only where the command exists; it has no effect but on prediction.
    unsafe { Msr::new(PREDICTOR_COMMAND).write(1) }
}
