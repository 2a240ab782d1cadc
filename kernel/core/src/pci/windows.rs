//! Which addresses a bridge passes on to the devices behind it.

use core::ops::Range;

/// The windows of a bridge, prefetchable and not; empty ones included. `read` reads a register of
/// 32 bits of its configuration space (PCI-to-PCI Bridge Architecture 1.2, sections 3.2.5.8 to
/// 3.2.5.10).
pub fn of_bridge(read: impl Fn(u16) -> u32) -> [Range<u64>; 2] {
    let prefetchable = read(0x24);
    let is_wide = prefetchable & 0xf == 1;
    let upper = |offset| {
        if is_wide {
            u64::from(read(offset)) << 32
        } else {
            0
        }
    };
    [
        window(read(0x20), 0, 0),
        window(prefetchable, upper(0x28), upper(0x2c)),
    ]
}

/// Whether a bridge with these windows passes on all of a range.
pub fn lead_to(windows: &[Range<u64>], range: &Range<u64>) -> bool {
    windows
        .iter()
        .any(|window| window.start <= range.start && range.end <= window.end)
}

/// Base and limit are the upper 12 of 16 bits each, in units of 1 MiB.
fn window(register: u32, upper_base: u64, upper_limit: u64) -> Range<u64> {
    let base = upper_base | u64::from(register & 0xfff0) << 16;
    let limit = upper_limit | u64::from(register & 0xfff0_0000) | 0xf_ffff;
    if base > limit {
        0..0
    } else {
        base..limit.saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bridge(memory: u32, prefetchable: u32, base: u32, limit: u32) -> [Range<u64>; 2] {
        of_bridge(|offset| match offset {
            0x20 => memory,
            0x24 => prefetchable,
            0x28 => base,
            0x2c => limit,
            _ => panic!("another register"),
        })
    }

    #[test]
    fn windows_are_those_of_the_specification() {
        // What QEMU's firmware gives a root port: 2 MiB below 4 GiB, 32 GiB above.
        let [memory, prefetchable] = bridge(0xfe90_fe80, 0xfff1_0001, 0x70, 0x77);
        assert_eq!(memory, 0xfe80_0000..0xfea0_0000);
        assert_eq!(prefetchable, 0x70_0000_0000..0x78_0000_0000);
        let [_, narrow] = bridge(0, 0xfff0_fe00, 7, 7);
        assert_eq!(narrow, 0xfe00_0000..0x1_0000_0000);
    }

    #[test]
    fn what_lies_in_no_window_is_not_reached() {
        let windows = [0x1000..0x3000, 0x3000..0x4000];
        assert!(lead_to(&windows, &(0x1000..0x3000)));
        assert!(lead_to(&windows, &(0x3800..0x4000)));
        for outside in [0xf00..0x1100, 0x2000..0x3001, 0x4000..0x5000, 0..0x8000] {
            assert!(!lead_to(&windows, &outside));
        }
        assert!(!lead_to(&[0..0, 0..0], &(0x1000..0x2000)));
    }

    #[test]
    fn a_closed_window_is_empty() {
        let [memory, prefetchable] = bridge(0x0000_fff0, 0x0001_fff1, 0, 0);
        assert!(memory.is_empty() && prefetchable.is_empty());
    }
}
