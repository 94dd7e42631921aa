//! Generates programs that are well-typed by construction.
//!
//! What is generated has one outcome: nothing depends on the clock, on chance, or on the order in
//! which the kernel walks a map. Values are drawn so that keys are met again, divisors are zero now
//! and then, shifts go too far, maps fill up and strings do not fit.

mod choice;
mod expr;
mod loops;
mod macros;
mod map;
mod memory;
mod stmt;

use crate::random::Random;
use crate::tree::{self, Node, Program, Ty};

/// Bytes of user memory that programs read through `$1`; text, numbers and no NUL at the end.
pub const USER_BYTES: &[u8; 64] =
    b"memory\0a longer text of the user\0\x01\x80\xff\x7f\xfe\0\0\0\xef\xbe\xad\xde\x11\x22\x33\x44\x55\x66\x77\x88zzzzzzzzzzz";

/// Integer types.
const INTS: &[&str] = &["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"];

/// Numbers at the edges of types.
const EDGES: &[i128] = &[
    0,
    1,
    2,
    3,
    7,
    8,
    63,
    64,
    65,
    100,
    127,
    128,
    255,
    256,
    1000,
    32767,
    32768,
    65535,
    65536,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_ffff,
];

const TEXTS: &[&str] =
    &["", "a", "b", "ab", "abc", "memory", "memoryless", "a longer text", "0123456789abcdefghij"];

#[derive(Clone)]
struct Var {
    name: String,
    ty: Ty,
    /// Loop variables are not assigned to.
    constant: bool,
}

#[derive(Clone, PartialEq)]
enum MapValue {
    Plain(Ty),
    /// The aggregation's text with a hole for the value, and whether it can be read as a number.
    Agg {
        pattern: String,
        readable: bool,
    },
}

#[derive(Clone)]
struct Map {
    name: String,
    /// Types of the key's parts; none without a key.
    key: Vec<Ty>,
    value: MapValue,
}

struct Generator {
    random: Random,
    vars: Vec<Var>,
    maps: Vec<Map>,
    declarations: Vec<String>,
    names: usize,
    /// Statements left to make.
    budget: usize,
    /// Rounds that the kernel verifier walks for a statement here.
    rounds: usize,
    /// How often at most a statement here runs.
    runs: usize,
    /// Whether `break` and `continue` may stand here.
    in_loop: bool,
    /// Whether expressions must leave everything as it is.
    pure: bool,
    macros: Vec<macros::Macro>,
    /// Whether a time series has been made, so that the time goes on.
    has_series: bool,
}

/// A program for a seed.
pub fn program(seed: u64) -> Program {
    let mut random = Random::new(seed);
    let budget = 4 + random.below(14);
    let mut g = Generator {
        random,
        vars: Vec::new(),
        maps: Vec::new(),
        declarations: Vec::new(),
        names: 0,
        budget,
        rounds: 1,
        runs: 1,
        in_loop: false,
        pure: false,
        macros: Vec::new(),
        has_series: false,
    };
    let mut body = Vec::new();
    for _ in 0..g.random.below(3) {
        g.new_macro();
    }
    for _ in 0..1 + g.random.below(4) {
        g.new_map(&mut body);
    }
    for _ in 0..1 + g.random.below(3) {
        body.push(g.declare());
    }
    body.append(&mut g.stmts());
    // What was computed is shown.
    for var in g.vars.clone() {
        body.push(Node::new("print", Ty::Stmt, &format!("print({});", var.name), Vec::new()));
    }
    if g.has_series {
        body.insert(0, g.time_goes_on());
    }
    Program { declarations: g.declarations, body }
}

/// The config block of a batch of programs.
pub fn config(seed: u64) -> String {
    let mut random = Random::new(seed);
    let (strlen, keys) = (*random.of(&[8, 16, 30, 64, 200]), *random.of(&[3, 8, 64]));
    format!("max_strlen = {strlen}; max_map_keys = {keys}; perf_rb_pages = 512")
}

impl Generator {
    fn fresh(&mut self) -> usize {
        self.names += 1;
        self.names
    }

    fn some_type(&mut self, depth: usize) -> Ty {
        match self.random.below(if depth > 0 { 17 } else { 9 }) {
            0..=5 => Ty::Int,
            6 => Ty::Bool,
            7 | 8 => Ty::Str,
            9 => Ty::Buf,
            10 | 11 => Ty::Tuple(self.element_types(depth)),
            12 => Ty::Record(self.element_types(depth)),
            13 => self.array_type(),
            14 => Ty::Ptr(self.random.text(&["uint8", "int16", "uint32", "int64"])),
            15 => Ty::Ptr(self.shape()),
            _ => Ty::Struct(self.shape()),
        }
    }

    fn element_types(&mut self, depth: usize) -> Vec<Ty> {
        (0..2 + self.random.below(2)).map(|_| self.some_type(depth - 1)).collect()
    }

    fn array_type(&mut self) -> Ty {
        let (elem, len) =
            *self.random.of(&[("uint8", 8), ("int16", 4), ("uint32", 2), ("int8", 4), ("uint64", 1)]);
        Ty::Array(elem, len)
    }

    fn shape(&mut self) -> &'static str {
        self.random.of(tree::SHAPES).0
    }
}
