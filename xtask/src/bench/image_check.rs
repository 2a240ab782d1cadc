//! A disk image with a pattern, and what must be in it after a program has written to it.
//!
//! Before, each word of it follows from its place and the plan's seed. Programs write at a place
//! what follows from it and another seed. So afterwards every block must hold one of the two, whole.

use std::{
    fs::File,
    io::{Read, Seek, Write},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use spillway_plan::Cases;
use tempfile::NamedTempFile;

/// Bytes of the image.
const SIZE: u64 = 64 << 20;
/// Bytes that are looked at together: the smallest request.
const BLOCK: usize = 512;

/// An image, which is removed when this is dropped.
pub struct Image(NamedTempFile);

impl Image {
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// An image as the guest expects it.
pub fn make(cases: &Cases) -> Result<Image> {
    let mut file = NamedTempFile::new().context("there is no room for a disk image")?;
    fill(file.as_file_mut(), cases.seed_before(), SIZE)?;
    Ok(Image(file))
}

fn fill(file: &mut File, seed: u64, size: u64) -> Result<()> {
    let mut bytes = vec![0; 1 << 20];
    for offset in (0..size).step_by(bytes.len()) {
        test_pattern::fill(seed, offset, &mut bytes);
        file.write_all(&bytes)?;
    }
    Ok(())
}

/// Sees that every block holds what it should, and that something was written if it was to be.
pub fn check(image: Image, cases: &Cases) -> Result<()> {
    let mut file = image.0;
    let written = written(file.as_file_mut(), cases)?;
    let writes = cases.cases.iter().any(|case| case.read_percent < 100);
    ensure!(
        writes == (written > 0),
        "the plan {}, but {written} blocks of the disk image were",
        if writes {
            "writes"
        } else {
            "only reads: none is to be written"
        }
    );
    Ok(())
}

/// Blocks that were written; an error if one holds anything else.
fn written(file: &mut File, cases: &Cases) -> Result<u64> {
    file.rewind()?;
    let (mut count, mut offset, mut block) = (0, 0, [0; BLOCK]);
    let length = file.metadata()?.len();
    while offset < length {
        file.read_exact(&mut block)?;
        let wrong = |seed| test_pattern::first_wrong(seed, offset, &block);
        if wrong(cases.seed_before()).is_some() {
            let wrong = wrong(cases.seed_written());
            ensure!(
                wrong.is_none(),
                "byte {} of the disk image is neither what was there before nor what was written",
                wrong.unwrap_or(offset)
            );
            count += 1;
        }
        offset += BLOCK as u64;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::SeekFrom;

    const CASES: Cases = Cases {
        seed: 7,
        cases: Vec::new(),
    };

    /// An image of four blocks, one of them written, and some bytes changed.
    fn image(write: bool, change: Option<u64>) -> Result<u64> {
        let mut file = tempfile::tempfile()?;
        fill(&mut file, CASES.seed_before(), 1 << 20)?;
        if write {
            let mut block = [0; BLOCK];
            test_pattern::fill(CASES.seed_written(), 1024, &mut block);
            file.seek(SeekFrom::Start(1024))?;
            file.write_all(&block)?;
        }
        if let Some(offset) = change {
            file.seek(SeekFrom::Start(offset))?;
            file.write_all(b"x")?;
        }
        written(&mut file, &CASES)
    }

    #[test]
    fn blocks_are_old_or_new_and_nothing_else() {
        assert_eq!(image(false, None).unwrap(), 0);
        assert_eq!(image(true, None).unwrap(), 1);
        for offset in [0, 1024, 1535, (1 << 20) - 1] {
            let error = image(true, Some(offset)).unwrap_err().to_string();
            assert!(error.contains("neither"), "{offset}: {error}");
        }
    }
}
