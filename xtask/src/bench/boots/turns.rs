//! Who boots when: our machines, and Linux in between.

use anyhow::{Result, bail};
use spillway_plan::{Backend, Device, Method, Plan};

use super::{Boots, Planned};

/// Who boots next, on which machine of ours, in which round.
pub enum Turn<'a> {
    Ours(&'a Planned, u32),
    Linux(&'a Planned, u32),
}

impl Boots {
    /// The boots in their order: counted machines and those that verify once, timed ones so many times,
    /// one after the other, so that what disturbs the host disturbs them all. Linux has a turn for each
    /// method and round, behind the first machine of ours that it can have as well.
    pub(super) fn turns(&self, repetitions: u32, with_linux: bool) -> Vec<Turn<'_>> {
        let of = |is_timed, round| {
            let boots = self.boots.iter();
            let boots = boots.filter(move |planned| {
                let again = round == 1 || !planned.boot.only_verifies();
                again && (planned.boot.method == Method::Timed) == is_timed
            });
            let shared = boots.clone().position(Planned::can_be_shared);
            let shared = shared.filter(|_| with_linux);
            boots.enumerate().flat_map(move |(index, planned)| {
                let linux = (shared == Some(index)).then_some(Turn::Linux(planned, round));
                [Turn::Ours(planned, round)].into_iter().chain(linux)
            })
        };
        let timed = (1..=repetitions).flat_map(|round| of(true, round));
        of(false, 1).chain(timed).collect()
    }
}

impl Planned {
    /// Whether another system can have the same machine: one core, and an NVMe disk that does
    /// nothing.
    fn can_be_shared(&self) -> bool {
        let boot = &self.boot;
        let disk = (boot.device, boot.backend);
        disk == (Some(Device::Nvme), Some(Backend::Null)) && self.machine.cores == 1
    }
}

/// Sees that there is a machine for Linux by every method.
pub fn check(plan: &Plan, boots: &[Planned]) -> Result<()> {
    let mut methods = boots.iter().map(|planned| planned.boot.method);
    let lonely = methods.find(|method| {
        let mut same = boots.iter().filter(|other| other.boot.method == *method);
        !same.any(Planned::can_be_shared)
    });
    let Some(method) = lonely else {
        return Ok(());
    };
    bail!(
        "Linux is measured on one core, with an NVMe disk that has no medium, and plan `{}` boots no \
         such machine for its {} figures; `nvme` and `quick` do",
        plan.name,
        method.name()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bench::plans,
        cli::{Cli, Command},
        workspace::Workspace,
    };
    use clap::Parser;

    fn boots(words: &[&str]) -> Result<Boots> {
        let line = ["cargo xtask", "bench"].iter().chain(words);
        let Command::Bench(options) = Cli::parse_from(line).command else {
            unreachable!("the command is bench");
        };
        let workspace = Workspace::load()?;
        let plan = plans::find(&workspace, &options.plan)?;
        Boots::new(&workspace, &plan, &options)
    }

    fn turns(boots: &Boots, repetitions: u32) -> Vec<(bool, Method, u32)> {
        let turns = boots.turns(repetitions, boots.linux.is_some());
        let turns = turns.into_iter().map(|turn| match turn {
            Turn::Ours(planned, round) => (true, planned.boot.method, round),
            Turn::Linux(planned, round) => (false, planned.boot.method, round),
        });
        turns.collect()
    }

    #[test]
    fn linux_takes_turns_with_us() {
        use Method::{Counted, Timed};
        let with = boots(&["nvme", "--vs", "linux"]).unwrap();
        assert_eq!(
            turns(&with, 2),
            [
                (true, Counted, 1),
                (false, Counted, 1),
                (true, Counted, 1),
                (true, Timed, 1),
                (false, Timed, 1),
                (true, Timed, 2),
                (false, Timed, 2),
            ]
        );
        let without = turns(&boots(&["nvme"]).unwrap(), 2);
        assert!(without.len() == 4 && without.iter().all(|(ours, ..)| *ours));
    }

    #[test]
    fn linux_needs_a_machine_of_ours_by_every_method() {
        let complaint = |words: &[&str]| boots(words).err().map(|error| error.to_string());
        let two_cores = complaint(&["nvme", "--cores", "2", "--vs", "linux"]).unwrap();
        assert!(two_cores.contains("its timed figures"), "{two_cores}");
        let no_disk = complaint(&["kernel", "--vs", "linux"]).unwrap();
        assert!(no_disk.contains("plan `kernel`"), "{no_disk}");
        assert_eq!(complaint(&["kernel"]), None);
    }
}
