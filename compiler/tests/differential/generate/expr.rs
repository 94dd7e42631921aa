//! Integers and truth values.

use super::{Generator, INTS};
use crate::tree::{Node, Ty};

impl Generator {
    pub fn condition(&mut self) -> Node {
        if self.random.once_in(4) { self.int(2) } else { self.bool(2) }
    }

    pub fn value(&mut self, ty: &Ty, depth: usize) -> Node {
        match ty {
            Ty::Int => self.int(depth),
            Ty::Bool => self.bool(depth),
            Ty::Str => self.str(depth),
            Ty::Buf => self.buf(),
            Ty::Tuple(_) | Ty::Record(_) => self.tuple(ty, depth),
            Ty::Array(..) | Ty::Ptr(_) | Ty::Struct(_) => self.of_memory(ty, depth),
            Ty::Stmt => unreachable!("a statement has no value"),
        }
    }

    pub fn int(&mut self, depth: usize) -> Node {
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
        match self.random.below(29) {
            24 => {
                let (a, b) = (self.typed(d), self.int(d));
                Node::new("?:", Ty::Int, "((`) ?: (`))", vec![a, b])
            }
            25 => {
                let (c, a, b) = (self.bool(d), self.int(d), self.int(d));
                Node::new("if as value", Ty::Int, "(if (`) { ` } else { ` })", vec![c, a, b])
            }
            26 => self.macro_call(d).unwrap_or_else(|| self.literal()),
            27 if !self.pure && self.budget > 0 => self.block_value(d),
            28 => match self.random.below(3) {
                0 => {
                    let (a, b) = (self.str(d), self.str(d));
                    Node::new("strstr", Ty::Int, "strstr(`, `)", vec![a, b])
                }
                1 => {
                    let (a, b) = (self.str(d), self.str(d));
                    Node::new("memcmp", Ty::Int, "memcmp(`, `, 1)", vec![a, b])
                }
                _ => {
                    let ty = self.array_type();
                    let (a, b) = (self.of_memory(&ty, d), self.of_memory(&ty, d));
                    let n = 1 + self.random.below(4);
                    Node::new("memcmp", Ty::Int, &format!("memcmp(`, `, {n})"), vec![a, b])
                }
            },
            0..=6 => {
                let op = *self.random.of(&["+", "-", "*", "&", "|", "^"]);
                let (a, b) = (self.typed(d), self.int(d));
                Node::new(op, Ty::Int, &format!("((`) {op} (`))"), vec![a, b])
            }
            7 | 8 => {
                let (a, b) = (self.int(d), self.divisor());
                if self.random.once_in(2) {
                    Node::new("/", Ty::Int, "((`) / (`))", vec![a, b])
                } else {
                    Node::new("remainder", Ty::Int, "((`) % (`))", vec![a, b])
                }
            }
            9 | 10 => {
                let op = *self.random.of(&["<<", ">>"]);
                let (a, b) = (self.typed(d), self.shift_count());
                Node::new(op, Ty::Int, &format!("((`) {op} (`))"), vec![a, b])
            }
            11..=13 => {
                let to = *self.random.of(INTS);
                let a = self.int(d);
                Node::new("cast", Ty::Int, &format!("({to})(`)"), vec![a])
            }
            14 => {
                let op = *self.random.of(&["-", "~"]);
                let a = self.typed(d);
                Node::new(if op == "-" { "negate" } else { "~" }, Ty::Int, &format!("({op}(`))"), vec![a])
            }
            15 => {
                let (c, a, b) = (self.bool(d), self.int(d), self.int(d));
                Node::new("ternary", Ty::Int, "((`) ? (`) : (`))", vec![c, a, b])
            }
            16 => {
                let a = self.bool(d);
                Node::new("bool as int", Ty::Int, "(int64)(`)", vec![a])
            }
            17 => {
                let s = self.str(d);
                Node::new("strlen", Ty::Int, "strlen(`)", vec![s])
            }
            18 => {
                let (a, b) = (self.str(d), self.str(d));
                let n = 1 + self.random.below(8);
                Node::new("strncmp", Ty::Int, &format!("strncmp(`, `, {n})"), vec![a, b])
            }
            19 => match self.assignable(Some(Ty::Int)).filter(|_| !self.pure) {
                Some(var) => {
                    let text = self.random.of(&["(_++)", "(_--)", "(++_)", "(--_)"]).replace('_', &var.name);
                    Node::new("$v++", Ty::Int, &text, Vec::new())
                }
                None => self.literal(),
            },
            20 => match self.int_map().filter(|_| !self.pure) {
                Some(map) => {
                    let (place, nodes) = self.element(&map);
                    let text = self.random.of(&["(_++)", "(_--)", "(++_)", "(--_)"]).replacen('_', &place, 1);
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
                Node::new("user load", Ty::Int, &format!("(*({to} *)`)"), vec![at])
            }
            _ => match self.random.below(2) {
                0 => {
                    let (elem, len) =
                        *self.random.of(&[("uint8", 8), ("int16", 4), ("uint32", 2), ("int8", 8)]);
                    let a = self.int(d);
                    // Outside now and then, but not a constant outside, which is an error.
                    let i = match self.read(&Ty::Int) {
                        Some(read) => Node::new("&", Ty::Int, "((uint64)(`) & 7)", vec![read]),
                        None => {
                            Node::new("literal", Ty::Int, &self.random.below(len).to_string(), Vec::new())
                        }
                    };
                    Node::new("array index", Ty::Int, &format!("(({elem}[])(uint64)(`))[`]"), vec![a, i])
                }
                _ => {
                    let to = *self.random.of(&["uint16", "uint32", "uint64"]);
                    let a = self.int(d);
                    Node::new("bswap", Ty::Int, &format!("bswap(({to})(`))"), vec![a])
                }
            },
        }
    }

    pub fn bool(&mut self, depth: usize) -> Node {
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
                Node::new("compare", Ty::Bool, &format!("((`) {op} (`))"), vec![a, b])
            }
            6 | 7 => {
                let op = *self.random.of(&["==", "!="]);
                let (a, b) = (self.str(d), self.str(d));
                Node::new("compare strings", Ty::Bool, &format!("((`) {op} (`))"), vec![a, b])
            }
            8 => {
                let op = *self.random.of(&["==", "!="]);
                let types: Vec<Ty> = (0..2).map(|_| self.some_type(0)).collect();
                let ty = if self.random.once_in(3) { Ty::Record(types) } else { Ty::Tuple(types) };
                let (a, b) = (self.tuple(&ty, d), self.tuple(&ty, d));
                Node::new("compare tuples", Ty::Bool, &format!("((`) {op} (`))"), vec![a, b])
            }
            9 => {
                let (a, b) = (self.bool(d), self.bool(d));
                let op = *self.random.of(&["&&", "||"]);
                Node::new(op, Ty::Bool, &format!("((`) {op} (`))"), vec![a, b])
            }
            10 => {
                let a = self.bool(d);
                Node::new("!", Ty::Bool, "(!(`))", vec![a])
            }
            11 => {
                let s = self.str(d);
                let needle = *self.random.of(&["a", "e", "mem", "text", "zz"]);
                Node::new("strcontains", Ty::Bool, &format!("strcontains(`, \"{needle}\")"), vec![s])
            }
            12 => match self.keyed_map() {
                Some(map) => {
                    let key = self.whole_key(&map);
                    let delete = !self.pure && self.random.once_in(3);
                    let (label, function) =
                        if delete { ("delete", "delete") } else { ("has_key", "has_key") };
                    Node::new(label, Ty::Bool, &format!("{function}({}, `)", map.name), vec![key])
                }
                None => self.bool(0),
            },
            _ => {
                let a = self.int(d);
                Node::new("int as bool", Ty::Bool, "(bool)(`)", vec![a])
            }
        }
    }
}
