//! A copy of the sources, in which a guard can be missing for a while.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, anyhow, ensure};

use super::list::Guard;

/// Brings the copy up to date. Files that are the same stay untouched, so that nothing is built
/// twice.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let files = tracked(from)?;
    for file in &files {
        // A file that git knows may have been deleted.
        let Ok(content) = fs::read(from.join(file)) else {
            continue;
        };
        write_if_other(&to.join(file), &content)?;
    }
    remove_others(to, to, &files)
}

/// The files of the working tree, without what git ignores.
fn tracked(root: &Path) -> Result<BTreeSet<PathBuf>> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root)
        .output()
        .context("git cannot be started; the guards are taken out of a copy of its files")?;
    ensure!(
        output.status.success(),
        "git cannot list the files: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let names = output.stdout.split(|&byte| byte == 0);
    let names = names.filter(|name| !name.is_empty());
    Ok(names
        .map(|name| PathBuf::from(String::from_utf8_lossy(name).into_owned()))
        .collect())
}

fn write_if_other(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|there| there == content) {
        return Ok(());
    }
    let attempt = || {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        fs::write(path, content)
    };
    attempt().with_context(|| format!("{} cannot be written", path.display()))
}

/// Removes what was in an earlier copy and is not in this one.
fn remove_others(folder: &Path, root: &Path, files: &BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.strip_prefix(root)?;
        if path.is_dir() {
            remove_others(&path, root, files)?;
        } else if !files.contains(name) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// A file of the copy without its guard, which comes back when this is dropped.
pub struct Missing {
    path: PathBuf,
    whole: String,
}

impl Missing {
    /// Takes a guard out.
    pub fn new(tree: &Path, guard: &Guard) -> Result<Self> {
        let path = tree.join(&guard.file);
        let whole = fs::read_to_string(&path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        let text = guard.taken_out_of(&whole).map_err(|error| anyhow!(error))?;
        fs::write(&path, text)?;
        Ok(Self { path, whole })
    }
}

impl Drop for Missing {
    fn drop(&mut self) {
        // If this fails, the next copy mends it.
        let _ = fs::write(&self.path, &self.whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_follows_its_original_and_keeps_what_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("src")).unwrap();
        let git = Command::new("git")
            .arg("init")
            .arg("-q")
            .arg(&from)
            .status();
        assert!(git.unwrap().success());
        fs::write(from.join(".gitignore"), "/target\n").unwrap();
        fs::write(from.join("src/a"), "one").unwrap();
        fs::write(from.join("src/b"), "two").unwrap();
        fs::write(from.join("target"), "not this").unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(fs::read(to.join("src/b")).unwrap(), b"two");
        assert!(!to.join("target").exists());
        let written = |name| fs::metadata(to.join(name)).unwrap().modified().unwrap();
        let before = written("src/a");
        fs::remove_file(from.join("src/b")).unwrap();
        copy(&from, &to).unwrap();
        assert!(!to.join("src/b").exists());
        assert_eq!(written("src/a"), before);
    }

    #[test]
    fn a_guard_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, "if open {").unwrap();
        let guard = Guard {
            name: "door".into(),
            file: "x".into(),
            find: "open".into(),
            replace: "true".into(),
            tests: String::new(),
            package: None,
        };
        let missing = Missing::new(folder.path(), &guard).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"if true {");
        drop(missing);
        assert_eq!(fs::read(&path).unwrap(), b"if open {");
    }
}
