//! Statements.

use super::{Generator, INTS, MapValue, Var};
use crate::tree::{Node, Ty};

impl Generator {
    pub fn declare(&mut self) -> Node {
        let ty = self.some_type(2);
        let value = self.value(&ty, 3);
        let name = format!("$v{}", self.fresh());
        self.vars.push(Var { name: name.clone(), ty: ty.clone(), constant: false });
        if ty == Ty::Int && self.random.once_in(2) {
            let int = *self.random.of(INTS);
            return Node::new("let", Ty::Stmt, &format!("let {name}: {int} = ({int})(`);"), vec![value]);
        }
        if self.random.once_in(6) {
            return Node::new("let", Ty::Stmt, &format!("let {name}; {name} = `;"), vec![value]);
        }
        let word = if self.random.once_in(3) { "let " } else { "" };
        Node::new("let", Ty::Stmt, &format!("{word}{name} = `;"), vec![value])
    }

    /// Some statements in a scope of their own.
    pub fn block(&mut self) -> Vec<Node> {
        let scope = self.vars.len();
        let stmts = self.stmts();
        self.vars.truncate(scope);
        stmts
    }

    pub fn stmts(&mut self) -> Vec<Node> {
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

    pub fn stmt(&mut self, out: &mut Vec<Node>) {
        let stmt = match self.random.below(35) {
            30 => match self.keyed_plain_map() {
                Some(map) => {
                    let (key, name) = (self.whole_key(&map), format!("$f{}", self.fresh()));
                    let shown = Node::new("print", Ty::Stmt, &format!("print({name});"), Vec::new());
                    let head = format!("if (find({}, `, {name})) ", map.name);
                    Node::new("find", Ty::Stmt, &head, vec![key]).with_blocks(vec![("", vec![shown])])
                }
                None => self.printf(),
            },
            31 if self.has_series && !self.pure => self.time_goes_on(),
            32 => {
                let map = self.random.of(&self.maps.clone()).clone();
                let (top, div) = (self.random.below(4), 1 + self.random.below(3));
                let ints =
                    matches!(map.value, MapValue::Plain(Ty::Int) | MapValue::Agg { readable: true, .. });
                let text = match ints && !map.key.is_empty() {
                    true => format!("print({}, {top}, {div});", map.name),
                    false => format!("print({});", map.name),
                };
                Node::new("print map", Ty::Stmt, &text, Vec::new())
            }
            33 => {
                let value = self.int(2);
                let name = *self.random.of(&["warnf", "errorf"]);
                Node::new("warnf", Ty::Stmt, &format!("{name}(\"x %d\", `);"), vec![value])
            }
            0..=2 => self.declare(),
            3..=5 => match self.assignable(None) {
                Some(var) => {
                    let value = self.value(&var.ty, 3);
                    let pattern = if var.ty == Ty::Int {
                        format!("{} = (int8)(`);", var.name)
                    } else {
                        format!("{} = `;", var.name)
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
                    Node::new("$v op=", Ty::Stmt, &format!("{} {op} `;", var.name), vec![value])
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
                    Node::new("map op=", Ty::Stmt, &format!("{place} {op} `;"), nodes)
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
                    Node::new("delete", Ty::Stmt, &format!("delete({}, `);", map.name), vec![key])
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
                Node::new("if", Ty::Stmt, "if (`) ", vec![cond]).with_blocks(blocks)
            }
            19 if self.rounds <= 8 && self.runs <= 10 => self.while_loop(),
            20 | 21 if self.rounds <= 8 && self.runs <= 10 => self.range_loop(),
            22 => return self.map_loop(out),
            23 if self.rounds <= 8 && self.runs <= 10 => {
                let n = 1 + self.random.below(3);
                let outer = (self.rounds, self.runs, self.in_loop);
                self.rounds *= n;
                self.runs *= n;
                self.in_loop = false;
                let body = self.block();
                (self.rounds, self.runs, self.in_loop) = outer;
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
                Node::new("if", Ty::Stmt, "if (`) ", vec![cond]).with_blocks(vec![("", vec![leave])])
            }
            25 if self.random.once_in(3) => {
                let cond = self.condition();
                let word = *self.random.of(&["return;", "exit();", "exit(3);"]);
                let leave =
                    Node::new(if word == "return;" { "return" } else { "exit" }, Ty::Stmt, word, Vec::new());
                Node::new("if", Ty::Stmt, "if (`) ", vec![cond]).with_blocks(vec![("", vec![leave])])
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
                Node::new("print", Ty::Stmt, "print((`));", vec![value])
            }
            28 if !self.vars.is_empty() => return self.through_address(out),
            _ => self.printf(),
        };
        out.push(stmt);
    }

    /// What is read through a variable's address is what the variable holds by then.
    fn through_address(&mut self, out: &mut Vec<Node>) {
        let var = self.random.of(&self.vars.clone()).clone();
        let pointer = format!("$p{}", self.fresh());
        out.push(Node::new("&$v", Ty::Stmt, &format!("{pointer} = &{};", var.name), Vec::new()));
        self.stmt(out);
        out.push(Node::new("print", Ty::Stmt, &format!("print(*{pointer});"), Vec::new()));
    }

    /// The time of time series moves.
    pub fn time_goes_on(&mut self) -> Node {
        let ns = 1_000_000_000 + self.random.bits() % 9_000_000_000;
        Node::new("time", Ty::Stmt, &format!("@now = {ns};"), Vec::new())
    }

    /// Statements and the value after them.
    pub fn block_value(&mut self, depth: usize) -> Node {
        let scope = self.vars.len();
        let mut stmts = Vec::new();
        self.budget -= 1;
        stmts.push(self.declare());
        if self.random.once_in(2) {
            stmts.push(self.printf());
        }
        stmts.push(self.int(depth));
        self.vars.truncate(scope);
        let pattern = format!("({{ {} }})", vec!["`"; stmts.len()].join(" "));
        Node::new("block as value", Ty::Int, &pattern, stmts)
    }

    pub fn printf(&mut self) -> Node {
        let mut format = String::from("x");
        let mut nodes = Vec::new();
        for _ in 0..self.random.below(5) {
            let ty = self.some_type(1);
            format.push_str(match ty {
                Ty::Int => self.random.text(&[
                    " %d", " %u", " %x", " %lld", " %c", " %5d", " %-7d|", " %08llx", " %hhd", " %hu", " %o",
                    " %p", " %X",
                ]),
                Ty::Bool => " %d",
                Ty::Buf => " %r",
                Ty::Str => self.random.text(&[" %s", " %10s", " %-6s|", " %.3s"]),
                Ty::Ptr(_) => self.random.text(&[" %p", " %llx"]),
                Ty::Stmt | Ty::Tuple(_) | Ty::Record(_) | Ty::Array(..) | Ty::Struct(_) => " %s",
            });
            nodes.push(self.value(&ty, 3));
        }
        let pattern = format!("printf(\"{format}\\n\"{});", ", `".repeat(nodes.len()));
        Node::new("printf", Ty::Stmt, &pattern, nodes)
    }
}
