//! Which functions can reach each other behind the IOMMU's back, and so go to one owner.
//!
//! Requests between two functions can be turned around below the IOMMU: inside a device with
//! several functions, and by a bridge or port that has no access control services (PCI Express
//! Base Specification 5.0, 6.12). Functions that such a turn can connect are one group.

use super::FunctionId;

/// What matters of one function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it is.
    pub id: FunctionId,
    /// The first and last bus behind it, if it is a bridge.
    pub behind: Option<(u8, u8)>,
    /// It has access control services.
    pub has_acs: bool,
}

/// The buses behind a bridge whose registers have these numbers (PCI-to-PCI Bridge Architecture 1.2,
/// 3.2.5.3 and 3.2.5.4). `None` for one that the firmware has not set up, whose numbers are 0: the
/// buses behind a bridge have higher numbers than its own.
pub fn behind(bridge: FunctionId, secondary: u8, subordinate: u8) -> Option<(u8, u8)> {
    (bridge.bus < secondary && secondary <= subordinate).then_some((secondary, subordinate))
}

/// Writes the number of each function's group into `groups`; both slices have one length.
///
/// A group's number is the position of its first function. Quadratic in the number of functions,
/// of which there are few, and done once.
pub fn assign(nodes: &[Node], groups: &mut [u16]) {
    for (index, group) in groups.iter_mut().enumerate() {
        *group = index as u16;
    }
    for first in 0..nodes.len() {
        for second in first + 1..nodes.len() {
            if connected(&nodes[first], &nodes[second]) {
                join(groups, first, second);
            }
        }
    }
}

/// Whether requests can be turned around from one to the other.
fn connected(a: &Node, b: &Node) -> bool {
    let same_device =
        (a.id.segment, a.id.bus, a.id.device) == (b.id.segment, b.id.bus, b.id.device);
    let inside = same_device && !(a.has_acs && b.has_acs);
    inside || is_behind(a, b) || is_behind(b, a)
}

/// Whether `b` is behind a bridge `a` that turns requests around. All that is behind it is
/// connected to the bridge, and so with each other.
fn is_behind(a: &Node, b: &Node) -> bool {
    a.id.segment == b.id.segment
        && !a.has_acs
        && a.behind
            .is_some_and(|(first, last)| (first..=last).contains(&b.id.bus))
}

fn join(groups: &mut [u16], a: usize, b: usize) {
    let (low, high) = (groups[a].min(groups[b]), groups[a].max(groups[b]));
    groups
        .iter_mut()
        .filter(|group| **group == high)
        .for_each(|group| *group = low);
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{vec, vec::Vec};

    fn function(bus: u8, device: u8, function: u8) -> Node {
        let id = FunctionId {
            segment: 0,
            bus,
            device,
            function,
        };
        Node {
            id,
            behind: None,
            has_acs: false,
        }
    }

    fn bridge(device: u8, behind: u8, has_acs: bool) -> Node {
        Node {
            behind: Some((behind, behind)),
            has_acs,
            ..function(0, device, 0)
        }
    }

    fn groups(nodes: &[Node]) -> Vec<u16> {
        let mut groups = vec![0; nodes.len()];
        assign(nodes, &mut groups);
        groups
    }

    #[test]
    fn devices_on_the_root_bus_are_apart() {
        assert_eq!(groups(&[function(0, 1, 0), function(0, 2, 0)]), [0, 1]);
    }

    #[test]
    fn functions_of_one_device_are_together() {
        let nodes = [
            function(0, 31, 0),
            function(0, 4, 0),
            function(0, 31, 2),
            function(0, 31, 3),
        ];
        assert_eq!(groups(&nodes), [0, 1, 0, 0]);
    }

    #[test]
    fn a_port_with_access_control_keeps_them_apart() {
        let nodes = [
            bridge(1, 1, true),
            function(1, 0, 0),
            bridge(2, 2, true),
            function(2, 0, 0),
        ];
        assert_eq!(groups(&nodes), [0, 1, 2, 3]);
    }

    #[test]
    fn all_behind_a_bridge_without_it_are_together() {
        let nodes = [
            bridge(1, 1, false),
            function(1, 0, 0),
            function(1, 1, 0),
            function(0, 9, 0),
        ];
        assert_eq!(groups(&nodes), [0, 0, 0, 3]);
    }

    #[test]
    fn a_bridge_that_is_not_set_up_leads_nowhere() {
        let at = |bus| function(bus, 1, 0).id;
        assert_eq!(behind(at(0), 1, 3), Some((1, 3)));
        assert_eq!(behind(at(2), 3, 3), Some((3, 3)));
        for (bus, first, last) in [(0, 0, 0), (0, 0, 255), (2, 2, 4), (2, 1, 4), (0, 5, 3)] {
            assert_eq!(behind(at(bus), first, last), None);
        }
    }

    #[test]
    fn other_segments_are_other_machines() {
        let mut far = function(1, 0, 0);
        far.id.segment = 1;
        assert_eq!(groups(&[bridge(1, 1, false), far]), [0, 1]);
    }
}
