//! Programs that throw anything at the kernel. Whatever becomes of them, the system goes on and
//! gets everything back.

use driver_sdk::{abi::limits::Limits, prelude::*};

use crate::{
    child::{Victim, leaves_nothing},
    harness::{Outcome, check, soak, tests},
};

tests![random_calls_from_several_threads_harm_nobody];

/// The calls follow from the seed, so that a failure can be had again.
fn random_calls_from_several_threads_harm_nobody() -> Outcome {
    let limits = Limits {
        memory: 4 << 20,
        handles: 100,
        threads: 12,
        processes: 4,
        requests: 64,
    };
    for seed in 1..if soak() { 400 } else { 12 } {
        leaves_nothing(|| {
            // Without a log, which it would fill.
            let end = Victim::silent("hostile")
                .argument(seed)
                .with(|command| command.limits(limits))
                .run()?;
            // It may take its own memory away or end itself; its limits never make it panic.
            check!(
                !matches!(end.status, ExitStatus::Exited(code) if code != 0),
                "seed {seed} {}",
                end.status
            );
            Ok(())
        })?;
    }
    Ok(())
}
