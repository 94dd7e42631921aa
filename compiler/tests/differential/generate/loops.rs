//! Loops.

use super::{Generator, Map, MapValue, Var};
use crate::tree::{Node, Ty};

impl Generator {
    pub fn while_loop(&mut self) -> Node {
        let (n, name) = (1 + self.random.below(5), format!("$w{}", self.fresh()));
        let body = self.loop_body(n, n);
        // The counter goes up first, so that `continue` does not skip it.
        let mut stmts = vec![Node::new("$v++", Ty::Stmt, &format!("{name}++;"), Vec::new())];
        stmts.extend(body);
        Node::new("while", Ty::Stmt, &format!("{name} = 0; while ({name} < {n}) "), Vec::new())
            .with_blocks(vec![("", stmts)])
    }

    /// A loop's body that runs at most `runs` times, of which the kernel verifier walks `rounds`.
    pub fn loop_body(&mut self, rounds: usize, runs: usize) -> Vec<Node> {
        let outer = (self.rounds, self.runs, self.in_loop);
        self.rounds *= rounds;
        self.runs *= runs;
        self.in_loop = true;
        let body = self.block();
        (self.rounds, self.runs, self.in_loop) = outer;
        body
    }

    pub fn range_loop(&mut self) -> Node {
        let name = format!("$i{}", self.fresh());
        let (head, nodes, rounds, runs) = match self.random.below(4) {
            0 | 1 => {
                let start = self.random.below(7) as i64 - 3;
                let n = 1 + self.random.below(5);
                (format!("for ({name} : {start}..{}) ", start + n as i64), Vec::new(), n, n)
            }
            2 => {
                let start = self.random.below(7) as i64 - 3;
                let n = 33 + self.random.below(10);
                (format!("for ({name} : {start}..{}) ", start + n as i64), Vec::new(), 1, n)
            }
            _ => {
                let end = self.int(2);
                (format!("for ({name} : 0..((int64)(`) & 7)) "), vec![end], 1, 7)
            }
        };
        let scope = self.vars.len();
        self.vars.push(Var { name, ty: Ty::Int, constant: true });
        let body = self.loop_body(rounds, runs);
        self.vars.truncate(scope);
        let label = if rounds < runs { "for range, called" } else { "for range" };
        Node::new(label, Ty::Stmt, &head, nodes).with_blocks(vec![("", body)])
    }

    /// A loop whose outcome does not depend on the order of the elements: it prints, and adds up what
    /// it cannot read itself.
    pub fn map_loop(&mut self, out: &mut Vec<Node>) {
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
        // A map that fills up keeps the keys that come first.
        let aggregate = self.new_map_of(key, aggregation, Some(50), out);
        let hidden = self.maps.split_off(before);
        let name = format!("$k{}", self.fresh());
        let scope = self.vars.len();
        self.vars.push(Var { name: name.clone(), ty: Ty::Tuple(vec![key_type, value]), constant: true });
        let was_pure = std::mem::replace(&mut self.pure, true);
        // Operators that may change places with themselves.
        let ops: &[&str] = if self.random.once_in(3) { &["^="] } else { &["+=", "-="] };
        let mut body = Vec::new();
        for _ in 0..1 + self.random.below(4) {
            let mut stmt = match self.random.below(4) {
                0 => {
                    let value = self.int(2);
                    let op = *self.random.of(ops);
                    Node::new("$v op=", Ty::Stmt, &format!("{total} {op} (int64)(`);"), vec![value])
                }
                1 => self.assign_map(&aggregate),
                // A ring buffer that fills up keeps what comes first.
                _ if self.runs > 4 => self.assign_map(&aggregate),
                _ => self.printf(),
            };
            if self.random.once_in(3) {
                let cond = self.condition();
                stmt = Node::new("if", Ty::Stmt, "if (`) ", vec![cond]).with_blocks(vec![("", vec![stmt])]);
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
}
