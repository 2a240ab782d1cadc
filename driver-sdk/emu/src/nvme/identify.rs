//! The structures that Identify returns (Base 2.0, 5.17.2; NVM Command Set 1.0, 4.1.5.1).

use super::Nvme;
use super::status::{INVALID_FIELD, INVALID_NAMESPACE, SUCCESS, Status};

type Page = [u8; 4096];

/// LBA formats that every namespace has: exponents of two.
const FORMATS: [u8; 2] = [9, 12];

impl Nvme {
    /// Fills in structure `cns`; `page` is zero.
    pub(super) fn structure(&self, cns: u8, namespace: u32, page: &mut Page) -> Status {
        match cns {
            0x00 => return self.namespace(namespace, page),
            0x01 => self.controller(page),
            0x02 => self.active(namespace, page),
            _ => return INVALID_FIELD,
        }
        SUCCESS
    }

    /// Identify Controller (5.17.2.1, figure 275).
    fn controller(&self, page: &mut Page) {
        page[4..24].copy_from_slice(b"EMULATED000000000001");
        page[24..64].fill(b' ');
        page[24..41].copy_from_slice(b"Spillway emulated");
        page[64..72].copy_from_slice(b"1.0     ");
        page[77] = self.config.max_transfer_exponent; // MDTS
        page[80..84].copy_from_slice(&self.config.version.to_le_bytes());
        page[111] = 1; // CNTRLTYPE: I/O controller
        (page[512], page[513]) = (0x66, 0x44); // SQES, CQES
        let namespaces = self.config.namespaces.len() as u32;
        page[516..520].copy_from_slice(&namespaces.to_le_bytes()); // NN
        page[525] = self.config.volatile_cache.into(); // VWC
        page[528..530].copy_from_slice(&7u16.to_le_bytes()); // AWUPF, zero-based
    }

    /// Identify Namespace for the NVM command set.
    fn namespace(&self, namespace: u32, page: &mut Page) -> Status {
        let index = namespace.wrapping_sub(1) as usize;
        let Some(&(shift, blocks)) = self.config.namespaces.get(index) else {
            return INVALID_NAMESPACE;
        };
        for field in [0, 8, 16] {
            page[field..field + 8].copy_from_slice(&blocks.to_le_bytes()); // NSZE, NCAP, NUSE
        }
        let formats: Vec<u8> = match FORMATS.contains(&shift) {
            true => FORMATS.to_vec(),
            false => vec![shift],
        };
        page[25] = formats.len() as u8 - 1; // NLBAF, zero-based
        for (format, &exponent) in formats.iter().enumerate() {
            page[128 + 4 * format + 2] = exponent; // LBADS
            if exponent == shift {
                page[26] = format as u8; // FLBAS
            }
        }
        SUCCESS
    }

    /// Active Namespace ID List (5.17.2.2): those above `after`.
    fn active(&self, after: u32, page: &mut Page) {
        let all = 1..=self.config.namespaces.len() as u32;
        for (entry, id) in page
            .as_chunks_mut()
            .0
            .iter_mut()
            .zip(all.filter(|id| *id > after))
        {
            *entry = id.to_le_bytes();
        }
    }
}
