//! Starts the driver of each device, starts it again when it dies, and serves the name by which
//! clients reach whatever driver there is at the moment. `docs/devmgr.md` has the promises.
//!
//! A client opens the object of the manager and gets a handle of the driver's own: what it does with
//! that goes past the manager. When the driver dies, everything that it had comes back as
//! `ServerGone`; the client opens the manager's object again, and has the next driver. The manager
//! knows of no request, so it repeats none.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod driver;
mod post;

use alloc::{string::String, sync::Arc, vec::Vec};

use driver_sdk::prelude::*;
use post::Post;
use spillway_devmgr_plan::Settings;

driver_sdk::main!(main);

/// Every driver has a thread of its own here: one that takes long to begin holds up nobody else.
fn main() -> Result<(), String> {
    let settings = Arc::new(Settings::parse(arguments())?);
    let posts = (0..settings.matches.len()).map(|index| {
        let settings = settings.clone();
        thread::spawn(move || {
            let name = &settings.matches[index].name;
            let kept = Post::new(&settings, index).and_then(Post::keep);
            kept.inspect_err(|reason| println!("devmgr: {name}: {reason}"))
        })
    });
    let posts: Vec<_> = posts.collect();
    posts.into_iter().try_for_each(|post| post.join())
}
