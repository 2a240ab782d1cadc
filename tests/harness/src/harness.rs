//! A small test framework: a list of functions that return why they failed.

use alloc::string::String;
use core::{fmt::Display, panic::Location};

use driver_sdk::prelude::*;

/// What a test returns.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Why a test failed, with the line that found out. It is no error type itself, so that `?`
/// turns any error into it.
#[derive(Debug)]
pub struct Failure(String);

impl<E: Display> From<E> for Failure {
    #[track_caller]
    fn from(error: E) -> Self {
        let place = Location::caller();
        Self(alloc::format!("{}:{}: {error}", place.file(), place.line()))
    }
}

/// One test.
pub struct Test {
    /// Says what holds if it passes.
    pub name: &'static str,
    /// Where it is: `module_path!()`.
    pub module: &'static str,
    /// It is left out on machines with fewer.
    pub cores: usize,
    /// Does it.
    pub run: fn() -> Outcome,
}

/// The tests of a module, by the names of their functions: `tests![one, two; 2 cores: three]`.
#[macro_export]
macro_rules! tests {
    (@one $name:ident, $cores:literal) => {
        $crate::harness::Test {
            name: stringify!($name),
            module: module_path!(),
            cores: $cores,
            run: $name,
        }
    };
    ($($name:ident),* $(,)? $(; $cores:literal cores: $($more:ident),* $(,)?)*) => {
        /// The tests of this module.
        pub const TESTS: &[$crate::harness::Test] = &[
            $($crate::harness::tests!(@one $name, 1),)*
            $($($crate::harness::tests!(@one $more, $cores),)*)*
        ];
    };
}

/// Fails the test if the condition does not hold.
#[macro_export]
macro_rules! check {
    ($condition:expr) => {
        $crate::harness::check!($condition, "`{}` does not hold", stringify!($condition))
    };
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::harness::Failure::from(alloc::format!($($message)+)));
        }
    };
}

/// Fails the test if the two values differ.
#[macro_export]
macro_rules! equal {
    ($value:expr, $expected:expr) => {
        $crate::harness::equal!($value, $expected, "{}", stringify!($value))
    };
    ($value:expr, $expected:expr, $($what:tt)+) => {
        match (&$value, &$expected) {
            (value, expected) => $crate::harness::check!(
                *value == *expected,
                "{} is {value:?}, not {expected:?}",
                alloc::format!($($what)+)
            ),
        }
    };
}

pub use {check, equal, tests};

/// Whether the long campaigns are to be long.
pub fn soak() -> bool {
    arguments().any(|argument| argument == "soak")
}

impl Test {
    /// Whether the name contains the filter, or the filter is the module's name with `::`.
    fn is_meant_by(&self, filter: &str) -> bool {
        match filter.strip_suffix("::") {
            Some(module) => self.module.rsplit("::").next() == Some(module),
            None => self.name.contains(filter),
        }
    }
}

/// Runs the tests that the filter means; returns the exit code.
pub fn run(modules: &[&[Test]], filter: Option<&str>) -> i32 {
    let wanted = |test: &&Test| {
        test.cores <= time::core_count() && filter.is_none_or(|filter| test.is_meant_by(filter))
    };
    let tests = || {
        modules
            .iter()
            .flat_map(|module| module.iter())
            .filter(wanted)
    };
    println!("tests {}", tests().count());
    let mut failed = 0;
    for test in tests() {
        match (test.run)() {
            Ok(()) => println!("test {} ... ok", test.name),
            Err(Failure(reason)) => {
                failed += 1;
                println!("test {} ... FAILED: {}", test.name, reason);
            }
        }
    }
    println!("tests done");
    i32::from(failed > 0)
}
