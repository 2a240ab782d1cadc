//! Starting `init`, the first program: the only one that the kernel loads.

use alloc::{string::String, sync::Arc, vec::Vec};
use spillway_abi::{
    ABI_VERSION, Error, Handle, PAGE_SIZE, Rights, layout,
    limits::{DEFAULT_PRIORITY, Limits, MAX_HANDLES, MAX_PRIORITY, MAX_REQUESTS, MAX_THREADS},
    object::{PROCESS_NAME_LENGTH, ProcessArguments, ThreadArguments},
    startup,
};
use spillway_bootinfo::BootInfo;
use spillway_elf::{LoadPlan, Rules, Segment};
use x86_64::PhysAddr;

use crate::{
    kernel::{self, Guard, Kernel},
    memory::{frames, paging, phys_to_virt, space::Mapping},
    object::{MEMORY_RIGHTS, Memory, OBJECT_RIGHTS, Object, Process, Thread},
    sched,
    syscall::insert,
};

/// The module that is started.
const INIT: &str = "init";
/// Bytes of its stack.
const STACK: u64 = 64 << 10;
/// Where the stack ends and the startup block begins.
const STARTUP: u64 = layout::MAP_START;

/// Loads `init` and makes it ready; returns its process. What is wrong with it, as a sentence, if
/// it cannot be.
pub fn start(boot: &'static BootInfo) -> Result<Arc<Process>, String> {
    let module = boot
        .module(INIT)
        .ok_or_else(|| String::from("the boot image has no program named init"))?;
    let file = module_bytes(module);
    let rules = Rules {
        addresses: layout::USER_START..layout::MAP_START - STACK - PAGE_SIZE,
        abi_version: Some(ABI_VERSION),
    };
    let plan = LoadPlan::parse(file, &rules)
        .map_err(|error| alloc::format!("init cannot be loaded: {error}"))?;
    let mut guard = kernel::lock();
    load(&mut guard, boot, &plan, file)
        .map_err(|error| alloc::format!("init cannot be started: {error}"))
}

/// The content of a module, in the direct map.
fn module_bytes(module: &spillway_bootinfo::Module) -> &'static [u8] {
    // SAFETY: modules lie in RAM that the loader set apart and that nobody writes; BootInfo was
    // checked for it.
    unsafe { core::slice::from_raw_parts(phys_to_virt(module.start), module.length as usize) }
}

fn load(
    guard: &mut Guard,
    boot: &'static BootInfo,
    plan: &LoadPlan,
    file: &[u8],
) -> Result<Arc<Process>, Error> {
    let mut name = [0; PROCESS_NAME_LENGTH];
    name[..INIT.len()].copy_from_slice(INIT.as_bytes());
    let arguments = ProcessArguments {
        name,
        limits: Limits {
            memory: spillway_abi::limits::MAX_MEMORY,
            handles: MAX_HANDLES,
            threads: MAX_THREADS as u32,
            processes: u32::MAX,
            requests: MAX_REQUESTS as u32,
        },
        affinity: u64::MAX,
        max_priority: MAX_PRIORITY,
        reserved: 0,
    };
    let process = Process::new(guard, &arguments, u64::MAX, None)?;
    for segment in plan.segments() {
        load_segment(guard, &process, segment, segment.content(file))?;
    }
    let stack = memory_with(&process, STACK, &[])?;
    map(
        guard,
        &process,
        stack,
        STARTUP - STACK,
        Rights::READ | Rights::WRITE,
    )?;
    let block = startup_block(guard, &process, boot)?;
    let length = block.len() as u64;
    let block = memory_with(&process, length, &block)?;
    map(guard, &process, block, STARTUP, Rights::READ)?;
    let arguments = ThreadArguments {
        entry: plan.entry,
        stack: STARTUP,
        arguments: [STARTUP, length],
        fs_base: STARTUP,
        priority: DEFAULT_PRIORITY,
        ..ThreadArguments::default()
    };
    let affinity = guard.sched.online();
    let thread = sched::admit(guard, &process, |kernel, slot| {
        let id = kernel.new_id();
        Thread::new(
            process.clone(),
            slot,
            id,
            &arguments,
            DEFAULT_PRIORITY as u8,
            affinity,
        )
    })?;
    sched::make_ready(guard, &thread);
    Ok(process)
}

fn load_segment(
    kernel: &mut Kernel,
    process: &Arc<Process>,
    segment: &Segment,
    content: &[u8],
) -> Result<(), Error> {
    let pages = segment.pages();
    let memory = memory_with(process, pages.end - pages.start, content)?;
    let mut access = Rights::READ;
    access.set(Rights::WRITE, segment.flags.is_writable());
    access.set(Rights::EXECUTE, segment.flags.is_executable());
    map(kernel, process, memory, pages.start, access)
}

/// A Memory of at least `bytes` bytes that begins with a content; zeros follow.
pub fn memory_with(process: &Process, bytes: u64, content: &[u8]) -> Result<Arc<Memory>, Error> {
    let pages = bytes.div_ceil(PAGE_SIZE);
    let mut memory = Memory::empty(process.account.clone(), pages * PAGE_SIZE)?;
    let mut missing = pages;
    while missing > 0 {
        let extent = frames::allocate_extent(missing)?;
        memory.push(extent)?;
        missing -= extent.count;
    }
    let mut rest = content;
    memory.stretches(0, pages * PAGE_SIZE, |stretch| {
        let now = rest.len().min(stretch.len());
        let start = stretch.cast::<u8>();
        // SAFETY: the stretch is frames that were just allocated and that nobody else knows;
        // the content is apart from them. All of it is written: content first, then zeros.
        unsafe {
            start.copy_from_nonoverlapping(rest.as_ptr(), now);
            start.add(now).write_bytes(0, stretch.len() - now);
        }
        rest = &rest[now..];
        Ok(())
    })?;
    Ok(Arc::new(memory))
}

/// Maps a whole Memory into a process that has not run.
pub fn map(
    kernel: &mut Kernel,
    process: &Arc<Process>,
    memory: Arc<Memory>,
    address: u64,
    access: Rights,
) -> Result<(), Error> {
    let length = memory.bytes();
    let flags = paging::user_flags(access, None);
    let mut done = 0;
    while let Some((frame, bytes)) = memory.run(done, length - done) {
        let charge = || process.account.charge_table();
        paging::map(
            process.space.root(),
            address + done,
            frame,
            bytes,
            flags,
            charge,
        )?;
        done += bytes;
        if done == length {
            break;
        }
    }
    let mapping = Mapping::new(memory, false);
    process
        .space
        .reserve(kernel, &process.account, address, length, mapping)
        .map(|_| ())
}

/// Gives `init` everything that there is, and writes down under which names.
fn startup_block(
    kernel: &mut Kernel,
    process: &Arc<Process>,
    boot: &'static BootInfo,
) -> Result<Vec<u8>, Error> {
    let mut give = |object, rights| insert(kernel, process, object, rights);
    let pass = Rights::PASS;
    let mut handles: Vec<(String, Handle)> = Vec::new();
    let mut name = |name: &str, handle| handles.push((String::from(name), handle));
    name(
        startup::SELF,
        give(Object::Process(process.clone()), OBJECT_RIGHTS)?,
    );
    name(startup::LOG, give(Object::Log, Rights::WRITE | pass)?);
    name(startup::CLOCK, give(Object::Clock, Rights::READ | pass)?);
    name(
        startup::COUNTERS,
        give(Object::Counters(None), Rights::READ | pass)?,
    );
    name(
        startup::DEVICES,
        give(Object::Devices, Rights::READ | Rights::MANAGE | pass)?,
    );
    name(startup::POWER, give(Object::Power, Rights::MANAGE | pass)?);
    for module in boot.modules() {
        let memory = Memory::module(PhysAddr::new(module.start), module.length);
        let rights = MEMORY_RIGHTS - Rights::WRITE - Rights::DMA;
        let handle = give(Object::Memory(Arc::new(memory)), rights)?;
        if module.name() == INIT {
            name(startup::IMAGE, handle);
        }
        name(
            &alloc::format!("{}{}", startup::MODULE_PREFIX, module.name()),
            handle,
        );
    }
    let mut block = alloc::vec![0; startup::MAX_STARTUP];
    let named = handles
        .iter()
        .map(|(name, handle)| (name.as_str(), *handle));
    let length = startup::write(&mut block, named, []).map_err(|_| Error::TooLong)?;
    block.truncate(length);
    Ok(block)
}
