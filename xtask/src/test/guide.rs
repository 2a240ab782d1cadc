//! The guide to servers, tried from its text alone: its blocks are written down as the files that they
//! say they are, built as a package beside the repository, and booted.

use std::{collections::BTreeMap, fs, os::unix::fs::symlink, path::Path};

use anyhow::{Context, Result, ensure};

use super::{boot, tally::Tally};
use crate::{cli::Profile, image::Recipe, qemu::Machine, workspace::Workspace};

const NAME: &str = "boot::the_guide_to_servers_works_from_its_text";
const GUIDE: &str = "docs/server-guide.md";
/// The folder that the guide makes, and what it calls the repository beside it.
const FOLDER: &str = "table";
const REPOSITORY: &str = "spillway";
/// What the guide says that the log has.
const LOG: &str = "log";

/// Does what the guide says, if the filter wants it.
pub fn run(
    workspace: &Workspace,
    profile: Profile,
    machine: &Machine,
    tally: &mut Tally,
) -> Result<()> {
    if !tally.wants(NAME) {
        return Ok(());
    }
    let text = fs::read_to_string(workspace.root.join(GUIDE))?;
    let files = files(&text);
    let place = workspace.target.join("guide");
    write(workspace, &place, &files).context("the files of the guide cannot be written")?;
    let manifest = place.join(FOLDER).join("manifest.toml");
    let image = Recipe::new(workspace, profile, &manifest)?.make()?.image;
    let machine = Machine {
        image: Some(image),
        ..machine.clone()
    };
    let says: Vec<&str> = files.get(LOG).map_or("", |log| log).lines().collect();
    ensure!(!says.is_empty(), "{GUIDE} does not say what the log has");
    let booted = boot::boot(&machine, &says);
    tally.note(NAME, booted.map_err(|error| format!("{error:#}")));
    Ok(())
}

/// The blocks of a text that say a file's name behind their language; those of one file are one.
fn files(text: &str) -> BTreeMap<&str, String> {
    let mut files: BTreeMap<&str, String> = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else {
            continue;
        };
        let block = lines.by_ref().take_while(|line| *line != "```");
        match info.split_once(' ') {
            Some((_, name)) => {
                let file = files.entry(name).or_default();
                block.for_each(|line| file.extend([line, "\n"]));
            }
            None => block.for_each(drop),
        }
    }
    files
}

fn write(workspace: &Workspace, place: &Path, files: &BTreeMap<&str, String>) -> Result<()> {
    let folder = place.join(FOLDER);
    fs::create_dir_all(folder.join("src"))?;
    let repository = place.join(REPOSITORY);
    if fs::symlink_metadata(&repository).is_err() {
        symlink(&workspace.root, &repository)?;
    }
    for (name, content) in files {
        fs::write(folder.join(name), content)?;
    }
    // The versions of the repository, so that nothing has to be fetched.
    fs::copy(workspace.root.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        fs::read_to_string(root.join(path)).unwrap()
    }

    /// Without empty lines, which stand between blocks as they like.
    fn lines(text: &str) -> Vec<&str> {
        text.lines().filter(|line| !line.is_empty()).collect()
    }

    #[test]
    fn blocks_with_a_name_are_files() {
        let text = "a\n```rust x.rs\none\n```\n```text\nno\n```\n```rust x.rs\n\ntwo\n```\n```toml y\n```\n";
        let files = files(text);
        assert_eq!(files.len(), 2);
        assert_eq!(files["x.rs"], "one\n\ntwo\n");
        assert_eq!(files["y"], "");
    }

    #[test]
    fn the_guide_explains_the_program_that_is_there() {
        let text = read(GUIDE);
        let files = files(&text);
        for name in ["src/server.rs", "src/client.rs"] {
            let program = read(&format!("apps/table/{name}"));
            assert_eq!(lines(&files[name]), lines(&program), "{name}");
        }
        assert!(read("apps/table/src/server.rs").lines().count() <= 50);
    }
}
