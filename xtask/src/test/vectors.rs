//! The tests of the vector registers on processors where the kernel must clear and keep them in
//! another way: without AVX by SSE instructions, without `xsave` by `fxsave`.

use std::{path::Path, time::Duration};

use anyhow::Result;

use super::{guest_suite, tally::Tally};
use crate::{cli::Profile, image::Recipe, qemu::Machine, workspace::Workspace};

/// Seconds that a boot may take.
const LIMIT: u64 = 120;
/// Kinds of tests, with the processor of each.
const PROCESSORS: [(&str, &str); 2] = [
    ("cpu::no_avx", "max,-avx,-avx2"),
    ("cpu::no_xsave", "max,-xsave"),
];
/// The module in which the tests are.
const MODULE: &str = "vector::";

/// Boots the tests on each of the processors that the filter wants.
pub fn run(
    workspace: &Workspace,
    profile: Profile,
    machine: &Machine,
    tally: &mut Tally,
) -> Result<()> {
    let mut image = None;
    for (kind, cpu) in PROCESSORS {
        if !tally.wants_within(kind) {
            continue;
        }
        if image.is_none() {
            let mut recipe = Recipe::new(workspace, profile, Path::new("manifests/test.toml"))?;
            recipe.rename("test-vectors");
            recipe.change_arguments("guest-tests", |own| *own = vec![MODULE.into()]);
            image = Some(recipe.make()?.image);
        }
        let machine = Machine {
            image: image.clone(),
            cores: 1,
            ..machine.clone()
        };
        let limit = Duration::from_secs(LIMIT);
        guest_suite::run(kind, &machine.with_cpu(cpu), limit, tally)?;
    }
    Ok(())
}
