//! Makes a failing program small: drops statements and replaces expressions as long as it still fails.

use std::time::{Duration, Instant};

use crate::tree::{self, Node, Piece, Program, Ty};

/// The longest time that shrinking one program takes.
const MOST: Duration = Duration::from_secs(60);

/// The smallest failing program found; `fails` tells whether a program still fails in the same way.
pub fn shrink(program: &Program, mut fails: impl FnMut(&Program) -> bool) -> Program {
    let mut best = program.clone();
    let start = Instant::now();
    loop {
        let mut better = false;
        let mut at = 0;
        // Each candidate changes one place; after a success the same place is tried again.
        while let Some(candidates) = candidates(&best, at) {
            let mut taken = false;
            for candidate in candidates {
                if start.elapsed() > MOST {
                    return best;
                }
                if size(&candidate) < size(&best) && fails(&candidate) {
                    best = candidate;
                    (better, taken) = (true, true);
                    break;
                }
            }
            if !taken {
                at += 1;
            }
        }
        if !better {
            return best;
        }
    }
}

/// Smaller is better: nodes, then text.
fn size(program: &Program) -> (usize, usize) {
    let (mut nodes, mut text) = (program.declarations.len(), 0);
    let mut count = |node: &Node| {
        nodes += 1;
        for piece in &node.pieces {
            if let Piece::Text(own) = piece {
                text += own.len();
            }
        }
    };
    program.body.iter().for_each(|s| s.for_each(&mut count));
    (nodes, text)
}

/// The ways to make the `at`-th place smaller; `None` if there are no more places.
fn candidates(program: &Program, at: usize) -> Option<Vec<Program>> {
    if at < program.declarations.len() {
        let mut smaller = program.clone();
        smaller.declarations.remove(at);
        return Some(vec![smaller]);
    }
    let place = at - program.declarations.len();
    let mut all = Vec::new();
    for variant in 0.. {
        let mut smaller = program.clone();
        let mut walk = Walk { left: place, variant, done: None };
        walk.stmts(&mut smaller.body);
        match walk.done {
            None if variant == 0 => return None,
            None | Some(false) => break,
            Some(true) => all.push(smaller),
        }
    }
    Some(all)
}

/// Finds a place and applies one of its variants.
struct Walk {
    left: usize,
    variant: usize,
    /// Whether the place was found, and had such a variant.
    done: Option<bool>,
}

impl Walk {
    fn found(&mut self) -> bool {
        if self.done.is_some() {
            return false;
        }
        if self.left == 0 {
            return true;
        }
        self.left -= 1;
        false
    }

    fn stmts(&mut self, stmts: &mut Vec<Node>) {
        let mut n = 0;
        while n < stmts.len() && self.done.is_none() {
            if self.found() {
                let inner: Vec<Vec<Node>> = stmts[n].pieces.iter().filter_map(block).cloned().collect();
                self.done = Some(true);
                if self.variant == 0 {
                    stmts.remove(n);
                } else if let Some(body) = inner.get(self.variant - 1) {
                    stmts.splice(n..=n, body.clone());
                } else {
                    self.done = Some(false);
                }
                return;
            }
            self.inside(&mut stmts[n]);
            n += 1;
        }
    }

    fn inside(&mut self, node: &mut Node) {
        for piece in &mut node.pieces {
            match piece {
                Piece::Text(_) => {}
                Piece::Block(stmts) => self.stmts(stmts),
                Piece::Node(child) => {
                    if self.found() {
                        let replacements = replacements(child);
                        self.done = Some(self.variant < replacements.len());
                        if let Some(replacement) = replacements.into_iter().nth(self.variant) {
                            *child = replacement;
                        }
                        return;
                    }
                    self.inside(child);
                }
            }
            if self.done.is_some() {
                return;
            }
        }
    }
}

fn block(piece: &Piece) -> Option<&Vec<Node>> {
    match piece {
        Piece::Block(stmts) => Some(stmts),
        Piece::Text(_) | Piece::Node(_) => None,
    }
}

/// What may stand in an expression's place: constants, and its own parts of the same type.
fn replacements(node: &Node) -> Vec<Node> {
    let mut all: Vec<Node> = simplest(&node.ty).into_iter().filter(|simple| simple != node).collect();
    node.for_each(&mut |part| {
        if part != node && part.ty == node.ty && part.ty != Ty::Stmt {
            all.push(part.clone());
        }
    });
    all
}

fn simplest(ty: &Ty) -> Vec<Node> {
    let leaf = |text: &str| Node::new("literal", ty.clone(), text, Vec::new());
    match ty {
        Ty::Int => vec![leaf("1"), leaf("(uint64)1")],
        Ty::Bool => vec![leaf("true"), leaf("false")],
        Ty::Str => vec![leaf("\"a\"")],
        Ty::Tuple(parts) | Ty::Record(parts) => {
            let nodes: Vec<Node> = parts.iter().filter_map(|ty| simplest(ty).into_iter().next()).collect();
            if nodes.len() < parts.len() {
                return Vec::new();
            }
            vec![Node::new("tuple", ty.clone(), &tree::tuple_pattern(ty), nodes)]
        }
        Ty::Buf => vec![leaf("buf(uptr((uint64)$1), 1)")],
        Ty::Array(elem, len) => {
            vec![leaf(&format!("({elem}[{len}])(uint{})1", tree::array_bits(elem, *len)))]
        }
        Ty::Ptr(to) => vec![leaf(&format!("({to} *)uptr((uint64)$1)"))],
        Ty::Struct(name) => vec![leaf(&format!("(*({name} *)uptr((uint64)$1))"))],
        // A statement; where it is an address, nothing can stand in its place.
        Ty::Stmt => vec![leaf("")],
    }
}
