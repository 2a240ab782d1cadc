//! The count of what passed and failed, and the lines that say so.

/// How the names of the tests begin that do not run on the host.
pub const STATIC: &str = "static::";
pub const LOADER: &str = "loader::";
pub const GUEST: &str = "guest[";
pub const BOOT: &str = "boot::";
pub const PERF: &str = "perf::";
pub const KERNEL: &str = "kernel::";
pub const CPU: &str = "cpu::";
pub const DEVICE: &str = "device[";
pub const NVME: &str = "nvme[";
pub const BLK: &str = "blk[";
pub const FUZZ: &str = "fuzz::";
pub const BENCH: &str = "bench::";
pub const PAGE: &str = "page::";
const KINDS: [&str; 13] = [
    STATIC, LOADER, BOOT, PERF, GUEST, KERNEL, CPU, DEVICE, NVME, BLK, FUZZ, BENCH, PAGE,
];
/// The kind of what runs on the host, whose names are free.
pub const HOST: &str = "";

/// Results so far. Names have the form `kind::name`.
#[derive(Default)]
pub struct Tally {
    filter: Option<String>,
    passed: usize,
    failed: usize,
    /// Names and reasons.
    failures: Vec<(String, String)>,
    skipped: usize,
    /// Whether results are only counted.
    silent: bool,
}

impl Tally {
    /// Counts only what the filter names.
    pub fn new(filter: Option<&str>) -> Self {
        Self {
            filter: filter.map(String::from),
            ..Self::default()
        }
    }

    /// Counts, and keeps the reasons, without a word.
    pub fn silent(filter: Option<&str>) -> Self {
        Self {
            silent: true,
            ..Self::new(filter)
        }
    }

    /// Whether this name is wanted. A module of a test program, as in `guest[1 core]::queues::`,
    /// is chosen by the program itself: its names say nothing of it.
    pub fn wants(&self, name: &str) -> bool {
        self.filter
            .as_deref()
            .is_none_or(|filter| match filter.split_once("]::") {
                Some((kind, module)) if module.ends_with("::") => {
                    name.contains(&filter[..kind.len() + 3])
                }
                _ => name.contains(filter),
            })
    }

    /// Whether a kind of test can have a name that is wanted: a filter that names another kind
    /// excludes it.
    pub fn wants_kind(&self, kind: &str) -> bool {
        let filter = self.filter.as_deref().unwrap_or_default();
        let mut named = KINDS.iter().filter(|other| filter.contains(**other));
        named.next().is_none_or(|named| *named == kind)
    }

    /// Whether something with a name that begins with this can be wanted.
    pub fn wants_within(&self, beginning: &str) -> bool {
        let filter = self.filter.as_deref().unwrap_or_default();
        let names_a_kind = KINDS.iter().any(|kind| filter.contains(kind));
        !names_a_kind || filter.contains(beginning) || beginning.contains(filter)
    }

    /// Whether anything that needs the linked system can be wanted.
    pub fn wants_linked(&self) -> bool {
        let mut linked = KINDS.iter().filter(|kind| ![FUZZ, PAGE].contains(kind));
        linked.any(|kind| self.wants_kind(kind))
    }

    /// Prints and counts a result, if it is wanted.
    pub fn note(&mut self, name: &str, result: Result<(), String>) {
        if self.wants(name) {
            self.note_always(name, result);
        }
    }

    /// Prints and counts a result that matters whatever the filter says.
    pub fn note_always(&mut self, name: &str, result: Result<(), String>) {
        match result {
            Ok(()) => {
                self.say(&format!("test {name} ... ok\n"));
                self.passed += 1;
            }
            Err(reason) => {
                self.say(&format!("test {name} ... FAILED: {reason}\n"));
                self.failed += 1;
                self.failures.push((name.into(), reason));
            }
        }
    }

    /// Says that a test cannot be done here, if it is wanted.
    pub fn skip(&mut self, name: &str, reason: &str) {
        if self.wants(name) {
            self.say(&format!("test {name} ... skipped: {reason}\n"));
            self.skipped += 1;
        }
    }

    /// Prints what explains a result.
    pub fn say(&self, text: &str) {
        if !self.silent {
            print!("{text}");
        }
    }

    /// Results so far.
    pub fn count(&self) -> usize {
        self.passed + self.failed
    }

    /// The first test that failed, and why.
    pub fn first_failure(&self) -> Option<(&str, &str)> {
        let (name, reason) = self.failures.first()?;
        Some((name, reason))
    }

    /// Counts results that somebody else has printed.
    pub fn add(&mut self, passed: usize, failed: usize, what: &str) {
        self.passed += passed;
        self.failed += failed;
        if failed > 0 {
            self.failures
                .push((format!("{failed} of the {what}"), String::new()));
        }
    }

    /// Prints the end, and returns whether all is well. No test at all is not well.
    pub fn close(&self) -> bool {
        println!();
        if !self.failures.is_empty() {
            println!("failures:");
            for (name, _) in &self.failures {
                println!("    {name}");
            }
            println!();
        }
        if self.skipped > 0 {
            println!("{} skipped", self.skipped);
        }
        if self.count() + self.skipped == 0 {
            println!("no test has such a name; `cargo xtask test` without a filter shows them all");
        }
        println!("{} passed, {} failed", self.passed, self.failed);
        self.failed == 0 && self.passed + self.skipped > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wanted_counts() {
        let mut tally = Tally::new(Some("kernel"));
        tally.note("static::kernel::red_zone", Ok(()));
        tally.note("static::loader::red_zone", Err("bad".into()));
        assert!(tally.close());
        tally.note_always("guest[1 core]", Err("hang".into()));
        assert!(!tally.close());
    }

    #[test]
    fn a_filter_that_names_a_kind_excludes_the_others() {
        let tally = Tally::new(Some("static::kernel"));
        assert!(tally.wants_kind(STATIC));
        assert!(!tally.wants_kind(HOST) && !tally.wants_kind(LOADER) && !tally.wants_kind(GUEST));
        assert!(Tally::new(Some("guest[2 cores]::smap")).wants_kind(GUEST));
        for tally in [Tally::new(Some("smap")), Tally::new(None)] {
            assert!(
                [HOST, STATIC, LOADER, GUEST]
                    .iter()
                    .all(|kind| tally.wants_kind(kind))
            );
        }
    }

    #[test]
    fn what_cannot_be_done_is_no_failure() {
        let mut tally = Tally::silent(Some("loader"));
        tally.skip("kernel::panic", "not wanted");
        assert!(!tally.close());
        tally.skip("loader::grub", "no GRUB");
        assert!(tally.close() && tally.count() == 0);
        tally.note("loader::x", Err("why".into()));
        assert_eq!(tally.first_failure(), Some(("loader::x", "why")));
    }

    #[test]
    fn nothing_at_all_is_a_failure() {
        assert!(!Tally::new(Some("nothing")).close());
        let mut tally = Tally::default();
        tally.add(3, 0, "host tests");
        assert!(tally.close());
        tally.add(3, 1, "host tests");
        assert!(!tally.close());
    }
}
