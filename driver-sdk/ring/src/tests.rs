//! With `--cfg loom` every interleaving that the memory model allows is tried (`model`); without
//! it, everything else is tested.

#[cfg(not(loom))]
mod hostile;
#[cfg(not(loom))]
mod in_place;
#[cfg(loom)]
mod model;
#[cfg(not(loom))]
mod numbered;
#[cfg(not(loom))]
mod plain;
#[cfg(not(loom))]
mod sequences;
