//! An archive of files in the form that Linux unpacks at boot: cpio "newc"
//! (Linux, Documentation/driver-api/early-userspace/buffer-format.rst).

/// The file type and the permissions of what the archive holds.
const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
/// The entry behind the last one.
const TRAILER: &str = "TRAILER!!!";

/// An archive that grows.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a folder. What is in it comes later.
    pub fn folder(&mut self, name: &str) {
        self.add(name, FOLDER, &[]);
    }

    /// Adds a file that can be executed.
    ///
    /// # Panics
    ///
    /// If it has 4 GiB or more, which the form has no room for.
    pub fn program(&mut self, name: &str, content: &[u8]) {
        self.add(name, PROGRAM, content);
    }

    /// The archive with its end.
    pub fn finish(mut self) -> Vec<u8> {
        self.add(TRAILER, 0, &[]);
        self.bytes
    }

    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        let number = |length: usize| u32::try_from(length).expect("too large for an archive");
        self.entries += 1;
        let fields = [
            self.entries, // inode
            mode,
            0, // user
            0, // group
            1, // links
            0, // time of the last change
            number(content.len()),
            0, // device, in two parts
            0,
            0, // device that a special file stands for, in two parts
            0,
            number(name.len() + 1),
            0, // checksum, which this form does not have
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    /// Names and contents end at multiples of four bytes.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The entries of an archive: name, mode, content.
    fn read(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        let all = bytes.len();
        while !bytes.is_empty() {
            assert_eq!(&bytes[..6], b"070701");
            let field = |index: usize| {
                let text = std::str::from_utf8(&bytes[6 + index * 8..][..8]).unwrap();
                u32::from_str_radix(text, 16).unwrap()
            };
            let (mode, size, name_size) = (field(1), field(6) as usize, field(11) as usize);
            let name = &bytes[110..110 + name_size];
            let content = (all - bytes.len() + 110 + name_size).next_multiple_of(4);
            let content = content - (all - bytes.len());
            assert_eq!(name.last(), Some(&0));
            entries.push((
                String::from_utf8(name[..name_size - 1].into()).unwrap(),
                mode,
                bytes[content..content + size].to_vec(),
            ));
            bytes = &bytes[(content + size).next_multiple_of(4)..];
        }
        entries
    }

    #[test]
    fn an_entry_is_laid_out_as_the_form_says() {
        let mut archive = Archive::default();
        archive.program("init", b"#!x");
        let bytes = archive.finish();
        let head = "07070100000001000081ED0000000000000000000000010000000000000003\
                    00000000000000000000000000000000000000050000000000";
        let head = &head[..110];
        assert_eq!(&bytes[..110], head.as_bytes());
        assert_eq!(&bytes[110..120], b"init\0\0#!x\0");
    }

    proptest! {
        #[test]
        fn what_was_put_in_can_be_taken_out(
            files in prop::collection::vec(("[a-z/]{1,20}", prop::collection::vec(any::<u8>(), 0..50)), 0..8)
        ) {
            let mut archive = Archive::default();
            archive.folder("bin");
            for (name, content) in &files {
                archive.program(name, content);
            }
            let mut expected = vec![("bin".to_string(), FOLDER, vec![])];
            expected.extend(files.into_iter().map(|(name, content)| (name, PROGRAM, content)));
            expected.push((TRAILER.into(), 0, vec![]));
            prop_assert_eq!(read(&archive.finish()), expected);
        }
    }
}
