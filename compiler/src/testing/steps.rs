//! Conditions become probes: `expect @calls == 3;` is checked by the language itself, at any time of the run.
//!
//! ```text
//! expect A == B;   ->   begin { printf("%d", A == B ? 1 : 0); }  begin { print(A); }  begin { print(B); }
//! ```
//! They stand behind the script's own probes and are run only when the test asks; the two that print the sides,
//! only when the condition fails.

use std::collections::BTreeMap;

use memql_grammar::ast::{
    AttachPoint, AttachSpec, BinaryOp, Block, Expectation, Expr, ExprKind, Item, Name, Probe, Script, Span,
    Stmt, StmtKind, StrLit, Test, TestStepKind,
};

/// Which `begin` probes, counted from the end of the script's own, belong to a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    by_step: BTreeMap<usize, (usize, Option<(usize, usize)>)>,
    /// How many probes there are for all of them.
    pub probes: usize,
}

impl Conditions {
    /// The probe that tells whether the condition of a step holds, and those that print its sides.
    pub fn of(&self, step: usize) -> Option<(usize, Option<(usize, usize)>)> {
        self.by_step.get(&step).copied()
    }
}

/// The script with the probes that a test's conditions need.
pub fn with_conditions(script: &Script, test: &Test) -> (Script, Conditions) {
    let mut items = script.items.clone();
    let mut conditions = Conditions::default();
    for (index, step) in test.steps.iter().enumerate() {
        let TestStepKind::Expect(Expectation::Condition(condition)) = &step.kind else { continue };
        let first = conditions.probes;
        items.push(begin(truth(condition), condition.span));
        let sides = match &condition.kind {
            ExprKind::Binary { op, left, right } if is_comparison(*op) => {
                items.push(begin(call("print", vec![(**left).clone()], left.span), left.span));
                items.push(begin(call("print", vec![(**right).clone()], right.span), right.span));
                Some((first + 1, first + 2))
            }
            _ => None,
        };
        conditions.probes += if sides.is_some() { 3 } else { 1 };
        conditions.by_step.insert(index, (first, sides));
    }
    (Script { items }, conditions)
}

fn is_comparison(op: BinaryOp) -> bool {
    use BinaryOp::{Eq, Ge, Gt, Le, Lt, Ne};
    matches!(op, Eq | Ne | Lt | Le | Gt | Ge)
}

/// `printf("%d", condition ? 1 : 0)`
fn truth(condition: &Expr) -> Expr {
    let span = condition.span;
    let int = |value| Box::new(Expr { kind: ExprKind::Int(value), span });
    let kind = ExprKind::Ternary { cond: Box::new(condition.clone()), then: Some(int(1)), otherwise: int(0) };
    let format = Expr { kind: ExprKind::Str(StrLit { bytes: b"%d".to_vec(), span }), span };
    call("printf", vec![format, Expr { kind, span }], span)
}

fn call(name: &str, args: Vec<Expr>, span: Span) -> Expr {
    Expr { kind: ExprKind::Call { name: Name { text: name.to_owned(), span }, args }, span }
}

fn begin(expr: Expr, span: Span) -> Item {
    let spec = AttachSpec { parts: vec![Name { text: "begin".to_owned(), span }], span };
    let body = Block {
        stmts: vec![Stmt { kind: StmtKind::Expr(expr), span }],
        value: None,
        span,
        expanded_from: None,
    };
    let points = vec![AttachPoint { name: None, alternatives: vec![spec], span }];
    Item::Probe(Probe { points, predicate: None, body, span })
}
