//! What executes the guest's instructions: chosen by trying, and said with the reason.

use std::{fs, time::Duration};

use anyhow::{Result, bail};

use crate::{
    cli::Accel,
    guest::{Ending, Guest},
    qemu::Machine,
};

/// What executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    Tcg,
    Kvm,
}

impl Accelerator {
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcg => "tcg",
            Self::Kvm => "kvm",
        }
    }
}

/// The accelerator for this wish, and why. `probe` is a machine without an image: its loader
/// must run and complain.
pub fn choose(wish: Accel, probe: &Machine) -> Result<(Accelerator, String)> {
    match wish {
        Accel::Tcg => Ok((Accelerator::Tcg, "asked for by --accel".into())),
        Accel::Kvm => match obstacle(probe) {
            None => Ok((Accelerator::Kvm, "asked for by --accel".into())),
            Some(why) => bail!("KVM cannot be used: {why}; use --accel tcg"),
        },
        Accel::Auto => Ok(match obstacle(probe) {
            None => (Accelerator::Kvm, "a probe machine booted".into()),
            Some(why) => (Accelerator::Tcg, format!("no KVM: {why}")),
        }),
    }
}

/// What speaks against KVM. A `/dev/kvm` that opens proves nothing.
fn obstacle(probe: &Machine) -> Option<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if !can_virtualise(&cpuinfo) {
        return Some("the processor shows neither vmx nor svm".into());
    }
    if let Err(error) = fs::File::options().read(true).write(true).open("/dev/kvm") {
        return Some(format!("/dev/kvm does not open ({error})"));
    }
    let machine = Machine {
        accelerator: Accelerator::Kvm,
        ..probe.clone()
    };
    let report = Guest::start(&machine)
        .and_then(|guest| guest.watch(Some(Duration::from_secs(10)), |_| Ok(())));
    match report {
        Ok(report) if report.ending == Ending::LoaderError => None,
        Ok(report) => Some(format!("a probe machine {}", report.ending)),
        Err(error) => Some(format!("a probe machine did not start ({error})")),
    }
}

fn can_virtualise(cpuinfo: &str) -> bool {
    cpuinfo
        .lines()
        .filter(|line| line.starts_with("flags"))
        .any(|line| {
            line.split_whitespace()
                .any(|flag| flag == "vmx" || flag == "svm")
        })
}

#[cfg(test)]
mod tests {
    use super::can_virtualise;

    #[test]
    fn only_whole_flags_of_the_flags_line_count() {
        assert!(can_virtualise("model : x\nflags\t\t: fpu vmx sse\n"));
        assert!(can_virtualise("flags : svm\n"));
        assert!(!can_virtualise("flags : fpu svm_lock\nbugs : vmx\n"));
        assert!(!can_virtualise("vmx flags : ept\n"));
        assert!(!can_virtualise(""));
    }
}
