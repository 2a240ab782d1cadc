//! The form that travels in the boot image: a header, then the manifest in postcard's encoding.
//!
//! ```text
//! u32 magic   u32 version   u32 bytes that follow   postcard
//! ```
//!
//! What comes behind is ignored, because a module's last page is filled up with zeros.

use alloc::vec::Vec;

use crate::{Invalid, MAX_ENCODED, Manifest};

/// "SPWM", the first word.
pub const MAGIC: u32 = u32::from_le_bytes(*b"SPWM");
/// The version of everything behind the header.
pub const VERSION: u32 = 3;

const HEADER: usize = 12;

/// Why a compact manifest was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// It does not begin with [`MAGIC`].
    Magic,
    /// It has another version, this one.
    Version(u32),
    /// It is longer than [`MAX_ENCODED`], or ends before its header says.
    Length,
    /// Its content is not a manifest.
    Malformed,
    /// It breaks a rule.
    Invalid(Invalid),
}

impl core::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Magic => write!(
                f,
                "this is not a compact manifest; make the image with xtask"
            ),
            Self::Version(found) => write!(
                f,
                "the manifest has version {found}, this program reads {VERSION}; make the image again"
            ),
            Self::Length => write!(
                f,
                "the manifest is cut off or longer than {MAX_ENCODED} bytes; make the image again"
            ),
            Self::Malformed => write!(f, "the manifest is damaged; make the image again"),
            Self::Invalid(invalid) => invalid.fmt(f),
        }
    }
}

impl core::error::Error for DecodeError {}

impl Manifest {
    /// The compact form of a manifest that keeps the rules.
    pub fn encode(&self) -> Result<Vec<u8>, Invalid> {
        self.check()?;
        let body = postcard::to_allocvec(self).map_err(|_| Invalid("out of memory".into()))?;
        if body.len() > MAX_ENCODED - HEADER {
            return Err(Invalid(alloc::format!(
                "the manifest has more than {MAX_ENCODED} bytes; use fewer or shorter arguments"
            )));
        }
        let mut bytes = Vec::with_capacity(HEADER + body.len());
        for word in [MAGIC, VERSION, body.len() as u32] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(body);
        Ok(bytes)
    }

    /// Reads the compact form and checks it again: the image is input like any other.
    ///
    /// The work and the memory are bounded by [`MAX_ENCODED`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let word = |index: usize| {
            let bytes = bytes.get(4 * index..4 * index + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        if word(0) != Some(MAGIC) {
            return Err(DecodeError::Magic);
        }
        match word(1) {
            Some(VERSION) => {}
            Some(other) => return Err(DecodeError::Version(other)),
            None => return Err(DecodeError::Length),
        }
        let length = word(2).ok_or(DecodeError::Length)? as usize;
        if length > MAX_ENCODED - HEADER {
            return Err(DecodeError::Length);
        }
        let body = bytes
            .get(HEADER..HEADER + length)
            .ok_or(DecodeError::Length)?;
        let (manifest, rest): (Self, _) =
            postcard::take_from_bytes(body).map_err(|_| DecodeError::Malformed)?;
        if !rest.is_empty() {
            return Err(DecodeError::Malformed);
        }
        manifest.check().map_err(DecodeError::Invalid)?;
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Device, Grant, MAX_ARGUMENT, MAX_ARGUMENTS, MAX_PROCESSES, Process, ServedObject,
        ServiceRight::{Manage, Map, Read, Write},
        Shutdown,
    };
    use alloc::{format, string::String, vec};
    use proptest::prelude::*;

    fn grants() -> impl Strategy<Value = Vec<Grant>> {
        prop::sample::subsequence(
            vec![
                Grant::Log,
                Grant::Clock,
                Grant::Counters,
                Grant::Power,
                Grant::Image,
                Grant::Module("data".into()),
                Grant::Devices,
                Grant::Processes,
            ],
            0..=8,
        )
    }

    prop_compose! {
        fn process()(
            arguments in prop::collection::vec(".{0,20}", 0..5),
            memory in 4096u64..1 << 36,
            (handles, threads, processes, requests) in (1u32..4096, 1u32..4096, 0u32..4096, 0u32..4096),
            cores: u64,
            priority in 0u32..32,
            grants in grants(),
            functions in prop::collection::vec(0u32..1 << 24, 0..3),
            objects in prop::collection::vec(any::<u64>(), 0..3),
            rights in prop::sample::subsequence(vec![Read, Write, Map, Manage], 1..=4),
            background: bool,
        ) -> Process {
            let devices = functions.iter().enumerate().map(|(n, function)| Device {
                name: format!("d{n}"),
                device: format!("class:{function:06x}#{n}"),
            });
            let devices = devices.collect();
            let services = objects.iter().enumerate().map(|(n, &object)| ServedObject {
                name: format!("s{n}"),
                from: "p0".into(),
                object,
                rights: rights.clone(),
            });
            let services = services.collect();
            let provides = Vec::new();
            let program = "program".into();
            let name = String::new();
            Process { name, program, arguments, memory, handles, threads, processes, requests, cores, priority, grants, devices, provides, services, background }
        }
    }

    prop_compose! {
        fn manifest()(mut processes in prop::collection::vec(process(), 1..6), never: bool) -> Manifest {
            for (index, process) in processes.iter_mut().enumerate() {
                process.name = format!("p{index}");
                process.provides = vec![process.name.clone()];
            }
            let shutdown = if never { Shutdown::Never } else { Shutdown::WhenAllExit };
            Manifest { shutdown, processes }
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(manifest in manifest(), padding in 0usize..5000) {
            let mut bytes = manifest.encode().unwrap();
            bytes.resize(bytes.len() + padding, 0);
            prop_assert_eq!(Manifest::decode(&bytes).unwrap(), manifest);
        }

        #[test]
        fn a_cut_is_noticed(manifest in manifest(), cut: prop::sample::Index) {
            let bytes = manifest.encode().unwrap();
            prop_assert!(Manifest::decode(&bytes[..cut.index(bytes.len())]).is_err());
        }

        #[test]
        fn garbage_never_panics(mut body in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Manifest::decode(&body);
            let mut bytes = Vec::new();
            for word in [MAGIC, VERSION, body.len() as u32] {
                bytes.extend(word.to_le_bytes());
            }
            bytes.append(&mut body);
            let _ = Manifest::decode(&bytes);
        }

        #[test]
        fn a_changed_byte_never_yields_a_manifest_that_breaks_the_rules(
            manifest in manifest(), at: prop::sample::Index, value: u8,
        ) {
            let mut bytes = manifest.encode().unwrap();
            let at = at.index(bytes.len());
            bytes[at] = value;
            if let Ok(manifest) = Manifest::decode(&bytes) {
                prop_assert!(manifest.check().is_ok());
            }
        }
    }

    #[test]
    fn each_refusal_names_its_cause() {
        let manifest = Manifest {
            processes: vec![Process::new("one", "program")],
            ..Manifest::default()
        };
        let good = manifest.encode().unwrap();
        let changed = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            Manifest::decode(&bytes)
        };
        assert_eq!(changed(0, 0), Err(DecodeError::Magic));
        assert_eq!(changed(4, 9), Err(DecodeError::Version(9)));
        assert_eq!(changed(11, 0xff), Err(DecodeError::Length));
        assert_eq!(changed(8, 200), Err(DecodeError::Length));
        assert_eq!(Manifest::decode(&[]), Err(DecodeError::Magic));
        assert_eq!(Manifest::decode(&good[..8]), Err(DecodeError::Length));
    }

    #[test]
    fn the_longest_manifest_is_refused_by_a_sentence() {
        let mut process = Process::new("", "program");
        process.arguments = vec!["a".repeat(MAX_ARGUMENT); MAX_ARGUMENTS];
        let processes = (0..MAX_PROCESSES)
            .map(|n| Process {
                name: format!("p{n}"),
                ..process.clone()
            })
            .collect();
        let manifest = Manifest {
            processes,
            ..Manifest::default()
        };
        assert!(
            manifest
                .encode()
                .unwrap_err()
                .0
                .contains("shorter arguments")
        );
    }

    #[test]
    fn a_body_that_claims_many_elements_is_refused_quickly() {
        let mut bytes = Vec::new();
        for word in [MAGIC, VERSION, 7] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend([0, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
        assert_eq!(Manifest::decode(&bytes), Err(DecodeError::Malformed));
    }
}
