//! Broken boots: each must be refused by the loader, with its own message.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, anyhow, bail, ensure};
use spillway_bootinfo::image as format;

use super::tally::Tally;
use crate::{
    guest::{Ending, Guest},
    image::BootFiles,
    qemu::Machine,
};

/// Seconds that a refusal may take.
const LIMIT: u64 = 60;

/// A machine and what it would boot from, before something is broken.
struct Boot {
    machine: Machine,
    /// The kernel's ELF file, if the image has one.
    kernel: Option<Vec<u8>>,
    manifest: Option<Vec<u8>>,
    /// What becomes of the finished image.
    finish: fn(Vec<u8>) -> Option<Vec<u8>>,
}

struct Case {
    name: &'static str,
    /// Part of the loader's message.
    message: &'static str,
    spoil: fn(&mut Boot),
}

const CASES: &[Case] = &[
    case("no_image", "no boot image", |boot| boot.finish = |_| None),
    case("foreign_image", "does not begin with SPWYIMG", |boot| {
        boot.finish = |image| Some(vec![b'x'; image.len()]);
    }),
    case(
        "image_of_another_version",
        "this program reads version",
        |boot| {
            boot.finish = |image| patched(image, 8, &[99]);
        },
    ),
    case("truncated_image", "it is truncated", |boot| {
        boot.finish = |image| Some(image[..image.len() / 2].to_vec());
    }),
    case("no_kernel", "no file named `kernel`", |boot| {
        boot.kernel = None
    }),
    case("no_manifest", "no file named `manifest`", |boot| {
        boot.manifest = None
    }),
    case("foreign_kernel", "not an ELF file", |boot| {
        boot.kernel = Some(b"#!/bin/sh\n".repeat(1000));
    }),
    case("truncated_kernel", "the file is truncated", |boot| {
        boot.change_kernel(|kernel| kernel.truncate(kernel.len() / 8));
    }),
    case("kernel_of_32_bits", "not a 64-bit ELF file", |boot| {
        boot.change_kernel(|kernel| kernel[4] = 1);
    }),
    case(
        "kernel_for_another_processor",
        "another processor (machine 183)",
        |boot| {
            boot.change_kernel(|kernel| kernel[18] = 183);
        },
    ),
    case(
        "kernel_without_fixed_addresses",
        "the file has type 3",
        |boot| {
            boot.change_kernel(|kernel| kernel[16] = 3);
        },
    ),
    case("kernel_without_segments", "no segment to load", |boot| {
        boot.change_kernel(|kernel| kernel[56..58].fill(0));
    }),
    case(
        "writable_and_executable_segment",
        "both writable and executable",
        |boot| {
            boot.change_kernel(|kernel| {
                for header in load_headers(kernel) {
                    kernel[header + P_FLAGS] |= 0b11;
                }
            });
        },
    ),
    case(
        "overlapping_segments",
        "overlaps a page of an earlier segment",
        |boot| {
            boot.change_kernel(|kernel| {
                if let [first, second, ..] = load_headers(kernel)[..] {
                    kernel.copy_within(first + P_VADDR..first + P_VADDR + 8, second + P_VADDR);
                }
            });
        },
    ),
    case(
        "segment_outside_the_kernel_s_addresses",
        "outside the permitted addresses",
        |boot| {
            boot.change_kernel(|kernel| {
                for header in load_headers(kernel) {
                    kernel[header + P_VADDR + 4..header + P_VADDR + 8].fill(0);
                }
            });
        },
    ),
    case(
        "entry_in_no_code",
        "is not in an executable segment",
        |boot| {
            boot.change_kernel(|kernel| kernel[E_ENTRY..E_ENTRY + 8].fill(0));
        },
    ),
    case("too_little_ram", "too little RAM", |boot| {
        boot.machine.memory = 32 << 20
    }),
    case("endless_command_line", "the command line has", |boot| {
        boot.machine.append.push("x".repeat(2000));
    }),
];

/// Offset of the entry address in the ELF header, and of fields in a program header.
const E_ENTRY: usize = 24;
const P_FLAGS: usize = 4;
const P_VADDR: usize = 16;

const fn case(name: &'static str, message: &'static str, spoil: fn(&mut Boot)) -> Case {
    Case {
        name,
        message,
        spoil,
    }
}

/// Boots every broken machine that the filter wants.
pub fn run(machine: &Machine, files: &BootFiles, tally: &mut Tally) -> Result<()> {
    let image = fs::read(&files.image)
        .with_context(|| format!("{} cannot be read", files.image.display()))?;
    let image = format::parse(&image).map_err(|error| anyhow!("{error}"))?;
    let entry = |name| image.find(name).map(|entry| entry.content.to_vec());
    let folder = tempfile::tempdir()?;
    for case in CASES {
        let name = format!("loader::{}", case.name);
        if !tally.wants(&name) {
            continue;
        }
        let mut boot = Boot {
            machine: Machine {
                cores: 1,
                ..machine.clone()
            },
            kernel: entry(format::KERNEL),
            manifest: entry(format::MANIFEST),
            finish: Some,
        };
        (case.spoil)(&mut boot);
        let result = refused(boot, case.message, folder.path());
        tally.note(&name, result.map_err(|error| format!("{error:#}")));
    }
    Ok(())
}

/// Whether the loader refuses with this message.
fn refused(boot: Boot, message: &str, folder: &Path) -> Result<()> {
    let mut entries = Vec::new();
    entries.extend(boot.kernel.as_deref().map(|bytes| (format::KERNEL, bytes)));
    entries.extend(
        boot.manifest
            .as_deref()
            .map(|bytes| (format::MANIFEST, bytes)),
    );
    let image = format::write(&entries).map_err(|error| anyhow!("{error}"))?;
    let mut machine = boot.machine;
    machine.image = match (boot.finish)(image) {
        None => None,
        Some(bytes) => {
            let path = folder.join("broken.img");
            fs::write(&path, bytes)?;
            Some(path)
        }
    };
    let mut said = false;
    let limit = Some(Duration::from_secs(LIMIT));
    let report = Guest::start(&machine)?.watch(limit, |line| {
        said |= line.contains(message);
        Ok(())
    })?;
    match report.ending {
        Ending::LoaderError => {}
        Ending::Interrupted => bail!("interrupted"),
        ref ending => bail!("the machine {ending}:\n{}", report.evidence()),
    }
    ensure!(
        said,
        "the loader did not say `{message}`:\n{}",
        report.evidence()
    );
    Ok(())
}

impl Boot {
    fn change_kernel(&mut self, change: fn(&mut Vec<u8>)) {
        if let Some(kernel) = &mut self.kernel {
            change(kernel);
        }
    }
}

fn patched(mut bytes: Vec<u8>, at: usize, new: &[u8]) -> Option<Vec<u8>> {
    bytes.get_mut(at..at + new.len())?.copy_from_slice(new);
    Some(bytes)
}

/// Offsets of the program headers of loaded segments: ELF-64 `e_phoff`, `e_phnum`, `PT_LOAD`.
fn load_headers(kernel: &[u8]) -> Vec<usize> {
    let table = u64::from_le_bytes(kernel[32..40].try_into().unwrap_or_default()) as usize;
    let count = u16::from_le_bytes([kernel[56], kernel[57]]) as usize;
    let headers = (0..count).map(|index| table + 56 * index);
    headers
        .filter(|&header| kernel[header..header + 4] == [1, 0, 0, 0])
        .collect()
}
