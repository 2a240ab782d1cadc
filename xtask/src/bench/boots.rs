//! The machines of a plan: made once, booted as often as it takes.

mod turns;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use spillway_plan::{Backend, Boot, Method, Plan, Wait};
use spillway_report::{collect::Collector, schema::OtherSystem};

use self::turns::Turn;
use super::{
    gather,
    image_check::{self, Image},
    linux::{self, Column},
    places,
};
use crate::{
    accel::Accelerator,
    cli::{BenchOptions, Rival},
    image::{BootFiles, Builds},
    qemu::{Disk, Machine},
    session::Session,
    ui::Course,
    workspace::Workspace,
};

/// Seconds that one boot may take.
const LIMIT: u64 = 300;
/// Bytes of a disk without a medium.
const NULL_DISK: u64 = 1 << 30;
/// Nanoseconds that one takes for a request where instructions are counted: enough for everybody to look
/// in vain once, or to be asleep.
const LATE_FOR_LOOKS: u64 = 20_000;
const LATE_FOR_SLEEP: u64 = 200_000;
/// What a list of cases is called in the boot image.
const MODULE: &str = "plan";

/// The boots of a plan.
pub struct Boots {
    boots: Vec<Planned>,
    repetitions: u32,
    limit: Duration,
    target: PathBuf,
    /// Says where instructions went, where QEMU can load it.
    places: Option<places::Plugin>,
    /// What is measured beside it.
    linux: Option<Column>,
}

/// One of them.
pub struct Planned {
    pub boot: Boot,
    session: Session,
    /// The machine, once it is known what executes it.
    pub machine: Machine,
    /// What it boots from, once it is built.
    pub files: Option<BootFiles>,
}

impl Boots {
    /// Reads the manifests.
    pub fn new(workspace: &Workspace, plan: &Plan, options: &BenchOptions) -> Result<Self> {
        let planned = |(index, boot): (usize, Boot)| -> Result<Planned> {
            let usual = Path::new(&boot.manifest).to_path_buf();
            let manifest = options.manifest.as_deref().unwrap_or(&usual);
            let mut session = Session::new(workspace, &options.machine, manifest)?;
            session.machine.cores = boot.cores.unwrap_or(options.cores);
            session
                .recipe
                .rename(&format!("bench-{}-{index}", plan.name));
            session.machine.image = Some(session.recipe.output().into());
            tell(&mut session, &boot)?;
            Ok(Planned {
                machine: machine(&boot, &session.machine),
                boot,
                session,
                files: None,
            })
        };
        let boots = plan.boots().into_iter().enumerate().map(planned);
        let boots: Vec<Planned> = boots.collect::<Result<_>>()?;
        if options.vs.is_some() {
            turns::check(plan, &boots)?;
        }
        Ok(Self {
            boots,
            repetitions: plan.repetitions,
            limit: Duration::from_secs(options.machine.timeout.unwrap_or(LIMIT)),
            target: workspace.target.clone(),
            places: None,
            linux: options
                .vs
                .map(|Rival::Linux| Column::new(workspace, options.machine.timeout)),
        })
    }

    /// Leaves out boots by another method.
    pub fn only(&mut self, method: Method) {
        self.boots.retain(|planned| planned.boot.method == method);
    }

    /// Every one of them.
    pub fn all(&self) -> &[Planned] {
        &self.boots
    }

    /// Prints what would be done.
    pub fn describe(&self) {
        let mut builds_are_told = false;
        for turn in self.turns(1, self.linux.is_some()) {
            match turn {
                Turn::Ours(planned, _) => {
                    if !std::mem::replace(&mut builds_are_told, true) {
                        planned.session.describe_builds();
                        self.linux.iter().for_each(Column::describe_builds);
                    }
                    println!("{}", planned.machine.shell_line());
                }
                Turn::Linux(planned, _) => {
                    let machine = (&planned.machine, planned.boot.method);
                    let line = |linux: &Column| linux.machine(machine.0, machine.1).shell_line();
                    self.linux
                        .iter()
                        .map(line)
                        .for_each(|line| println!("{line}"));
                }
            }
        }
    }

    /// What was measured beside it.
    pub fn others(&self) -> BTreeMap<String, OtherSystem> {
        let named = |linux: &Column| (linux::SYSTEM.to_string(), linux.about.clone());
        self.linux.iter().map(named).collect()
    }

    /// Builds everything, then boots.
    pub fn run(&mut self, collector: &mut Collector) -> Result<()> {
        // What may not be there, first.
        let mut linux = self.linux.take();
        if let Some(linux) = &mut linux {
            linux.prepare()?;
        }
        self.prepare()?;
        let turns = self.turns(self.repetitions, linux.is_some());
        let course = Course::new(turns.len());
        for turn in turns {
            match turn {
                Turn::Ours(planned, round) => {
                    course.begin(self.clause(planned, round));
                    self.boot(planned, &course, collector)?;
                }
                Turn::Linux(planned, round) => {
                    course.begin(self.with_round("linux", planned.boot.method, round));
                    if let Some(linux) = &mut linux {
                        let machine = (&planned.machine, planned.boot.method);
                        linux.measure(machine, &course, &mut collector.results)?;
                    }
                }
            }
        }
        self.linux = linux;
        Ok(())
    }

    fn boot(&self, planned: &Planned, course: &Course, collector: &mut Collector) -> Result<()> {
        let image = planned.image()?;
        let mut machine = planned.machine.clone();
        if let Some(image) = &image {
            machine.disk = Some(Disk::file(image.path()));
        }
        let places = self.places.as_ref().filter(|_| planned.is_divided());
        gather::boot(
            &machine,
            &planned.boot,
            self.limit,
            course,
            places,
            collector,
        )?;
        if let (Some(image), Some(cases)) = (image, &planned.boot.cases) {
            image_check::check(image, cases)?;
        }
        Ok(())
    }

    fn prepare(&mut self) -> Result<()> {
        let (mut chosen, mut builds) = (None, Builds::default());
        for planned in &mut self.boots {
            planned.files = Some(planned.session.prepare_like(chosen, &mut builds)?);
            chosen = Some(planned.session.machine.accelerator);
            planned.machine = machine(&planned.boot, &planned.session.machine);
        }
        let mut divided = self.boots.iter().filter(|planned| planned.is_divided());
        if let Some(planned) = divided.next() {
            self.places = places::Plugin::build(&self.target, &planned.machine.qemu)?;
        }
        Ok(())
    }

    fn clause(&self, planned: &Planned, round: u32) -> String {
        let boot = &planned.boot;
        let what = match boot.cases {
            Some(_) => boot
                .words
                .iter()
                .skip(1)
                .take(4)
                .map(|(_, word)| *word)
                .collect::<Vec<_>>()
                .join(" "),
            None => boot.program.clone(),
        };
        self.with_round(&what, boot.method, round)
    }

    fn with_round(&self, what: &str, method: Method, round: u32) -> String {
        match method {
            Method::Timed => format!("{what}, timed, round {round} of {}", self.repetitions),
            method => format!("{what}, {}", method.name()),
        }
    }
}

impl Planned {
    /// Whether it is to be found out where instructions went.
    fn is_divided(&self) -> bool {
        self.boot.method == Method::Counted && self.boot.cases.is_some()
    }

    /// The disk image of a machine that has one.
    fn image(&self) -> Result<Option<Image>> {
        match (&self.boot.cases, self.boot.backend) {
            (Some(cases), Some(Backend::File)) => Ok(Some(image_check::make(cases)?)),
            _ => Ok(None),
        }
    }
}

/// Tells the programs how they are run, and what is measured.
fn tell(session: &mut Session, boot: &Boot) -> Result<()> {
    session.recipe.replace_in_arguments(&boot.words);
    session.recipe.change_arguments(&boot.program, |arguments| {
        if !arguments.is_empty() {
            arguments.remove(0);
        }
        arguments.insert(0, boot.method.name().into());
    });
    match &boot.cases {
        Some(cases) => session.recipe.provide(MODULE, cases.encode()?),
        None => Ok(()),
    }
}

/// The machine of a boot, from the one that the flags describe.
fn machine(boot: &Boot, usual: &Machine) -> Machine {
    let mut machine = usual.clone();
    if let Some(iommu) = boot.iommu {
        machine.iommu = iommu;
        if !iommu {
            machine.append.push("dma=trust".into());
        }
    }
    if boot.backend == Some(Backend::Null) && machine.disk.is_none() {
        machine.disk = Some(Disk::late(NULL_DISK, latency(boot)));
    }
    match boot.method {
        Method::Counted => counted(machine),
        _ => machine,
    }
}

/// How late a disk without a medium is. Where cases are counted it takes its time: else it would depend
/// on the host whether the answer is there at the first look, or before anybody goes to sleep.
fn latency(boot: &Boot) -> u64 {
    let mut cases = boot.cases.iter().flat_map(|cases| &cases.cases);
    match boot.method {
        Method::Counted if boot.cases.is_none() => 0,
        Method::Counted if cases.any(|case| case.wait != Wait::Poll) => LATE_FOR_SLEEP,
        Method::Counted => LATE_FOR_LOOKS,
        _ => 0,
    }
}

/// One core, and a clock that advances by one nanosecond with each instruction. Idling would let
/// it jump, so the kernel spins.
fn counted(mut machine: Machine) -> Machine {
    machine.accelerator = Accelerator::Tcg;
    machine.cores = 1;
    machine
        .extra
        .extend(["-icount", "shift=0,sleep=off"].map(String::from));
    machine.append.push("idle=poll".into());
    machine
}
