extern crate std;

use super::*;
use proptest::prelude::*;
use std::{vec, vec::Vec};

fn scope(kind: u8, bus: u8, path: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, 6 + path.len() as u8, 0, 0, 0, bus];
    bytes.extend(path);
    bytes
}

fn structure(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend((body.len() as u16 + 4).to_le_bytes());
    bytes.extend(body);
    bytes
}

fn drhd(flags: u8, segment: u16, registers: u64, scopes: &[u8]) -> Vec<u8> {
    let mut body = vec![flags, 0];
    body.extend(segment.to_le_bytes());
    body.extend(registers.to_le_bytes());
    body.extend(scopes);
    structure(0, &body)
}

fn rmrr(start: u64, last: u64, scopes: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 0];
    body.extend(start.to_le_bytes());
    body.extend(last.to_le_bytes());
    body.extend(scopes);
    structure(1, &body)
}

fn table(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![0; HEAD];
    (bytes[36], bytes[37]) = (47, 1);
    bytes.extend(parts.concat());
    bytes
}

#[test]
fn units_scopes_and_reserved_memory_are_read() {
    let parts = [
        drhd(0, 2, 0xfed9_0000, &scope(1, 0, &[2, 0])),
        structure(2, &[0; 8]),
        drhd(
            1,
            0,
            0xfed9_1000,
            &[scope(3, 0xf0, &[0x1f, 7]), scope(2, 0, &[0x1c, 1, 0, 0])].concat(),
        ),
        rmrr(0x7000_0000, 0x7fff_ffff, &scope(1, 0, &[0x14, 0])),
    ];
    let dmar = Dmar::parse(&table(&parts)).unwrap();
    assert_eq!((dmar.address_bits, dmar.remaps_interrupts), (48, true));
    assert_eq!(dmar.ignored, 1);
    let [first, second] = &dmar.units[..] else {
        panic!("two units");
    };
    assert_eq!((first.segment, first.registers), (2, 0xfed9_0000));
    assert!(!first.has_the_rest && second.has_the_rest);
    assert_eq!(second.scopes[0].kind, ScopeKind::Other);
    assert_eq!(second.scopes[1].path(), [(0x1c, 1), (0, 0)]);
    assert_eq!(dmar.reserved[0].last, 0x7fff_ffff);
    assert_eq!(dmar.reserved[0].scopes[0].kind, ScopeKind::Function);
}

#[test]
fn a_path_leads_through_bridges() {
    let scope = Scope::new(ScopeKind::Function, 0, &[(1, 0), (2, 1), (3, 2)]).unwrap();
    let found = scope.function(5, |bridge| {
        assert_eq!(bridge.segment, 5);
        Some(bridge.bus + 10 + bridge.device)
    });
    // Bus 0, device 1 leads to bus 11; there device 2 leads to bus 23.
    assert_eq!(
        found,
        Some(FunctionId::from_raw(5 << 16 | 23 << 8 | 3 << 3 | 2))
    );
    assert_eq!(scope.function(5, |_| None), None);
    assert!(Scope::new(ScopeKind::Function, 0, &[]).is_none());
    assert!(Scope::new(ScopeKind::Function, 0, &[(0, 0); MAX_PATH + 1]).is_none());
}

#[test]
fn what_is_wrong_is_said() {
    use DmarError::*;
    let mut cut = table(&[drhd(1, 0, 4096, &[])]);
    cut.pop();
    for (bytes, error) in [
        (vec![0; 37], Truncated(0)),
        (cut, Truncated(HEAD)),
        (table(&[vec![0, 0]]), Truncated(HEAD)),
        (table(&[vec![9, 0, 3, 0]]), BadLength(HEAD)),
        (table(&[structure(0, &[0; 11])]), BadLength(HEAD)),
        (table(&[structure(1, &[0; 19])]), BadLength(HEAD)),
        (table(&[drhd(0, 0, 0x1800, &[])]), BadAddress(0x1800)),
        (table(&[drhd(0, 0, 0, &[])]), BadAddress(0)),
        (table(&[drhd(0, 0, 4096, &[1])]), Truncated(HEAD + 16)),
        (table(&[drhd(0, 0, 4096, &[1, 9, 0])]), Truncated(HEAD + 16)),
        (
            table(&[drhd(0, 0, 4096, &scope(1, 0, &[]))]),
            BadLength(HEAD + 16),
        ),
        (
            table(&[drhd(0, 0, 4096, &scope(1, 0, &[1]))]),
            BadLength(HEAD + 16),
        ),
        (
            table(&[drhd(0, 0, 4096, &scope(1, 0, &[0; 2 * MAX_PATH + 2]))]),
            BadLength(HEAD + 16),
        ),
    ] {
        assert_eq!(Dmar::parse(&bytes), Err(error));
    }
}

#[test]
fn there_are_limits() {
    let units = |count| table(&vec![drhd(0, 0, 4096, &[]); count]);
    assert_eq!(Dmar::parse(&units(MAX_UNITS)).unwrap().units.len(), 64);
    let error = Dmar::parse(&units(MAX_UNITS + 1));
    assert_eq!(error, Err(DmarError::TooMany("units")));
    let ranges = table(&vec![rmrr(0, 1, &[]); MAX_RESERVED + 1]);
    assert!(matches!(Dmar::parse(&ranges), Err(DmarError::TooMany(_))));
    let scopes = |count| table(&[drhd(0, 0, 4096, &scope(1, 0, &[0, 0]).repeat(count))]);
    assert!(Dmar::parse(&scopes(MAX_SCOPES)).is_ok());
    let error = Dmar::parse(&scopes(MAX_SCOPES + 1));
    assert_eq!(error, Err(DmarError::TooMany("device scopes")));
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(mut bytes in prop::collection::vec(0..8u8, 0..300), kinds: u64) {
        // Small numbers are likely lengths and kinds.
        for (index, byte) in bytes.iter_mut().enumerate() {
            if kinds >> (index % 64) & 1 != 0 {
                *byte = byte.wrapping_mul(37);
            }
        }
        let _ = Dmar::parse(&bytes);
    }
}
