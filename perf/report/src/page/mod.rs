//! The page.

use crate::{Document, baseline::Comparison};

/// The page of a document.
pub fn render(_document: &Document, _comparison: Option<&Comparison>) -> String {
    String::new()
}
