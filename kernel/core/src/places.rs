//! Places of requests that are under way, in groups that have something in common.
//!
//! A request is a small payload in a place; what it shares with others, as who asked and for what, is
//! kept once for the group. So a request begins and ends without counting references, and a group is
//! known as long as a request of it is under way, or somebody holds it. Places go by their numbers;
//! the free ones of each user are chained through themselves. Everything is allocated once, at the
//! start.

use alloc::vec::Vec;
use spillway_abi::Error;

/// No place, and no group.
const NONE: u16 = u16::MAX;

/// A place, with a payload if a request is there.
#[derive(Clone, Copy, Debug)]
pub struct Place<P> {
    /// Of the request; of no meaning in a place that is not used.
    pub payload: P,
    group: u16,
    next: u16,
}

impl<P> Place<P> {
    /// Whether a request of this group is here.
    #[inline(always)]
    pub const fn is_of(&self, group: u16) -> bool {
        self.group == group
    }

    /// The group of the request that is here, if there is one.
    #[inline]
    pub const fn group(&self) -> Option<u16> {
        match self.group {
            NONE => None,
            group => Some(group),
        }
    }

    /// Puts a request of a group here, which is to be counted by [`Places::hold`].
    #[inline(always)]
    pub fn fill(&mut self, group: u16, payload: P) {
        self.payload = payload;
        self.group = group;
    }

    /// Takes the request from here. It is to be counted by [`Places::let_go`].
    #[inline(always)]
    pub const fn clear(&mut self) {
        self.group = NONE;
    }

    /// Gives the place of this number, which is empty, back.
    #[inline(always)]
    pub fn give(&mut self, free: &mut Free, number: u16) {
        debug_assert!(self.group == NONE, "a request is in place {number}");
        self.next = core::mem::replace(&mut free.0, number);
    }
}

/// Places in which no request is, of one user.
#[derive(Debug)]
pub struct Free(u16);

impl Default for Free {
    fn default() -> Self {
        Self::none()
    }
}

impl Free {
    /// No place.
    pub const fn none() -> Self {
        Self(NONE)
    }
}

#[derive(Debug)]
struct Group<G> {
    shared: Option<G>,
    /// Requests that are under way, and who else holds the group.
    count: u32,
    /// The next group that is not used.
    next: u16,
}

/// All places and groups.
#[derive(Debug)]
pub struct Places<P, G> {
    places: Vec<Place<P>>,
    groups: Vec<Group<G>>,
    /// The first group that is not used, of those that were.
    free_group: u16,
}

impl<P: Copy + Default, G> Places<P, G> {
    /// No places: what a static begins with.
    pub const fn empty() -> Self {
        Self {
            places: Vec::new(),
            groups: Vec::new(),
            free_group: NONE,
        }
    }

    /// The places below `count`, and as many groups and one more: so a request always finds a group,
    /// even if each has its own. [`Error::BadArgument`] for more than 65534, [`Error::OutOfMemory`].
    pub fn new(count: usize) -> Result<Self, Error> {
        if count >= usize::from(NONE) {
            return Err(Error::BadArgument);
        }
        let empty = Place {
            payload: P::default(),
            group: NONE,
            next: NONE,
        };
        let mut groups = Vec::new();
        groups
            .try_reserve_exact(count + 1)
            .map_err(|_| Error::OutOfMemory)?;
        Ok(Self {
            places: crate::filled(count, empty)?,
            groups,
            free_group: NONE,
        })
    }

    /// A place, if there is one of this number.
    #[inline(always)]
    pub fn get(&mut self, place: u16) -> Option<&mut Place<P>> {
        self.places.get_mut(usize::from(place))
    }

    /// Takes a place in which no request is.
    #[inline(always)]
    pub fn take(&mut self, free: &mut Free) -> Option<(u16, &mut Place<P>)> {
        let number = free.0;
        let place = self.get(number)?;
        free.0 = place.next;
        Some((number, place))
    }

    /// Gives one back, in which no request is any more.
    #[inline(always)]
    pub fn give(&mut self, free: &mut Free, number: u16) {
        if let Some(place) = self.get(number) {
            place.give(free, number);
        }
    }

    /// A new group, held once. `None` if there are as many as [`Self::new`] made room for.
    pub fn open(&mut self, shared: G) -> Option<u16> {
        let group = Group {
            shared: Some(shared),
            count: 1,
            next: NONE,
        };
        let number = self.free_group;
        if let Some(unused) = self.groups.get_mut(usize::from(number)) {
            self.free_group = unused.next;
            *unused = group;
            return Some(number);
        }
        if self.groups.len() > self.places.len() {
            return None;
        }
        self.groups.push(group);
        Some((self.groups.len() - 1) as u16)
    }

    /// What the requests of a group have in common.
    #[inline]
    pub fn group(&self, number: u16) -> Option<&G> {
        self.groups.get(usize::from(number))?.shared.as_ref()
    }

    /// Holds a group for so many more.
    #[inline]
    pub fn hold(&mut self, number: u16, count: u32) {
        if let Some(group) = self.groups.get_mut(usize::from(number)) {
            group.count += count;
        }
    }

    /// So many requests are no more, or somebody no longer holds the group. If those were the last
    /// it is gone, and what they had in common is returned.
    #[inline]
    pub fn let_go(&mut self, number: u16, count: u32) -> Option<G> {
        let group = self.groups.get_mut(usize::from(number))?;
        debug_assert!(group.count >= count, "group {number} is held less often");
        group.count -= count;
        if group.count > 0 {
            return None;
        }
        let shared = group.shared.take()?;
        group.next = core::mem::replace(&mut self.free_group, number);
        Some(shared)
    }
}

#[cfg(test)]
mod tests;
