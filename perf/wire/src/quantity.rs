//! What is counted of a case of a plan: totals over a measured region, which the host divides by
//! the operations in it.

/// A total of a measured region. Whoever measures reports those that it knows; one that is absent
/// was not looked at, which is not the same as zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quantity {
    /// Instructions of work, everywhere: without polls in vain and idling, with accounting off.
    Instructions,
    /// Of them, those in the application, with accounting on.
    Application,
    /// Of them, those in the driver process, with accounting on.
    Driver,
    /// Of them, those in the kernel, with accounting on.
    Kernel,
    /// Polls that found nothing.
    EmptyPolls,
    /// Instructions in them.
    EmptyPollInstructions,
    /// Instructions of idling.
    IdleInstructions,
    /// System calls, of all processes.
    SystemCalls,
    /// Changes from one address space to another.
    AddressSpaceSwitches,
    /// Writes to registers of devices.
    MmioWrites,
    /// Interrupts taken.
    Interrupts,
    /// Threads made ready again after a wait.
    WakeUps,
    /// Bytes that a processor copied.
    BytesCopied,
    /// Flushes of the IOMMU's translations.
    IotlbFlushes,
    /// Real time of the region in nanoseconds; the host makes operations per second of it.
    Nanoseconds,
}

impl Quantity {
    /// Every quantity, in the order of reports.
    pub const ALL: [Self; 15] = [
        Self::Instructions,
        Self::Application,
        Self::Driver,
        Self::Kernel,
        Self::EmptyPolls,
        Self::EmptyPollInstructions,
        Self::IdleInstructions,
        Self::SystemCalls,
        Self::AddressSpaceSwitches,
        Self::MmioWrites,
        Self::Interrupts,
        Self::WakeUps,
        Self::BytesCopied,
        Self::IotlbFlushes,
        Self::Nanoseconds,
    ];

    /// The name in a record.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Application => "app",
            Self::Driver => "driver",
            Self::Kernel => "kernel",
            Self::EmptyPolls => "empty_polls",
            Self::EmptyPollInstructions => "empty_poll_instructions",
            Self::IdleInstructions => "idle_instructions",
            Self::SystemCalls => "system_calls",
            Self::AddressSpaceSwitches => "address_space_switches",
            Self::MmioWrites => "mmio_writes",
            Self::Interrupts => "interrupts",
            Self::WakeUps => "wake_ups",
            Self::BytesCopied => "bytes_copied",
            Self::IotlbFlushes => "iotlb_flushes",
            Self::Nanoseconds => "nanoseconds",
        }
    }

    /// The quantity of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }
}
