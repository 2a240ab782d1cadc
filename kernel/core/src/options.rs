//! The kernel command line.
//!
//! Words of the form `key=value`, in any order; of the same key the last one counts. A word that is
//! not understood is reported with what would be right, and the rest still counts: a typing error
//! must not keep a machine from booting. Nothing is allocated, so this works before there is a heap.

use core::fmt;
use spillway_abi::limits::MAX_CORES;

/// Which messages the log takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what is wrong, but not fatal.
    Warn,
    /// And what a person wants to know who watches.
    #[default]
    Info,
    /// And what helps to find an error.
    Debug,
    /// And every step.
    Trace,
}

/// What a core does that has nothing to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Idle {
    /// Sleeps until an interrupt.
    #[default]
    Halt,
    /// Spins: wakes faster, and keeps emulated time steady.
    Poll,
}

/// How the machine is left when the system ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exit {
    /// It is switched off, or stopped if it cannot be.
    #[default]
    None,
    /// The emulator ends with an exit code, by its debug-exit device.
    Debug,
}

/// Whether devices may reach memory when no IOMMU confines them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dma {
    /// No device is granted without an IOMMU.
    #[default]
    None,
    /// Devices, and the drivers that hold them, are trusted with all of memory.
    Trust,
}

/// What happens to the branch predictor on a switch to another process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Branch {
    /// Nothing: faster; one process may influence the speculation of another.
    #[default]
    Keep,
    /// It is flushed, where the processor can.
    Flush,
}

/// A protection of the kernel that it provokes on purpose, to show that it holds.
///
/// Each ends in a panic if the protection holds, and otherwise with a message and a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelfTest {
    /// Reads a program's memory outside the one place that may.
    Smap,
    /// Runs a program's code.
    Smep,
    /// Writes the kernel's text.
    Text,
    /// The same through the direct map.
    TextAlias,
    /// The same through the identity map of the hand-over.
    TextIdentity,
    /// Runs the kernel's data.
    Exec,
    /// Runs the kernel's text through the direct map.
    ExecAlias,
    /// Overflows a kernel stack.
    Stack,
    /// Panics, for the report itself.
    Panic,
}

impl SelfTest {
    const NAMES: [(&'static str, Self); 9] = [
        ("smap", Self::Smap),
        ("smep", Self::Smep),
        ("text", Self::Text),
        ("text-alias", Self::TextAlias),
        ("text-identity", Self::TextIdentity),
        ("exec", Self::Exec),
        ("exec-alias", Self::ExecAlias),
        ("stack", Self::Stack),
        ("panic", Self::Panic),
    ];

    /// The one of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        let found = Self::NAMES.iter().find(|(other, _)| *other == name);
        found.map(|(_, test)| *test)
    }
}

/// What the command line asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `log=error|warn|info|debug|trace`.
    pub log: LogLevel,
    /// `idle=halt|poll`.
    pub idle: Idle,
    /// `exit=none|debug`.
    pub exit: Exit,
    /// `dma=none|trust`.
    pub dma: Dma,
    /// `branch=keep|flush`.
    pub branch: Branch,
    /// `cores=N`: the most cores to use; `None` is all of them.
    pub cores: Option<usize>,
    /// `selftest=NAME`: end the boot by provoking a protection.
    pub self_test: Option<SelfTest>,
}

impl Options {
    /// Reads a command line. The second part yields each word that was not understood.
    pub fn parse(line: &str) -> (Self, Complaints<'_>) {
        let mut options = Self::default();
        for word in line.split_whitespace() {
            // What went wrong is found again by the complaints, which need no memory that way.
            let _ = options.apply(word);
        }
        let complaints = Complaints {
            words: line.split_whitespace(),
        };
        (options, complaints)
    }

    fn apply<'a>(&mut self, word: &'a str) -> Result<(), Complaint<'a>> {
        let wrong = |right| Complaint { word, right };
        let (key, value) = word.split_once('=').ok_or(wrong(KEYS))?;
        match key {
            "log" => {
                self.log = match value {
                    "error" => LogLevel::Error,
                    "warn" => LogLevel::Warn,
                    "info" => LogLevel::Info,
                    "debug" => LogLevel::Debug,
                    "trace" => LogLevel::Trace,
                    _ => return Err(wrong("log=error, warn, info, debug or trace")),
                }
            }
            "idle" => {
                self.idle = match value {
                    "halt" => Idle::Halt,
                    "poll" => Idle::Poll,
                    _ => return Err(wrong("idle=halt or idle=poll")),
                }
            }
            "exit" => {
                self.exit = match value {
                    "none" => Exit::None,
                    "debug" => Exit::Debug,
                    _ => return Err(wrong("exit=none or exit=debug")),
                }
            }
            "dma" => {
                self.dma = match value {
                    "none" => Dma::None,
                    "trust" => Dma::Trust,
                    _ => return Err(wrong("dma=none or dma=trust")),
                }
            }
            "branch" => {
                self.branch = match value {
                    "keep" => Branch::Keep,
                    "flush" => Branch::Flush,
                    _ => return Err(wrong("branch=keep or branch=flush")),
                }
            }
            "cores" => {
                let cores = value.parse().ok().filter(|n| (1..=MAX_CORES).contains(n));
                self.cores = Some(cores.ok_or(wrong(CORES))?);
            }
            "selftest" => {
                self.self_test = Some(SelfTest::from_name(value).ok_or(wrong(SELF_TESTS))?);
            }
            _ => return Err(wrong(KEYS)),
        }
        Ok(())
    }
}

const KEYS: &str = "log=, idle=, exit=, dma=, branch=, cores= or selftest=";
const CORES: &str = "cores= with a number from 1 to 64";
const SELF_TESTS: &str = "selftest=smap, smep, text, text-alias, text-identity, exec, exec-alias, \
                          stack or panic";
const _: () = assert!(MAX_CORES == 64, "the text above names the limit");

/// The words of a command line that were not understood.
#[derive(Clone, Debug)]
pub struct Complaints<'a> {
    words: core::str::SplitWhitespace<'a>,
}

impl<'a> Iterator for Complaints<'a> {
    type Item = Complaint<'a>;

    fn next(&mut self) -> Option<Complaint<'a>> {
        let mut scratch = Options::default();
        self.words.find_map(|word| scratch.apply(word).err())
    }
}

/// A word of the command line that was not understood; displays as a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complaint<'a> {
    /// The word.
    pub word: &'a str,
    /// What could stand there.
    pub right: &'static str,
}

impl fmt::Display for Complaint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { word, right } = self;
        write!(
            f,
            "the kernel does not know the option \"{word}\" and ignores it; it would know {right}"
        )
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::{format, string::ToString, vec::Vec};

    fn words(line: &str) -> Vec<&str> {
        Options::parse(line)
            .1
            .map(|complaint| complaint.word)
            .collect()
    }

    #[test]
    fn nothing_means_the_defaults() {
        for line in ["", "   ", "\t\n"] {
            let (options, complaints) = Options::parse(line);
            assert_eq!(options, Options::default());
            assert_eq!(complaints.count(), 0);
        }
        assert_eq!(Options::default().log, LogLevel::Info);
        assert_eq!(Options::default().dma, Dma::None);
    }

    #[test]
    fn every_word_counts() {
        let line =
            " log=trace idle=poll  exit=debug\tdma=trust branch=flush cores=64 selftest=stack";
        let expected = Options {
            log: LogLevel::Trace,
            idle: Idle::Poll,
            exit: Exit::Debug,
            dma: Dma::Trust,
            branch: Branch::Flush,
            cores: Some(64),
            self_test: Some(SelfTest::Stack),
        };
        assert_eq!(Options::parse(line).0, expected);
        assert!(words(line).is_empty());
    }

    #[test]
    fn every_value_that_a_complaint_offers_is_taken() {
        for word in [
            "log=error",
            "log=warn",
            "log=info",
            "log=debug",
            "log=trace",
            "idle=halt",
            "idle=poll",
            "exit=none",
            "exit=debug",
            "dma=none",
            "dma=trust",
            "branch=keep",
            "branch=flush",
            "cores=1",
            "cores=64",
        ] {
            assert!(words(word).is_empty(), "{word}");
        }
    }

    #[test]
    fn every_self_test_that_a_complaint_offers_is_taken() {
        let (_, offered) = SELF_TESTS.split_once('=').unwrap();
        let names: Vec<_> = offered
            .split([',', ' '])
            .filter(|name| !["", "or"].contains(name))
            .collect();
        assert_eq!(names, SelfTest::NAMES.map(|(name, _)| name));
        assert_eq!(
            words("selftest=everything selftest="),
            ["selftest=everything", "selftest="]
        );
    }

    #[test]
    fn the_last_of_a_key_counts_and_a_wrong_one_changes_nothing() {
        let (options, _) =
            Options::parse("log=warn log=error dma=trust dma=everything cores=2 cores=0");
        assert_eq!(options.log, LogLevel::Error);
        assert_eq!(options.dma, Dma::Trust);
        assert_eq!(options.cores, Some(2));
    }

    #[test]
    fn a_wrong_word_is_reported_with_what_would_be_right_and_the_rest_counts() {
        let line = "quiet log=loud LOG=info idle=poll cores=65 cores=-1 cores= =";
        assert_eq!(
            words(line),
            [
                "quiet", "log=loud", "LOG=info", "cores=65", "cores=-1", "cores=", "="
            ]
        );
        let (options, mut complaints) = Options::parse(line);
        assert_eq!(options.idle, Idle::Poll);
        assert_eq!(options.cores, None);
        complaints.next();
        assert_eq!(
            complaints.next().unwrap().to_string(),
            "the kernel does not know the option \"log=loud\" and ignores it; \
             it would know log=error, warn, info, debug or trace"
        );
    }

    proptest! {
        #[test]
        fn no_line_panics_and_each_bad_word_is_reported_once(
            line in "([a-z]{1,6}=?[a-z0-9]{0,4}[ \t]?){0,20}|\\PC{0,60}",
        ) {
            let (_, complaints) = Options::parse(&line);
            let known = line.split_whitespace().filter(|word| words(word).is_empty()).count();
            let reported: Vec<_> = complaints.map(|c| format!("{c}")).collect();
            prop_assert_eq!(reported.len() + known, line.split_whitespace().count());
        }
    }
}
