//! A whole driver on a granted device.

use driver_sdk::prelude::*;
use guest_harness::harness::{Outcome, check, equal, tests};
use spillway_edu::Edu;
use spillway_native::Function;

tests![the_driver_works_on_the_real_thing];

fn the_driver_works_on_the_real_thing() -> Outcome {
    let function = Function::named("edu")?;
    println!("opened");
    let mut edu = Edu::new(function, 28)?;
    println!("up");
    check!(edu.is_alive());
    println!("alive");
    equal!(edu.factorial(10)?, 3628800);
    println!("factorial");
    let data = *b"there and back again";
    let mut back = [0; 20];
    edu.store(100, &data)?;
    println!("stored");
    edu.load(100, &mut back)?;
    equal!(back, data);
    Ok(())
}
