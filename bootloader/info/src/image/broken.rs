//! Images with one thing wrong, for the tests of those who read them.

use super::{ENTRY, HEADER, ImageError, KERNEL, MANIFEST, PAGE, write};
use crate::{MAX_MODULES, MODULE_NAME_LENGTH};
use alloc::{vec, vec::Vec};

/// An image with one thing wrong.
#[derive(Clone, Debug)]
pub struct Broken {
    /// What is wrong, in a few words.
    pub name: &'static str,
    /// The image.
    pub image: Vec<u8>,
    /// What reading it must say.
    pub error: ImageError,
}

/// One image for each way in which an image with a kernel and a manifest can be wrong.
pub fn broken() -> Vec<Broken> {
    let contents: [(&str, &[u8]); 2] = [(KERNEL, &[1; 5000]), (MANIFEST, b"manifest")];
    let good = write(&contents).unwrap_or_default();
    let changed = |name, error, change: &dyn Fn(&mut Vec<u8>)| {
        let mut image = good.clone();
        change(&mut image);
        Broken { name, image, error }
    };
    let (first, second) = (HEADER, HEADER + ENTRY);
    let (offset, length) = (MODULE_NAME_LENGTH, MODULE_NAME_LENGTH + 8);
    let too_many = MAX_MODULES as u32 + 1;
    let truncated = |found| ImageError::Truncated {
        needed: 4 * PAGE as u64,
        found,
    };
    vec![
        changed("something else", ImageError::Magic, &|image| {
            image[0] = b'X'
        }),
        changed("empty", ImageError::Magic, &Vec::clear),
        changed("of another version", ImageError::Version(2), &|image| {
            image[8] = 2
        }),
        changed(
            "truncated by a page",
            truncated(3 * PAGE as u64),
            &|image| {
                image.truncate(3 * PAGE);
            },
        ),
        changed(
            "truncated by a byte",
            truncated(4 * PAGE as u64 - 1),
            &|image| {
                image.truncate(4 * PAGE - 1);
            },
        ),
        changed(
            "with too many entries",
            ImageError::TooMany(too_many.into()),
            &|image| {
                image[12..16].copy_from_slice(&too_many.to_le_bytes());
            },
        ),
        changed(
            "with an empty name",
            ImageError::Name { entry: 1 },
            &|image| {
                image[second..second + MODULE_NAME_LENGTH].fill(0);
            },
        ),
        changed(
            "with a name that is not UTF-8",
            ImageError::Name { entry: 1 },
            &|image| {
                image[second] = 0xff;
            },
        ),
        changed(
            "with a name of two pieces",
            ImageError::Name { entry: 1 },
            &|image| {
                image[second + MODULE_NAME_LENGTH - 1] = b'x';
            },
        ),
        changed(
            "with one name twice",
            ImageError::NameTwice { entry: 1 },
            &|image| {
                image.copy_within(first..first + MODULE_NAME_LENGTH, second);
            },
        ),
        changed(
            "with a content off its page",
            ImageError::Unaligned { entry: 0 },
            &|image| {
                image[first + offset] = 8;
            },
        ),
        changed(
            "with contents that overlap",
            ImageError::Overlap { entry: 1 },
            &|image| {
                image.copy_within(first + offset..first + length, second + offset);
            },
        ),
        changed(
            "with a content over its header",
            ImageError::Overlap { entry: 0 },
            &|image| {
                image[first + offset..first + length].fill(0);
            },
        ),
        changed(
            "with a content past its end",
            ImageError::Outside { entry: 1 },
            &|image| {
                image[second + length + 1] = 0x20;
            },
        ),
        changed(
            "with a content past everything",
            ImageError::Outside { entry: 1 },
            &|image| {
                image[second + length..second + length + 8].fill(0xff);
            },
        ),
        changed(
            "with something behind a content",
            ImageError::Padding { entry: 1 },
            &|image| {
                image[4 * PAGE - 1] = 1;
            },
        ),
    ]
}
