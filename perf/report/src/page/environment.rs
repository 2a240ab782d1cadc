//! What the figures mean, and where they come from: folded, but all there.

use maud::{Markup, html};

use crate::Document;

/// The words of the page.
pub fn how_to_read() -> Markup {
    html! {
        h2 { "How to read this" }
        details {
            summary { "Words and rules" }
            div.inside { dl {
                dt { "level" }
                dd { "The way from the application to the driver. The driver is the same at all levels, so a difference is one of the ways." }
                dt { "depth" }
                dd { "How many operations are in flight at once. Level sync has one for each thread, so depth 32 is 32 threads." }
                dt { "counted" }
                dd { "The emulator counted instructions, on one core. Two runs agree to within a few in a hundred. Work only: polls that found nothing and idling are counted apart, because they depend on how fast the emulator's device is." }
                dt { "timed" }
                dd { "A clock, over several boots, one level after the other in turns. Under emulation an instruction, a register write and a page-table switch do not cost what they cost on a processor: compare times on one page with each other." }
                dt { "accounting" }
                dd { "Telling apart what the application, the driver process and the kernel take costs instructions itself. So the total is taken without it, and the parts with it." }
                dt { "dash" }
                dd { "It was not measured. That is not zero." }
                dt { "limit, aim" }
                dd { "What a figure must not exceed, and what it should reach." }
            } }
        }
    }
}

/// Where the figures come from.
pub fn section(document: &Document) -> Markup {
    let environment = &document.environment;
    html! {
        h2 { "Where this comes from" }
        details #environment {
            summary { "Machine, commands, commit, plan" }
            div.inside {
                dl {
                    dt { "commit" } dd { code { (environment.commit) } @if environment.dirty { ", with changes on top" } }
                    dt { "profile" } dd { (environment.profile) }
                    dt { "processor" } dd { (environment.cpu) }
                    dt { "accelerator" } dd { (environment.accelerator) }
                    dt { "QEMU" } dd { @if environment.qemu_version.is_empty() { "none: a real machine" } @else { (environment.qemu_version) } }
                    dt { "mitigations" } dd { (environment.mitigations) }
                    @if let Some(seed) = environment.seed { dt { "seed" } dd { (seed) } }
                    @for (method, hash) in &environment.image_hash {
                        dt { "image, " (method.name()) } dd { code { (hash) } }
                    }
                }
                @for (method, line) in &environment.qemu_command_line {
                    h3 { "The " (method.name()) " machine" }
                    pre { (line) }
                }
                @for (system, other) in &environment.others {
                    h3 { (system) ", measured beside it" }
                    @for note in &other.notes { p { (note) } }
                    @for (method, line) in &other.qemu_command_line {
                        h3 { "The " (method.name()) " machine of " (system) }
                        pre { (line) }
                    }
                }
                @if !environment.flags.is_empty() {
                    h3 { "The command" }
                    pre { "cargo xtask bench " (environment.flags.join(" ")) }
                }
                @if let Some(plan) = &environment.plan {
                    h3 { "The plan" }
                    pre { (plan.text) }
                }
            }
        }
    }
}
