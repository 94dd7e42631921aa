//! What lies in memory: strings, buffers, tuples, and what is read of the user's.

use super::{Generator, TEXTS};
use crate::tree::{Node, Ty};

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
        match self.random.below(4) {
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

    pub fn tuple(&mut self, types: &[Ty], depth: usize) -> Node {
        let ty = Ty::Tuple(types.to_vec());
        if self.random.once_in(3)
            && let Some(read) = self.read(&ty)
        {
            return read;
        }
        let parts: Vec<Node> = types.iter().map(|ty| self.value(ty, depth.min(1))).collect();
        Node::new("tuple", ty, &format!("({})", vec!["`"; parts.len()].join(", ")), parts)
    }
}
