//! What `run`, `test`, `bench` and `gdb` have in common before they boot a machine.

use std::path::Path;

use anyhow::{Result, bail};

use crate::{
    accel::{self, Accelerator},
    cli::{Accel, MachineOptions},
    image::{BootFiles, Builds, Recipe},
    qemu::Machine,
    setup,
    workspace::Workspace,
};

/// A recipe, and the machine that will boot what it makes.
pub struct Session {
    pub recipe: Recipe,
    pub machine: Machine,
    /// What was asked for, until the choice is made.
    wish: Option<Accel>,
}

impl Session {
    /// Sees that QEMU is there, and reads the manifest.
    pub fn new(workspace: &Workspace, options: &MachineOptions, manifest: &Path) -> Result<Self> {
        let recipe = Recipe::new(workspace, options.profile.profile(), manifest)?;
        if let Some(disk) = options.disk.as_deref().filter(|disk| !disk.exists()) {
            let disk = disk.display();
            bail!("there is no disk image {disk}; make one with `truncate -s 1G {disk}`");
        }
        let qemu = setup::ensure_qemu(options.qemu.as_deref(), options.dry_run)?;
        let mut machine = Machine::new(&qemu, Accelerator::Tcg, options);
        machine.loader = recipe.loader(workspace);
        machine.image = Some(recipe.output().to_path_buf());
        Ok(Self {
            recipe,
            machine,
            wish: Some(options.accel),
        })
    }

    /// Builds everything and chooses the accelerator.
    pub fn prepare(&mut self) -> Result<BootFiles> {
        self.prepare_with(&mut Builds::default())
    }

    fn prepare_with(&mut self, builds: &mut Builds) -> Result<BootFiles> {
        let files = self.recipe.make_with(builds)?;
        self.machine.loader = files.loader.clone();
        if let Some(wish) = self.wish.take() {
            let probe = Machine {
                image: None,
                ..self.machine.clone()
            };
            let (accelerator, why) = accel::choose(wish, &probe)?;
            self.machine.accelerator = accelerator;
            eprintln!("accelerator: {} ({why})", accelerator.name());
        }
        Ok(files)
    }

    /// The same, with what other sessions have built and the accelerator that they chose, if there
    /// were any.
    pub fn prepare_like(
        &mut self,
        chosen: Option<Accelerator>,
        builds: &mut Builds,
    ) -> Result<BootFiles> {
        if let Some(accelerator) = chosen {
            self.machine.accelerator = accelerator;
            self.wish = None;
        }
        self.prepare_with(builds)
    }

    /// Prints what would be built.
    pub fn describe_builds(&self) {
        for build in self.recipe.builds() {
            println!("{}", build.shell_line());
        }
    }

    /// Prints what would be done.
    pub fn describe(&self) {
        self.describe_builds();
        println!("{}", self.machine.shell_line());
    }
}
