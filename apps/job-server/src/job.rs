//! A job: says what it came to, and where it ran.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use driver_sdk::prelude::*;

driver_sdk::main!(main);

fn main() -> i32 {
    let number = arguments().next().and_then(|word| word.parse::<i32>().ok());
    let Some(number) = number else {
        println!("the argument is no number");
        return 1;
    };
    let core = time::core_index();
    println!(
        "the square of {number} is {}, on core {core}",
        number * number
    );
    0
}
