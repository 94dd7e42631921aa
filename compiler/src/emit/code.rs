//! A function's instructions with labels for targets, and turning labels into offsets.
//!
//! A jump reaches 32767 instructions. Where that is not enough, it goes to an island, a `goto` put
//! between two instructions on the way, which code that comes by jumps over; islands are shared by jumps to the
//! same label.

use bpf_ins::MemoryOpLoadType;
use memql_grammar::ast::Span;

use super::encode::{self, Operand, Words};
use crate::alloc::Reg;
use crate::alloc::select::Test;
use crate::ir::{FuncRef, MapRef};

/// A place in the code that jumps go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

/// What a relocation refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symbol {
    /// A byte of `.bss`.
    Bss(u32),
    /// A map.
    Map(MapRef),
    /// A callback of the same program.
    Function(FuncRef),
    /// A function of the same program that is called.
    Call(FuncRef),
}

#[derive(Clone, Copy, Debug)]
enum Item {
    Plain(Words),
    Jump(Option<(Test, Reg, Operand)>, Label),
    Address(Reg, Symbol),
    Call(FuncRef),
}

impl Item {
    fn len(&self) -> usize {
        match self {
            Item::Plain(Words(_, None)) | Item::Jump(..) | Item::Call(_) => 1,
            Item::Plain(Words(_, Some(_))) | Item::Address(..) => 2,
        }
    }
}

/// Code under construction.
#[derive(Clone, Debug, Default)]
pub struct Buffer {
    items: Vec<(Item, Span)>,
    /// Item that each label stands before; `usize::MAX` until it is bound.
    labels: Vec<usize>,
    span: Span,
}

/// A function's finished code.
#[derive(Clone, Debug, Default)]
pub struct Code {
    /// The words.
    pub words: Vec<u64>,
    /// Word index of each `ld_imm64` and call that needs a relocation, and to what.
    pub relocations: Vec<(usize, Symbol)>,
    /// Word index of each instruction and the source text it comes from.
    pub spans: Vec<(usize, Span)>,
}

/// How far a jump goes at most; a little less than 16 bits allow, to leave room for islands.
const REACH: i64 = 32_000;

impl Buffer {
    /// Instructions from now on come from this source text.
    pub fn set_span(&mut self, span: Span) {
        self.span = span;
    }

    /// A label that is not bound yet.
    pub fn new_label(&mut self) -> Label {
        self.labels.push(usize::MAX);
        Label(self.labels.len() - 1)
    }

    /// Binds a label to the next instruction.
    pub fn bind(&mut self, label: Label) {
        self.labels[label.0] = self.items.len();
    }

    /// Appends an instruction.
    pub fn push(&mut self, words: Words) {
        self.items.push((Item::Plain(words), self.span));
    }

    /// Appends a `goto`.
    pub fn jump(&mut self, to: Label) {
        self.items.push((Item::Jump(None, to), self.span));
    }

    /// Appends a conditional jump.
    pub fn jump_if(&mut self, test: Test, left: Reg, right: Operand, to: Label) {
        self.items.push((Item::Jump(Some((test, left, right)), to), self.span));
    }

    /// Appends a load of an address.
    pub fn address(&mut self, dst: Reg, symbol: Symbol) {
        self.items.push((Item::Address(dst, symbol), self.span));
    }

    /// Appends a call of a function of the program.
    pub fn call(&mut self, function: FuncRef) {
        self.items.push((Item::Call(function), self.span));
    }

    /// Turns labels into offsets. All labels that are jumped to must be bound.
    pub fn finish(mut self) -> Code {
        let mut islands: Vec<(Label, Label)> = Vec::new();
        loop {
            let starts = self.starts();
            let far = self.items.iter().enumerate().find_map(|(at, (item, _))| match item {
                Item::Jump(_, to) => {
                    let distance = starts[self.labels[to.0]] as i64 - starts[at] as i64 - 1;
                    (distance.abs() > REACH).then_some((at, *to, distance))
                }
                Item::Plain(_) | Item::Address(..) | Item::Call(_) => None,
            });
            let Some((at, to, distance)) = far else { return self.encode(&starts) };
            let near = |label: Label| {
                let d = starts[self.labels[label.0]] as i64 - starts[at] as i64;
                d.abs() < REACH - 64 && d.signum() == distance.signum()
            };
            let shared = islands.iter().find(|(target, island)| *target == to && near(*island)).map(|i| i.1);
            let (island, moved) = shared.map(|island| (island, at)).unwrap_or_else(|| {
                let wanted = (starts[at] as i64 + distance.signum() * (REACH - 128)).max(0) as usize;
                let before = starts.partition_point(|s| *s < wanted);
                let island = self.insert_island(before, to);
                islands.push((to, island));
                (island, if before <= at { at + 2 } else { at })
            });
            if let Item::Jump(_, target) = &mut self.items[moved].0 {
                *target = island;
            }
        }
    }

    /// Word index of each item, and of the end.
    fn starts(&self) -> Vec<usize> {
        let mut at = 0;
        let mut starts: Vec<usize> = Vec::with_capacity(self.items.len() + 1);
        for (item, _) in &self.items {
            starts.push(at);
            at += item.len();
        }
        starts.push(at);
        starts
    }

    /// Puts `goto over; island: goto to; over:` before an item; what falls through or jumps there jumps over.
    fn insert_island(&mut self, before: usize, to: Label) -> Label {
        let span = self.items[before.min(self.items.len() - 1)].1;
        for label in &mut self.labels {
            // A label at this very item must mean the item, not the island.
            if *label >= before && *label != usize::MAX {
                *label += 2;
            }
        }
        let (over, island) = (self.new_label(), self.new_label());
        self.labels[over.0] = before + 2;
        self.labels[island.0] = before + 1;
        self.items.splice(before..before, [(Item::Jump(None, over), span), (Item::Jump(None, to), span)]);
        island
    }

    fn encode(&self, starts: &[usize]) -> Code {
        let mut code = Code::default();
        for ((item, span), &at) in self.items.iter().zip(starts) {
            code.spans.push((at, *span));
            let Words(first, second) = match *item {
                Item::Plain(words) => words,
                Item::Jump(test, to) => {
                    let off = (starts[self.labels[to.0]] as i64 - at as i64 - 1) as i16;
                    match test {
                        None => encode::jump(off),
                        Some((test, left, right)) => encode::jump_if(test, left, right, off),
                    }
                }
                Item::Call(function) => {
                    code.relocations.push((at, Symbol::Call(function)));
                    encode::call_function()
                }
                Item::Address(dst, symbol) => {
                    code.relocations.push((at, symbol));
                    let addend = match symbol {
                        Symbol::Bss(offset) => offset as i32,
                        Symbol::Map(_) | Symbol::Function(_) | Symbol::Call(_) => 0,
                    };
                    encode::load_address(dst, addend, MemoryOpLoadType::Void)
                }
            };
            code.words.push(first);
            code.words.extend(second);
        }
        code
    }
}
