//! The tests, by what they are about.

mod astray;
mod bars;
mod config;
mod confined;
mod edu;
mod forged;
mod hung;
mod life;
mod names;
pub mod nvme;
mod pins;
mod reserved;
mod trusted;
mod unconfined;
mod vectors;

use alloc::vec::Vec;

use guest_harness::harness::Test;

/// What holds on every machine.
const ALWAYS: &[&[Test]] = &[names::TESTS, config::TESTS, bars::TESTS, life::TESTS];

/// What holds on a machine of this kind, the simple first.
pub fn of(mode: &str) -> Vec<&'static [Test]> {
    let more: &[&[Test]] = match mode {
        "iommu" => &[
            edu::TESTS,
            pins::TESTS,
            vectors::TESTS,
            confined::TESTS,
            astray::TESTS,
            forged::TESTS,
            nvme::TESTS,
        ],
        "trust" => &[
            edu::TESTS,
            trusted::TESTS,
            pins::TESTS,
            vectors::TESTS,
            nvme::TESTS,
        ],
        // Machines for these tests alone.
        "reserved" => return [reserved::TESTS].into(),
        "hung" => return [hung::TESTS].into(),
        _ => &[unconfined::TESTS],
    };
    [ALWAYS, more].concat()
}
