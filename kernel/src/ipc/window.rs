//! Slots of a service's window, and who waits for one.
//!
//! A slot that comes back goes to the thread that has waited for one longest, which finds it in its
//! own state when it goes on ([`turn`]). So nobody who comes later takes it first.

use alloc::sync::Arc;
use spillway_abi::service::Token;

use crate::{
    kernel::Kernel,
    object::{
        Service, Thread,
        service::Window,
        thread::{Phase, Wait},
    },
    sched,
};

/// A slot for a request, if one is free and nobody was there before.
pub fn acquire_slot(kernel: &mut Kernel, service: &Service) -> Option<u16> {
    let state = service.state.get_mut(kernel);
    if !state.window_waiters.is_empty() {
        return None;
    }
    state.window.as_mut()?.allocate()
}

/// Gives a slot to the thread that has waited for one longest, or back. No token names it any more.
pub fn release_slot(kernel: &mut Kernel, service: &Arc<Service>, slot: u16) {
    forget_token(kernel, service, slot);
    if !wake_waiter(kernel, service, Some(slot))
        && let Some(window) = &mut service.state.get_mut(kernel).window
    {
        window.release(slot);
    }
}

/// No token names a slot any more, though somebody has it still.
pub fn forget_token(kernel: &mut Kernel, service: &Service, slot: u16) {
    if let Some(window) = &mut service.state.get_mut(kernel).window {
        window.assign(slot, Token::NONE);
    }
}

/// Lets the thread that has waited longest go on, with a slot or to find that the service has
/// ended. Whether there was one.
pub fn wake_waiter(kernel: &mut Kernel, service: &Arc<Service>, slot: Option<u16>) -> bool {
    let (state, links) = service.state.get_with_links(kernel);
    let next = state.window_waiters.pop_front(links);
    let Some(thread) = next.and_then(|next| kernel.sched.find(next)) else {
        return false;
    };
    let state = thread.state.get_mut(kernel);
    state.window_slot = slot.map(|slot| (service.clone(), slot));
    if let Phase::Waiting(Wait::Window(_, Some(queue))) = &state.phase {
        let queue = queue.clone();
        queue.clear_waiter(kernel);
    }
    sched::unblock(kernel, &thread);
    sched::make_ready(kernel, &thread);
    true
}

/// A server has made its window: those who waited for that get slots of it, as many as there are.
pub fn open_window(kernel: &mut Kernel, service: &Arc<Service>) {
    loop {
        let state = service.state.get_mut(kernel);
        if state.window_waiters.is_empty() {
            return;
        }
        let Some(slot) = state.window.as_mut().and_then(Window::allocate) else {
            return;
        };
        release_slot(kernel, service, slot);
    }
}

/// A server begins to take requests. If it has no window by now, those who waited for one find that
/// out.
#[inline]
pub fn begin(kernel: &mut Kernel, service: &Arc<Service>) {
    let state = service.state.get_mut(kernel);
    if core::mem::replace(&mut state.begun, true) || state.window.is_some() {
        return;
    }
    while wake_waiter(kernel, service, None) {}
}

/// The slot of this service's window that was handed to a thread. One of another service, which it
/// no longer wants, goes back.
pub fn turn(kernel: &mut Kernel, thread: &Thread, service: &Arc<Service>) -> Option<u16> {
    let (of, slot) = thread.state.get_mut(kernel).window_slot.take()?;
    if Arc::ptr_eq(&of, service) {
        return Some(slot);
    }
    release_slot(kernel, &of, slot);
    None
}

/// Gives back the slot that was handed to a thread, if there is one: the thread did not need it.
#[inline]
pub fn decline(kernel: &mut Kernel, thread: &Thread) {
    if let Some((service, slot)) = thread.state.get_mut(kernel).window_slot.take() {
        release_slot(kernel, &service, slot);
    }
}
