//! The one path that both boot protocols share, from what they handed over to the kernel.

use crate::{
    features, identity,
    kernel::{self, Kernel},
    memory::Identity,
    multiboot::Multiboot,
    serial, stop,
};
use core::{arch::asm, convert::Infallible, ops::Range};
use spillway_bootinfo::{
    BootInfo, MAX_COMMAND_LINE, MAX_MEMORY, MIN_MEMORY, Module, PAGE_SIZE, RegionKind,
    image::{self, Image},
};
use spillway_bootloader_core::{
    Handover, LoaderError, MemoryMap, MemoryRange, Physical, RamSummary, acpi,
    pvh::{self, StartInfo},
};

/// The first Rust function, in 64-bit mode, with what firmware had put into `ebx` and `eax`. Tells
/// the protocols apart.
pub extern "C" fn start(data: u32, eax: u32, entry_tsc: u64) -> ! {
    let data = data.into();
    if eax == multiboot2::MAGIC {
        match Multiboot::parse(&Identity, data) {
            Some(info) => boot(&info.handover(), info.memory_map(), &info.used(), entry_tsc),
            None => stop::fail(LoaderError::BootData("Multiboot2"), &[]),
        }
    }
    if Identity.read(data, 4) != Some(&pvh::MAGIC.to_le_bytes()) {
        stop::fail(LoaderError::Protocol(eax), &[])
    }
    match StartInfo::parse(&Identity, data) {
        Some(info) => boot(&info.handover(), info.memory_map(), &info.used(), entry_tsc),
        None => stop::fail(LoaderError::BootData("PVH"), &[]),
    }
}

/// Starts the kernel or says why not. `used` is where the protocol's data lie.
fn boot(
    handover: &Handover,
    firmware_map: impl Iterator<Item = MemoryRange> + Clone,
    used: &[Range<u64>],
    entry_tsc: u64,
) -> ! {
    let Err(error) = MemoryMap::from_firmware(firmware_map)
        .map_err(LoaderError::from)
        .and_then(|(map, ram)| start_kernel(handover, map, ram, used, entry_tsc));
    stop::fail(error, handover.command_line)
}

/// Everything from the memory map to the kernel's entry.
fn start_kernel(
    handover: &Handover,
    mut map: MemoryMap,
    ram: RamSummary,
    used: &[Range<u64>],
    entry_tsc: u64,
) -> Result<Infallible, LoaderError> {
    let command_line = check_command_line(handover.command_line)?;
    check_ram(ram)?;
    let (image_start, image) = claim(&mut map, handover, used)?;
    let root = acpi_root(&mut map, handover)?;

    let find = |name| image.find(name).ok_or(LoaderError::NoEntry(name));
    let kernel_file = find(image::KERNEL)?;
    find(image::MANIFEST)?;
    let kernel = Kernel::load(kernel_file.content, &mut map)?;
    let features = features::detect();
    let (info_address, info) = kernel::allocate_boot_info(&mut map)?;
    info.page_table = kernel.map(&mut map, features, identity::pointers())?;

    info.acpi_root = root.address;
    info.acpi_revision = root.revision;
    info.loader_entry_tsc = entry_tsc;
    info.frame_buffer = handover.frame_buffer;
    fill(info, &map, &kernel, image_start, &image, command_line);
    info.validate()?;
    serial::line(format_args!(
        "{}, {} MiB of RAM, {} files, kernel entry {:#x}",
        handover.protocol,
        ram.used >> 20,
        info.module_count,
        kernel.entry
    ));
    // Last, because all writes go through the identity map: page tables and the BootInfo may lie
    // in the same 2 MiB as the kernel's text.
    identity::restrict(kernel.read_only(), features);
    // SAFETY: `page_table` maps the loader's text and stack where they are, and the kernel's
    // segments, the entry among them, with their rights; the BootInfo is complete, validated and
    // in the direct map.
    unsafe { enter(info.page_table, kernel.entry, info_address) }
}

fn check_ram(ram: RamSummary) -> Result<(), LoaderError> {
    if ram.used < MIN_MEMORY {
        return Err(LoaderError::TooLittleRam(ram.used));
    }
    if ram.ignored > 0 {
        serial::line(format_args!(
            "warning: {} MiB of RAM beyond {} GiB are ignored",
            ram.ignored >> 20,
            MAX_MEMORY >> 30
        ));
    }
    Ok(())
}

fn check_command_line(bytes: &[u8]) -> Result<&str, LoaderError> {
    if bytes.len() > MAX_COMMAND_LINE {
        return Err(LoaderError::CommandLineLength(bytes.len()));
    }
    core::str::from_utf8(bytes).map_err(|_| LoaderError::CommandLineText)
}

/// Notes in the map what is in use, so that no allocation takes it, and checks the boot image.
fn claim(
    map: &mut MemoryMap,
    handover: &Handover,
    used: &[Range<u64>],
) -> Result<(u64, Image<'static>), LoaderError> {
    map.claim(identity::loader(), RegionKind::Loader)?;
    for range in used {
        map.claim(range.clone(), RegionKind::Loader)?;
    }
    let place = handover.image.clone().ok_or(LoaderError::NoImage)?;
    let misplaced = LoaderError::ImagePlace(place.start);
    let bytes = Identity.bytes(place.clone()).ok_or(misplaced)?;
    let pages = place.start..place.end.next_multiple_of(PAGE_SIZE);
    if !place.start.is_multiple_of(PAGE_SIZE) || !map.is_all(pages, RegionKind::Free) {
        return Err(misplaced);
    }
    map.claim(place.clone(), RegionKind::Modules)?;
    Ok((place.start, image::parse(bytes)?))
}

/// The ACPI root, if the machine has a sound one; its tables are noted in the map.
fn acpi_root(map: &mut MemoryMap, handover: &Handover) -> Result<acpi::Root, LoaderError> {
    let Some(rsdp) = handover.rsdp else {
        return Ok(acpi::Root::default());
    };
    let Some(root) = acpi::parse_rsdp(rsdp) else {
        serial::line(format_args!(
            "warning: the ACPI root pointer has a wrong checksum, going on without ACPI"
        ));
        return Ok(acpi::Root::default());
    };
    acpi::paint_tables(map, &Identity, root)?;
    Ok(root)
}

/// Copies the lists. None is longer than its place: the limits are those of their sources.
fn fill(
    info: &mut BootInfo,
    map: &MemoryMap,
    kernel: &Kernel,
    image_start: u64,
    image: &Image,
    command_line: &str,
) {
    info.region_count = map.regions().len() as u32;
    info.regions[..map.regions().len()].copy_from_slice(map.regions());
    info.segment_count = kernel.segments().len() as u32;
    info.segments[..kernel.segments().len()].copy_from_slice(kernel.segments());
    info.command_line_length = command_line.len() as u32;
    info.command_line[..command_line.len()].copy_from_slice(command_line.as_bytes());
    for (module, entry) in info.modules.iter_mut().zip(image.entries()) {
        *module = Module::EMPTY;
        module.name[..entry.name.len()].copy_from_slice(entry.name.as_bytes());
        module.start = image_start + entry.offset;
        module.length = entry.content.len() as u64;
        info.module_count += 1;
    }
}

/// Changes to the kernel's address space and jumps to the kernel.
///
/// # Safety
/// `page_table` must be the top table of an address space in which the loader's text and stack
/// are where they are now, and `entry` is the kernel's; `boot_info` must be an address there.
unsafe fn enter(page_table: u64, entry: u64, boot_info: u64) -> ! {
    // SAFETY: the caller's promise. A call, not a jump, leaves the stack as at any function's
    // first instruction; the frame pointer 0 ends backtraces.
    unsafe {
        asm!(
            "mov cr3, {page_table}",
            "xor ebp, ebp",
            "call {entry}",
            "ud2",
            page_table = in(reg) page_table,
            entry = in(reg) entry,
            in("rdi") boot_info,
            options(noreturn)
        )
    }
}
