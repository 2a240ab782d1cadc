//! Segments, the task segment and the stacks of the exceptions that can strike anywhere.

use x86_64::{
    PrivilegeLevel, VirtAddr,
    instructions::{segmentation, segmentation::Segment, tables},
    structures::{
        gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector},
        tss::TaskStateSegment,
    },
};

use super::{
    Core,
    context::{Context, FRAME_TOP},
};
use crate::memory::stacks;

/// Selectors in the order that `syscall` and `sysret` prescribe.
pub const KERNEL_CODE: u16 = 0x08;
/// The kernel's stack segment.
pub const KERNEL_DATA: u16 = 0x10;
/// The programs' stack segment, with privilege level 3.
pub const USER_DATA: u16 = 0x18 | 3;
/// The programs' code segment, with privilege level 3.
pub const USER_CODE: u16 = 0x20 | 3;

/// Which stack of its own an exception has (a position in the task segment's table).
#[derive(Clone, Copy, Debug)]
#[repr(u16)]
pub enum ExceptionStack {
    /// Non-maskable interrupt.
    Nmi = 0,
    /// Machine check.
    MachineCheck = 1,
    /// Double fault.
    DoubleFault = 2,
    /// Debug.
    Debug = 3,
}

/// How many stacks of their own there are.
pub const EXCEPTION_STACKS: usize = 4;

/// One core's descriptor table and task segment.
#[derive(Debug)]
pub struct Segments {
    /// Where the processor finds the stacks.
    pub task: TaskStateSegment,
    table: GlobalDescriptorTable,
}

impl Segments {
    /// Empty tables.
    pub const fn new() -> Self {
        Self {
            task: TaskStateSegment::new(),
            table: GlobalDescriptorTable::new(),
        }
    }

    /// Makes traps from a program push their frame into this context.
    #[inline]
    pub fn set_trap_stack(&mut self, context: *mut Context) {
        let top = context.wrapping_byte_add(FRAME_TOP) as u64;
        // SAFETY: a context lies in the kernel's half, the addresses of which are all canonical.
        self.task.privilege_stack_table[0] = unsafe { VirtAddr::new_unsafe(top) };
    }
}

/// Gives this core its stacks and loads its tables.
pub fn load(core: &'static Core) {
    // SAFETY: the segments are this core's own, and it is not using them yet.
    let segments = unsafe { &mut *core.segments.get() };
    let mut tops = [VirtAddr::zero(); 7];
    for (slot, top) in tops.iter_mut().zip(stacks::exception_stacks(core)) {
        *slot = VirtAddr::new(top);
    }
    segments.task.interrupt_stack_table = tops;
    segments.table = GlobalDescriptorTable::new();
    segments.table.append(Descriptor::kernel_code_segment());
    segments.table.append(Descriptor::kernel_data_segment());
    segments.table.append(Descriptor::user_data_segment());
    segments.table.append(Descriptor::user_code_segment());
    // SAFETY: the task segment lies in a static and is never moved.
    let task = segments
        .table
        .append(unsafe { Descriptor::tss_segment_unchecked(core.task_segment()) });
    let kernel = |selector: u16| SegmentSelector::new(selector >> 3, PrivilegeLevel::Ring0);
    // SAFETY: the table lies in a static, is complete, and its selectors are those that the
    // constants name, in the order in which they were appended.
    unsafe {
        segments.table.load_unsafe();
        segmentation::CS::set_reg(kernel(KERNEL_CODE));
        segmentation::SS::set_reg(kernel(KERNEL_DATA));
        segmentation::DS::set_reg(SegmentSelector::NULL);
        segmentation::ES::set_reg(SegmentSelector::NULL);
        tables::load_tss(task);
    }
}
