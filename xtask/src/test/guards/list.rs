//! The list of guards, `tests/guards.toml`: for each, how to take it out and which test must notice.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result};
use serde::Deserialize;

/// The list, from the root of the workspace.
pub const LIST: &str = "tests/guards.toml";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    guard: Vec<Guard>,
}

/// One guard.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// What it guards, in a word or two.
    pub name: String,
    /// The file that it is in, from the root of the workspace.
    pub file: String,
    /// The text that makes it up; it occurs in the file exactly once.
    pub find: String,
    /// What stands there without it. Nothing, if the text is just left out.
    #[serde(default)]
    pub replace: String,
    /// The tests of which one at least must fail then: a filter for `test`.
    pub tests: String,
    /// The package whose host tests are meant; without it they are tests of the linked system.
    pub package: Option<String>,
}

/// Reads the list.
pub fn read(root: &Path) -> Result<Vec<Guard>> {
    let text =
        fs::read_to_string(root.join(LIST)).with_context(|| format!("{LIST} cannot be read"))?;
    let list: List = toml::from_str(&text).with_context(|| format!("{LIST} is not right"))?;
    Ok(list.guard)
}

/// Whether every guard still is where the list says. Otherwise a sentence for each that is not.
pub fn check(root: &Path) -> Result<(), String> {
    let guards = read(root).map_err(|error| format!("{error:#}"))?;
    let mut names = BTreeSet::new();
    let mut complaints = Vec::new();
    for guard in &guards {
        if !names.insert(guard.name.as_str()) {
            complaints.push(format!("{LIST} has two guards named {}", guard.name));
        }
        let text = fs::read_to_string(root.join(&guard.file)).unwrap_or_default();
        complaints.extend(guard.taken_out_of(&text).err());
    }
    match complaints.is_empty() {
        true => Ok(()),
        false => Err(complaints.join("; ")),
    }
}

impl Guard {
    /// The file's text without the guard. A sentence, if it is not in there exactly once.
    pub fn taken_out_of(&self, text: &str) -> Result<String, String> {
        let Self {
            name, file, find, ..
        } = self;
        match text.matches(find.as_str()).count() {
            1 => Ok(text.replacen(find.as_str(), &self.replace, 1)),
            count => Err(format!(
                "{LIST}: the text of `{name}` is in {file} {count} times instead of once; write \
                 down how the guard looks now"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        Guard {
            name: "door".into(),
            file: "house.rs".into(),
            find: "if open {".into(),
            replace: "if true {".into(),
            tests: "burglars".into(),
            package: None,
        }
    }

    #[test]
    fn a_guard_is_taken_out_where_it_is_exactly_once() {
        let text = "fn enter() { if open { } }";
        assert_eq!(
            guard().taken_out_of(text).unwrap(),
            "fn enter() { if true { } }"
        );
        for (text, count) in [("", "0 times"), ("if open { if open {", "2 times")] {
            let error = guard().taken_out_of(text).unwrap_err();
            assert!(
                error.contains(count) && error.contains("house.rs"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_list_itself_is_right() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert_eq!(check(&root), Ok(()));
    }
}
