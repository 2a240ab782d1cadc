//! From power-on's second instruction to Rust: the headers that firmware looks for, and the
//! 32-bit entry that both protocols share.
//!
//! Both enter in 32-bit protected mode with paging off, flat segments and interrupts off, with
//! the address of their data in `ebx` (Xen, `docs/misc/pvh.pandoc`; Multiboot2 1.6, 3.3). `eax`
//! tells them apart, in Rust. The low 4 GiB are mapped to themselves by tables that the linker
//! has filled in, so the way to 64-bit mode takes some thirty instructions.

use core::arch::global_asm;

// The Multiboot2 header (Multiboot2 1.6, 3.1): the boot image must begin at a page, and a linear
// frame buffer is welcome but not needed.
global_asm!(
    ".pushsection .multiboot2, \"a\"",
    ".balign 8",
    "multiboot2_header:",
    ".long 0xe85250d6, 0",
    ".long multiboot2_header_end - multiboot2_header",
    ".long -(0xe85250d6 + (multiboot2_header_end - multiboot2_header))",
    // Tag 6: modules at page boundaries.
    ".short 6, 0",
    ".long 8",
    // Tag 5, optional (1): a frame buffer of any size with 32 bits per pixel.
    ".short 5, 1",
    ".long 20, 0, 0, 32",
    ".balign 8",
    // Tag 0: the end.
    ".short 0, 0",
    ".long 8",
    "multiboot2_header_end:",
    ".popsection",
);

// The PVH note: type 18 is XEN_ELFNOTE_PHYS32_ENTRY, the 32-bit entry.
global_asm!(
    ".pushsection .note.pvh, \"a\", @note",
    ".balign 4",
    ".long 4, 8, 18",
    ".asciz \"Xen\"",
    ".quad loader_entry",
    ".popsection",
);

// The identity map: 2048 pages of 2 MiB, present (1), writable (2) and large (0x80).
global_asm!(
    ".pushsection .data.identity, \"aw\"",
    ".balign 4096",
    ".global identity_directories",
    "identity_directories:",
    ".set address, 0",
    ".rept 2048",
    ".quad address + 0x83",
    ".set address, address + 0x200000",
    ".endr",
    ".global identity_pointers",
    "identity_pointers:",
    ".quad identity_directories + 0x0003, identity_directories + 0x1003",
    ".quad identity_directories + 0x2003, identity_directories + 0x3003",
    ".fill 508, 8, 0",
    "identity_root:",
    ".quad identity_pointers + 3",
    ".fill 511, 8, 0",
    ".popsection",
);

global_asm!(
    ".pushsection .rodata.entry, \"a\"",
    // A null, a 64-bit code and a data descriptor.
    ".balign 8",
    "loader_gdt: .quad 0, 0x00209b0000000000, 0x00cf93000000ffff",
    "loader_gdt_pointer: .short 23",
    ".long loader_gdt",
    "no_long_mode_message:",
    ".asciz \"loader: error: this processor has no 64-bit mode, which Spillway needs\\r\\n\"",
    ".popsection",
    ".pushsection .bss.stack, \"aw\", @nobits",
    ".balign 16",
    ".fill 65536, 1, 0",
    "loader_stack_top:",
    ".popsection",
);

global_asm!(
    ".pushsection .text.entry, \"ax\"",
    ".code32",
    ".global loader_entry",
    "loader_entry:",
    "cli",
    "cld",
    "mov esp, offset loader_stack_top",
    // What the protocol handed over becomes the first two arguments.
    "mov edi, ebx",
    "mov esi, eax",
    // Long mode is bit 29 of edx of CPUID 0x80000001, NX is bit 20.
    "mov eax, 0x80000000",
    "cpuid",
    "cmp eax, 0x80000001",
    "jb 3f",
    "mov eax, 0x80000001",
    "cpuid",
    "bt edx, 29",
    "jnc 3f",
    // CR4: PAE (5), PGE (7), OSFXSR (9), OSXMMEXCPT (10). Every 64-bit processor has them.
    "mov eax, cr4",
    "or eax, 0x6a0",
    "mov cr4, eax",
    "mov eax, offset identity_root",
    "mov cr3, eax",
    // EFER (0xc0000080): LME (8), and NXE (11) where there is NX.
    "mov ebp, edx",
    "mov ecx, 0xc0000080",
    "rdmsr",
    "or eax, 0x100",
    "bt ebp, 20",
    "jnc 2f",
    "or eax, 0x800",
    "2: wrmsr",
    // CR0: paging (31), WP (16) and MP (1) on; EM (2) and TS (3) off.
    "mov eax, cr0",
    "or eax, 0x80010002",
    "and eax, 0xfffffff3",
    "mov cr0, eax",
    "lgdt [loader_gdt_pointer]",
    // A far return to the 64-bit code segment (8).
    "mov eax, offset loader_entry_64",
    "push 8",
    "push eax",
    "retf",
    // The message goes out byte by byte, each when the transmitter is ready (LSR bit 5).
    "3: mov esi, offset no_long_mode_message",
    "4: lodsb",
    "test al, al",
    "jz 6f",
    "mov ah, al",
    "mov dx, 0x3fd",
    "5: in al, dx",
    "test al, 0x20",
    "jz 5b",
    "mov al, ah",
    "mov dx, 0x3f8",
    "out dx, al",
    "jmp 4b",
    "6: hlt",
    "jmp 6b",
    ".code64",
    "loader_entry_64:",
    "rdtsc",
    "shl rdx, 32",
    "or rdx, rax",
    "mov eax, 16",
    "mov ds, eax",
    "mov es, eax",
    "mov ss, eax",
    "xor eax, eax",
    "mov fs, eax",
    "mov gs, eax",
    "xor ebp, ebp",
    // The upper halves are undefined after the change of mode.
    "mov edi, edi",
    "mov esi, esi",
    "call {start}",
    "ud2",
    ".popsection",
    start = sym crate::start::start,
);
