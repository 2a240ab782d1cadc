//! What has changed since an earlier result.
//!
//! # The rule
//!
//! A row has changed if the spreads of its samples in the two results do not overlap, and their
//! medians are apart by more than the noise that a single run cannot show: 1 % of counted figures,
//! because counted runs of the same work agree to within that, and 5 % of timed ones. The spread of
//! fewer than ten samples is from the least to the largest; of more, without the outermost tenth at
//! each end. A timed row with fewer than three samples on either side is undecided, whatever it says:
//! nobody knows its spread.

use crate::{Better, Document, Measurement, Method, number::with_unit, statistics::Summary};

/// Samples without which nothing is said of a timed row.
const ENOUGH: usize = 3;

/// How a row compares with itself earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It is worse by more than the spread.
    Worse,
    /// It is better by more than the spread.
    Better,
    /// There are too few samples to say.
    Undecided,
    /// It has not changed.
    Same,
}

/// A row in both results.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// What is to be said of it.
    pub verdict: Verdict,
    /// The row now.
    pub new: &'a Measurement,
    /// The row then.
    pub old: &'a Measurement,
}

impl Change<'_> {
    /// The change of the value in parts of the old one; infinite if that was 0 and this is not.
    pub fn ratio(&self) -> f64 {
        match self.new.value - self.old.value {
            0.0 => 0.0,
            difference => difference / self.old.value.abs(),
        }
    }
}

/// Two results, row by row.
#[derive(Clone, Debug, Default)]
pub struct Comparison<'a> {
    /// What makes the two hard to compare, in sentences.
    pub warnings: Vec<String>,
    /// Rows in both, the worst first.
    pub changes: Vec<Change<'a>>,
    /// Rows that only the new result has.
    pub only_new: Vec<&'a Measurement>,
    /// Rows that only the old one has.
    pub only_old: Vec<&'a Measurement>,
}

/// The relative difference below which nothing has changed.
const fn noise(method: Method) -> f64 {
    match method {
        Method::Timed => 0.05,
        Method::Counted | Method::Modelled => 0.01,
    }
}

fn verdict(new: &Measurement, old: &Measurement) -> Verdict {
    let (now, then) = (Summary::of(&new.samples), Summary::of(&old.samples));
    let overlap = now.spread.0 <= then.spread.1 && then.spread.0 <= now.spread.1;
    let apart = (new.value - old.value).abs();
    if overlap || apart <= noise(new.method) * old.value.abs() {
        return Verdict::Same;
    }
    let few = new.samples.len().min(old.samples.len()) < ENOUGH;
    if few && new.method == Method::Timed {
        return Verdict::Undecided;
    }
    match (new.value > old.value) == (new.better == Better::Higher) {
        true => Verdict::Better,
        false => Verdict::Worse,
    }
}

/// Compares a result with an earlier one.
pub fn compare<'a>(new: &'a Document, old: &'a Document) -> Comparison<'a> {
    let mut comparison = Comparison {
        warnings: warnings(new, old),
        ..Comparison::default()
    };
    for row in &new.results {
        match old.results.iter().find(|old| old.is_same_quantity(row)) {
            Some(old) => comparison.changes.push(Change {
                verdict: verdict(row, old),
                new: row,
                old,
            }),
            None => comparison.only_new.push(row),
        }
    }
    let is_gone = |old: &&Measurement| !new.results.iter().any(|row| row.is_same_quantity(old));
    comparison.only_old = old.results.iter().filter(is_gone).collect();
    comparison.changes.sort_by(|a, b| {
        let size = |change: &Change| -change.ratio().abs();
        a.verdict.cmp(&b.verdict).then(size(a).total_cmp(&size(b)))
    });
    comparison
}

/// What was different about the machines.
fn warnings(new: &Document, old: &Document) -> Vec<String> {
    let (now, then) = (&new.environment, &old.environment);
    let mut warnings = Vec::new();
    let mut differ = |what: &str, now: &str, then: &str, so: &str| {
        if now != then {
            warnings.push(format!("{what} is {now}, it was {then}: {so}"));
        }
    };
    let all = "no figure can be compared";
    let timed = "timed figures cannot be compared";
    differ("The profile", &now.profile, &then.profile, all);
    differ(
        "The accelerator",
        &now.accelerator,
        &then.accelerator,
        timed,
    );
    differ("The processor", &now.cpu, &then.cpu, timed);
    differ("QEMU", &now.qemu_version, &then.qemu_version, timed);
    let seed = |seed: Option<u64>| seed.map_or("none".into(), |seed| seed.to_string());
    let work = "the work was another";
    differ("The seed", &seed(now.seed), &seed(then.seed), work);
    warnings
}

impl Comparison<'_> {
    /// How many rows have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        let with = self
            .changes
            .iter()
            .filter(|change| change.verdict == verdict);
        with.count()
    }

    /// The comparison for a terminal.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for warning in &self.warnings {
            text += &format!("warning: {warning}\n");
        }
        text += &self.summary();
        text.push('\n');
        let changed = self
            .changes
            .iter()
            .filter(|change| change.verdict <= Verdict::Better);
        for change in changed {
            text += &format!("  {}\n", change.sentence());
        }
        text
    }

    /// One sentence with the numbers of rows.
    pub fn summary(&self) -> String {
        let (worse, better) = (self.count(Verdict::Worse), self.count(Verdict::Better));
        let (undecided, same) = (self.count(Verdict::Undecided), self.count(Verdict::Same));
        let mut text =
            format!("Against the earlier result: {worse} worse, {better} better, {same} the same");
        let more = [
            (undecided, "with too few repetitions to say"),
            (self.only_new.len(), "new"),
            (self.only_old.len(), "gone"),
        ];
        for (count, what) in more.into_iter().filter(|(count, _)| *count > 0) {
            text += &format!(", {count} {what}");
        }
        text + "."
    }
}

impl Change<'_> {
    /// The change in words.
    pub fn sentence(&self) -> String {
        let (new, old) = (self.new, self.old);
        let word = match self.verdict {
            Verdict::Worse => "worse",
            Verdict::Better => "better",
            Verdict::Undecided => "undecided",
            Verdict::Same => "same",
        };
        let ratio = match self.ratio() {
            ratio if ratio.is_finite() => format!(" ({:+.1} %)", 100.0 * ratio),
            _ => String::new(),
        };
        format!(
            "{word}: {} {}, {} → {}{ratio}",
            new.name,
            new.method.name(),
            with_unit(old.value, &old.unit),
            with_unit(new.value, &new.unit)
        )
    }
}
