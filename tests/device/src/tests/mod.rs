//! The tests, by what they are about.

mod edu;

use guest_harness::harness::Test;

/// All of them, the simple ones first.
pub const ALL: &[&[Test]] = &[edu::TESTS];
