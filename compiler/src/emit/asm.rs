//! The text form of emitted code: what `--emit asm` prints.
//!
//! ```text
//! begin: raw_tp, 4 instructions, stack 0
//! ; begin { @x++ }
//!    0: r1 = .bss+0 ll
//!    2: r2 = 1
//!    3: lock *(u64 *)(r1 +0) += r2
//! ```
//! Instructions read as in `bpftool prog dump xlated`; the number is the place in 64-bit words, and a
//! jump's target is shown as such a place.

use std::fmt::Write;

use super::code::{Code, Symbol};
use crate::ir::Module;
use crate::sources::Sources;

/// What stands above a function's instructions.
pub struct Heading<'a> {
    /// The function's name.
    pub name: &'a str,
    /// The ELF section.
    pub section: &'a str,
    /// Bytes of its stack frame.
    pub stack: u32,
}

/// Writes one function.
pub fn print(out: &mut String, module: &Module, heading: Heading<'_>, code: &Code, sources: &Sources) {
    let Heading { name, section, stack } = heading;
    let count = code.spans.len();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{name}: {section}, {count} instructions, stack {stack}");
    let mut shown = None;
    let mut relocations = code.relocations.iter().peekable();
    for (at, span) in &code.spans {
        if let Some((file, line, _)) = sources.line_of(span.start) {
            let place = (file.base, line);
            if shown != Some(place) {
                let _ = writeln!(out, "; {}", file.line(line).trim());
                shown = Some(place);
            }
        }
        let symbol =
            relocations.next_if(|(word, _)| word == at).map(|(_, symbol)| symbol_text(module, *symbol));
        let second = code.words.get(at + 1).copied().unwrap_or(0);
        let _ = writeln!(out, "{at:4}: {}", instruction(code.words[*at], second, *at, symbol));
    }
}

fn symbol_text(module: &Module, symbol: Symbol) -> String {
    match symbol {
        Symbol::Bss(offset) => format!(".bss+{offset}"),
        Symbol::Map(map) => format!("map {}", module.maps[map].name),
        Symbol::Function(function) => format!("callback {function}"),
        Symbol::Call(function) => function.to_string(),
    }
}

/// One instruction; `second` is the word after it, `symbol` what its relocation refers to.
fn instruction(word: u64, second: u64, at: usize, symbol: Option<String>) -> String {
    let (code, dst, src) = (word as u8, (word >> 8) & 0xf, (word >> 12) & 0xf);
    let (off, imm) = ((word >> 16) as u16 as i16, (word >> 32) as u32 as i32);
    let size = match code & 0x18 {
        0x00 => "u32",
        0x08 => "u16",
        0x10 => "u8",
        _ => "u64",
    };
    let memory = |base: u64| format!("*({size} *)(r{base} {off:+})");
    match code & 0x07 {
        0x00 => match symbol {
            Some(symbol) => format!("r{dst} = {symbol} ll"),
            None => format!("r{dst} = {:#x} ll", u64::from(imm as u32) | (second >> 32) << 32),
        },
        0x01 if code & 0xe0 == 0x80 => format!("r{dst} = {}", memory(src).replacen('u', "s", 1)),
        0x01 => format!("r{dst} = {}", memory(src)),
        0x02 => format!("{} = {imm}", memory(dst)),
        0x03 if code & 0xe0 == 0xc0 => atomic(&memory(dst), src, imm),
        0x03 => format!("{} = r{src}", memory(dst)),
        0x05 if code == 0x85 && symbol.is_some() => format!("call {}", symbol.unwrap_or_default()),
        0x05 | 0x06 => jump(code, dst, src, at as i64 + 1 + i64::from(off), imm),
        class => alu(code, if class == 0x07 { 'r' } else { 'w' }, dst, src, off, imm),
    }
}

fn atomic(memory: &str, src: u64, imm: i32) -> String {
    match imm {
        0x00 => format!("lock {memory} += r{src}"),
        0x01 => format!("r{src} = fetch_add {memory}, r{src}"),
        0xe1 => format!("r{src} = xchg {memory}, r{src}"),
        0xf1 => format!("r0 = cmpxchg {memory}, r0, r{src}"),
        other => format!("atomic {other:#x} {memory}, r{src}"),
    }
}

fn jump(code: u8, dst: u64, src: u64, target: i64, imm: i32) -> String {
    let right = if code & 0x08 != 0 { format!("r{src}") } else { imm.to_string() };
    let op = match code & 0xf0 {
        0x00 => return format!("goto {target}"),
        0x80 => {
            let name = crate::helpers::signature(crate::ir::Helper(imm as u32)).map_or("helper", |s| s.name);
            return format!("call {name}#{imm}");
        }
        0x90 => return "exit".to_owned(),
        0x10 => "==",
        0x20 => ">",
        0x30 => ">=",
        0x40 => "&",
        0x50 => "!=",
        0x60 => "s>",
        0x70 => "s>=",
        0xa0 => "<",
        0xb0 => "<=",
        0xc0 => "s<",
        _ => "s<=",
    };
    format!("if r{dst} {op} {right} goto {target}")
}

fn alu(code: u8, letter: char, dst: u64, src: u64, off: i16, imm: i32) -> String {
    let right = if code & 0x08 != 0 { format!("{letter}{src}") } else { imm.to_string() };
    let signed = if off == 1 { "s" } else { "" };
    let op = match code & 0xf0 {
        0x80 => return format!("{letter}{dst} = -{letter}{dst}"),
        0xb0 if off != 0 => return format!("{letter}{dst} = (s{off}){right}"),
        0xb0 => return format!("{letter}{dst} = {right}"),
        0xd0 => return format!("r{dst} = be{imm} r{dst}"),
        0x00 => "+=",
        0x10 => "-=",
        0x20 => "*=",
        0x30 => "/=",
        0x40 => "|=",
        0x50 => "&=",
        0x60 => "<<=",
        0x70 => ">>=",
        0x90 => "%=",
        0xa0 => "^=",
        _ => "s>>=",
    };
    format!("{letter}{dst} {signed}{op} {right}")
}
