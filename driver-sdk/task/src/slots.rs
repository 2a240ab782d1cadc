//! The requests under way, by the user data under which they were submitted.

use alloc::{rc::Rc, vec::Vec};

/// Where a completion goes.
pub trait Finish<C> {
    /// The request is done.
    fn finish(&self, completion: C);
}

struct Slot<C> {
    generation: u32,
    request: Option<Rc<dyn Finish<C>>>,
}

/// Requests by index and generation, so that a completion that comes twice finds nobody.
pub struct Slots<C> {
    slots: Vec<Slot<C>>,
    free: Vec<u32>,
}

impl<C> Slots<C> {
    pub const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    /// The user data of the next request; nothing has it yet.
    pub fn next(&mut self) -> u64 {
        let index = match self.free.last() {
            Some(&index) => index,
            None => {
                let index = self.slots.len() as u32;
                self.slots.push(Slot {
                    generation: 0,
                    request: None,
                });
                self.free.push(index);
                index
            }
        };
        key(index, self.slots[index as usize].generation)
    }

    /// Keeps a request under the user data that [`Self::next`] returned last.
    pub fn insert(&mut self, request: Rc<dyn Finish<C>>) {
        if let Some(index) = self.free.pop() {
            self.slots[index as usize].request = Some(request);
        }
    }

    /// Takes the request of this user data out.
    pub fn remove(&mut self, user_data: u64) -> Option<Rc<dyn Finish<C>>> {
        let (generation, index) = ((user_data >> 32) as u32, user_data as u32);
        let slot = self.slots.get_mut(index as usize)?;
        if slot.generation != generation {
            return None;
        }
        let request = slot.request.take()?;
        // The last generations are those of reserved user data.
        slot.generation = (generation + 1) % (u32::MAX - 1);
        self.free.push(index);
        Some(request)
    }

    /// The user data of everything under way.
    pub fn keys(&self) -> Vec<u64> {
        let slots = self.slots.iter().enumerate();
        slots
            .filter(|(_, slot)| slot.request.is_some())
            .map(|(index, slot)| key(index as u32, slot.generation))
            .collect()
    }

    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Gives up all requests without dropping them; returns how many.
    pub fn leak(&mut self) -> usize {
        let requests = self.slots.iter_mut().filter_map(|slot| slot.request.take());
        let count = requests.map(core::mem::forget).count();
        self.slots.clear();
        self.free.clear();
        count
    }
}

fn key(index: u32, generation: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(index)
}
