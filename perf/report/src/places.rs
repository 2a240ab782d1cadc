//! Where the instructions of measured regions went, as QEMU's plugin (`perf/places`) writes it: a line for
//! each region.
//!
//! ```text
//! number app others kernel mmio_writes iotlb_flushes
//! ```

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// What is known of regions, by their numbers.
pub type Places = BTreeMap<u64, Place>;

/// What a region took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Instructions of the program that measures.
    pub app: u64,
    /// Instructions of other programs.
    pub others: u64,
    /// Instructions of the kernel.
    pub kernel: u64,
    /// Writes to registers of devices.
    pub mmio_writes: u64,
    /// Times that the IOMMU was told to forget translations.
    pub iotlb_flushes: u64,
}

/// Reads what the plugin wrote.
pub fn parse(text: &str) -> Result<Places> {
    text.lines().map(line).collect()
}

fn line(text: &str) -> Result<(u64, Place)> {
    let numbers: Option<Vec<u64>> = text.split(' ').map(|word| word.parse().ok()).collect();
    let numbers: Option<[u64; 6]> = numbers.and_then(|numbers| numbers.try_into().ok());
    let numbers = numbers.with_context(|| format!("this is no line of six numbers: {text}"))?;
    let [number, app, others, kernel, mmio_writes, iotlb_flushes] = numbers;
    let place = Place {
        app,
        others,
        kernel,
        mmio_writes,
        iotlb_flushes,
    };
    Ok((number, place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_torn_ones_refused() {
        let places = parse("1 2 3 4 5 6\n7 0 0 0 0 0\n").unwrap();
        let first = Place {
            app: 2,
            others: 3,
            kernel: 4,
            mmio_writes: 5,
            iotlb_flushes: 6,
        };
        assert_eq!((places.len(), places[&1]), (2, first));
        for text in [
            "1 2 3 4 5",
            "1 2 3 4 5 6 7",
            "1 2 3 4 5 x",
            "\n",
            "-1 2 3 4 5 6",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
