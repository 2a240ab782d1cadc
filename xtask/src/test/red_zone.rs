//! Does code reach below its stack pointer, into the red zone that an interrupt would overwrite?
//!
//! With frame pointers a leaf function reaches there through `rbp`: it keeps its variables below
//! the frame without moving the stack pointer. So a function's deepest stack is compared with its
//! deepest access. Where the depth is not known it is taken as endless: nothing is flagged wrongly.

use std::collections::BTreeSet;

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use object::{Object, ObjectSection, ObjectSymbol, SectionKind, read::elf::ElfFile64};

/// The first function with an access below the stack pointer, as a sentence.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    let file: ElfFile64<'_> = ElfFile64::parse(bytes).map_err(|error| error.to_string())?;
    let starts: BTreeSet<u64> = file.symbols().map(|symbol| symbol.address()).collect();
    let mut functions = 0;
    for section in file
        .sections()
        .filter(|section| section.kind() == SectionKind::Text)
    {
        let data = section.data().map_err(|error| error.to_string())?;
        let (first, end) = (section.address(), section.address() + data.len() as u64);
        let mut inside = vec![first];
        inside.extend(starts.range(first + 1..end));
        inside.push(end);
        for window in inside.windows(2) {
            let code = &data[(window[0] - first) as usize..(window[1] - first) as usize];
            functions += 1;
            if let Some(instruction) = below_the_stack(code, window[0]) {
                let at = instruction.ip();
                return Err(format!(
                    "`{instruction}` at {at:#x} in {}",
                    owner(&file, window[0])
                ));
            }
        }
    }
    match functions {
        0 => Err("there is no code; this check saw nothing".into()),
        _ => Ok(()),
    }
}

/// The first instruction of a function that names a place below the stack pointer.
fn below_the_stack(code: &[u8], address: u64) -> Option<Instruction> {
    let decoder = || Decoder::with_ip(64, code, address, DecoderOptions::NONE).into_iter();
    let depth = depth(decoder());
    decoder().find(|instruction| {
        let Some((base, distance)) = below(instruction) else {
            return false;
        };
        match base {
            Register::RSP => instruction.mnemonic() != Mnemonic::Lea,
            // `lea` takes the address of a variable there, unless it moves the stack pointer.
            Register::RBP => {
                instruction.op0_register() != Register::RSP
                    && depth.is_some_and(|depth| distance > depth)
            }
            _ => false,
        }
    })
}

/// The most bytes that a function ever has between its frame pointer and its stack pointer.
/// `None` if it has no frame pointer, or moves the stack pointer in another way.
fn depth(instructions: impl Iterator<Item = Instruction>) -> Option<u64> {
    let mut depth: Option<u64> = None;
    for instruction in instructions {
        let first = instruction.op0_register();
        match instruction.mnemonic() {
            Mnemonic::Mov
                if first == Register::RBP && instruction.op1_register() == Register::RSP =>
            {
                depth = Some(depth.unwrap_or(0));
            }
            // What an epilogue takes away was there before.
            Mnemonic::Mov | Mnemonic::Add | Mnemonic::Pop | Mnemonic::Cmp | Mnemonic::Test => {}
            Mnemonic::Push => depth = depth.map(|depth| depth + 8),
            Mnemonic::Sub if first == Register::RSP => {
                if instruction.op1_kind() == OpKind::Register {
                    return None;
                }
                depth = depth.map(|depth| depth.saturating_add(instruction.immediate(1)));
            }
            // Large frames are probed page by page, towards an address computed like this.
            Mnemonic::Lea => {
                if let Some((Register::RSP, distance)) = below(&instruction) {
                    depth = depth.map(|depth| depth + distance);
                }
            }
            _ if first == Register::RSP => return None,
            _ => {}
        }
    }
    depth
}

/// The base and the negative displacement, as a distance, of an operand in memory. With an index
/// the place is not known.
fn below(instruction: &Instruction) -> Option<(Register, u64)> {
    let in_memory = (0..instruction.op_count()).any(|n| instruction.op_kind(n) == OpKind::Memory);
    let displacement = instruction.memory_displacement64() as i64;
    let indexed = instruction.memory_index() != Register::None;
    (in_memory && !indexed && displacement < 0 && instruction.mnemonic() != Mnemonic::Nop)
        .then(|| (instruction.memory_base(), displacement.unsigned_abs()))
}

fn owner(file: &ElfFile64<'_>, address: u64) -> String {
    let symbol = file
        .symbols()
        .find(|symbol| symbol.address() == address && !symbol.is_local());
    let symbol = symbol.or_else(|| file.symbols().find(|symbol| symbol.address() == address));
    let name = symbol.and_then(|symbol| symbol.name().ok().map(String::from));
    name.unwrap_or_else(|| "code without a symbol".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: &[u8] = &[0x55, 0x48, 0x89, 0xe5]; // push rbp; mov rbp, rsp
    const SUB_16: &[u8] = &[0x48, 0x83, 0xec, 0x10]; // sub rsp, 16
    const STORE_16: &[u8] = &[0x48, 0x89, 0x7d, 0xf0]; // mov [rbp-16], rdi
    const STORE_24: &[u8] = &[0x48, 0x89, 0x7d, 0xe8]; // mov [rbp-24], rdi
    const LEA_24: &[u8] = &[0x48, 0x8d, 0x45, 0xe8]; // lea rax, [rbp-24]

    fn flagged(code: &[&[u8]]) -> bool {
        below_the_stack(&code.concat(), 0x1000).is_some()
    }

    #[test]
    fn accesses_through_the_stack_pointer() {
        assert!(flagged(&[&[0x48, 0x89, 0x44, 0x24, 0xf8]])); // mov [rsp-8], rax
        assert!(flagged(&[&[
            0x90, 0x8b, 0x84, 0x24, 0x80, 0xff, 0xff, 0xff
        ]])); // mov eax, [rsp-128]
        assert!(!flagged(&[&[0x48, 0x89, 0x44, 0x24, 0x08]])); // mov [rsp+8], rax
        assert!(!flagged(&[&[0x48, 0x8d, 0x64, 0x24, 0xf8]])); // lea rsp, [rsp-8]
        assert!(!flagged(&[&[0x50, 0xc3]])); // push rax; ret
    }

    #[test]
    fn accesses_through_the_frame_pointer() {
        assert!(flagged(&[FRAME, STORE_16]));
        assert!(flagged(&[FRAME, SUB_16, STORE_24]));
        assert!(flagged(&[FRAME, SUB_16, LEA_24]));
        assert!(!flagged(&[FRAME, SUB_16, STORE_16]));
        assert!(!flagged(&[FRAME, SUB_16, &[0x53], STORE_24])); // push rbx
        // Without a frame the register may hold anything.
        assert!(!flagged(&[STORE_24]));
        // A frame of unknown size: sub rsp, rax; and rsp, -64.
        assert!(!flagged(&[FRAME, &[0x48, 0x29, 0xc4], STORE_24]));
        assert!(!flagged(&[FRAME, &[0x48, 0x83, 0xe4, 0xc0], STORE_24]));
        // lea rsp, [rbp-40] in an epilogue.
        assert!(!flagged(&[FRAME, SUB_16, &[0x48, 0x8d, 0x65, 0xd8]]));
    }

    #[test]
    fn the_host_s_own_code_uses_the_red_zone() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(check(&own).is_err_and(|reason| reason.contains("sp-") || reason.contains("bp-")));
        assert!(check(b"text").is_err());
    }
}
