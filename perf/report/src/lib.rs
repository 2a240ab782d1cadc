//! What was measured: the one form in which results are kept, and everything that is made of it.
//!
//! Records of measuring programs become rows ([`collect`], [`rival`]), rows become a document
//! ([`schema`]), and a document becomes a table for a terminal ([`table`]), sentences ([`why`]), a
//! comparison with an earlier one ([`baseline`]), CSV ([`csv`]) and a page with plots ([`page`]).
//! `docs/results.md` describes the form for people, `docs/bench.md` how to read it.
#![forbid(unsafe_code)]

pub mod baseline;
pub mod case;
pub mod collect;
pub mod csv;
pub mod group;
pub mod limits;
pub mod markdown;
pub mod number;
pub mod page;
pub mod places;
pub mod rival;
pub mod schema;
pub mod sizes;
pub mod statistics;
pub mod table;
pub mod why;

pub use schema::{Better, Document, Environment, Measurement};
pub use spillway_wire::Method;
