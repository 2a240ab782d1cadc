//! Configuration spaces that are right, and ones that are garbage.

use proptest::prelude::*;
use spillway_emu::{BarKind, Bus, ConfigSpace, EmulatedDevice, Function, Machine};
use spillway_hal::{Device, DeviceId, DriverErrorKind};
use spillway_pci::{
    Bar, Capability, CapabilityId, CommandRegister, DeviceType, Msi, Msix, Place, bars,
    capabilities, command, decode_bars, decode_size, device_type, extended_capabilities,
    find_capability, status,
};

/// A function that has nothing but a configuration space.
struct Plain(ConfigSpace);

impl EmulatedDevice for Plain {
    fn config(&self) -> ConfigSpace {
        self.0.clone()
    }
    fn read(&mut self, _: &Bus<'_>, _: u8, _: usize, _: usize) -> u64 {
        0
    }
    fn write(&mut self, _: &Bus<'_>, _: u8, _: usize, _: usize, _: u64) {}
    fn reset(&mut self) {}
}

const NVME: DeviceId = DeviceId {
    vendor: 0x1b36,
    device: 0x10,
    class: 1,
    subclass: 8,
    interface: 2,
    revision: 2,
};

fn plugged(config: ConfigSpace) -> Function<Plain> {
    Machine::new(Plain(config)).function().unwrap()
}

/// An NVMe controller as QEMU makes one.
fn nvme() -> ConfigSpace {
    ConfigSpace::new(NVME)
        .bar(0, BarKind::Memory64, 0x4000)
        .express()
        .msix(65, 0, 0x2000)
        .msi(8)
}

#[test]
fn a_real_function() {
    let device = plugged(nvme());
    assert_eq!(device_type(device.id()), DeviceType::NvmeController);
    device.set_bus_master(true).unwrap();
    let expected = CommandRegister::MEMORY_ENABLE | CommandRegister::BUS_MASTER_ENABLE;
    assert_eq!(command(&device), Ok(expected));
    assert!(status(&device).unwrap().has_capability_list());

    let ids: Vec<u8> = capabilities(&device)
        .unwrap()
        .map(|item| item.unwrap().id.0)
        .collect();
    assert_eq!(ids, [0x10, 0x11, 0x05]);
    let memory = Bar::Memory {
        address: 0xf000_0000,
        wide: true,
        prefetchable: false,
    };
    assert_eq!(
        bars(&device),
        Ok([Some(memory), None, None, None, None, None])
    );
    assert_eq!(
        Msi::read(&device),
        Ok(Some(Msi {
            vectors: 8,
            wide: true,
            maskable: false
        }))
    );
    let msix = Msix::read(&device).unwrap().unwrap();
    assert_eq!(msix.vectors, 65);
    assert_eq!(
        msix.table,
        Place {
            bar: 0,
            offset: 0x2000
        }
    );
    assert_eq!(msix.table_range(), 0x2000..0x2410);
    assert_eq!(msix.pending_range(), 0x2410..0x2420);
}

#[test]
fn a_function_without_capabilities() {
    let device = plugged(ConfigSpace::new(NVME));
    assert_eq!(capabilities(&device).unwrap().count(), 0);
    assert_eq!(extended_capabilities(&device).count(), 0);
    assert_eq!(find_capability(&device, CapabilityId::MSI), Ok(None));
    assert_eq!(Msix::read(&device), Ok(None));
    assert_eq!(bars(&device), Ok([None; 6]));
}

#[test]
fn a_list_that_runs_in_circles() {
    let mut config = nvme();
    config.put(0x41, &[0x40]);
    let device = plugged(config);
    let items: Vec<_> = capabilities(&device).unwrap().collect();
    assert_eq!(items.len(), 49);
    let last = items[48].unwrap_err();
    assert_eq!(last.kind, DriverErrorKind::Protocol);
    assert_eq!(
        last.to_string(),
        "a capability list runs in circles (Protocol, status 0x40)"
    );
    assert_eq!(
        Msix::read(&device).unwrap_err().kind,
        DriverErrorKind::Protocol
    );
    let express = Capability {
        id: CapabilityId::EXPRESS,
        offset: 0x40,
    };
    assert_eq!(
        find_capability(&device, CapabilityId::EXPRESS),
        Ok(Some(express))
    );
}

/// The lowest two bits of a pointer are reserved and mean nothing.
#[test]
fn pointers_with_reserved_bits() {
    let mut config = nvme();
    config.put(0x34, &[0x43]);
    let first = capabilities(&plugged(config)).unwrap().next();
    assert_eq!(
        first,
        Some(Ok(Capability {
            id: CapabilityId::EXPRESS,
            offset: 0x40
        }))
    );
}

/// Null capabilities are skipped, and a circle of them ends as well.
#[test]
fn a_circle_of_nothing() {
    let mut config = nvme();
    config.put(0x40, &[0x00, 0x40]);
    let items: Vec<_> = capabilities(&plugged(config)).unwrap().collect();
    assert_eq!(items.len(), 1);
    assert!(items[0].is_err());
}

#[test]
fn a_list_that_leads_into_the_header() {
    let mut config = nvme();
    config.put(0x41, &[0x10]);
    let items: Vec<_> = capabilities(&plugged(config)).unwrap().collect();
    assert_eq!(items.len(), 2);
    assert_eq!(items[1].unwrap_err().status, 0x10);
}

/// A full list has 48 entries; the last one lies at 0xfc.
#[test]
fn the_longest_list() {
    let mut config = nvme();
    for offset in (0x40..0x100).step_by(4) {
        config.put(
            offset,
            &[
                0x09,
                if offset == 0xfc { 0 } else { offset as u8 + 4 },
                0,
                0,
            ],
        );
    }
    let items: Vec<_> = capabilities(&plugged(config)).unwrap().collect();
    assert_eq!(items.len(), 48);
    assert_eq!(
        items[47],
        Ok(Capability {
            id: CapabilityId::VENDOR,
            offset: 0xfc
        })
    );
}

#[test]
fn extended_capabilities_are_walked() {
    let mut config = nvme();
    config.put(0x100, &0x1501_0001u32.to_le_bytes()); // error reporting, next at 0x150
    config.put(0x150, &0x0002_0003u32.to_le_bytes());
    let device = plugged(config.clone());
    let items: Vec<_> = extended_capabilities(&device).map(Result::unwrap).collect();
    assert_eq!(items.iter().map(|item| item.id).collect::<Vec<_>>(), [1, 3]);
    assert_eq!((items[1].version, items[1].offset), (2, 0x150));
    config.put(0x150, &0x1002_0003u32.to_le_bytes());
    let items: Vec<_> = extended_capabilities(&plugged(config)).collect();
    assert_eq!(items.len(), 961, "960 entries and the error");
}

#[test]
fn bars_by_their_bits() {
    let memory = |address, wide, prefetchable| {
        Some(Bar::Memory {
            address,
            wide,
            prefetchable,
        })
    };
    let bars = decode_bars([0xe000_0000, 0xc001, 0x0000_000c, 0x10, 0, 0xd000_0008]).unwrap();
    assert_eq!(bars[0], memory(0xe000_0000, false, false));
    assert_eq!(bars[1], Some(Bar::Io { port: 0xc000 }));
    assert_eq!(bars[2], memory(0x10_0000_0000, true, true));
    assert_eq!(bars[3..5], [None; 2]);
    assert_eq!(bars[5], memory(0xd000_0000, false, true));
    for (low, reason) in [
        (0x2, "a BAR of a reserved type"),
        (0x4, "BAR 5 cannot have 64 bits"),
    ] {
        assert_eq!(
            decode_bars([0, 0, 0, 0, 0, low]).unwrap_err().reason,
            reason
        );
    }
}

#[test]
fn sizes_by_their_masks() {
    assert_eq!(decode_size(0xffff_f000, None), Some(0x1000));
    assert_eq!(decode_size(0xffff_fff0, Some(u32::MAX)), Some(16));
    assert_eq!(decode_size(0x8000_0000, None), Some(1 << 31));
    assert_eq!(decode_size(0x0000_000c, Some(u32::MAX)), Some(1 << 32));
    assert_eq!(decode_size(0x0000_000c, Some(1 << 31)), Some(1 << 63));
    assert_eq!(decode_size(0, None), None);
    assert_eq!(decode_size(0x0000_000c, Some(0)), None);
    assert_eq!(decode_size(0xffff_0f00, None), None);
}

#[test]
fn a_table_in_a_wrong_place() {
    let at = 0x7c; // after the PCI Express capability
    let read = |table: u32, pending: u32| {
        let mut config = nvme();
        config.put(at + 4, &table.to_le_bytes());
        config.put(at + 8, &pending.to_le_bytes());
        Msix::read(&plugged(config))
            .map(|_| ())
            .map_err(|error| error.reason)
    };
    assert_eq!(read(0x2000, 0x2410), Ok(()));
    assert_eq!(read(0x2000, 0x2000 | 4), Ok(()), "in another BAR");
    assert_eq!(
        read(0x2000, 0x2408),
        Err("the MSI-X table overlaps its pending bits")
    );
    assert_eq!(
        read(0xffff_fff8, 0),
        Ok(()),
        "no overflow; the BAR's length is not known here"
    );
    assert_eq!(read(0x2006, 0), Err("MSI-X lies in a BAR that cannot be"));
}

#[test]
fn a_capability_that_does_not_fit() {
    let mut config = ConfigSpace::new(NVME).capability(0x09, &[0; 6]);
    config.put(0x41, &[0xf8]);
    config.put(0xf8, &[0x11, 0]);
    let error = Msix::read(&plugged(config)).unwrap_err();
    assert_eq!(error.reason, "MSI-X reaches into the extended capabilities");
}

#[test]
fn bridges_are_not_endpoints() {
    let mut config = nvme();
    config.put(0x0e, &[0x81]);
    let device = plugged(config);
    assert_eq!(
        bars(&device).unwrap_err().kind,
        DriverErrorKind::Unsupported
    );
    assert_eq!(capabilities(&device).err().unwrap().status, 1);
}

/// 4096 bytes from a seed (SplitMix64), a third of them the IDs of MSI and MSI-X, so that those are
/// found and read.
fn garbage_bytes(mut seed: u64) -> Vec<u8> {
    let mut random = || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb) >> 32
    };
    let mut byte = || match random() % 6 {
        0 => 0x05,
        1 => 0x11,
        _ => random() as u8,
    };
    (0..4096).map(|_| byte()).collect()
}

proptest! {
    /// Whatever a function says, every walk ends and nothing panics.
    #[test]
    fn garbage(
        seed in any::<u64>(),
        endpoint in any::<bool>(),
        pointer in 0x40u8..=0xff,
    ) {
        let mut config = ConfigSpace::new(NVME);
        config.put(0, &garbage_bytes(seed));
        if endpoint {
            config.put(0x06, &[0x10]);
            config.put(0x0e, &[0]);
            config.put(0x34, &[pointer]);
        }
        let device = plugged(config);
        let _ = (command(&device), status(&device), device_type(device.id()), bars(&device));
        if let Ok(list) = capabilities(&device) {
            prop_assert!(list.count() <= 49);
        }
        prop_assert!(extended_capabilities(&device).count() <= 961);
        if let Ok(Some(msi)) = Msi::read(&device) {
            prop_assert!(msi.vectors.is_power_of_two() && msi.vectors <= 32);
        }
        if let Ok(Some(msix)) = Msix::read(&device) {
            prop_assert!((1..=2048).contains(&msix.vectors));
            prop_assert!(msix.table.bar <= 5 && msix.pending.bar <= 5);
        }
    }

    /// Any six registers either are an error or give addresses that are aligned.
    #[test]
    fn garbage_bars(registers in any::<[u32; 6]>()) {
        for bar in decode_bars(registers).iter().flatten().flatten() {
            match *bar {
                Bar::Memory { address, .. } => prop_assert_eq!(address % 16, 0),
                Bar::Io { port } => prop_assert_eq!(port % 4, 0),
            }
        }
        if let Some(size) = decode_size(registers[0], Some(registers[1])) {
            prop_assert!(size.is_power_of_two() && size >= 16);
        }
    }

    /// Any class has a name.
    #[test]
    fn any_class(class in any::<u8>(), subclass in any::<u8>()) {
        device_type(DeviceId { class, subclass, ..NVME });
    }
}
