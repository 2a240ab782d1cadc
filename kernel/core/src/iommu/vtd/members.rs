//! Which functions belong to which remapping unit, when the paths have been followed.

use alloc::vec::Vec;

use super::dmar::{Reserved, Scope, ScopeKind, UnitDescription};
use crate::pci::FunctionId;

/// The buses behind a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buses {
    /// The bus right behind it.
    pub secondary: u8,
    /// The highest bus behind it.
    pub subordinate: u8,
}

/// The functions of one unit.
#[derive(Debug, Default)]
pub struct Members {
    segment: u16,
    has_the_rest: bool,
    functions: Vec<FunctionId>,
    buses: Vec<Buses>,
    /// Scopes whose path could not be followed.
    pub lost: usize,
}

impl Members {
    /// Follows the paths of a unit's scopes. `buses` reads the numbers of a bridge.
    pub fn new(unit: &UnitDescription, buses: impl FnMut(FunctionId) -> Option<Buses>) -> Self {
        Self {
            has_the_rest: unit.has_the_rest,
            ..Self::follow(unit.segment, &unit.scopes, buses)
        }
    }

    fn follow(
        segment: u16,
        scopes: &[Scope],
        mut buses: impl FnMut(FunctionId) -> Option<Buses>,
    ) -> Self {
        let mut members = Self {
            segment,
            ..Self::default()
        };
        for scope in scopes {
            if scope.kind != ScopeKind::Other && members.add(scope, &mut buses).is_none() {
                members.lost += 1;
            }
        }
        members
    }

    fn add(
        &mut self,
        scope: &Scope,
        buses: &mut impl FnMut(FunctionId) -> Option<Buses>,
    ) -> Option<()> {
        let secondary = |bridge| buses(bridge).map(|buses| buses.secondary);
        let function = scope.function(self.segment, secondary)?;
        self.functions.push(function);
        if scope.kind == ScopeKind::Bridge {
            self.buses.push(buses(function)?);
        }
        Some(())
    }

    /// Whether the unit names the function, or a bridge before it.
    pub fn names(&self, function: FunctionId) -> bool {
        let behind = |buses: &Buses| (buses.secondary..=buses.subordinate).contains(&function.bus);
        function.segment == self.segment
            && (self.functions.contains(&function) || self.buses.iter().any(behind))
    }

    /// Which of the units a function belongs to: the one that names it, or else the one that has
    /// the rest of its segment.
    pub fn owner<'a>(
        function: FunctionId,
        mut units: impl Iterator<Item = &'a Self> + Clone,
    ) -> Option<usize> {
        let has_rest = |unit: &Self| unit.has_the_rest && unit.segment == function.segment;
        units
            .clone()
            .position(|unit| unit.names(function))
            .or_else(|| units.position(has_rest))
    }
}

/// The functions that firmware shares memory with (section 8.4).
///
/// A domain of a new owner does not have that memory: what firmware does with the function would
/// fail, or a part of what it does go on behind the owner's back. So they are not granted.
#[derive(Debug, Default)]
pub struct SharedWithFirmware(Vec<Members>);

impl SharedWithFirmware {
    /// Follows the paths of the ranges' scopes, as [`Members::new`]. A path that leads nowhere names
    /// nothing.
    pub fn new(ranges: &[Reserved], mut buses: impl FnMut(FunctionId) -> Option<Buses>) -> Self {
        let follow = |range: &Reserved| Members::follow(range.segment, &range.scopes, &mut buses);
        Self(ranges.iter().map(follow).collect())
    }

    /// Whether a range names the function, or a bridge before it: then nobody gets it.
    pub fn names(&self, function: FunctionId) -> bool {
        self.0.iter().any(|members| members.names(function))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::{vec, vec::Vec};

    fn unit(segment: u16, has_the_rest: bool, scopes: Vec<Scope>) -> UnitDescription {
        UnitDescription {
            segment,
            registers: 4096,
            has_the_rest,
            scopes,
        }
    }

    fn id(segment: u16, bus: u8, device: u8, function: u8) -> FunctionId {
        FunctionId {
            segment,
            bus,
            device,
            function,
        }
    }

    /// Bridge 0:1c.0 leads to buses 3 to 5, bridge 3:00.0 to bus 4; no others.
    fn bridges(bridge: FunctionId) -> Option<Buses> {
        let (secondary, subordinate) = match (bridge.bus, bridge.device) {
            (0, 0x1c) => (3, 5),
            (3, 0) => (4, 4),
            _ => return None,
        };
        Some(Buses {
            secondary,
            subordinate,
        })
    }

    #[test]
    fn the_one_that_names_it_goes_before_the_one_that_has_the_rest() {
        let function = Scope::new(ScopeKind::Function, 0, &[(0x1c, 0), (0, 0), (1, 1)]).unwrap();
        let bridge = Scope::new(ScopeKind::Bridge, 0, &[(0x1c, 0)]).unwrap();
        let timer = Scope::new(ScopeKind::Other, 0xf0, &[(0, 0)]).unwrap();
        let units = [
            Members::new(&unit(0, true, vec![timer]), bridges),
            Members::new(&unit(0, false, vec![function]), bridges),
            Members::new(&unit(0, false, vec![bridge]), bridges),
            Members::new(&unit(1, false, vec![]), bridges),
        ];
        assert!(units.iter().all(|members| members.lost == 0));
        let owner = |function| Members::owner(function, units.iter());
        assert_eq!(owner(id(0, 4, 1, 1)), Some(1));
        assert_eq!(owner(id(0, 4, 1, 0)), Some(2));
        assert_eq!(owner(id(0, 3, 0, 0)), Some(2));
        assert_eq!(owner(id(0, 0, 0x1c, 0)), Some(2));
        assert_eq!(owner(id(0, 5, 31, 7)), Some(2));
        assert_eq!(owner(id(0, 6, 0, 0)), Some(0));
        assert_eq!(owner(id(0, 0, 0x1c, 1)), Some(0));
        assert_eq!(owner(id(0, 0xf0, 0, 0)), Some(0));
        assert_eq!(owner(id(1, 0, 0, 0)), None);
    }

    #[test]
    fn what_firmware_shares_memory_with_is_named() {
        let range = |segment, scopes| Reserved {
            segment,
            start: 0x1000,
            last: 0x1fff,
            scopes,
        };
        let scope = |kind, path: &[_]| Scope::new(kind, 0, path).unwrap();
        let ranges = [
            range(0, vec![scope(ScopeKind::Function, &[(0x1d, 0)])]),
            range(0, vec![scope(ScopeKind::Bridge, &[(0x1c, 0), (0, 0)])]),
            range(0, vec![scope(ScopeKind::Function, &[(9, 0), (1, 0)])]),
            range(1, vec![scope(ScopeKind::Other, &[(2, 0)])]),
        ];
        let shared = SharedWithFirmware::new(&ranges, bridges);
        let named = [id(0, 0, 0x1d, 0), id(0, 3, 0, 0), id(0, 4, 7, 1)];
        assert!(named.iter().all(|&function| shared.names(function)));
        let free = [
            // Another function of the device, before the bridge, beside it, of another segment, at
            // the end of a path that leads nowhere, and something that is no function.
            id(0, 0, 0x1d, 1),
            id(0, 0, 0x1c, 0),
            id(0, 5, 0, 0),
            id(1, 0, 0x1d, 0),
            id(0, 0, 1, 0),
            id(1, 0, 2, 0),
        ];
        assert!(!free.iter().any(|&function| shared.names(function)));
        assert!(!SharedWithFirmware::default().names(id(0, 0, 0, 0)));
    }

    #[test]
    fn a_path_that_leads_nowhere_is_counted() {
        let lost = Scope::new(ScopeKind::Function, 0, &[(9, 0), (0, 0)]).unwrap();
        let no_bridge = Scope::new(ScopeKind::Bridge, 0, &[(9, 0)]).unwrap();
        let members = Members::new(&unit(0, false, vec![lost, no_bridge]), bridges);
        assert_eq!(members.lost, 2);
        assert!(members.names(id(0, 0, 9, 0)));
    }
}
