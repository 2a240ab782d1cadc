//! Measures random reads of 4 KiB from an NVMe by every interface that Linux has, and by a polled
//! driver in user space: the other side of `cargo xtask bench --vs linux`.
//!
//! The arguments are `counted` or `timed`, what the disk is backed by, which is printed only, and
//! `full` or, to see whether everything works, `brief`. With `end success now` or `end failure now`
//! it ends the emulator instead. It runs as root on a machine that has nothing else to do.

mod counted;
mod disk;
mod emulator;
mod kernel;
mod measure;
mod memory;
mod path;
mod places;
mod report;
mod timed;

use std::{env, process::ExitCode};

use anyhow::{Context, Result, bail};
use counted::Poller;
use disk::Disk;
use memory::Memory;
use path::{
    Path,
    aio::Aio,
    driver::Driver,
    passthrough::Passthrough,
    pread::Threads,
    uring::{Kind, Uring},
};
use places::Places;
use report::{Buffers, Extent, Subject, Wait};
use spillway_wire::Method;

/// Queue depths of counted and of timed runs.
const COUNTED: &[usize] = &[1, 32];
const TIMED: &[usize] = &[1, 4, 32, 128];
fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let mut argument = || arguments.next();
    let (Some(what), Some(backend), Some(extent), None) =
        (argument(), argument(), argument(), argument())
    else {
        bail!(
            "the arguments are `counted` or `timed`, a word for the back end, and `full` or `brief`"
        );
    };
    if what == "end" {
        return emulator::end(backend == "success");
    }
    let method = Method::from_argument(Some(&what));
    let method = method.context("the first argument must be `counted` or `timed`")?;
    let extent =
        Extent::from_argument(&extent).context("the third argument must be `full` or `brief`")?;
    report::begin(method);
    let mut rounds = extent.rounds;
    if method == Method::Counted {
        counted::check_the_counter()?;
        rounds = 1;
    }
    for _ in 0..rounds {
        let bench = Bench {
            method,
            extent,
            backend: backend.clone(),
            kernel: kernel::version()?,
            memory: Memory::new()?,
            disk: Disk::find()?,
        };
        bench.everything()?;
        bench.disk.attach()?;
    }
    report::end();
    Ok(())
}

/// What every measurement needs.
struct Bench {
    method: Method,
    extent: Extent,
    backend: String,
    kernel: String,
    memory: Memory,
    disk: Disk,
}

impl Bench {
    /// Measures every interface.
    fn everything(&self) -> Result<()> {
        self.pread().context("pread")?;
        self.aio().context("libaio")?;
        for wait in [Wait::Interrupt, Wait::Poll] {
            self.uring(wait, false).context("io_uring")?;
            self.uring(wait, true).context("io_uring, registered")?;
            self.passthrough(wait).context("passthrough")?;
        }
        self.driver().context("driver in user space")
    }

    /// A subject for each queue depth.
    fn subjects<'a>(
        &'a self,
        interface: &'a str,
        wait: Wait,
        buffers: Buffers,
    ) -> impl Iterator<Item = Subject<'a>> {
        let depths = match self.method {
            Method::Counted => COUNTED,
            _ => TIMED,
        };
        depths.iter().map(move |&depth| Subject {
            method: self.method,
            extent: self.extent,
            interface,
            wait,
            buffers,
            depth,
            threads: 1,
            backend: &self.backend,
            kernel: &self.kernel,
        })
    }

    fn pread(&self) -> Result<()> {
        let file = self.disk.open()?;
        for subject in self.subjects("pread", Wait::Interrupt, Buffers::Pinned) {
            let subject = Subject {
                threads: subject.depth,
                ..subject
            };
            let threads = Threads {
                file: &file,
                memory: &self.memory,
                geometry: self.disk.geometry,
                count: subject.threads,
            };
            match self.method {
                Method::Counted => counted::threads(&threads, &subject)?,
                _ => timed::threads(&threads, &subject)?,
            }
        }
        Ok(())
    }

    fn aio(&self) -> Result<()> {
        let (file, block_size) = (self.disk.open()?, self.disk.geometry.block_size);
        for subject in self.subjects("libaio", Wait::Interrupt, Buffers::Pinned) {
            let mut path = Aio::new(&file, &self.memory, block_size, subject.depth)?;
            self.measure(&mut path, &subject, Poller::Kernel)?;
        }
        Ok(())
    }

    fn uring(&self, wait: Wait, fixed: bool) -> Result<()> {
        let (file, block_size) = (self.disk.open()?, self.disk.geometry.block_size);
        let buffers = match fixed {
            false => Buffers::Pinned,
            true => Buffers::Registered,
        };
        let interface = match (fixed, wait) {
            (false, Wait::Interrupt) => "io_uring",
            (false, Wait::Poll) => "io_uring_polled",
            (true, Wait::Interrupt) => "io_uring_fixed",
            (true, Wait::Poll) => "io_uring_fixed_polled",
        };
        for subject in self.subjects(interface, wait, buffers) {
            let kind = Kind { wait, fixed };
            let mut path = Uring::new(kind, &file, &self.memory, block_size, subject.depth)?;
            self.measure(&mut path, &subject, Poller::Kernel)?;
        }
        Ok(())
    }

    fn passthrough(&self, wait: Wait) -> Result<()> {
        let (file, block_size) = (self.disk.open_raw()?, self.disk.geometry.block_size);
        let interface = match wait {
            Wait::Interrupt => "passthrough",
            Wait::Poll => "passthrough_polled",
        };
        for subject in self.subjects(interface, wait, Buffers::Registered) {
            let mut path = Passthrough::new(wait, &file, &self.memory, block_size, subject.depth)?;
            self.measure(&mut path, &subject, Poller::Kernel)?;
        }
        Ok(())
    }

    fn driver(&self) -> Result<()> {
        let function = self.disk.detach()?;
        let block_size = self.disk.geometry.block_size;
        let mut path = Driver::start(&function, &self.memory, block_size)?;
        for subject in self.subjects("user_driver", Wait::Poll, Buffers::Registered) {
            self.measure(&mut path, &subject, Poller::Program)?;
        }
        Ok(())
    }

    fn measure(&self, path: &mut impl Path, subject: &Subject, poller: Poller) -> Result<()> {
        let places = &mut Places::new(self.disk.geometry, 0);
        match (self.method, subject.wait) {
            (Method::Counted, Wait::Interrupt) => counted::interrupted(path, places, subject),
            (Method::Counted, Wait::Poll) => counted::polled(path, places, poller, subject),
            _ => timed::path(path, places, subject),
        }
    }
}
