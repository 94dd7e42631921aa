//! Macros: each has a body of its own and is called where its kind of value is wanted.

use super::Generator;
use crate::tree::{Node, Ty};

#[derive(Clone)]
pub struct Macro {
    name: String,
    takes: Takes,
}

/// What a macro that gives an integer takes.
#[derive(Clone, Copy, PartialEq)]
enum Takes {
    /// An expression, evaluated once or twice.
    Expression,
    /// A variable, which it changes, and an expression.
    Variable,
    /// A map by an integer, which it changes, and a key.
    Map,
}

impl Generator {
    pub fn new_macro(&mut self) {
        let name = format!("#m{}", self.fresh());
        let constant = 1 + self.random.below(100);
        let op = *self.random.of(&["+", "-", "^", "&", "|"]);
        let (takes, text) = match self.random.below(5) {
            0 => (Takes::Expression, format!("(x) {{ (x {op} {constant}) }}")),
            1 => (Takes::Expression, format!("(x) {{ x {op} x }}")),
            2 => (Takes::Expression, format!("(x) {{ let $x = x; if ($x > {constant}) {{ $x = 0; }} $x }}")),
            3 => (Takes::Variable, format!("($v, x) {{ let $x = x; $v {op}= $x; $v {op} $x }}")),
            _ => (Takes::Map, format!("(@m, k) {{ let $k = k; @m[$k] += {constant}; @m[$k] }}")),
        };
        self.declarations.push(format!("macro {name}{text}"));
        self.macros.push(Macro { name, takes });
    }

    /// A call of a macro, if one can be called here.
    pub fn macro_call(&mut self, depth: usize) -> Option<Node> {
        if self.macros.is_empty() {
            return None;
        }
        let Macro { name, takes } = self.random.of(&self.macros.clone()).clone();
        match takes {
            Takes::Expression => {
                let value = self.typed(depth);
                Some(Node::new("macro", Ty::Int, &format!("{name}(`)"), vec![value]))
            }
            Takes::Variable => {
                let var = self.assignable(Some(Ty::Int)).filter(|_| !self.pure)?;
                let value = self.typed(depth);
                Some(Node::new(
                    "macro of a variable",
                    Ty::Int,
                    &format!("{name}({}, `)", var.name),
                    vec![value],
                ))
            }
            Takes::Map => {
                let fits = |m: &super::Map| m.key == [Ty::Int] && m.value == super::MapValue::Plain(Ty::Int);
                let map = self.map_where(fits).filter(|_| !self.pure)?;
                let key = self.key(&Ty::Int);
                Some(Node::new("macro of a map", Ty::Int, &format!("{name}({}, `)", map.name), vec![key]))
            }
        }
    }
}
