//! A right BootInfo is accepted, and each wrong field is named.

extern crate std;

use crate::*;
use alloc::{boxed::Box, string::ToString};
use proptest::prelude::*;

const PAGE: u64 = PAGE_SIZE;

fn region(start: u64, end: u64, kind: RegionKind) -> Region {
    Region {
        start: start * PAGE,
        end: end * PAGE,
        kind: kind as u32,
        reserved: 0,
    }
}

fn module(name: &str, page: u64, length: u64) -> Module {
    let mut module = Module {
        start: page * PAGE,
        length,
        ..Module::EMPTY
    };
    module.name[..name.len()].copy_from_slice(name.as_bytes());
    module
}

/// A small machine: two modules, two segments of the kernel, a command line.
fn right() -> Box<BootInfo> {
    let mut info = Box::new(BootInfo::empty());
    info.page_table = 200 * PAGE;
    for (i, region) in [
        region(1, 100, RegionKind::Free),
        region(100, 110, RegionKind::Modules),
        region(110, 120, RegionKind::Reserved),
        region(200, 300, RegionKind::Kernel),
        region(300, 900, RegionKind::Free),
    ]
    .into_iter()
    .enumerate()
    {
        info.regions[i] = region;
    }
    info.region_count = 5;
    info.modules[0] = module("kernel", 101, 5000);
    info.modules[1] = module("manifest", 103, 7 * PAGE);
    info.module_count = 2;
    let segment = |page, flags| Segment {
        virtual_start: KERNEL_BASE + page * PAGE,
        physical_start: (210 + page) * PAGE,
        length: 2 * PAGE,
        flags,
    };
    info.segments[0] = segment(0, 5);
    info.segments[1] = segment(2, 6);
    info.segment_count = 2;
    info.command_line[..9].copy_from_slice(b"log=debug");
    info.command_line_length = 9;
    info
}

#[test]
fn a_right_one_is_accepted_and_read() {
    let info = right();
    assert_eq!(info.validate(), Ok(()));
    assert_eq!(info.regions().len(), 5);
    assert_eq!(info.regions()[1].region_kind(), RegionKind::Modules);
    assert_eq!(info.regions()[1].length(), 10 * PAGE);
    assert_eq!(info.modules().len(), 2);
    assert_eq!(info.module("manifest").unwrap().start, 103 * PAGE);
    assert_eq!(info.module("kern"), None);
    assert_eq!(info.segments().len(), 2);
    assert_eq!(info.command_line(), "log=debug");
}

/// Changes a right one and returns what is said of it.
fn error_of(change: impl FnOnce(&mut BootInfo)) -> BootInfoError {
    let mut info = right();
    change(&mut info);
    let error = info.validate().expect_err("the change was not noticed");
    assert!(error.to_string().starts_with("boot information: "));
    error
}

#[test]
fn a_wrong_header_is_named() {
    use BootInfoError::*;
    assert_eq!(error_of(|info| info.magic = 5), Magic(5));
    assert_eq!(error_of(|info| info.version = 9), Version(9));
    assert_eq!(error_of(|info| info.size += 8), Size(8544));
    assert_eq!(error_of(|info| info.page_table = 0), PageTable(0));
    assert_eq!(error_of(|info| info.page_table = 8), PageTable(8));
    type Field = fn(&mut BootInfo) -> &mut u32;
    let counts: [(&str, usize, Field); 4] = [
        ("regions", MAX_REGIONS, |info| &mut info.region_count),
        ("modules", MAX_MODULES, |info| &mut info.module_count),
        ("segments", MAX_SEGMENTS, |info| &mut info.segment_count),
        ("bytes of command line", MAX_COMMAND_LINE, |info| {
            &mut info.command_line_length
        }),
    ];
    for (table, limit, field) in counts {
        let count = limit as u32 + 1;
        let expected = Count {
            table,
            count,
            limit,
        };
        assert_eq!(error_of(|info| *field(info) = count), expected);
    }
    assert_eq!(error_of(|info| info.command_line[3] = 0xff), CommandLine);
}

#[test]
fn a_wrong_region_is_named() {
    use BootInfoError::*;
    assert_eq!(error_of(|info| info.regions[2].kind = 0), RegionKind(2, 0));
    assert_eq!(error_of(|info| info.regions[2].kind = 7), RegionKind(2, 7));
    assert_eq!(error_of(|info| info.regions[1].start += 1), RegionBounds(1));
    assert_eq!(error_of(|info| info.regions[1].end -= 1), RegionBounds(1));
    let empty = |info: &mut BootInfo| info.regions[2].end = info.regions[2].start;
    assert_eq!(error_of(empty), RegionBounds(2));
    assert_eq!(
        error_of(|info| info.regions[2].start -= PAGE),
        RegionOrder(2)
    );
    assert_eq!(error_of(|info| info.regions.swap(0, 2)), RegionOrder(1));
    let none_free = |info: &mut BootInfo| {
        info.regions[0].kind = 6;
        info.regions[4].kind = 6;
    };
    assert_eq!(error_of(none_free), NoFreeMemory);
}

#[test]
fn a_wrong_module_is_named() {
    use BootInfoError::*;
    assert_eq!(
        error_of(|info| info.modules[1].name[9] = b'x'),
        ModuleName(1)
    );
    assert_eq!(
        error_of(|info| info.modules[1].name[0] = 0xff),
        ModuleName(1)
    );
    assert_eq!(
        error_of(|info| info.modules[1] = Module::EMPTY),
        ModuleName(1)
    );
    let twice = |info: &mut BootInfo| info.modules[1].name = info.modules[0].name;
    assert_eq!(error_of(twice), ModuleTwice(1));
    assert_eq!(error_of(|info| info.modules[0].start += 8), ModuleStart(0));
    assert_eq!(
        error_of(|info| info.modules[1].length += 1),
        ModuleOutside(1)
    );
    assert_eq!(
        error_of(|info| info.modules[1].length = u64::MAX),
        ModuleOutside(1)
    );
    assert_eq!(
        error_of(|info| info.modules[0].start = 10 * PAGE),
        ModuleOutside(0)
    );
}

#[test]
fn a_wrong_segment_is_named() {
    use BootInfoError::*;
    assert_eq!(
        error_of(|info| info.segments[1].length += 1),
        SegmentBounds(1)
    );
    assert_eq!(
        error_of(|info| info.segments[1].length = 0),
        SegmentBounds(1)
    );
    assert_eq!(
        error_of(|info| info.segments[1].physical_start += 8),
        SegmentBounds(1)
    );
    assert_eq!(
        error_of(|info| info.segments[0].virtual_start = PAGE),
        SegmentBounds(0)
    );
    let wraps = |info: &mut BootInfo| info.segments[0].length = 0u64.wrapping_sub(PAGE);
    assert_eq!(error_of(wraps), SegmentBounds(0));
    let outside = |info: &mut BootInfo| info.segments[1].physical_start = 299 * PAGE;
    assert_eq!(error_of(outside), SegmentOutside(1));
    assert_eq!(
        error_of(|info| info.segments[0].flags = 7),
        SegmentFlags(0, 7)
    );
    assert_eq!(
        error_of(|info| info.segments[0].flags = 8),
        SegmentFlags(0, 8)
    );
    let same_virtual = |info: &mut BootInfo| info.segments[1].virtual_start -= PAGE;
    assert_eq!(error_of(same_virtual), SegmentOverlap(1));
    let same_physical = |info: &mut BootInfo| info.segments[1].physical_start -= PAGE;
    assert_eq!(error_of(same_physical), SegmentOverlap(1));
}

proptest! {
    #[test]
    fn nothing_panics_whatever_it_holds(
        counts in prop::array::uniform4(prop_oneof![0u32..200, any::<u32>()]),
        words in prop::collection::vec((0usize..40, any::<u64>()), 0..20),
    ) {
        let mut info = right();
        [info.region_count, info.module_count, info.segment_count, info.command_line_length] = counts;
        for (place, value) in words {
            match place {
                0..10 => info.regions[place / 2].start = value,
                10..20 => info.regions[(place - 10) / 2].end = value,
                20..25 => info.regions[place - 20].kind = value as u32,
                25..30 => info.modules[place % 2].length = value,
                30..35 => info.segments[place % 2].length = value,
                35..38 => info.segments[place % 2].virtual_start = value,
                _ => info.command_line[value as usize % 9] = value as u8,
            }
        }
        let _ = info.validate();
        let _ = info.command_line();
        let lengths: u64 = info.regions().iter().map(|r| r.length() / 1000).sum();
        let names: usize = info.modules().iter().map(|m| m.name().len()).sum();
        let _ = (lengths, names, info.segments().len(), info.module("kernel"));
    }
}
