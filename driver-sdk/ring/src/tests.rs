//! With `--cfg loom` every interleaving that the memory model allows is tried (`model`); without
//! it, everything else is tested.

#[cfg(not(loom))]
mod plain;
