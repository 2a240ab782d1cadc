//! Counters per process and for the whole system, read through a Counters object as
//! [`COUNTER_COUNT`] little-endian 64-bit words.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = $index:literal, $text:literal;)*) => {
        /// The position of a counter. New ones are only ever added at the end.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Counter {
            $($(#[$doc])* $name = $index,)*
        }

        impl Counter {
            /// Every counter, in the order of the positions.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name in reports.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

counters! {
    /// System calls.
    SystemCalls = 0, "system_calls";
    /// Changes from one thread to another.
    ThreadSwitches = 1, "thread_switches";
    /// Changes from one address space to another.
    AddressSpaceSwitches = 2, "address_space_switches";
    /// Threads made ready again after a wait.
    WakeUps = 3, "wake_ups";
    /// Interrupts taken.
    Interrupts = 4, "interrupts";
    /// Exceptions of programs.
    Faults = 5, "faults";
    /// Copies between a program and the kernel or another program.
    Copies = 6, "copies";
    /// Bytes in those copies.
    BytesCopied = 7, "bytes_copied";
    /// Requests to other cores to forget translations.
    Shootdowns = 8, "shootdowns";
    /// Times that a core went to sleep for want of work (system only).
    Idles = 9, "idles";
    /// Interrupts that no device of anybody sent (system only).
    SpuriousInterrupts = 10, "spurious_interrupts";
    /// Accesses and interrupts of devices that an IOMMU blocked and recorded, those without a
    /// record counted as one (system only).
    BlockedRequests = 11, "blocked_requests";
}

/// How many counters there are.
pub const COUNTER_COUNT: usize = 12;

const _: () = {
    let mut index = 0;
    while index < Counter::ALL.len() {
        assert!(Counter::ALL[index] as usize == index);
        index += 1;
    }
    assert!(Counter::ALL.len() == COUNTER_COUNT);
};
