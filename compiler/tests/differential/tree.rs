//! Generated programs as trees: text with typed holes, so that they can be printed and shrunk without
//! knowing what each construct is.

use std::collections::BTreeMap;

/// What a node stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Ty {
    /// A statement.
    Stmt,
    /// An integer; its exact type is the checker's business.
    Int,
    Bool,
    Str,
    Buf,
    Tuple(Vec<Ty>),
    /// A tuple whose elements are named `f0`, `f1`...
    Record(Vec<Ty>),
    /// So many elements of an integer type.
    Array(&'static str, usize),
    /// A pointer into user memory, to an integer or a struct of [`SHAPES`].
    Ptr(&'static str),
    /// A struct of [`SHAPES`].
    Struct(&'static str),
}

/// Structs that programs read, each with its definition and fields that are integers.
pub const SHAPES: &[(&str, &str, &[&str])] = &[
    (
        "struct shape",
        "struct shape { uint32_t a : 3; int b : 5; uint64_t c; uint8_t d[4]; struct { int16_t x, y; } e; union { uint32_t f; char g[8]; }; };",
        &["a", "b", "c", "d[2]", "e.x", "e.y", "f", "g[1]"],
    ),
    (
        "struct bits",
        "struct bits { unsigned long long a : 1, b : 7, c : 20; long long d : 30; int8_t e : 4; uint64_t f : 64; } __attribute__((packed));",
        &["a", "b", "c", "d", "e"],
    ),
];

/// An expression or a statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Which construct it is, for counting.
    pub label: &'static str,
    pub ty: Ty,
    pub pieces: Vec<Piece>,
}

/// A piece of a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    Text(String),
    Node(Node),
    /// Statements in braces.
    Block(Vec<Node>),
}

impl Node {
    /// A node from a pattern: each backtick is the next of `nodes`.
    pub fn new(label: &'static str, ty: Ty, pattern: &str, nodes: Vec<Node>) -> Node {
        let mut pieces = Vec::new();
        let mut nodes = nodes.into_iter();
        for (n, text) in pattern.split('`').enumerate() {
            if n > 0 {
                pieces.push(Piece::Node(nodes.next().expect("a node for each hole")));
            }
            if !text.is_empty() {
                pieces.push(Piece::Text(text.to_owned()));
            }
        }
        assert!(nodes.next().is_none(), "a hole for each node in `{pattern}`");
        Node { label, ty, pieces }
    }

    /// The same, followed by blocks with text between them.
    pub fn with_blocks(mut self, blocks: Vec<(&str, Vec<Node>)>) -> Node {
        for (text, block) in blocks {
            self.pieces.push(Piece::Text(text.to_owned()));
            self.pieces.push(Piece::Block(block));
        }
        self
    }

    fn print(&self, out: &mut String, depth: usize) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Node(node) => node.print(out, depth),
                Piece::Block(stmts) => {
                    out.push_str("{\n");
                    print_stmts(stmts, out, depth + 1);
                    out.push_str(&"    ".repeat(depth));
                    out.push('}');
                }
            }
        }
    }

    /// Calls `f` with this node and all nodes inside.
    pub fn for_each(&self, f: &mut dyn FnMut(&Node)) {
        f(self);
        for piece in &self.pieces {
            match piece {
                Piece::Text(_) => {}
                Piece::Node(node) => node.for_each(f),
                Piece::Block(stmts) => stmts.iter().for_each(|s| s.for_each(f)),
            }
        }
    }
}

/// The pattern of a tuple or record.
pub fn tuple_pattern(ty: &Ty) -> String {
    let parts: Vec<String> = match ty {
        Ty::Tuple(parts) => parts.iter().map(|_| "`".into()).collect(),
        Ty::Record(parts) => (0..parts.len()).map(|n| format!("f{n} = `")).collect(),
        _ => unreachable!("{ty:?} has no elements"),
    };
    format!("({})", parts.join(", "))
}

/// The bits of an array of integers.
pub fn array_bits(elem: &str, len: usize) -> usize {
    let digits = elem.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.parse::<usize>().expect("an integer type names its bits") * len
}

fn print_stmts(stmts: &[Node], out: &mut String, depth: usize) {
    for stmt in stmts {
        out.push_str(&"    ".repeat(depth));
        stmt.print(out, depth);
        out.push('\n');
    }
}

/// A generated program: declarations of maps and the body of a probe. `#` in its text stands for a
/// tag that keeps the names of maps apart from other programs'.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// The declarations: text of each, to be dropped one by one.
    pub declarations: Vec<String>,
    pub body: Vec<Node>,
}

impl Program {
    /// Whether it has a construct.
    pub fn has(&self, label: &str) -> bool {
        let mut found = false;
        self.body.iter().for_each(|s| s.for_each(&mut |node| found |= node.label == label));
        found
    }

    /// Adds its constructs to a count of programs by construct.
    pub fn count_constructs(&self, counts: &mut BTreeMap<&'static str, usize>) {
        let mut labels = std::collections::BTreeSet::new();
        self.body.iter().for_each(|s| {
            s.for_each(&mut |node| {
                labels.insert(node.label);
            });
        });
        for label in labels {
            *counts.entry(label).or_default() += 1;
        }
    }
}

/// A script of programs, each a `begin` probe.
pub fn script(config: &str, programs: &[Program]) -> String {
    script_and_places(config, programs).0
}

/// The same, and where each program begins.
pub fn script_and_places(config: &str, programs: &[Program]) -> (String, Vec<usize>) {
    let (mut out, mut places) = (String::new(), Vec::new());
    for (n, program) in programs.iter().enumerate() {
        let mut text = String::new();
        for declaration in &program.declarations {
            text.push_str(declaration);
            text.push('\n');
        }
        text.push_str("begin {\n");
        print_stmts(&program.body, &mut text, 1);
        text.push_str("}\n");
        places.push(out.len());
        out.push_str(&text.replace('#', &format!("p{n}")));
    }
    // What is used only is there, so that a program made small is not followed by what it does not need.
    let definitions = SHAPES.iter().filter(|(name, ..)| out.contains(name));
    let definitions: String = definitions.map(|(_, definition, _)| format!("{definition}\n")).collect();
    let clock = if out.contains("tseries(") { "; dummy_ts_map = \"@now\"" } else { "" };
    let head = format!("{definitions}config = {{ {config}{clock} }}\n");
    places.iter_mut().for_each(|place| *place += head.len());
    (head + &out, places)
}
