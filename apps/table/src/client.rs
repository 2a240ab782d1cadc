//! Uses a table that another process serves, as if the kernel served it.
#![no_std]
#![no_main]

use driver_sdk::prelude::*;

driver_sdk::main!(main);

fn main() -> Result<(), Error> {
    let table = object::<Remote>("table").ok_or(Error::NotFound)?;
    let city = table.open("city", 0)?;
    city.write(0, b"Ljubljana")?;
    table.open("river", 0)?.write(0, b"Ljubljanica")?;

    // Another handle, to the same value.
    let mut text = [0; 16];
    let length = table.open("city", 0)?.read(0, &mut text)?;
    let value = core::str::from_utf8(&text[..length]).unwrap_or("?");
    println!("city is {value}; {} values", table.get_meta(0)?);

    city.destroy(0)?;
    match city.read(0, &mut text) {
        Ok(_) => println!("it is still there"),
        Err(failure) => println!("city: {failure}"),
    }
    Ok(())
}
