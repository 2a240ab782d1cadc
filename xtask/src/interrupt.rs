//! Ctrl-C and termination: whoever waits for something looks here, cleans up and leaves.

use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static LEFT_TO_CHILD: AtomicBool = AtomicBool::new(false);

/// Takes over the signals. The second one ends xtask at once; QEMU then dies with it.
pub fn install() {
    let installed = ctrlc::set_handler(|| {
        if LEFT_TO_CHILD.load(Ordering::Relaxed) {
            return;
        }
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    if let Err(error) = installed {
        eprintln!("warning: Ctrl-C will not stop the guest cleanly: {error}");
    }
}

/// Whether somebody wants xtask to stop.
pub fn requested() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// From now on Ctrl-C is the business of the program that runs in the foreground.
pub fn leave_to_child() {
    LEFT_TO_CHILD.store(true, Ordering::Relaxed);
}
