//! Fault records: what a unit blocked (section 7.2).

use spillway_kernel_core::iommu::{
    fault::Fault,
    vtd::fault_record::{self, IN_USE},
};

use super::{
    registers::{FAULT_ADDRESS, FAULT_CONTROL, FAULT_DATA, FAULT_STATUS, FAULT_UPPER_ADDRESS},
    unit::Unit,
};
use crate::platform::{apic, vectors};

/// Fault status: some were lost; some are recorded (section 11.4.7.1).
const OVERFLOW: u32 = 1;
const PENDING: u32 = 1 << 1;
/// Fault control: do not interrupt (section 11.4.7.2).
const MASKED: u32 = 1 << 31;

impl Unit {
    /// Takes the oldest fault out of the records.
    pub fn take_fault(&self) -> Option<Fault> {
        let _state = self.state.lock();
        let status = self.registers.read32(FAULT_STATUS);
        if status & PENDING == 0 {
            return None;
        }
        let count = self.capabilities.fault_record_count();
        let oldest = status >> 8 & 0xff;
        (0..count).find_map(|step| {
            let record = (oldest + step) % count;
            let at = u64::from(self.capabilities.fault_records() + record * 16);
            let second = self.registers.read64(at + 8);
            let words = [self.registers.read64(at), second];
            let fault = fault_record::decode(self.segment, words)?;
            self.registers.write64(at + 8, IN_USE);
            Some(fault)
        })
    }

    /// Whether faults were lost since the last call, for want of a free record.
    pub fn take_overflow(&self) -> bool {
        let _state = self.state.lock();
        let is_lost = self.registers.read32(FAULT_STATUS) & OVERFLOW != 0;
        if is_lost {
            self.registers.write32(FAULT_STATUS, OVERFLOW);
        }
        is_lost
    }

    /// Keeps the unit from interrupting when something is blocked; it records all the same.
    pub fn quiet_faults(&self) {
        self.registers.write32(FAULT_CONTROL, MASKED);
    }

    /// Has the unit interrupt this core when something is blocked. Its own message is not
    /// remapped (section 7.3). Faults of the time before are forgotten.
    pub(super) fn report_faults(&self) {
        for _ in 0..self.capabilities.fault_record_count() {
            let Some(fault) = self.take_fault() else {
                break;
            };
            log::debug!("before the kernel: {fault}");
        }
        self.take_overflow();
        let apic_id = apic::id();
        let address = 0xfee0_0000 | (apic_id & 0xff) << 12;
        self.registers
            .write32(FAULT_DATA, vectors::IOMMU_FAULT.into());
        self.registers.write32(FAULT_ADDRESS, address);
        self.registers.write32(FAULT_UPPER_ADDRESS, apic_id & !0xff);
        self.unquiet_faults();
    }

    /// Lets the unit interrupt again, at once if something is recorded.
    pub fn unquiet_faults(&self) {
        self.registers.write32(FAULT_CONTROL, 0);
    }
}
