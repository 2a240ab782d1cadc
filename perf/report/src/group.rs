//! Cases that can be compared: those under the same conditions, and beside them those of other systems
//! that do the same work.

use std::collections::{BTreeMap, BTreeSet};

use crate::case::Case;

/// Cases under the same conditions: they differ in level and depth only.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    /// What distinguishes it from the first group, such as "wait poll"; empty for that one.
    pub title: String,
    /// Sorted by level and depth.
    pub cases: Vec<Case<'a>>,
}

/// What follows from level and depth, or is the level.
const FREE: [&str; 5] = ["level", "qd", "threads", "batch", "system"];

/// What another system has to have in common with ours to be shown beside them, as far as both tell.
/// The way in which it waits, and what it does with buffers and without an IOMMU, are its own.
const WORKLOAD: [&str; 6] = [
    "device",
    "backend",
    "block_size",
    "reads",
    "pattern",
    "cores",
];
/// What is a condition of its own if it is there.
const SPECIAL: [&str; 1] = ["rate"];

/// Sorts cases into groups. Steps of an ablation are none: they differ in more on purpose. Nor are cases
/// that verify: what they take is the looking, too. A case of another system joins every group of ours
/// with the same workload.
pub fn groups<'a>(cases: &[Case<'a>]) -> Vec<Group<'a>> {
    let mut sorted: BTreeMap<Vec<(&str, &str)>, Vec<Case<'a>>> = BTreeMap::new();
    let is_plain = |case: &&Case| case.label("step").is_empty() && case.label("verify").is_empty();
    let compared = cases.iter().filter(is_plain);
    let (ours, others): (Vec<_>, Vec<_>) = compared.partition(|case| case.system().is_none());
    for case in ours {
        sorted.entry(case.fixed()).or_default().push(case.clone());
    }
    let mut alone: BTreeMap<_, Vec<Case<'a>>> = BTreeMap::new();
    for other in others {
        let mut joined = false;
        for group in sorted.values_mut().filter(|group| other.joins(&group[0])) {
            group.push(other.clone());
            joined = true;
        }
        if !joined {
            alone.entry(other.fixed()).or_default().push(other.clone());
        }
    }
    sorted.extend(alone);
    let mut groups: Vec<_> = sorted.into_iter().collect();
    // What has most to compare comes first, and is what the others are told apart from.
    groups.sort_by_key(|(_, cases)| std::cmp::Reverse(cases.len()));
    let usual: BTreeMap<_, _> = groups
        .first()
        .map(|(key, _)| key.iter().copied().collect())
        .unwrap_or_default();
    let title = |key: &[(&str, &str)]| {
        let telling = key
            .iter()
            .filter(|(name, value)| usual.get(name) != Some(value));
        let more = telling.map(|(name, value)| format!("{} {value}", name.replace('_', " ")));
        let is_lost = |name: &&&str| !key.iter().any(|(other, _)| other == *name);
        let less = usual.keys().filter(is_lost);
        let less = less.map(|name| format!("without {}", name.replace('_', " ")));
        more.chain(less).collect::<Vec<_>>().join(", ")
    };
    let groups = groups.iter();
    groups
        .map(|(key, cases)| Group {
            title: title(key),
            cases: cases.clone(),
        })
        .collect()
}

impl<'a> Group<'a> {
    /// The title as the end of a sentence: "with wait poll".
    pub fn heading(&self) -> String {
        match self.title.starts_with("without ") {
            true => self.title.clone(),
            false => format!("with {}", self.title),
        }
    }

    /// The cases by level, those of ours first. Where one level has several cases of one depth, they
    /// are told apart by what distinguishes them.
    pub fn series(&self) -> Vec<(String, Vec<&Case<'a>>)> {
        let mut series: Vec<(String, Vec<&Case<'a>>)> = Vec::new();
        let ambiguous = |name: &str, case: &Case| {
            let same =
                |other: &&Case| other.series() == case.series() && other.depth() == case.depth();
            let values: BTreeSet<_> = self
                .cases
                .iter()
                .filter(same)
                .map(|other| other.label(name))
                .collect();
            values.len() > 1
        };
        for case in &self.cases {
            let mut name = case.series();
            if case.system().is_some() && case.label("wait") != self.wait() {
                name += &format!(" ({})", case.label("wait"));
            }
            for label in ["batch", "threads"] {
                if ambiguous(label, case) {
                    name += &format!(", {label} {}", case.label(label));
                }
            }
            match series.iter_mut().find(|(other, _)| *other == name) {
                Some((_, cases)) => cases.push(case),
                None => series.push((name, vec![case])),
            }
        }
        series
    }

    /// The names of the series that are ours.
    pub fn levels(&self) -> Vec<String> {
        let series = self.series().into_iter();
        let ours = series.filter(|(_, cases)| cases[0].system().is_none());
        ours.map(|(name, _)| name).collect()
    }

    /// How the levels here wait for completions.
    fn wait(&self) -> &'a str {
        self.cases.first().map_or("", |case| case.label("wait"))
    }

    /// The conditions that hold for all cases of ours, or for all if none is.
    pub fn conditions(&self) -> Vec<(&'a str, &'a str)> {
        self.cases.first().map(Case::fixed).unwrap_or_default()
    }

    /// The other systems, each with the conditions that hold for all of its cases and are not ours.
    pub fn others(&self) -> Vec<(&'a str, Vec<(&'a str, &'a str)>)> {
        let usual = self.conditions();
        let mut others: Vec<(&str, Vec<_>)> = Vec::new();
        for case in &self.cases {
            let Some(system) = case.system() else {
                continue;
            };
            let holds = |condition: &(&str, &str)| case.label(condition.0) == condition.1;
            match others.iter_mut().find(|(other, _)| *other == system) {
                Some((_, conditions)) => conditions.retain(holds),
                None => {
                    let own = case.fixed().into_iter();
                    let own = own.filter(|condition| !usual.contains(condition));
                    others.push((system, own.collect()));
                }
            }
        }
        others
    }
}

impl<'a> Case<'a> {
    /// The labels of the conditions under which it was measured.
    fn fixed(&self) -> Vec<(&'a str, &'a str)> {
        let fixed = self.labels.iter().filter(|(name, _)| !FREE.contains(name));
        fixed.map(|(name, value)| (*name, *value)).collect()
    }

    /// Whether it does the same work as a case of ours.
    fn joins(&self, ours: &Self) -> bool {
        let both = |name: &&str| [self.label(name), ours.label(name)];
        WORKLOAD
            .iter()
            .map(both)
            .all(|[a, b]| a.is_empty() || b.is_empty() || a == b)
            && SPECIAL.iter().map(both).all(|[a, b]| a == b)
    }
}
