//! Random programs: the kernel computes what the evaluator says.
//!
//! Programs are made of straight arithmetic, diamonds, loops of a few turns, helper calls, memory and atomics; many
//! values stay live, so that registers run out. All results end in `.bss`.

use memql_compiler::attach::ProgramKind;
use memql_compiler::helpers;
use memql_compiler::ir::{
    BinaryOp, Block, BlockData, Cond, DefinedBy, Function, Global, GlobalDef, Inst, MapDef, MapKind, MapRef,
    Module, Program, Slot, SlotDef, Target, Terminator, Type, UnaryOp, Value, ValueList, Width, text,
};
use memql_compiler::target::Features;

use crate::evaluate::evaluate;
use crate::kernel::{back_end, load, loadable, run};

/// Words of context that programs read.
const CONTEXT_WORDS: usize = 8;

/// Words of `.bss` that programs write.
const OUT_WORDS: u32 = 24;

#[test]
fn random_programs_compute_in_the_kernel_what_the_evaluator_computes() {
    for features in loadable() {
        for seed in 1..=200 {
            agree(seed, &features);
        }
    }
}

fn agree(seed: u64, features: &Features) {
    let module = Generator::new(seed, features.atomic_fetch).generate();
    let mut random = Random(seed ^ 0xdead_beef);
    let context: Vec<u64> = (0..CONTEXT_WORDS).map(|_| random.interesting()).collect();
    let mut expected = vec![0; OUT_WORDS as usize * 8];
    let returned = evaluate(&module, &context, &mut expected);
    if seed.is_multiple_of(4) {
        accepted_as_uprobe(module.clone(), features);
    }
    let emitted = back_end(module.clone(), features);
    let outcome = run(&emitted, &context);
    let shown = || format!("seed {seed}\n{}\n{}", text::print_module(&module), emitted.asm);
    assert_eq!(outcome.returned, returned as u32, "{}", shown());
    assert_eq!(outcome.bss[..expected.len()], expected, "{}", shown());
}

/// As a program that can be preempted, its scratch memory is guarded; the kernel accepts that, too.
fn accepted_as_uprobe(mut module: Module, features: &Features) {
    module.programs[0].kind = ProgramKind::Uprobe;
    let emitted = back_end(module, features);
    load(&emitted.object).unwrap_or_else(|e| panic!("the kernel refuses it: {e}\n{}", emitted.asm));
}

/// Random numbers: xorshift64*.
pub struct Random(u64);

impl Random {
    /// Numbers that depend on the seed, which is not 0.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n
    }

    /// True so often.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A number that is likely to be at the edge of something.
    fn interesting(&mut self) -> u64 {
        let edges =
            [0, 1, 2, 63, 64, 255, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 63, u64::MAX, u64::MAX - 1];
        if self.chance(60) { self.pick(&edges) } else { self.next() >> self.below(64) }
    }
}

/// Makes random programs.
pub struct Generator {
    random: Random,
    module: Module,
    function: Function,
    block: Block,
    /// Numbers that may be used here.
    env: Vec<Value>,
    slot: Slot,
    map: MapRef,
    out: Global,
    atomic_fetch: bool,
    /// Branches that may still be made: each multiplies what the kernel verifier has to follow.
    branches: usize,
}

impl Generator {
    /// A generator; with `atomic_fetch`, of programs with atomics that give the old value.
    pub fn new(seed: u64, atomic_fetch: bool) -> Generator {
        let mut module = Module { license: "GPL".into(), ..Module::default() };
        let map = module.maps.push(MapDef {
            name: "map".into(),
            kind: MapKind::Hash,
            key_size: 8,
            value_size: 8,
            max_entries: 4,
            flags: 0,
        });
        let out =
            module.globals.push(GlobalDef { name: "out".into(), size: OUT_WORDS * 8, align: 8, offset: 0 });
        let mut function = Function::new(&[Type::Ctx]);
        let slot = function.add_slot(SlotDef { size: 64, align: 8, name: None });
        let block = function.entry();
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Generator {
            random,
            module,
            function,
            block,
            env: Vec::new(),
            slot,
            map,
            out,
            atomic_fetch,
            branches: 6,
        }
    }

    /// Makes a module with one program.
    pub fn generate(mut self) -> Module {
        let context = self.function.blocks[self.block].params[0];
        let slot = self.slot_addr();
        self.inst(Inst::MemZero { ptr: slot, off: 0, len: 64 });
        for n in 0..CONTEXT_WORDS {
            let load = Inst::Load { width: Width::W64, signed: false, ptr: context, off: n as i32 * 8 };
            let value = self.value(load);
            self.env.push(value);
        }
        self.sequence(0);
        let out = self.out_addr();
        for n in 0..OUT_WORDS as i32 / 2 {
            let value = self.any();
            self.inst(Inst::Store { width: Width::W64, ptr: out, off: n * 8, value });
        }
        let value = self.any();
        self.end(Terminator::Return(value));
        if self.random.chance(30) {
            self.shuffle_blocks();
        }
        let functions = [self.function].into_iter().collect();
        self.module.programs.push(Program {
            name: "random".into(),
            kind: ProgramKind::TestRun,
            attach_to: None,
            functions,
        });
        self.module
    }

    fn inst(&mut self, inst: Inst) {
        self.function.append(self.block, inst, None, Default::default());
    }

    fn typed(&mut self, inst: Inst, ty: Type) -> Value {
        self.function.append(self.block, inst, Some(ty), Default::default()).expect("typed")
    }

    fn value(&mut self, inst: Inst) -> Value {
        self.typed(inst, Type::I64)
    }

    fn end(&mut self, terminator: Terminator) {
        self.function.blocks[self.block].terminator = Some(terminator);
    }

    fn slot_addr(&mut self) -> Value {
        self.typed(Inst::SlotAddr { slot: self.slot, off: 0 }, Type::Stack)
    }

    fn out_addr(&mut self) -> Value {
        self.typed(Inst::GlobalAddr { global: self.out, off: 0 }, Type::Map)
    }

    /// A number that may be used here; now and then a new constant.
    fn any(&mut self) -> Value {
        if self.random.chance(25) {
            let imm = self.random.interesting() as i64;
            return self.value(Inst::Const(imm));
        }
        let env = self.env.clone();
        self.random.pick(&env)
    }

    fn sequence(&mut self, depth: usize) {
        for _ in 0..4 + self.random.below(10) {
            match self.random.below(100) {
                0..=11 if depth < 3 && self.branches > 0 => self.diamond(depth),
                12..=16 if depth < 2 && self.branches > 1 => self.turns(depth),
                _ => self.step(),
            }
        }
    }

    fn step(&mut self) {
        let (a, b) = (self.any(), self.any());
        let memory = if self.random.chance(50) { self.slot_addr() } else { self.out_addr() };
        let is_slot = self.function.type_of(memory) == Type::Stack;
        // The second half of the output, so that the results at the end leave it alone.
        let word = if is_slot {
            self.random.below(8)
        } else {
            self.random.below(OUT_WORDS as usize / 2) + OUT_WORDS as usize / 2
        };
        let off = word as i32 * 8;
        let width = self.random.pick(&[Width::W8, Width::W16, Width::W32, Width::W64]);
        let new = match self.random.below(100) {
            0..=44 => self.binary(a, b),
            45..=54 => self.unary(a),
            55..=61 => {
                let cond = self.cond();
                self.value(Inst::Icmp { cond, left: a, right: b })
            }
            62..=69 => self.choice(a, b),
            70..=75 => {
                self.inst(Inst::Store { width, ptr: memory, off, value: a });
                return;
            }
            76..=82 => {
                let signed = self.random.chance(50) && width != Width::W64;
                self.value(Inst::Load { width, signed, ptr: memory, off })
            }
            83..=88 => self.call(),
            89..=90 => {
                let memory = self.slot_addr();
                self.inst(Inst::MemCopy {
                    dst: memory,
                    dst_off: 0,
                    src: memory,
                    src_off: 32,
                    len: 32,
                    align: 8,
                });
                return;
            }
            91 => self.value(Inst::Cast(a)),
            92..=94 => self.temporary(a, b),
            _ => match self.atomic(a, b, off) {
                Some(value) => value,
                None => return,
            },
        };
        self.env.push(new);
        // Old values die now and then.
        if self.env.len() > 24 {
            let gone = self.random.below(self.env.len());
            self.env.swap_remove(gone);
        }
    }

    /// Memory of its own for a moment, across a call.
    fn temporary(&mut self, a: Value, b: Value) -> Value {
        let words = 1 + self.random.below(20) as u32;
        let slot = self.function.add_slot(SlotDef { size: words * 8, align: 8, name: None });
        let ptr = self.typed(Inst::SlotAddr { slot, off: 0 }, Type::Stack);
        self.inst(Inst::MemZero { ptr, off: 0, len: words * 8 });
        let last = (words as i32 - 1) * 8;
        self.inst(Inst::Store { width: Width::W64, ptr, off: last, value: a });
        self.inst(Inst::Store { width: Width::W32, ptr, off: last / 2, value: b });
        if self.random.chance(50) {
            let result = self.call();
            self.env.push(result);
        }
        self.value(Inst::Load { width: Width::W64, signed: false, ptr, off: last })
    }

    fn cond(&mut self) -> Cond {
        self.random.pick(&[
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
        ])
    }

    fn binary(&mut self, left: Value, right: Value) -> Value {
        let op = self.random.pick(&[
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
        ]);
        self.value(Inst::Binary { op, left, right })
    }

    fn unary(&mut self, arg: Value) -> Value {
        let op = self.random.pick(&[
            UnaryOp::Neg,
            UnaryOp::Sext(Width::W8),
            UnaryOp::Sext(Width::W16),
            UnaryOp::Sext(Width::W32),
            UnaryOp::Zext(Width::W8),
            UnaryOp::Zext(Width::W16),
            UnaryOp::Zext(Width::W32),
            UnaryOp::Bswap(Width::W16),
            UnaryOp::Bswap(Width::W32),
            UnaryOp::Bswap(Width::W64),
            UnaryOp::Hide,
        ]);
        self.value(Inst::Unary { op, arg })
    }

    /// A select, sometimes on a comparison that it can swallow.
    fn choice(&mut self, a: Value, b: Value) -> Value {
        let cond = if self.random.chance(50) {
            let (cond, left, right) = (self.cond(), self.any(), self.any());
            self.value(Inst::Icmp { cond, left, right })
        } else {
            self.any()
        };
        self.value(Inst::Select { cond, then: a, otherwise: b })
    }

    fn call(&mut self) -> Value {
        let map = self.typed(Inst::MapObject(self.map), Type::MapObject);
        let key = self.slot_addr();
        let args = ValueList::from_slice(&[map, key], &mut self.function.pool);
        self.value(Inst::Call { helper: helpers::MAP_DELETE_ELEM, args })
    }

    fn atomic(&mut self, a: Value, b: Value, off: i32) -> Option<Value> {
        let ptr = self.out_addr();
        let off = off.max(OUT_WORDS as i32 * 4);
        let width = self.random.pick(&[Width::W32, Width::W64]);
        if !self.atomic_fetch {
            self.inst(Inst::AtomicAdd { width, ptr, off, value: a });
            return None;
        }
        match self.random.below(4) {
            0 => {
                self.inst(Inst::AtomicAdd { width, ptr, off, value: a });
                None
            }
            1 => Some(self.value(Inst::AtomicFetchAdd { width, ptr, off, value: a })),
            2 => Some(self.value(Inst::AtomicXchg { width, ptr, off, value: a })),
            // The comparison of 32 bits wants an expectation of 32 bits.
            _ => {
                let expected = self.value(Inst::Unary { op: UnaryOp::Zext(width), arg: b });
                Some(self.value(Inst::AtomicCmpXchg { width, ptr, off, expected, value: a }))
            }
        }
    }

    fn branch(&mut self, then: Target, otherwise: Target) {
        let (mut cond, mut left, mut right) = (self.cond(), self.any(), self.any());
        match self.random.below(4) {
            0 => {
                left = self.value(Inst::Binary { op: BinaryOp::And, left, right });
                right = self.value(Inst::Const(0));
                cond = self.random.pick(&[Cond::Eq, Cond::Ne]);
            }
            1 => {
                left = self.value(Inst::Icmp { cond, left, right });
                right = self.value(Inst::Const(0));
                cond = self.random.pick(&[Cond::Eq, Cond::Ne]);
            }
            _ => {}
        }
        self.end(Terminator::Branch { cond, left, right, then, otherwise });
    }

    fn params(&mut self, block: Block, n: usize) -> Vec<Value> {
        (0..n).map(|_| self.function.add_param(block, Type::I64)).collect()
    }

    fn args(&mut self, n: usize) -> Vec<Value> {
        (0..n).map(|_| self.any()).collect()
    }

    /// A branch whose two ways meet again; one of them may be empty.
    fn diamond(&mut self, depth: usize) {
        self.branches -= 1;
        let (then, join) = (self.function.add_block(), self.function.add_block());
        let (n, m) = (self.random.below(5), self.random.below(3));
        let then_params = self.params(then, m);
        let args = self.args(m);
        let saved = self.env.clone();
        let join_params = self.params(join, n);
        let mut ways = vec![(then, then_params)];
        let other = if self.random.chance(30) {
            Target { block: join, args: self.args(n) }
        } else {
            let otherwise = self.function.add_block();
            ways.push((otherwise, Vec::new()));
            Target { block: otherwise, args: Vec::new() }
        };
        self.branch(Target { block: then, args }, other);
        for (block, params) in ways {
            self.block = block;
            self.env = saved.clone();
            self.env.extend(params);
            self.sequence(depth + 1);
            let args = self.args(n);
            self.end(Terminator::Jump(Target { block: join, args }));
        }
        self.block = join;
        self.env = saved;
        self.env.extend(join_params);
    }

    /// A loop of a few turns.
    fn turns(&mut self, depth: usize) {
        self.branches -= 2;
        let (head, exit) = (self.function.add_block(), self.function.add_block());
        let n = self.random.below(4);
        let turns = 1 + self.random.below(3) as i64;
        let count = self.value(Inst::Const(turns));
        let mut args = vec![count];
        args.extend(self.args(n));
        self.end(Terminator::Jump(Target { block: head, args }));
        let params = self.params(head, n + 1);
        let exit_params = self.params(exit, n);
        let saved = self.env.clone();
        self.block = head;
        self.env.extend(&params);
        self.sequence(depth + 1);
        let one = self.value(Inst::Const(1));
        let left = self.value(Inst::Binary { op: BinaryOp::Sub, left: params[0], right: one });
        let zero = self.value(Inst::Const(0));
        let mut again = vec![left];
        again.extend(self.args(n));
        let done = self.args(n);
        self.end(Terminator::Branch {
            cond: Cond::Ne,
            left,
            right: zero,
            then: Target { block: head, args: again },
            otherwise: Target { block: exit, args: done },
        });
        self.block = exit;
        self.env = saved;
        self.env.extend(exit_params);
    }

    /// Puts all blocks but the entry in another order.
    fn shuffle_blocks(&mut self) {
        let count = self.function.blocks.len();
        let mut order: Vec<usize> = (1..count).collect();
        for n in (1..order.len()).rev() {
            order.swap(n, self.random.below(n + 1));
        }
        order.insert(0, 0);
        let new_number = |block: Block| {
            Block::from_u32(
                order.iter().position(|o| *o == block.as_u32() as usize).expect("all are there") as u32
            )
        };
        let mut old: Vec<BlockData> = self.function.blocks.values().cloned().collect();
        for data in &mut old {
            for target in data.terminator.iter_mut().flat_map(|t| t.targets_mut()) {
                target.block = new_number(target.block);
            }
        }
        for def in self.function.values.values_mut() {
            if let DefinedBy::Param(block, _) = &mut def.by {
                *block = new_number(*block);
            }
        }
        self.function.blocks = order.iter().map(|n| std::mem::take(&mut old[*n])).collect();
    }
}
