//! Random programs mean the same before and after the passes.
//!
//! A program is made from a seed; the interpreter runs it in several contexts before and after each pass
//! alone and all of them together. What it returns, its events, signals, globals and maps must agree. A run of
//! the original that traps (it read memory that it had not written) says nothing and is counted.
//!
//! `MEMQL_SEEDS=from..to` runs other seeds, one program each.

use memql_compiler::attach::ProgramKind;
use memql_compiler::helpers as h;
use memql_compiler::interpret::{Element, Event, Machine, Trap, World};
use memql_compiler::ir::text::{parse_module, print_module};
use memql_compiler::ir::verify::verify;
use memql_compiler::ir::{
    BinaryOp, Block, Cond, FuncRef, Function, Global, GlobalDef, Helper, Inst, MapDef, MapKind, MapRef,
    Module, Program, Slot, SlotDef, Target, Terminator, Type, UnaryOp, Value, ValueList, Width,
};
use memql_compiler::passes;

/// Steps after which a run counts as endless.
const MAX_STEPS: u64 = 100_000;
const CONTEXT_BYTES: u64 = 64;
const SEEDS: std::ops::Range<u64> = 0..200;

#[test]
fn passes_keep_the_meaning_of_random_programs() {
    let seeds = std::env::var("MEMQL_SEEDS").ok().and_then(|text| {
        let (from, to) = text.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    let (mut valid, mut trapped, mut before, mut after) = (0, 0, 0, 0);
    for seed in seeds.unwrap_or(SEEDS) {
        let module = Generator::new(seed).module();
        let text = print_module(&module);
        check_valid(seed, "generation", &module);
        let parsed = parse_module(&text).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{text}"));
        assert_eq!(print_module(&parsed), text, "seed {seed}: print-then-parse is the identity");
        let mut optimised = module.clone();
        passes::optimise(&mut optimised);
        let mut versions = vec![("all passes", optimised)];
        for pass in passes::PASSES {
            let mut version = module.clone();
            passes::run_pass(pass, &mut version);
            check_valid(seed, pass.name, &version);
            versions.push((pass.name, version));
        }
        before += size(&module);
        after += size(&versions[0].1);
        for context in contexts(seed) {
            let Ok(expected) = outcome(&module, &context) else {
                trapped += 1;
                continue;
            };
            valid += 1;
            for (name, version) in &versions {
                let found = outcome(version, &context);
                assert!(
                    found.as_ref() == Ok(&expected),
                    "seed {seed}: {name} changed the meaning\nexpected {expected:?}\nfound {found:?}\n{text}\nbecame\n{}",
                    print_module(version)
                );
            }
        }
    }
    println!("{valid} runs compared, {trapped} trapped; {before} instructions became {after}");
    assert!(valid > trapped, "most random programs are valid");
}

/// What a run leaves behind.
#[derive(Debug, PartialEq)]
struct Outcome {
    result: i64,
    events: Vec<Event>,
    signals: Vec<i32>,
    globals: Vec<u8>,
    maps: Vec<Vec<Element>>,
}

fn outcome(module: &Module, context: &[u8]) -> Result<Outcome, Trap> {
    let mut world = World { max_steps: MAX_STEPS, ..World::default() };
    let outside: Vec<u8> = (0..64u8).map(|n| n.wrapping_mul(37)).collect();
    world.kernel.put(0, &outside);
    world.user.put(0, &outside);
    let mut machine = Machine::new(module, world);
    let result = machine.run(0, context)?;
    let events = machine.take_events();
    let maps = module.maps.keys().map(|map| machine.elements(map)).collect();
    Ok(Outcome { result, events, signals: machine.world.signals.clone(), globals: machine.bss(), maps })
}

fn contexts(seed: u64) -> Vec<Vec<u8>> {
    let mut random = Random(seed ^ 0x5555);
    (0..4)
        .map(|kind| {
            (0..CONTEXT_BYTES)
                .map(|_| match kind {
                    0 => 0,
                    1 => (random.below(8) == 0).into(),
                    _ => random.below(256) as u8,
                })
                .collect()
        })
        .collect()
}

fn size(module: &Module) -> usize {
    let functions = module.programs.iter().flat_map(|program| program.functions.values());
    functions.flat_map(|function| function.blocks.values()).map(|data| data.insts.len() + 1).sum()
}

fn check_valid(seed: u64, stage: &str, module: &Module) {
    if let Err(violations) = verify(module) {
        let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
        panic!("seed {seed}: {stage}\n{}\n{}", list.join("\n"), print_module(module));
    }
}

/// Xorshift with a multiplication: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

const OPS: &[BinaryOp] = &[
    BinaryOp::Add,
    BinaryOp::Sub,
    BinaryOp::Mul,
    BinaryOp::Udiv,
    BinaryOp::Umod,
    BinaryOp::Sdiv,
    BinaryOp::Smod,
    BinaryOp::And,
    BinaryOp::Or,
    BinaryOp::Xor,
    BinaryOp::Shl,
    BinaryOp::Lshr,
    BinaryOp::Ashr,
];
const CONDS: &[Cond] = &[
    Cond::Eq,
    Cond::Ne,
    Cond::Ult,
    Cond::Ule,
    Cond::Ugt,
    Cond::Uge,
    Cond::Slt,
    Cond::Sle,
    Cond::Sgt,
    Cond::Sge,
];
const WIDTHS: &[Width] = &[Width::W8, Width::W16, Width::W32, Width::W64];
const CONSTS: &[i64] = &[
    0,
    1,
    -1,
    2,
    3,
    7,
    8,
    10,
    16,
    31,
    32,
    63,
    64,
    255,
    256,
    1000,
    1024,
    65535,
    0xffff_ffff,
    i32::MAX as i64,
    i32::MIN as i64,
    i64::MAX,
    i64::MIN,
];

/// Slots of one word, by number: a script's variables.
const VARIABLES: u32 = 5;
/// A slot of two words that is accessed in pieces.
const PIECES: u32 = VARIABLES;
/// Two slots for keys and values of 16 bytes.
const KEYS: u32 = VARIABLES + 1;
/// A slot whose address a callback gets.
const SHARED: u32 = VARIABLES + 3;
/// A slot that holds addresses of map values.
const POINTER: u32 = VARIABLES + 4;

/// Makes a program: structured code, of which every path ends.
struct Generator {
    random: Random,
    function: Function,
    block: Block,
    context: Value,
    /// Integers that may be used here.
    live: Vec<Value>,
    /// Statements left to make.
    budget: u32,
}

impl Generator {
    fn new(seed: u64) -> Generator {
        let function = Function::new(&[Type::Ctx]);
        let (block, context) = (function.entry(), Value::from_u32(0));
        let mut random = Random(seed);
        let budget = 4 + random.below(40) as u32;
        Generator { random, function, block, context, live: Vec::new(), budget }
    }

    fn module(mut self) -> Module {
        let slot = |size| SlotDef { size, align: 8, name: None };
        for _ in 0..VARIABLES {
            self.function.add_slot(slot(8));
        }
        for size in [16, 16, 16, 8, 8] {
            self.function.add_slot(slot(size));
        }
        for variable in 0..VARIABLES {
            if !self.random.one_in(12) {
                let (at, value) = (self.slot(variable, 0), self.constant());
                self.store(Width::W64, at, 0, value);
            }
        }
        let at = self.slot(PIECES, 0);
        self.none(Inst::MemZero { ptr: at, off: 0, len: 16 });
        self.fill_map();
        self.statements(0);
        let value = self.expression(2);
        self.end(Terminator::Return(value));
        let mut program = Program {
            name: "p".into(),
            kind: ProgramKind::TestRun,
            attach_to: None,
            functions: Default::default(),
        };
        program.functions.push(self.function);
        program.functions.push(callback());
        let mut module = Module { license: "GPL".into(), ..Module::default() };
        for (name, kind, key_size, value_size, max_entries) in [
            ("by_word", MapKind::Hash, 8, 8, 6),
            ("by_pair", MapKind::PerCpuHash, 16, 16, 100),
            ("list", MapKind::Array, 4, 8, 3),
            ("events", MapKind::RingBuf, 0, 0, 4096),
        ] {
            module.maps.push(MapDef { name: name.into(), kind, key_size, value_size, max_entries, flags: 0 });
        }
        for (index, size) in [8, 8, 16].into_iter().enumerate() {
            let offset = index as u32 * 8;
            module.globals.push(GlobalDef { name: format!("g{index}"), size, align: 8, offset });
        }
        module.programs.push(program);
        module
    }

    /// Two elements to find.
    fn fill_map(&mut self) {
        let (map, key, value) = (self.map(0), self.slot(KEYS, 0), self.slot(KEYS + 1, 0));
        let (zero, one) = (self.number(0), self.number(1));
        for imm in [zero, one] {
            self.store(Width::W64, key, 0, imm);
            self.store(Width::W64, value, 0, one);
            self.call(h::MAP_UPDATE_ELEM, &[map, key, value, zero], Type::I64);
        }
    }

    fn some(&mut self, inst: Inst, ty: Type) -> Value {
        let value = self.function.append(self.block, inst, Some(ty), Default::default());
        value.expect("an instruction made with a type defines a value")
    }

    fn none(&mut self, inst: Inst) {
        self.function.append(self.block, inst, None, Default::default());
    }

    fn end(&mut self, terminator: Terminator) {
        self.function.blocks[self.block].terminator = Some(terminator);
    }

    fn number(&mut self, imm: i64) -> Value {
        self.some(Inst::Const(imm), Type::I64)
    }

    fn constant(&mut self) -> Value {
        let imm = self.random.pick(CONSTS);
        self.number(imm)
    }

    fn slot(&mut self, slot: u32, off: i32) -> Value {
        self.some(Inst::SlotAddr { slot: Slot::from_u32(slot), off }, Type::Stack)
    }

    fn global(&mut self) -> Value {
        let global = Global::from_u32(self.random.below(3) as u32);
        self.some(Inst::GlobalAddr { global, off: 0 }, Type::Map)
    }

    fn map(&mut self, map: u32) -> Value {
        self.some(Inst::MapObject(MapRef::from_u32(map)), Type::MapObject)
    }

    fn call(&mut self, helper: Helper, args: &[Value], ty: Type) -> Value {
        let args = ValueList::from_slice(args, &mut self.function.pool);
        self.some(Inst::Call { helper, args }, ty)
    }

    fn load(&mut self, width: Width, ptr: Value, off: i32) -> Value {
        let signed = self.random.one_in(2);
        self.some(Inst::Load { width, signed, ptr, off }, Type::I64)
    }

    fn store(&mut self, width: Width, ptr: Value, off: i32, value: Value) {
        self.none(Inst::Store { width, ptr, off, value });
    }

    /// A value of an expression of at most this depth; often one that is there already.
    fn expression(&mut self, depth: u32) -> Value {
        if depth == 0 || self.random.one_in(5) {
            return self.leaf();
        }
        let value = match self.random.below(10) {
            0..=3 => {
                let op = self.random.pick(OPS);
                let left = self.expression(depth - 1);
                let right = if self.random.one_in(2) { self.constant() } else { self.expression(depth - 1) };
                self.some(Inst::Binary { op, left, right }, Type::I64)
            }
            4 => {
                let width = self.random.pick(WIDTHS);
                let op = match self.random.below(4) {
                    0 => UnaryOp::Neg,
                    1 => UnaryOp::Sext(width),
                    2 => UnaryOp::Zext(width),
                    _ if width == Width::W8 => UnaryOp::Neg,
                    _ => UnaryOp::Bswap(width),
                };
                let arg = self.expression(depth - 1);
                self.some(Inst::Unary { op, arg }, Type::I64)
            }
            5 | 6 => {
                let (cond, left) = (self.random.pick(CONDS), self.expression(depth - 1));
                let right = if self.random.one_in(2) { self.constant() } else { self.expression(depth - 1) };
                self.some(Inst::Icmp { cond, left, right }, Type::I64)
            }
            7 => {
                let (cond, then) = (self.expression(depth - 1), self.expression(depth - 1));
                let otherwise = self.expression(depth - 1);
                self.some(Inst::Select { cond, then, otherwise }, Type::I64)
            }
            8 => {
                // Near the ends of what few bits can hold.
                let (width, op) = (self.random.pick(&[Width::W8, Width::W16]), self.random.pick(OPS));
                let max = (1i64 << width.bits()) - 1;
                let left =
                    self.some(Inst::Load { width, signed: false, ptr: self.context, off: 0 }, Type::I64);
                let right =
                    self.some(Inst::Load { width, signed: false, ptr: self.context, off: 8 }, Type::I64);
                let left = self.some(Inst::Binary { op, left, right }, Type::I64);
                let (cond, right) =
                    (self.random.pick(CONDS), self.random.pick(&[-1, 0, 1, max - 1, max, max + 1]));
                let right = self.number(right);
                self.some(Inst::Icmp { cond, left, right }, Type::I64)
            }
            _ => {
                let (arg, more) = (self.expression(depth - 1), self.constant());
                let address = self.some(Inst::Cast(arg), Type::Kernel);
                let sum =
                    self.some(Inst::Binary { op: BinaryOp::Add, left: address, right: more }, Type::Kernel);
                self.some(Inst::Cast(sum), Type::I64)
            }
        };
        self.live.push(value);
        value
    }

    fn leaf(&mut self) -> Value {
        match self.random.below(8) {
            0 | 1 => self.constant(),
            2 => {
                let width = self.random.pick(WIDTHS);
                let off = (self.random.below(CONTEXT_BYTES / 8) * 8) as i32;
                self.load(width, self.context, off)
            }
            3 | 4 => {
                let variable = self.random.below(u64::from(VARIABLES)) as u32;
                let at = self.slot(variable, 0);
                let width = if self.random.one_in(6) { self.random.pick(WIDTHS) } else { Width::W64 };
                self.load(width, at, 0)
            }
            5 => {
                let at = self.slot(PIECES, 0);
                let width = self.random.pick(&[Width::W32, Width::W64]);
                let off = if width == Width::W64 { 8 } else { self.random.pick(&[0, 4]) };
                self.load(width, at, off)
            }
            6 => {
                let helper = self.random.pick(&[
                    h::GET_CURRENT_PID_TGID,
                    h::GET_CURRENT_UID_GID,
                    h::KTIME_GET_NS,
                    h::GET_SMP_PROCESSOR_ID,
                ]);
                self.call(helper, &[], Type::I64)
            }
            _ if self.live.is_empty() => self.constant(),
            _ => {
                let live = std::mem::take(&mut self.live);
                let value = self.random.pick(&live);
                self.live = live;
                value
            }
        }
    }

    fn statements(&mut self, depth: u32) {
        let count = 1 + self.random.below(8);
        for _ in 0..count {
            if self.budget == 0 {
                return;
            }
            self.budget -= 1;
            self.statement(depth);
        }
    }

    fn statement(&mut self, depth: u32) {
        match self.random.below(21) {
            0..=3 => {
                let value = self.expression(3);
                let variable = self.random.below(u64::from(VARIABLES)) as u32;
                let at = self.slot(variable, 0);
                self.store(Width::W64, at, 0, value);
            }
            4 => {
                let value = self.expression(2);
                let at = self.slot(PIECES, 0);
                match self.random.below(4) {
                    0 => self.none(Inst::MemZero { ptr: at, off: 0, len: 16 }),
                    1 => self.store(Width::W64, at, 8, value),
                    _ => {
                        let off = self.random.pick(&[0, 4]);
                        self.store(Width::W32, at, off, value);
                    }
                }
            }
            5 | 6 => self.access_global(),
            7..=9 => self.access_map(depth),
            10 => {
                let signal = self.expression(2);
                self.call(h::SEND_SIGNAL, &[signal], Type::I64);
            }
            11 => self.send_key(),
            12 => self.read_outside(),
            13 => self.call_back(),
            14 | 15 if depth < 4 => self.branch(depth),
            16 if depth < 3 => self.repeat(depth),
            17 => self.one_element(),
            18 if depth < 4 => self.two_elements(),
            19 => {
                let variable = self.random.below(u64::from(VARIABLES)) as u32;
                let (at, size) = (self.slot(variable, 0), self.number(8));
                self.call(h::GET_CURRENT_COMM, &[at, size], Type::I64);
            }
            20 if depth > 0 && self.random.one_in(3) => {
                // The rest of this list of statements goes to a block of its own.
                let cond = self.expression(2);
                let (out, on) = (self.function.add_block(), self.function.add_block());
                self.branch_on(cond, out, on);
                self.block = out;
                let live = self.live.len();
                let value = self.expression(1);
                self.end(Terminator::Return(value));
                self.live.truncate(live);
                self.block = on;
            }
            _ => {
                let value = self.expression(3);
                self.live.push(value);
            }
        }
    }

    fn access_global(&mut self) {
        let at = self.global();
        match self.random.below(5) {
            0 => {
                let value = self.expression(2);
                self.store(Width::W64, at, 0, value);
            }
            1 => {
                let value = self.expression(1);
                self.none(Inst::AtomicAdd { width: Width::W64, ptr: at, off: 0, value });
            }
            2 => {
                let (value, width) = (self.expression(1), self.random.pick(&[Width::W32, Width::W64]));
                let inst = match self.random.below(2) {
                    0 => Inst::AtomicFetchAdd { width, ptr: at, off: 0, value },
                    _ => Inst::AtomicXchg { width, ptr: at, off: 0, value },
                };
                let old = self.some(inst, Type::I64);
                self.live.push(old);
            }
            3 => {
                let (value, width) = (self.expression(1), self.random.pick(WIDTHS));
                let more = self.number(4);
                let moved = self.some(Inst::Binary { op: BinaryOp::Add, left: at, right: more }, Type::Map);
                let off = if width == Width::W64 { -4 } else { 0 };
                self.store(width, moved, off, value);
            }
            _ => {
                let width = self.random.pick(WIDTHS);
                let value = self.load(width, at, 0);
                self.live.push(value);
            }
        }
    }

    /// Writes a key into a slot: words, or cleared and then partly written. Gives its address.
    fn key(&mut self, words: u32) -> Value {
        let slot = KEYS + self.random.below(2) as u32;
        let at = self.slot(slot, 0);
        let small = [0, 1, 2].map(|imm| self.number(imm));
        let mut parts: Vec<Value> = Vec::new();
        for _ in 0..words {
            let part = if self.random.one_in(3) { self.leaf() } else { self.random.pick(&small) };
            parts.push(part);
        }
        if self.random.one_in(2) {
            self.none(Inst::MemZero { ptr: at, off: 0, len: words * 8 });
            self.store(Width::W32, at, 0, parts[0]);
            return at;
        }
        for (index, &part) in parts.iter().enumerate() {
            self.store(Width::W64, at, index as i32 * 8, part);
        }
        at
    }

    fn access_map(&mut self, depth: u32) {
        let map_index = self.random.below(3) as u32;
        let words = if map_index == 1 { 2 } else { 1 };
        let map = self.map(map_index);
        let key = self.key(words);
        match self.random.below(6) {
            0 => {
                self.call(h::MAP_DELETE_ELEM, &[map, key], Type::I64);
            }
            1 => {
                // The value is what follows in the other slot, or the key itself.
                let (value, flags) = (self.key(words), self.random.pick(&[0, 1, 2]));
                let flags = self.number(flags);
                let result = self.call(h::MAP_UPDATE_ELEM, &[map, key, value, flags], Type::I64);
                self.live.push(result);
            }
            _ => {
                let element = self.call(h::MAP_LOOKUP_ELEM, &[map, key], Type::Map);
                let zero = self.number(0);
                let (found, on) = (self.function.add_block(), self.function.add_block());
                let (then, otherwise) =
                    (Target { block: on, args: vec![] }, Target { block: found, args: vec![] });
                self.end(Terminator::Branch { cond: Cond::Eq, left: element, right: zero, then, otherwise });
                self.block = found;
                let live = self.live.len();
                self.access_element(element);
                if self.random.one_in(2) && depth < 4 {
                    self.statements(depth + 1);
                }
                self.end(Terminator::Jump(Target { block: on, args: vec![] }));
                self.live.truncate(live);
                self.block = on;
            }
        }
    }

    /// Several operations on one element, without branches between them.
    fn one_element(&mut self) {
        let (map, zero) = (self.map(0), self.number(0));
        let imm = self.random.pick(&[0, 1, 2]);
        for _ in 0..2 + self.random.below(4) {
            let (key, part) = (self.slot(KEYS, 0), self.number(imm));
            self.store(Width::W64, key, 0, part);
            match self.random.below(4) {
                0 => {
                    self.call(h::MAP_DELETE_ELEM, &[map, key], Type::I64);
                }
                1 => {
                    self.call(h::MAP_UPDATE_ELEM, &[map, key, key, zero], Type::I64);
                }
                _ => {
                    let element = self.call(h::MAP_LOOKUP_ELEM, &[map, key], Type::Map);
                    let found =
                        self.some(Inst::Icmp { cond: Cond::Ne, left: element, right: zero }, Type::I64);
                    self.live.push(found);
                }
            }
        }
    }

    /// Reads through one address before and after a write through another, which may be the same element.
    fn two_elements(&mut self) {
        let (map, zero) = (self.map(0), self.number(0));
        let join = self.function.add_block();
        let mut elements = Vec::new();
        for slot in [KEYS, KEYS + 1] {
            let key = self.slot(slot, 0);
            let part = if self.random.one_in(2) {
                let (byte, one) = (self.load(Width::W8, self.context, 16), self.number(1));
                self.some(Inst::Binary { op: BinaryOp::And, left: byte, right: one }, Type::I64)
            } else {
                self.number(1)
            };
            self.store(Width::W64, key, 0, part);
            let element = self.call(h::MAP_LOOKUP_ELEM, &[map, key], Type::Map);
            let found = self.function.add_block();
            let (then, otherwise) =
                (Target { block: join, args: vec![] }, Target { block: found, args: vec![] });
            self.end(Terminator::Branch { cond: Cond::Eq, left: element, right: zero, then, otherwise });
            self.block = found;
            elements.push(element);
        }
        let live = self.live.len();
        let before = self.load(Width::W64, elements[0], 0);
        let value = self.expression(1);
        self.store(Width::W64, elements[1], 0, value);
        let after = self.load(Width::W64, elements[0], 0);
        let sum = self.some(Inst::Binary { op: BinaryOp::Add, left: before, right: after }, Type::I64);
        let variable = self.slot(0, 0);
        self.store(Width::W64, variable, 0, sum);
        self.end(Terminator::Jump(Target { block: join, args: vec![] }));
        self.live.truncate(live);
        self.block = join;
    }

    fn access_element(&mut self, element: Value) {
        let element = if self.random.one_in(3) {
            let at = self.slot(POINTER, 0);
            if self.random.one_in(3) {
                self.none(Inst::MemZero { ptr: at, off: 0, len: 8 });
            }
            self.store(Width::W64, at, 0, element);
            self.some(Inst::Load { width: Width::W64, signed: false, ptr: at, off: 0 }, Type::Map)
        } else {
            element
        };
        let value = self.load(Width::W64, element, 0);
        self.live.push(value);
        let value = self.expression(2);
        match self.random.below(3) {
            0 => self.store(Width::W64, element, 0, value),
            1 => self.none(Inst::AtomicAdd { width: Width::W64, ptr: element, off: 0, value }),
            _ => {
                let variable = self.random.below(u64::from(VARIABLES)) as u32;
                let at = self.slot(variable, 0);
                self.store(Width::W64, at, 0, value);
            }
        }
    }

    fn send_key(&mut self) {
        let (map, key) = (self.map(3), self.key(2));
        let (size, flags) = (self.random.pick(&[8, 16]), self.number(0));
        if self.random.one_in(3) {
            let to = self.slot(KEYS, 0);
            let from = self.slot(PIECES, 0);
            self.none(Inst::MemCopy { dst: to, dst_off: 0, src: from, src_off: 0, len: 16, align: 8 });
        }
        let size = self.number(size);
        self.call(h::RINGBUF_OUTPUT, &[map, key, size, flags], Type::I64);
    }

    fn read_outside(&mut self) {
        let to = self.slot(KEYS, 0);
        let size = self.number(16);
        let address = self.expression(1);
        let helper = self.random.pick(&[h::PROBE_READ_KERNEL, h::GET_CURRENT_COMM, h::PROBE_READ_USER]);
        let result = match helper {
            h::GET_CURRENT_COMM => self.call(helper, &[to, size], Type::I64),
            h::PROBE_READ_USER => {
                let address = self.some(Inst::Cast(address), Type::User);
                self.call(helper, &[to, size, address], Type::I64)
            }
            _ => {
                let address = if self.random.one_in(2) {
                    let own = self.slot(PIECES, 0);
                    self.some(Inst::Address(own), Type::Kernel)
                } else {
                    self.some(Inst::Cast(address), Type::Kernel)
                };
                self.call(helper, &[to, size, address], Type::I64)
            }
        };
        let value = self.load(Width::W64, to, 8);
        self.live.extend([result, value]);
    }

    fn call_back(&mut self) {
        let at = self.slot(SHARED, 0);
        let value = self.expression(1);
        self.store(Width::W64, at, 0, value);
        let (count, zero) = (self.random.below(4) as i64, self.number(0));
        let count = self.number(count);
        let global = self.some(Inst::GlobalAddr { global: Global::from_u32(0), off: 0 }, Type::Map);
        let before = self.load(Width::W64, global, 0);
        let callback = self.some(Inst::FnAddr(FuncRef::from_u32(1)), Type::Callback);
        self.call(h::LOOP, &[count, callback, at, zero], Type::I64);
        let after = self.load(Width::W64, global, 0);
        let value = self.load(Width::W64, at, 0);
        let (seen, difference) = (
            self.some(Inst::GlobalAddr { global: Global::from_u32(1), off: 0 }, Type::Map),
            self.some(Inst::Binary { op: BinaryOp::Sub, left: after, right: before }, Type::I64),
        );
        self.none(Inst::AtomicAdd { width: Width::W64, ptr: seen, off: 0, value: difference });
        self.live.push(value);
    }

    fn branch_on(&mut self, cond: Value, then: Block, otherwise: Block) {
        let (then, otherwise) =
            (Target { block: then, args: vec![] }, Target { block: otherwise, args: vec![] });
        let zero = self.number(0);
        self.end(Terminator::Branch { cond: Cond::Ne, left: cond, right: zero, then, otherwise });
    }

    /// A condition as lowering makes it: a comparison, or two joined by `&&` in a block parameter.
    fn condition(&mut self) -> Value {
        let first = self.expression(2);
        if !self.random.one_in(3) {
            return first;
        }
        let (second, join) = (self.function.add_block(), self.function.add_block());
        let joined = self.function.add_param(join, Type::I64);
        let zero = self.number(0);
        let (then, otherwise) =
            (Target { block: second, args: vec![] }, Target { block: join, args: vec![zero] });
        self.end(Terminator::Branch { cond: Cond::Ne, left: first, right: zero, then, otherwise });
        self.block = second;
        let live = self.live.len();
        let value = self.expression(2);
        let test = self.some(Inst::Icmp { cond: Cond::Ne, left: value, right: zero }, Type::I64);
        self.end(Terminator::Jump(Target { block: join, args: vec![test] }));
        self.live.truncate(live);
        self.block = join;
        joined
    }

    fn branch(&mut self, depth: u32) {
        let cond = self.condition();
        let [then, otherwise, join] = [(); 3].map(|()| self.function.add_block());
        let param = self.function.add_param(join, Type::I64);
        self.branch_on(cond, then, otherwise);
        let live = self.live.len();
        for side in [then, otherwise] {
            self.block = side;
            if self.random.one_in(4) {
                let value = self.leaf();
                self.end(Terminator::Jump(Target { block: join, args: vec![value] }));
            } else {
                self.statements(depth + 1);
                let value = self.expression(1);
                self.end(Terminator::Jump(Target { block: join, args: vec![value] }));
            }
            self.live.truncate(live);
        }
        self.block = join;
        self.live.push(param);
    }

    /// A loop that counts in a parameter, and an accumulator beside it.
    fn repeat(&mut self, depth: u32) {
        let [head, body, after] = [(); 3].map(|()| self.function.add_block());
        let (counter, sum) =
            (self.function.add_param(head, Type::I64), self.function.add_param(head, Type::I64));
        let (start, first) = (self.number(0), self.leaf());
        self.end(Terminator::Jump(Target { block: head, args: vec![start, first] }));
        self.block = head;
        let times = self.random.below(5) as i64;
        let bound = self.number(times);
        let (then, otherwise) = (Target { block: body, args: vec![] }, Target { block: after, args: vec![] });
        self.end(Terminator::Branch { cond: Cond::Ult, left: counter, right: bound, then, otherwise });
        self.block = body;
        let live = self.live.len();
        self.live.extend([counter, sum]);
        self.statements(depth + 1);
        let one = self.number(1);
        let next = self.some(Inst::Binary { op: BinaryOp::Add, left: counter, right: one }, Type::I64);
        let more = self.expression(2);
        self.end(Terminator::Jump(Target { block: head, args: vec![next, more] }));
        self.live.truncate(live);
        self.live.push(sum);
        self.block = after;
    }
}

/// A callback of `loop`: adds the index to the number its context points to, and to a global.
fn callback() -> Function {
    let mut function = Function::new(&[Type::I64, Type::Stack]);
    let (entry, span) = (function.entry(), Default::default());
    let (index, context) = (Value::from_u32(0), Value::from_u32(1));
    let mut some = |inst, ty| function.append(entry, inst, Some(ty), span).expect("it has a type");
    let old = some(Inst::Load { width: Width::W64, signed: false, ptr: context, off: 0 }, Type::I64);
    let new = some(Inst::Binary { op: BinaryOp::Add, left: old, right: index }, Type::I64);
    let global = some(Inst::GlobalAddr { global: Global::from_u32(0), off: 0 }, Type::Map);
    let zero = some(Inst::Const(0), Type::I64);
    function.append(entry, Inst::Store { width: Width::W64, ptr: context, off: 0, value: new }, None, span);
    function.append(
        entry,
        Inst::AtomicAdd { width: Width::W64, ptr: global, off: 0, value: new },
        None,
        span,
    );
    function.blocks[entry].terminator = Some(Terminator::Return(zero));
    function
}
