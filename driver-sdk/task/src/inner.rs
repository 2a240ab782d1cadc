//! What the executor, its handles and its requests share.

use alloc::{collections::VecDeque, rc::Rc, vec::Vec};
use core::{
    cell::{Cell, RefCell},
    task::Waker,
};

use crate::{
    Operation, Popped, Queue, Rejected, operation::Request, slots::Slots, task::Spawned,
    time::Timers,
};

/// One thread's; no borrow lives while foreign code runs.
pub struct Inner<Q: Queue> {
    pub queue: RefCell<Q>,
    pub slots: RefCell<Slots<Q::Completion>>,
    pub timers: RefCell<Timers>,
    pub messages: RefCell<VecDeque<Q::Message>>,
    /// Tasks that wait for a message.
    pub listeners: RefCell<Vec<Waker>>,
    /// Tasks that wait for room in the queue.
    pub crowd: RefCell<Vec<Waker>>,
    /// Something was put into the queue since it was last entered.
    pub moved: Cell<bool>,
    /// Tasks that the executor has not seen yet.
    pub spawned: RefCell<Vec<Spawned>>,
    /// The executor is there.
    pub open: Cell<bool>,
}

impl<Q: Queue> Inner<Q> {
    pub fn new(queue: Q) -> Rc<Self> {
        Rc::new(Self {
            queue: RefCell::new(queue),
            slots: RefCell::new(Slots::new()),
            timers: RefCell::new(Timers::default()),
            messages: RefCell::new(VecDeque::new()),
            listeners: RefCell::new(Vec::new()),
            crowd: RefCell::new(Vec::new()),
            moved: Cell::new(false),
            spawned: RefCell::new(Vec::new()),
            open: Cell::new(true),
        })
    }

    /// Submits a request.
    pub fn start<B: 'static>(
        self: &Rc<Self>,
        submission: &Q::Submission,
        buffers: B,
    ) -> Result<Operation<Q, B>, Rejected<B>>
    where
        Q::Completion: 'static,
    {
        if !self.open.get() {
            return Err(Rejected(buffers));
        }
        let mut slots = self.slots.borrow_mut();
        let user_data = slots.next();
        if self
            .queue
            .borrow_mut()
            .submit(user_data, submission)
            .is_err()
        {
            return Err(Rejected(buffers));
        }
        let request = Rc::new(Request::new(buffers));
        slots.insert(request.clone());
        self.moved.set(true);
        Ok(Operation::new(self.clone(), request, user_data))
    }

    /// Delivers everything that has come.
    pub fn deliver(&self) -> Result<(), Q::Error> {
        let mut came = false;
        loop {
            let popped = self.queue.borrow_mut().pop()?;
            match popped {
                None => break,
                Some(Popped::Message(message)) => {
                    self.messages.borrow_mut().push_back(message);
                    wake_all(&self.listeners);
                }
                Some(Popped::Completion(user_data, completion)) => {
                    let request = self.slots.borrow_mut().remove(user_data);
                    if let Some(request) = request {
                        request.finish(completion);
                        came = true;
                    }
                }
            }
        }
        if came {
            wake_all(&self.crowd);
        }
        Ok(())
    }

    /// Waits until everything under way has come back, or the deadline; returns how many have not.
    pub fn drain(&self, deadline: u64) -> usize {
        for user_data in self.slots.borrow().keys() {
            self.queue.borrow_mut().cancel(user_data);
        }
        loop {
            let delivered = self.deliver();
            let left = self.slots.borrow().len();
            let late = self.queue.borrow().now() >= deadline;
            if left == 0 || late || delivered.is_err() {
                return left;
            }
            let entered = self.queue.borrow_mut().enter(1, deadline);
            if entered.is_err() {
                return self.slots.borrow().len();
            }
        }
    }
}

/// Wakes everybody on a list.
pub fn wake_all(list: &RefCell<Vec<Waker>>) {
    let woken = core::mem::take(&mut *list.borrow_mut());
    woken.into_iter().for_each(Waker::wake);
}
