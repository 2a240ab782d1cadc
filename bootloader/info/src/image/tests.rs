//! What is written is read; each broken image gives its own error; no bytes cause a panic.

extern crate std;

use super::*;
use alloc::{format, string::String, string::ToString, vec, vec::Vec};
use proptest::prelude::*;

#[test]
fn each_broken_image_gives_its_own_error() {
    for broken in broken() {
        let found = parse(&broken.image).map(|image| image.entries().count());
        assert_eq!(found, Err(broken.error), "{}", broken.name);
        assert!(broken.error.to_string().len() > 20);
    }
}

#[test]
fn the_limits_can_be_reached_and_not_exceeded() {
    let names: Vec<String> = (0..=MAX_MODULES).map(|i| format!("file-{i}")).collect();
    let all: Vec<(&str, &[u8])> = names.iter().map(|name| (&name[..], &b"x"[..])).collect();
    let image = write(&all[..MAX_MODULES]).unwrap();
    assert_eq!(parse(&image).unwrap().entries().count(), MAX_MODULES);
    assert_eq!(write(&all), Err(ImageError::TooMany(65)));

    let longest = "n".repeat(MODULE_NAME_LENGTH);
    let image = write(&[(&longest, b"x")]).unwrap();
    assert_eq!(parse(&image).unwrap().find(&longest).unwrap().content, b"x");
    let longer = "n".repeat(MODULE_NAME_LENGTH + 1);
    assert_eq!(write(&[(&longer, b"")]), Err(ImageError::Name { entry: 0 }));
    assert_eq!(write(&[("", b"")]), Err(ImageError::Name { entry: 0 }));
    assert_eq!(write(&[("a\0b", b"")]), Err(ImageError::Name { entry: 0 }));
    let twice: [(&str, &[u8]); 2] = [("a", b""), ("a", b"")];
    assert_eq!(write(&twice), Err(ImageError::NameTwice { entry: 1 }));
}

#[test]
fn what_comes_behind_an_image_is_ignored() {
    let mut image = write(&[("a", b"content")]).unwrap();
    image.extend([7; 100]);
    assert_eq!(
        parse(&image).unwrap().find("a").unwrap().content,
        b"content"
    );
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        files in prop::collection::btree_map(
            "[a-z/]{1,48}", prop::collection::vec(any::<u8>(), 0..9000), 0..6,
        ),
    ) {
        let entries: Vec<(&str, &[u8])> =
            files.iter().map(|(name, content)| (&name[..], &content[..])).collect();
        let image = write(&entries).unwrap();
        prop_assert_eq!(image.len() % PAGE, 0);
        let image = parse(&image).unwrap();
        let read: Vec<_> = image.entries().map(|entry| (entry.name, entry.content)).collect();
        prop_assert_eq!(&read, &entries);
        prop_assert!(image.entries().all(|entry| entry.offset % PAGE_SIZE == 0));
        for (name, content) in entries {
            prop_assert_eq!(image.find(name).unwrap().content, content);
        }
    }

    #[test]
    fn no_change_of_an_image_causes_a_panic(
        changes in prop::collection::vec((0usize..300, any::<u8>()), 0..10),
        length in prop_oneof![Just(4 * PAGE), 0..4 * PAGE],
    ) {
        let contents: [(&str, &[u8]); 2] = [(KERNEL, &[1; 5000]), (MANIFEST, b"manifest")];
        let mut image = write(&contents).unwrap();
        for (at, value) in changes {
            image[at] = value;
        }
        image.truncate(length);
        let Ok(read) = parse(&image) else { return Ok(()); };
        // What a checked image promises holds, whatever the bytes were.
        prop_assert_eq!(read.entries().count(), read.count);
        let mut free_from = 0;
        for entry in read.entries() {
            prop_assert!(entry.offset >= free_from && !entry.name.is_empty());
            free_from = entry.offset + entry.content.len() as u64;
            prop_assert!(free_from <= image.len() as u64);
        }
    }

    #[test]
    fn no_bytes_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut image = vec![];
        image.extend(MAGIC);
        image.extend(bytes);
        let _ = parse(&image);
    }
}
