//! The axes of a plan whose values have names.

use serde::{Deserialize, Serialize};

macro_rules! axis {
    ($(#[$doc:meta])* $axis:ident { $($(#[$value_doc:meta])* $value:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $axis {
            $($(#[$value_doc])* $value,)*
        }

        impl $axis {
            /// Every value, in the order of reports.
            pub const ALL: &'static [Self] = &[$(Self::$value,)*];

            /// The name in plans and data.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $name,)*
                }
            }

            /// The value of a name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.name() == name)
            }
        }
    };
}

axis! {
    /// The way from an application to the driver.
    Level {
        /// A system call for each request.
        Sync = "sync",
        /// Rings shared with the kernel.
        Async = "async",
        /// Rings shared with the driver process.
        Shared = "shared",
        /// The driver in the application.
        Integrated = "integrated",
    }
}

axis! {
    /// What is driven.
    Device {
        /// QEMU's NVMe controller.
        Nvme = "nvme",
        /// A disk that is memory of the driver process.
        RamDisk = "ramdisk",
    }
}

axis! {
    /// What the emulator has behind the device.
    Backend {
        /// Nothing: reads give zeros at no cost.
        Null = "null",
        /// A disk image, filled with a pattern.
        File = "file",
    }
}

axis! {
    /// Where requests go.
    Pattern {
        /// Anywhere on the disk.
        Random = "random",
        /// One behind the other.
        Sequential = "sequential",
    }
}

axis! {
    /// How completions are waited for.
    Wait {
        /// By looking, again and again.
        Poll = "poll",
        /// By sleeping until an interrupt or a wake-up.
        Interrupt = "interrupt",
        /// By looking for a while, then sleeping.
        Adaptive = "adaptive",
    }
}

axis! {
    /// Which core the driver process has.
    Topology {
        /// That of the application.
        SameCore = "same-core",
        /// Its own.
        SplitCore = "split-core",
    }
}

axis! {
    /// How data gets from the driver to the application.
    Buffers {
        /// The kernel copies it.
        Copied = "copied",
        /// The device writes into memory that the application registered.
        Registered = "registered",
    }
}
