//! Generates programs that are well-typed by construction.
//!
//! What is generated has one outcome: nothing depends on the clock, on chance, or on the order in
//! which the kernel walks a map. Values are drawn so that keys are met again, divisors are zero now
//! and then, shifts go too far, maps fill up and strings do not fit.

use crate::random::Random;
use crate::tree::{Node, Program, Ty};

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
    /// Whether `break` and `continue` may stand here.
    in_loop: bool,
    /// Whether expressions must leave everything as it is.
    pure: bool,
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
        in_loop: false,
        pure: false,
    };
    let mut body = Vec::new();
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
    Program { declarations: g.declarations, body }
}

/// The config block of a batch of programs.
pub fn config(seed: u64) -> String {
    let mut random = Random::new(seed);
    let (strlen, keys) = (*random.of(&[8, 16, 30, 64, 200]), *random.of(&[3, 8, 64]));
    format!("max_strlen = {strlen}; max_map_keys = {keys}; perf_rb_pages = 16")
}

impl Generator {
    fn fresh(&mut self) -> usize {
        self.names += 1;
        self.names
    }

    fn some_type(&mut self, depth: usize) -> Ty {
        match self.random.below(if depth > 0 { 12 } else { 9 }) {
            0..=5 => Ty::Int,
            6 => Ty::Bool,
            7 | 8 => Ty::Str,
            9 => Ty::Buf,
            _ => Ty::Tuple((0..2 + self.random.below(2)).map(|_| self.some_type(depth - 1)).collect()),
        }
    }

    fn key_type(&mut self) -> Ty {
        match self.random.below(5) {
            0..=2 => Ty::Int,
            3 => Ty::Str,
            _ => Ty::Tuple(vec![Ty::Int, if self.random.once_in(2) { Ty::Int } else { Ty::Str }]),
        }
    }

    fn aggregation(&mut self) -> MapValue {
        let (pattern, readable) = match self.random.below(10) {
            0 | 1 => ("count()".to_owned(), true),
            2 | 3 => ("sum(%)".to_owned(), true),
            4 => ("min(%)".to_owned(), true),
            5 => ("max(%)".to_owned(), true),
            6 => ("avg(%)".to_owned(), true),
            7 => ("stats(%)".to_owned(), false),
            8 => (format!("hist(%, {})", self.random.below(6)), false),
            _ => {
                let (min, step, n) = (
                    self.random.below(300) as i64 - 200,
                    1 + self.random.below(20) as i64,
                    1 + self.random.below(20) as i64,
                );
                (format!("lhist(%, {min}, {}, {step})", min + n * step), false)
            }
        };
        MapValue::Agg { pattern, readable }
    }

    /// Adds a map, and a statement that assigns it.
    fn new_map(&mut self, body: &mut Vec<Node>) -> Map {
        let key: Vec<Ty> = match self.random.below(4) {
            0 => Vec::new(),
            1 | 2 => vec![self.key_type()],
            _ => vec![Ty::Int, self.key_type()],
        };
        let value = match self.random.below(3) {
            0 => self.aggregation(),
            _ => MapValue::Plain(self.some_type(1)),
        };
        self.new_map_of(key, value, body)
    }

    fn new_map_of(&mut self, key: Vec<Ty>, value: MapValue, body: &mut Vec<Node>) -> Map {
        let name = format!("@#_{}", self.fresh());
        let map = Map { name, key, value };
        if !map.key.is_empty() && self.random.once_in(4) {
            let kind = *self.random.of(&["hash", "hash", "percpuhash"]);
            // An aggregation in a declared map must be kept per CPU.
            let kind = if matches!(map.value, MapValue::Agg { .. }) { "percpuhash" } else { kind };
            let entries = *self.random.of(&[2, 5, 50]);
            self.declarations.push(format!("let {} = {kind}({entries});", map.name));
        }
        body.push(self.assign_map(&map));
        self.maps.push(map.clone());
        map
    }

    /// `@map` or `@map[key]`, as a pattern and its nodes.
    fn element(&mut self, map: &Map) -> (String, Vec<Node>) {
        if map.key.is_empty() {
            return (map.name.clone(), Vec::new());
        }
        let keys: Vec<Node> = map.key.clone().iter().map(|ty| self.key(ty)).collect();
        (format!("{}[{}]", map.name, vec!["%"; keys.len()].join(", ")), keys)
    }

    /// A key from a small set.
    fn key(&mut self, ty: &Ty) -> Node {
        match ty {
            Ty::Int => match self.random.below(3) {
                0 => {
                    let value = self.int(1);
                    let mask = *self.random.of(&[1, 3, 5]);
                    Node::new("&", Ty::Int, &format!("((%) & {mask})"), vec![value])
                }
                1 => {
                    let value = self.int(1);
                    let to = *self.random.of(INTS);
                    Node::new("cast", Ty::Int, &format!("({to})((%) & 3)"), vec![value])
                }
                _ => Node::new("literal", Ty::Int, &self.random.below(4).to_string(), Vec::new()),
            },
            Ty::Tuple(types) => {
                let parts: Vec<Node> = types.iter().map(|ty| self.key(ty)).collect();
                let pattern = format!("({})", vec!["%"; parts.len()].join(", "));
                Node::new("tuple", ty.clone(), &pattern, parts)
            }
            _ => self.value(ty, 1),
        }
    }

    fn declare(&mut self) -> Node {
        let ty = self.some_type(2);
        let value = self.value(&ty, 3);
        let name = format!("$v{}", self.fresh());
        self.vars.push(Var { name: name.clone(), ty: ty.clone(), constant: false });
        if ty == Ty::Int && self.random.once_in(2) {
            let int = *self.random.of(INTS);
            return Node::new("let", Ty::Stmt, &format!("let {name}: {int} = ({int})(%);"), vec![value]);
        }
        let word = if self.random.once_in(3) { "let " } else { "" };
        Node::new("let", Ty::Stmt, &format!("{word}{name} = %;"), vec![value])
    }

    fn assign_map(&mut self, map: &Map) -> Node {
        let (place, mut nodes) = self.element(map);
        match &map.value {
            MapValue::Agg { pattern, .. } => {
                if pattern.contains('%') {
                    nodes.push(self.int(2));
                }
                let label = aggregation_label(pattern);
                Node::new(label, Ty::Stmt, &format!("{place} = {pattern};"), nodes)
            }
            MapValue::Plain(ty) => {
                let ty = ty.clone();
                nodes.push(self.value(&ty, 3));
                Node::new("map =", Ty::Stmt, &format!("{place} = %;"), nodes)
            }
        }
    }

    /// Some statements in a scope of their own.
    fn block(&mut self) -> Vec<Node> {
        let scope = self.vars.len();
        let stmts = self.stmts();
        self.vars.truncate(scope);
        stmts
    }

    fn stmts(&mut self) -> Vec<Node> {
        let mut stmts = Vec::new();
        for _ in 0..1 + self.random.below(5) {
            if self.budget == 0 {
                break;
            }
            self.budget -= 1;
            self.stmt(&mut stmts);
        }
        stmts
    }

    fn stmt(&mut self, out: &mut Vec<Node>) {
        let stmt = match self.random.below(30) {
            0..=2 => self.declare(),
            3..=5 => match self.assignable(None) {
                Some(var) => {
                    let value = self.value(&var.ty, 3);
                    let pattern = if var.ty == Ty::Int {
                        format!("{} = (int8)(%);", var.name)
                    } else {
                        format!("{} = %;", var.name)
                    };
                    Node::new("$v =", Ty::Stmt, &pattern, vec![value])
                }
                None => self.declare(),
            },
            6 => match self.assignable(Some(Ty::Int)) {
                Some(var) => {
                    let op = *self.random.of(&["+=", "-=", "*=", "&=", "|=", "^=", "<<=", ">>="]);
                    // A declared variable takes what fits it only.
                    let value = if op.len() == 3 { self.shift_count() } else { self.int(2) };
                    Node::new("$v op=", Ty::Stmt, &format!("{} {op} %;", var.name), vec![value])
                }
                None => self.declare(),
            },
            7..=10 => {
                let map = self.random.of(&self.maps.clone()).clone();
                self.assign_map(&map)
            }
            11 | 12 => match self.int_map() {
                Some(map) => {
                    let (place, mut nodes) = self.element(&map);
                    let op = *self.random.of(&["+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="]);
                    nodes.push(match op {
                        "/=" | "%=" => self.divisor(),
                        "<<=" | ">>=" => self.shift_count(),
                        _ => self.int(2),
                    });
                    let pattern = Node { label: "map op=", ty: Ty::Stmt, pieces: Vec::new() };
                    let made = Node::new("map op=", Ty::Stmt, &format!("{place} \u{1} %;"), nodes);
                    replace_text(made, '\u{1}', op, pattern)
                }
                None => self.printf(),
            },
            13 => match self.int_map() {
                Some(map) => {
                    let (place, nodes) = self.element(&map);
                    let op = *self.random.of(&["++", "--"]);
                    Node::new("map++", Ty::Stmt, &format!("{place}{op};"), nodes)
                }
                None => self.printf(),
            },
            14 => match self.keyed_map() {
                Some(map) => {
                    let key = self.whole_key(&map);
                    Node::new("delete", Ty::Stmt, &format!("delete({}, %);", map.name), vec![key])
                }
                None => self.printf(),
            },
            15 => {
                let map = self.random.of(&self.maps.clone()).clone();
                let what = *self.random.of(&["clear", "zero", "print"]);
                Node::new("map event", Ty::Stmt, &format!("{what}({});", map.name), Vec::new())
            }
            16..=18 => {
                let cond = self.condition();
                let then = self.block();
                let mut blocks = vec![("", then)];
                if self.random.once_in(2) {
                    blocks.push((" else ", self.block()));
                }
                Node::new("if", Ty::Stmt, "if (%) ", vec![cond]).with_blocks(blocks)
            }
            19 if self.rounds <= 8 => self.while_loop(),
            20 | 21 if self.rounds <= 8 => self.range_loop(),
            22 => return self.map_loop(out),
            23 if self.rounds <= 8 => {
                let n = 1 + self.random.below(3);
                let (rounds, in_loop) = (self.rounds, self.in_loop);
                self.rounds *= n;
                self.in_loop = false;
                let body = self.block();
                (self.rounds, self.in_loop) = (rounds, in_loop);
                Node::new("unroll", Ty::Stmt, &format!("unroll ({n}) "), Vec::new())
                    .with_blocks(vec![("", body)])
            }
            24 if self.in_loop => {
                let cond = self.condition();
                let word = *self.random.of(&["break;", "continue;"]);
                let leave = Node::new(
                    if word == "break;" { "break" } else { "continue" },
                    Ty::Stmt,
                    word,
                    Vec::new(),
                );
                Node::new("if", Ty::Stmt, "if (%) ", vec![cond]).with_blocks(vec![("", vec![leave])])
            }
            25 if self.random.once_in(3) => {
                let cond = self.condition();
                let word = *self.random.of(&["return;", "exit();", "exit(3);"]);
                let leave =
                    Node::new(if word == "return;" { "return" } else { "exit" }, Ty::Stmt, word, Vec::new());
                Node::new("if", Ty::Stmt, "if (%) ", vec![cond]).with_blocks(vec![("", vec![leave])])
            }
            26 => {
                let map = self.random.of(&self.maps.clone()).clone();
                match map.value {
                    MapValue::Agg { readable: false, .. } if map.key.is_empty() => {
                        Node::new("map event", Ty::Stmt, &format!("print({});", map.name), Vec::new())
                    }
                    _ => {
                        let (place, nodes) = self.element(&map);
                        Node::new("print", Ty::Stmt, &format!("print({place});"), nodes)
                    }
                }
            }
            27 => {
                let ty = self.some_type(2);
                let value = self.value(&ty, 3);
                Node::new("print", Ty::Stmt, "print((%));", vec![value])
            }
            _ => self.printf(),
        };
        out.push(stmt);
    }

    fn printf(&mut self) -> Node {
        let mut format = String::from("x");
        let mut nodes = Vec::new();
        for _ in 0..self.random.below(5) {
            let ty = self.some_type(1);
            format.push_str(match ty {
                Ty::Int => self.random.text(&[" \u{1}d", " \u{1}u", " \u{1}x", " \u{1}lld", " \u{1}c"]),
                Ty::Bool => " \u{1}d",
                Ty::Buf => " \u{1}r",
                Ty::Stmt | Ty::Str | Ty::Tuple(_) => " \u{1}s",
            });
            nodes.push(self.value(&ty, 3));
        }
        let pattern = format!("printf(\"{format}\\n\"{});", ", %".repeat(nodes.len()));
        let shape = Node { label: "printf", ty: Ty::Stmt, pieces: Vec::new() };
        replace_text(Node::new("printf", Ty::Stmt, &pattern, nodes), '\u{1}', "%", shape)
    }

    fn while_loop(&mut self) -> Node {
        let (n, name) = (1 + self.random.below(5), format!("$w{}", self.fresh()));
        let body = self.loop_body(n);
        // The counter goes up first, so that `continue` does not skip it.
        let mut stmts = vec![Node::new("$v++", Ty::Stmt, &format!("{name}++;"), Vec::new())];
        stmts.extend(body);
        Node::new("while", Ty::Stmt, &format!("{name} = 0; while ({name} < {n}) "), Vec::new())
            .with_blocks(vec![("", stmts)])
    }

    fn loop_body(&mut self, rounds: usize) -> Vec<Node> {
        let (outer, in_loop) = (self.rounds, self.in_loop);
        self.rounds *= rounds;
        self.in_loop = true;
        let body = self.block();
        (self.rounds, self.in_loop) = (outer, in_loop);
        body
    }

    fn range_loop(&mut self) -> Node {
        let name = format!("$i{}", self.fresh());
        let (head, nodes, rounds) = match self.random.below(4) {
            0 | 1 => {
                let start = self.random.below(7) as i64 - 3;
                let n = 1 + self.random.below(5);
                (format!("for ({name} : {start}..{}) ", start + n as i64), Vec::new(), n)
            }
            2 => {
                let start = self.random.below(7) as i64 - 3;
                (
                    format!("for ({name} : {start}..{}) ", start + 33 + self.random.below(10) as i64),
                    Vec::new(),
                    1,
                )
            }
            _ => {
                let end = self.int(2);
                (format!("for ({name} : 0..((int64)(%) & 7)) "), vec![end], 1)
            }
        };
        let scope = self.vars.len();
        self.vars.push(Var { name, ty: Ty::Int, constant: true });
        let body = self.loop_body(rounds);
        self.vars.truncate(scope);
        let label = if rounds == 1 { "for range, called" } else { "for range" };
        Node::new(label, Ty::Stmt, &head, nodes).with_blocks(vec![("", body)])
    }

    /// A loop whose outcome does not depend on the order of the elements: it prints, and adds up what
    /// it cannot read itself.
    fn map_loop(&mut self, out: &mut Vec<Node>) {
        let walkable =
            |m: &&Map| !m.key.is_empty() && !matches!(m.value, MapValue::Agg { readable: false, .. });
        let candidates: Vec<Map> = self.maps.iter().filter(walkable).cloned().collect();
        if candidates.is_empty() {
            return out.push(self.printf());
        }
        let map = self.random.of(&candidates).clone();
        let key_type = if map.key.len() == 1 { map.key[0].clone() } else { Ty::Tuple(map.key.clone()) };
        let value = match &map.value {
            MapValue::Plain(ty) => ty.clone(),
            MapValue::Agg { .. } => Ty::Int,
        };
        let before = self.maps.len();
        let total = format!("$t{}", self.fresh());
        out.push(Node::new("let", Ty::Stmt, &format!("{total} = (int64)0;"), Vec::new()));
        let aggregation = self.aggregation();
        let key = if self.random.once_in(2) { vec![Ty::Int] } else { Vec::new() };
        let aggregate = self.new_map_of(key, aggregation, out);
        let hidden = self.maps.split_off(before);
        let name = format!("$k{}", self.fresh());
        let scope = self.vars.len();
        self.vars.push(Var { name: name.clone(), ty: Ty::Tuple(vec![key_type, value]), constant: true });
        let was_pure = std::mem::replace(&mut self.pure, true);
        let mut body = Vec::new();
        for _ in 0..1 + self.random.below(4) {
            let mut stmt = match self.random.below(4) {
                0 => {
                    let value = self.int(2);
                    let op = *self.random.of(&["+=", "^=", "-="]);
                    Node::new("$v op=", Ty::Stmt, &format!("{total} {op} (int64)(%);"), vec![value])
                }
                1 => self.assign_map(&aggregate),
                _ => self.printf(),
            };
            if self.random.once_in(3) {
                let cond = self.condition();
                stmt = Node::new("if", Ty::Stmt, "if (%) ", vec![cond]).with_blocks(vec![("", vec![stmt])]);
            }
            body.push(stmt);
        }
        self.pure = was_pure;
        self.vars.truncate(scope);
        self.maps.extend(hidden);
        self.vars.push(Var { name: total, ty: Ty::Int, constant: false });
        let head = format!("for ({name} : {}) ", map.name);
        out.push(Node::new("for map", Ty::Stmt, &head, Vec::new()).with_blocks(vec![("", body)]));
    }

    // ------------------------------------------------------------------------- expressions

    fn condition(&mut self) -> Node {
        if self.random.once_in(4) { self.int(2) } else { self.bool(2) }
    }

    fn value(&mut self, ty: &Ty, depth: usize) -> Node {
        match ty {
            Ty::Int => self.int(depth),
            Ty::Bool => self.bool(depth),
            Ty::Str => self.str(depth),
            Ty::Buf => self.buf(),
            Ty::Tuple(types) => self.tuple(&types.clone(), depth),
            Ty::Stmt => unreachable!("a statement has no value"),
        }
    }

    /// An expression that reads a variable or map of a type, if there is one.
    fn read(&mut self, ty: &Ty) -> Option<Node> {
        let mut found: Vec<Node> = Vec::new();
        for var in self.vars.clone() {
            paths(&var.name, &var.ty, ty, &mut found);
        }
        for map in self.maps.clone() {
            let reads = match &map.value {
                MapValue::Plain(own) => own.clone(),
                MapValue::Agg { readable: true, .. } => Ty::Int,
                MapValue::Agg { .. } => continue,
            };
            let mut here = Vec::new();
            paths("", &reads, ty, &mut here);
            if let Some(path) = here.pop() {
                let label =
                    if matches!(map.value, MapValue::Agg { .. }) { "read aggregation" } else { "read map" };
                let (place, nodes) = self.shallow_element(&map);
                let suffix = print_pieces(&path);
                found.push(Node::new(label, ty.clone(), &format!("{place}{suffix}"), nodes));
            }
        }
        if found.is_empty() { None } else { Some(self.random.of(&found).clone()) }
    }

    /// An element by a key without further reads.
    fn shallow_element(&mut self, map: &Map) -> (String, Vec<Node>) {
        let (vars, maps) = (std::mem::take(&mut self.vars), std::mem::take(&mut self.maps));
        let element = self.element(map);
        (self.vars, self.maps) = (vars, maps);
        element
    }

    fn literal(&mut self) -> Node {
        let mut value = *self.random.of(EDGES);
        if self.random.once_in(3) {
            value = i128::from(self.random.bits() >> self.random.below(64));
        }
        let text = match self.random.below(4) {
            0 if value <= 1 << 63 && value > 0 => format!("(-{value})"),
            1 => {
                let to = *self.random.of(INTS);
                format!("({to}){value}")
            }
            _ if value >= 1 << 63 => format!("(uint64){value}"),
            _ => value.to_string(),
        };
        Node::new("literal", Ty::Int, &text, Vec::new())
    }

    fn int(&mut self, depth: usize) -> Node {
        if depth == 0 || self.random.once_in(4) {
            return match self.random.below(8) {
                0..=5 => self.read(&Ty::Int).unwrap_or_else(|| self.literal()),
                6 => Node::new(
                    "builtin",
                    Ty::Int,
                    self.random.text(&["pid", "tid", "uid", "gid", "cpu"]),
                    Vec::new(),
                ),
                _ => self.literal(),
            };
        }
        let d = depth - 1;
        match self.random.below(24) {
            0..=6 => {
                let op = *self.random.of(&["+", "-", "*", "&", "|", "^"]);
                let (a, b) = (self.typed(d), self.int(d));
                Node::new(op, Ty::Int, &format!("((%) {op} (%))"), vec![a, b])
            }
            7 | 8 => {
                let (a, b) = (self.int(d), self.divisor());
                if self.random.once_in(2) {
                    Node::new("/", Ty::Int, "((%) / (%))", vec![a, b])
                } else {
                    let made = Node::new("remainder", Ty::Int, "((%) \u{1} (%))", vec![a, b]);
                    replace_text(
                        made,
                        '\u{1}',
                        "%",
                        Node { label: "remainder", ty: Ty::Int, pieces: Vec::new() },
                    )
                }
            }
            9 | 10 => {
                let op = *self.random.of(&["<<", ">>"]);
                let (a, b) = (self.typed(d), self.shift_count());
                Node::new(op, Ty::Int, &format!("((%) {op} (%))"), vec![a, b])
            }
            11..=13 => {
                let to = *self.random.of(INTS);
                let a = self.int(d);
                Node::new("cast", Ty::Int, &format!("({to})(%)"), vec![a])
            }
            14 => {
                let op = *self.random.of(&["-", "~"]);
                let a = self.typed(d);
                Node::new(if op == "-" { "negate" } else { "~" }, Ty::Int, &format!("({op}(%))"), vec![a])
            }
            15 => {
                let (c, a, b) = (self.bool(d), self.int(d), self.int(d));
                Node::new("ternary", Ty::Int, "((%) ? (%) : (%))", vec![c, a, b])
            }
            16 => {
                let a = self.bool(d);
                Node::new("bool as int", Ty::Int, "(int64)(%)", vec![a])
            }
            17 => {
                let s = self.str(d);
                Node::new("strlen", Ty::Int, "strlen(%)", vec![s])
            }
            18 => {
                let (a, b) = (self.str(d), self.str(d));
                let n = 1 + self.random.below(8);
                Node::new("strncmp", Ty::Int, &format!("strncmp(%, %, {n})"), vec![a, b])
            }
            19 => match self.assignable(Some(Ty::Int)).filter(|_| !self.pure) {
                Some(var) => {
                    let text = self
                        .random
                        .of(&["(\u{1}++)", "(\u{1}--)", "(++\u{1})", "(--\u{1})"])
                        .replace('\u{1}', &var.name);
                    Node::new("$v++", Ty::Int, &text, Vec::new())
                }
                None => self.literal(),
            },
            20 => match self.int_map().filter(|_| !self.pure) {
                Some(map) => {
                    let (place, nodes) = self.element(&map);
                    let text = self
                        .random
                        .of(&["(\u{1}++)", "(\u{1}--)", "(++\u{1})", "(--\u{1})"])
                        .replace('\u{1}', &place);
                    Node::new("map++", Ty::Int, &text, nodes)
                }
                None => self.literal(),
            },
            21 => match self.keyed_map() {
                Some(map) => Node::new("len", Ty::Int, &format!("len({})", map.name), Vec::new()),
                None => self.literal(),
            },
            22 => {
                let (to, at) = (*self.random.of(INTS), self.user_address());
                Node::new("user load", Ty::Int, &format!("(*({to} *)%)"), vec![at])
            }
            _ => match self.random.below(2) {
                0 => {
                    let (elem, len) =
                        *self.random.of(&[("uint8", 8), ("int16", 4), ("uint32", 2), ("int8", 8)]);
                    let a = self.int(d);
                    // Outside now and then, but not a constant outside, which is an error.
                    let i = match self.read(&Ty::Int) {
                        Some(read) => Node::new("&", Ty::Int, "((uint64)(%) & 7)", vec![read]),
                        None => {
                            Node::new("literal", Ty::Int, &self.random.below(len).to_string(), Vec::new())
                        }
                    };
                    Node::new("array index", Ty::Int, &format!("(({elem}[])(uint64)(%))[%]"), vec![a, i])
                }
                _ => {
                    let to = *self.random.of(&["uint16", "uint32", "uint64"]);
                    let a = self.int(d);
                    Node::new("bswap", Ty::Int, &format!("bswap(({to})(%))"), vec![a])
                }
            },
        }
    }

    /// An integer that wraps: a constant of literals only must not leave 64 bits.
    fn typed(&mut self, depth: usize) -> Node {
        let value = self.int(depth);
        let mut constant = true;
        value.for_each(&mut |node| {
            let leaf = !node.pieces.iter().any(|p| matches!(p, crate::tree::Piece::Node(_)));
            constant &= !leaf || node.label == "literal";
        });
        if !constant {
            return value;
        }
        let to = *self.random.of(INTS);
        Node::new("cast", Ty::Int, &format!("({to})(%)"), vec![value])
    }

    /// Zero now and then, but not a constant zero, which is an error.
    fn divisor(&mut self) -> Node {
        match self.read(&Ty::Int) {
            Some(read) if !self.random.once_in(4) => {
                if self.random.once_in(2) {
                    return read;
                }
                let mask = *self.random.of(&[1, 3, 255]);
                Node::new("&", Ty::Int, &format!("((%) & {mask})"), vec![read])
            }
            _ => Node::new(
                "literal",
                Ty::Int,
                self.random.text(&["1", "2", "3", "7", "8", "10", "64", "(-1)", "(-3)", "1000"]),
                Vec::new(),
            ),
        }
    }

    /// Zero now and then, but not a constant zero, which is an error.
    fn length(&mut self) -> Node {
        match self.read(&Ty::Int) {
            Some(read) => Node::new("&", Ty::Int, "((uint64)(%) & 31)", vec![read]),
            None => Node::new("literal", Ty::Int, &(1 + self.random.below(31)).to_string(), Vec::new()),
        }
    }

    fn shift_count(&mut self) -> Node {
        match self.read(&Ty::Int) {
            Some(read) if self.random.once_in(2) => read,
            _ => Node::new("literal", Ty::Int, &self.random.below(64).to_string(), Vec::new()),
        }
    }

    fn bool(&mut self, depth: usize) -> Node {
        if depth == 0 || self.random.once_in(6) {
            let constant = *self.random.of(&["true", "false"]);
            return match self.read(&Ty::Bool) {
                Some(read) if !self.random.once_in(4) => read,
                _ => Node::new("literal", Ty::Bool, constant, Vec::new()),
            };
        }
        let d = depth - 1;
        match self.random.below(14) {
            0..=5 => {
                let op = *self.random.of(&["==", "!=", "<", "<=", ">", ">="]);
                let (a, b) = (self.int(d), self.int(d));
                Node::new("compare", Ty::Bool, &format!("((%) {op} (%))"), vec![a, b])
            }
            6 | 7 => {
                let op = *self.random.of(&["==", "!="]);
                let (a, b) = (self.str(d), self.str(d));
                Node::new("compare strings", Ty::Bool, &format!("((%) {op} (%))"), vec![a, b])
            }
            8 => {
                let op = *self.random.of(&["==", "!="]);
                let types: Vec<Ty> = (0..2).map(|_| self.some_type(0)).collect();
                let (a, b) = (self.tuple(&types, d), self.tuple(&types, d));
                Node::new("compare tuples", Ty::Bool, &format!("((%) {op} (%))"), vec![a, b])
            }
            9 => {
                let (a, b) = (self.bool(d), self.bool(d));
                let op = *self.random.of(&["&&", "||"]);
                Node::new(op, Ty::Bool, &format!("((%) {op} (%))"), vec![a, b])
            }
            10 => {
                let a = self.bool(d);
                Node::new("!", Ty::Bool, "(!(%))", vec![a])
            }
            11 => {
                let s = self.str(d);
                let needle = *self.random.of(&["a", "e", "mem", "text", "zz"]);
                Node::new("strcontains", Ty::Bool, &format!("strcontains(%, \"{needle}\")"), vec![s])
            }
            12 => match self.keyed_map() {
                Some(map) => {
                    let key = self.whole_key(&map);
                    let delete = !self.pure && self.random.once_in(3);
                    let (label, function) =
                        if delete { ("delete", "delete") } else { ("has_key", "has_key") };
                    Node::new(label, Ty::Bool, &format!("{function}({}, %)", map.name), vec![key])
                }
                None => self.bool(0),
            },
            _ => {
                let a = self.int(d);
                Node::new("int as bool", Ty::Bool, "(bool)(%)", vec![a])
            }
        }
    }

    fn str(&mut self, depth: usize) -> Node {
        let text = *self.random.of(TEXTS);
        if depth == 0 || self.random.once_in(3) {
            return match self.random.below(5) {
                0 | 1 => Node::new("text", Ty::Str, &format!("\"{text}\""), Vec::new()),
                2 => Node::new("comm", Ty::Str, "comm", Vec::new()),
                _ => self
                    .read(&Ty::Str)
                    .unwrap_or_else(|| Node::new("text", Ty::Str, &format!("\"{text}\""), Vec::new())),
            };
        }
        let d = depth - 1;
        match self.random.below(4) {
            0 => {
                let (c, a, b) = (self.bool(d), self.str(d), self.str(d));
                Node::new("ternary", Ty::Str, "((%) ? (%) : (%))", vec![c, a, b])
            }
            1 => {
                let at = self.user_address();
                Node::new("str", Ty::Str, "str(%)", vec![at])
            }
            2 => {
                let at = self.user_address();
                let n = 1 + self.random.below(20);
                Node::new("str", Ty::Str, &format!("str(%, {n})"), vec![at])
            }
            _ => {
                let (at, n) = (self.user_address(), self.length());
                Node::new("str", Ty::Str, "str(%, %)", vec![at, n])
            }
        }
    }

    fn buf(&mut self) -> Node {
        if let Some(read) = self.read(&Ty::Buf)
            && self.random.once_in(2)
        {
            return read;
        }
        let at = self.user_address();
        match self.random.below(3) {
            0 => {
                let n = self.length();
                Node::new("buf", Ty::Buf, "buf(%, %)", vec![at, n])
            }
            _ => {
                let n = 1 + self.random.below(20);
                Node::new("buf", Ty::Buf, &format!("buf(%, {n})"), vec![at])
            }
        }
    }

    /// An address in [`USER_BYTES`], or one where nothing is.
    fn user_address(&mut self) -> Node {
        match self.random.below(8) {
            0 => Node::new("bad address", Ty::Stmt, "uptr((uint64)16)", Vec::new()),
            1 | 2 => {
                let by = self.int(0);
                Node::new("address", Ty::Stmt, "uptr((uint64)$1 + ((uint64)(%) & 31))", vec![by])
            }
            _ => {
                let by = self.random.below(40);
                Node::new("address", Ty::Stmt, &format!("uptr((uint64)$1 + {by})"), Vec::new())
            }
        }
    }

    fn tuple(&mut self, types: &[Ty], depth: usize) -> Node {
        let ty = Ty::Tuple(types.to_vec());
        if self.random.once_in(3)
            && let Some(read) = self.read(&ty)
        {
            return read;
        }
        let parts: Vec<Node> = types.iter().map(|ty| self.value(ty, depth.min(1))).collect();
        Node::new("tuple", ty, &format!("({})", vec!["%"; parts.len()].join(", ")), parts)
    }

    // ------------------------------------------------------------------------------ choices

    fn assignable(&mut self, ty: Option<Ty>) -> Option<Var> {
        let fits = |v: &&Var| !v.constant && ty.as_ref().is_none_or(|ty| *ty == v.ty);
        let vars: Vec<Var> = self.vars.iter().filter(fits).cloned().collect();
        if vars.is_empty() { None } else { Some(self.random.of(&vars).clone()) }
    }

    fn map_where(&mut self, fits: impl Fn(&Map) -> bool) -> Option<Map> {
        let maps: Vec<Map> = self.maps.iter().filter(|m| fits(m)).cloned().collect();
        if maps.is_empty() { None } else { Some(self.random.of(&maps).clone()) }
    }

    fn int_map(&mut self) -> Option<Map> {
        self.map_where(|m| m.value == MapValue::Plain(Ty::Int))
    }

    fn keyed_map(&mut self) -> Option<Map> {
        self.map_where(|m| !m.key.is_empty())
    }

    /// A map's key as one value.
    fn whole_key(&mut self, map: &Map) -> Node {
        match map.key.as_slice() {
            [ty] => self.key(&ty.clone()),
            types => self.key(&Ty::Tuple(types.to_vec())),
        }
    }
}

/// Parts of a value that are of a type: `$v`, `$v.1`, `$v.1.0`.
fn paths(prefix: &str, ty: &Ty, wanted: &Ty, found: &mut Vec<Node>) {
    if ty == wanted {
        let label = if prefix.contains('.') { "field" } else { "$v" };
        found.push(Node::new(label, wanted.clone(), prefix, Vec::new()));
    }
    if let Ty::Tuple(types) = ty {
        for (n, part) in types.iter().enumerate() {
            paths(&format!("{prefix}.{n}"), part, wanted, found);
        }
    }
}

/// The text of a node without holes.
fn print_pieces(node: &Node) -> String {
    let text = |piece: &crate::tree::Piece| match piece {
        crate::tree::Piece::Text(text) => text.clone(),
        _ => String::new(),
    };
    node.pieces.iter().map(text).collect()
}

/// Puts text in the place of a mark, after the holes of a pattern have been filled.
fn replace_text(node: Node, mark: char, text: &str, mut into: Node) -> Node {
    for piece in node.pieces {
        into.pieces.push(match piece {
            crate::tree::Piece::Text(own) => crate::tree::Piece::Text(own.replace(mark, text)),
            other => other,
        });
    }
    into
}

fn aggregation_label(pattern: &str) -> &'static str {
    let name = pattern.split('(').next().unwrap_or_default();
    ["count", "sum", "min", "max", "avg", "stats", "hist", "lhist"]
        .into_iter()
        .find(|n| *n == name)
        .unwrap_or("aggregation")
}
