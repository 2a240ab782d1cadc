//! Prints the tables of a result, for a terminal and for a README, and writes its page.
//!
//! ```text
//! cargo run -p spillway-report --example show perf/report/tests/data/quick.json page.html
//! ```

use std::{env, fs};

use anyhow::{Context, Result};
use spillway_report::{Document, markdown, page, table};

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let mut next = || {
        arguments
            .next()
            .context("name a result and a file for its page")
    };
    let document = Document::parse(&fs::read_to_string(next()?)?)?;
    print!("{}", table::render(&document.results));
    print!("\n{}", markdown::render(&document));
    fs::write(next()?, page::render(&document, None))?;
    Ok(())
}
