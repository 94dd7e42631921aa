//! What lies in memory: strings, buffers, tuples, and what is read of the user's.

use super::{Generator, TEXTS};
use crate::tree::{Node, Ty, array_bits, tuple_pattern};

impl Generator {
    pub fn str(&mut self, depth: usize) -> Node {
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
        match self.random.below(7) {
            4 => {
                let (a, b) = (self.str(0), self.str(0));
                Node::new("str_concat", Ty::Str, "str_concat(`, `)", vec![a, b])
            }
            5 => {
                let (c, a, b) = (self.bool(d), self.str(d), self.str(d));
                Node::new("if as value", Ty::Str, "(if (`) { ` } else { ` })", vec![c, a, b])
            }
            0 => {
                let (c, a, b) = (self.bool(d), self.str(d), self.str(d));
                Node::new("ternary", Ty::Str, "((`) ? (`) : (`))", vec![c, a, b])
            }
            1 => {
                let at = self.user_address();
                Node::new("str", Ty::Str, "str(`)", vec![at])
            }
            2 => {
                let at = self.user_address();
                let n = 1 + self.random.below(20);
                Node::new("str", Ty::Str, &format!("str(`, {n})"), vec![at])
            }
            _ => {
                let (at, n) = (self.user_address(), self.length());
                Node::new("str", Ty::Str, "str(`, `)", vec![at, n])
            }
        }
    }

    pub fn buf(&mut self) -> Node {
        if let Some(read) = self.read(&Ty::Buf)
            && self.random.once_in(2)
        {
            return read;
        }
        let at = self.user_address();
        match self.random.below(3) {
            0 => {
                let n = self.length();
                Node::new("buf", Ty::Buf, "buf(`, `)", vec![at, n])
            }
            _ => {
                let n = 1 + self.random.below(20);
                Node::new("buf", Ty::Buf, &format!("buf(`, {n})"), vec![at])
            }
        }
    }

    /// An address in [`USER_BYTES`], or one where nothing is.
    pub fn user_address(&mut self) -> Node {
        match self.random.below(8) {
            0 => Node::new("bad address", Ty::Stmt, "uptr((uint64)16)", Vec::new()),
            1 | 2 => {
                let by = self.int(0);
                Node::new("address", Ty::Stmt, "uptr((uint64)$1 + ((uint64)(`) & 31))", vec![by])
            }
            _ => {
                let by = self.random.below(40);
                Node::new("address", Ty::Stmt, &format!("uptr((uint64)$1 + {by})"), Vec::new())
            }
        }
    }

    /// A tuple or record.
    pub fn tuple(&mut self, ty: &Ty, depth: usize) -> Node {
        let (label, types) = match ty {
            Ty::Tuple(types) => ("tuple", types),
            Ty::Record(types) => ("record", types),
            _ => unreachable!("{ty:?} has no elements"),
        };
        if self.random.once_in(3)
            && let Some(read) = self.read(ty)
        {
            return read;
        }
        let parts: Vec<Node> = types.iter().map(|ty| self.value(ty, depth.min(1))).collect();
        Node::new(label, ty.clone(), &tuple_pattern(ty), parts)
    }

    /// An array, a pointer or a struct.
    pub fn of_memory(&mut self, ty: &Ty, depth: usize) -> Node {
        if self.random.once_in(2)
            && let Some(read) = self.read(ty)
        {
            return read;
        }
        match ty {
            Ty::Array(elem, len) => {
                let value = self.int(depth.min(1));
                let pattern = format!("(({elem}[{len}])(uint{})(`))", array_bits(elem, *len));
                Node::new("array", ty.clone(), &pattern, vec![value])
            }
            Ty::Ptr(to) => {
                let at = self.user_address();
                let by = self.random.below(3);
                let pattern = if by == 0 { format!("(({to} *)`)") } else { format!("((({to} *)`) + {by})") };
                Node::new("pointer", ty.clone(), &pattern, vec![at])
            }
            Ty::Struct(name) => {
                let at = self.user_address();
                Node::new("struct", ty.clone(), &format!("(*({name} *)`)"), vec![at])
            }
            _ => unreachable!("{ty:?} is not of memory"),
        }
    }
}
