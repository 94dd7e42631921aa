//! Jumps that are too far for 16 bits.

use memql_compiler::alloc::Reg;
use memql_compiler::alloc::select::Test;
use memql_compiler::emit::code::{Buffer, Code};
use memql_compiler::emit::encode::{Operand, exit, mov};
use memql_compiler::ir::Cond;

/// Follows `goto`s from a taken jump to the first other instruction.
fn follow(code: &Code, mut at: usize) -> usize {
    loop {
        let word = code.words[at];
        let opcode = word as u8;
        // `goto`, and conditional jumps, which count as taken.
        if opcode & 0x07 != 0x05 || matches!(opcode & 0xf0, 0x80 | 0x90) {
            return at;
        }
        let off = (word >> 16) as u16 as i16;
        at = (at as i64 + 1 + i64::from(off)) as usize;
    }
}

#[test]
fn far_jumps_arrive_over_islands_and_code_between_is_kept() {
    let mut buffer = Buffer::default();
    let (start, end) = (buffer.new_label(), buffer.new_label());
    let compare = Test::Compare(Cond::Eq);
    buffer.bind(start);
    buffer.push(mov(Reg::R0, Operand::Imm(1)));
    for n in 0..100_000 {
        buffer.push(mov(Reg::R0, Operand::Imm(n)));
        if n % 10_000 == 0 {
            buffer.jump_if(compare, Reg::R0, Operand::Imm(n), end);
            buffer.jump_if(compare, Reg::R0, Operand::Imm(n), start);
        }
    }
    buffer.bind(end);
    buffer.push(exit());
    let code = buffer.finish();

    let last = code.words.len() - 1;
    let is_conditional = |word: u64| word as u8 & 0x07 == 0x05 && word as u8 & 0xf0 == 0x10;
    let jumps: Vec<usize> = (0..last).filter(|at| is_conditional(code.words[*at])).collect();
    assert_eq!(jumps.len(), 20);
    for (n, at) in jumps.into_iter().enumerate() {
        assert_eq!(follow(&code, at), if n % 2 == 0 { last } else { 0 }, "jump {n}");
    }
    // What falls through meets every move in order.
    let (mut at, mut expected) = (1, 0);
    while at < last {
        let word = code.words[at];
        if word as u8 == 0xb7 {
            assert_eq!((word >> 32) as i64, expected);
            expected += 1;
        }
        at = if word as u8 == 0x05 { follow(&code, at) } else { at + 1 };
    }
    assert_eq!(expected, 100_000);
}
