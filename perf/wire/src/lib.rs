//! What a program that measures tells the host, over nothing but lines of a log.
//!
//! A log is shared by all programs and the kernel, may pass a serial line, and may be cut off. So
//! what is told is cut into numbered lines with a length and a checksum ([`frame`]), which the host
//! puts together again ([`reader`]), and which say when they are complete. What they hold is JSON
//! ([`message`]): quantities of a case of a plan ([`quantity`]), latencies ([`histogram`]), or any
//! other figure.
//!
//! Both sides use this crate, so that both are tested on the host.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod frame;
pub mod histogram;
pub mod message;
pub mod quantity;
pub mod reader;

use serde::{Deserialize, Serialize};

pub use histogram::Histogram;
pub use quantity::Quantity;

/// How a figure came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// An emulator counted instructions.
    Counted,
    /// A clock.
    Timed,
    /// Computed from a model of a machine. No program reports it.
    Modelled,
}

impl Method {
    /// Every method, in the order of reports.
    pub const ALL: [Self; 3] = [Self::Counted, Self::Timed, Self::Modelled];

    /// The name in data and arguments.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::Timed => "timed",
            Self::Modelled => "modelled",
        }
    }

    /// As the first argument of a measuring program says it.
    pub fn from_argument(argument: Option<&str>) -> Option<Self> {
        match argument? {
            "counted" => Some(Self::Counted),
            "timed" => Some(Self::Timed),
            _ => None,
        }
    }
}
