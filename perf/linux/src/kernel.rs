//! What the kernel tells of itself: how long it had nothing to do, how often it was interrupted, and
//! how often it has made a thread ready again.

use std::{fs, mem::MaybeUninit};

use anyhow::{Context, Result};

/// A look at all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Nanoseconds in which there was nothing to do. In a counted run these are instructions,
    /// and the kernel polls for work meanwhile. Interrupts that arrive in such a time are not
    /// part of it.
    pub idle: u64,
    /// Interrupts by the disk.
    pub interrupts: u64,
    /// How often threads of this program have gone to sleep; each time they were made ready again.
    pub wake_ups: u64,
}

impl Account {
    /// The account as of now.
    pub fn now() -> Result<Self> {
        let timers = fs::read_to_string("/proc/timer_list").context("/proc/timer_list")?;
        let interrupts = fs::read_to_string("/proc/interrupts").context("/proc/interrupts")?;
        Ok(Self {
            idle: idle(&timers).context("/proc/timer_list has no idle_sleeptime")?,
            interrupts: disk_interrupts(&interrupts),
            wake_ups: sleeps(),
        })
    }

    /// What has been added since an earlier look.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            idle: self.idle - earlier.idle,
            interrupts: self.interrupts - earlier.interrupts,
            wake_ups: self.wake_ups - earlier.wake_ups,
        }
    }
}

/// The idle time of all cores, in the part of each: `.idle_sleeptime : 999441827 nsecs`, and
/// `.iowait_sleeptime` for the time in which somebody waited for a disk.
fn idle(timers: &str) -> Option<u64> {
    let times = timers.lines().filter_map(|line| {
        let (name, value) = line.trim_start().split_once(':')?;
        if ![".idle_sleeptime", ".iowait_sleeptime"].contains(&name.trim_end()) {
            return None;
        }
        value.split_whitespace().next()?.parse::<u64>().ok()
    });
    times.reduce(|sum, time| sum + time)
}

/// The interrupts of the queues of `nvme0` on all cores, `24: 12 0 PCI-MSI 16384-edge nvme0q0`.
fn disk_interrupts(interrupts: &str) -> u64 {
    let of_disk = interrupts.lines().filter(|line| {
        let name = line.split_whitespace().last().unwrap_or("");
        name.starts_with("nvme0q")
    });
    let counts = of_disk.flat_map(|line| {
        let words = line.split_whitespace().skip(1);
        words.map_while(|word| word.parse::<u64>().ok())
    });
    counts.sum()
}

/// How often a thread of this program gave up the processor because it had to wait, those that are
/// gone included.
fn sleeps() -> u64 {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the call writes the structure and nothing else; all zeros are a value of it too.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    usage.ru_nvcsw.unsigned_abs()
}

/// The kernel's version.
///
/// # Errors
///
/// If there is no `/proc`.
pub fn version() -> Result<String> {
    const FILE: &str = "/proc/sys/kernel/osrelease";
    let text = fs::read_to_string(FILE).context(FILE)?;
    Ok(text.trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_of_both_kinds_is_added_over_cores() {
        let text = "  .idle_waketime  : 5 nsecs\n  .idle_sleeptime : 40 nsecs\n\
                    .iowait_sleeptime: 300 nsecs\ncpu: 1\n  .idle_sleeptime : 2 nsecs\n";
        assert_eq!(idle(text), Some(342));
        assert_eq!(idle("  .idle_calls : 1\n"), None);
        assert_eq!(idle("  .idle_sleeptime : many nsecs\n"), None);
    }

    #[test]
    fn who_sleeps_is_counted() {
        let before = sleeps();
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(sleeps() >= before + 3);
    }

    #[test]
    fn only_the_disks_interrupts_count() {
        let text = "           CPU0       CPU1\n  4:  142  1  IO-APIC  4-edge  ttyS0\n \
                    24:  12  0  PCI-MSI 16384-edge  nvme0q0\n 25:  3  4  PCI-MSI 16385-edge  nvme0q1\n";
        assert_eq!(disk_interrupts(text), 19);
        assert_eq!(disk_interrupts(""), 0);
    }
}
