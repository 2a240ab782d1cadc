//! What each plan boots, and how often.

use super::results::Method;
use crate::{
    accel::Accelerator,
    cli::Plan,
    qemu::{Disk, Machine},
};

/// The boots of a plan on one kind of machine.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub method: Method,
    /// Whether there is an IOMMU; if nothing is said, as the flags have it.
    iommu: Option<bool>,
}

const fn run(method: Method, iommu: Option<bool>) -> Run {
    Run { method, iommu }
}

/// Bytes of a disk without a medium.
const NULL_DISK: u64 = 1 << 30;

impl Plan {
    pub const ALL: [Self; 2] = [Self::Kernel, Self::Nvme];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Nvme => "nvme",
        }
    }

    /// The program that measures.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Kernel => "bench-kernel",
            Self::Nvme => "bench-nvme",
        }
    }

    /// What starts it.
    pub fn manifest(self) -> String {
        format!("manifests/{}.toml", self.program())
    }

    pub const fn runs(self) -> &'static [Run] {
        const KERNEL: &[Run] = &[run(Method::Counted, None), run(Method::Timed, None)];
        const NVME: &[Run] = &[
            run(Method::Counted, Some(true)),
            run(Method::Counted, Some(false)),
            run(Method::Timed, Some(true)),
        ];
        match self {
            Self::Kernel => KERNEL,
            Self::Nvme => NVME,
        }
    }

    /// The machine of one of its runs, from the one that the flags describe.
    pub fn machine(self, run: Run, usual: &Machine) -> Machine {
        let mut machine = usual.clone();
        if let Some(iommu) = run.iommu {
            machine.iommu = iommu;
            if !iommu {
                machine.append.push("dma=trust".into());
            }
        }
        if self == Self::Nvme && machine.disk.is_none() {
            machine.disk = Some(Disk::null(NULL_DISK));
        }
        match run.method {
            Method::Counted => counted(machine),
            _ => machine,
        }
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
