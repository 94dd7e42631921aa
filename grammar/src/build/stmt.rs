//! Blocks and statements.

use pest::iterators::Pair;

use super::Builder;
use super::children::Children;
use crate::ast::{BinaryOp, Block, Expr, ExprKind, Name, Span, Stmt, StmtKind};
use crate::error::SyntaxError;
use crate::parser::Rule;

impl Builder {
    /// A block of statements.
    pub(super) fn block(&self, pair: Pair<'_, Rule>) -> Block {
        let span = self.span_of(&pair);
        let stmts = self.deeper(1, span, || {
            Children::of(pair).filter(is_statement).map(|pair| self.stmt(pair)).collect()
        });
        Block { stmts: stmts.unwrap_or_default(), ..self.empty_block(span) }
    }

    pub(super) fn empty_block(&self, span: Span) -> Block {
        Block { stmts: Vec::new(), value: None, span, expanded_from: None }
    }

    /// A block as an expression: its value is the last expression, if no semicolon follows.
    pub(super) fn value_block(&self, pair: Pair<'_, Rule>) -> Block {
        let span = self.span_of(&pair);
        let mut children: Vec<Pair<'_, Rule>> = Children::of(pair).collect();
        children.pop(); // The closing brace; what is last before it is the value, a semicolon is not.
        let value = match children.last().map(Pair::as_rule) {
            Some(Rule::expr_stmt) if children.last().is_some_and(is_plain_expr) => children.pop(),
            Some(Rule::block) => children.pop(),
            Some(Rule::if_stmt) if children.last().is_some_and(is_choice) => children.pop(),
            _ => None,
        };
        let stmts = children.into_iter().filter(is_statement).map(|pair| self.stmt(pair)).collect();
        Block { stmts, value: value.map(|pair| Box::new(self.last_value(pair))), span, expanded_from: None }
    }

    fn last_value(&self, pair: Pair<'_, Rule>) -> Expr {
        if pair.as_rule() == Rule::block {
            let block = self.value_block(pair);
            return Expr { span: block.span, kind: ExprKind::Block(block) };
        }
        if pair.as_rule() == Rule::if_stmt {
            return self.choice(pair);
        }
        self.expr(Children::of(pair).need(Rule::expr))
    }

    /// An `if` as a value: one in an expression, or the last statement of a block.
    pub(super) fn choice(&self, pair: Pair<'_, Rule>) -> Expr {
        let (mut arms, mut otherwise) = (Vec::new(), None);
        let mut children = Children::of(pair);
        while let Some(word) = children.accept(Rule::if_word) {
            let cond = self.expr(children.need(Rule::expr));
            arms.push((self.span_of(&word), cond, self.block_expr(children.need(Rule::block))));
            if children.accept(Rule::else_word).is_some() {
                otherwise = children.accept(Rule::block).map(|block| self.block_expr(block));
            }
        }
        let start = arms[0].0;
        let last = otherwise.expect("memql.pest: an `if` with a value has an `else`");
        // Each `else if` is one level deeper in the tree.
        let folded = self.deeper(arms.len(), start, || {
            arms.into_iter().rev().fold(last, |otherwise, (start, cond, then)| {
                let span = start.to(otherwise.span);
                let (cond, then, otherwise) = (Box::new(cond), Some(Box::new(then)), Box::new(otherwise));
                Expr { kind: ExprKind::Ternary { cond, then, otherwise }, span }
            })
        });
        folded.unwrap_or(Expr { kind: ExprKind::Int(0), span: start })
    }

    fn stmt(&self, pair: Pair<'_, Rule>) -> Stmt {
        match pair.as_rule() {
            Rule::block => {
                let block = self.block(pair);
                Stmt { span: block.span, kind: StmtKind::Block(block) }
            }
            Rule::if_stmt => self.if_stmt(pair),
            Rule::while_stmt => {
                let (start, cond, body) = self.loop_parts(pair, Rule::while_word);
                Stmt { span: start.to(body.span), kind: StmtKind::While { cond, body } }
            }
            Rule::unroll_stmt => {
                let (start, count, body) = self.loop_parts(pair, Rule::unroll_word);
                Stmt { span: start.to(body.span), kind: StmtKind::Unroll { count, body } }
            }
            Rule::for_stmt => self.for_stmt(pair),
            Rule::let_stmt => self.let_stmt(pair),
            Rule::return_stmt => self.return_stmt(pair),
            Rule::break_stmt => Stmt { span: self.span_of(&pair), kind: StmtKind::Break },
            Rule::continue_stmt => Stmt { span: self.span_of(&pair), kind: StmtKind::Continue },
            Rule::report_stmt => self.report_stmt(pair),
            Rule::expr_stmt => self.expr_stmt(pair),
            rule => unreachable!("memql.pest has no {rule:?} among statements"),
        }
    }

    fn if_stmt(&self, pair: Pair<'_, Rule>) -> Stmt {
        let mut children = Children::of(pair);
        let mut arms: Vec<(Span, Expr, Block)> = Vec::new();
        let mut otherwise = None;
        while let Some(word) = children.accept(Rule::if_word) {
            let cond = self.expr(children.need(Rule::expr));
            arms.push((self.span_of(&word), cond, self.block(children.need(Rule::block))));
            if children.accept(Rule::else_word).is_some() {
                otherwise = children.accept(Rule::block).map(|block| self.block(block));
            }
        }
        // Each `else if` is one level deeper in the tree.
        let start = arms[0].0;
        let folded = self.deeper(arms.len(), start, || fold_arms(arms, otherwise));
        folded.unwrap_or(Stmt { span: start, kind: StmtKind::Break })
    }

    /// The keyword's span, the expression and the body of `word expr { }`.
    fn loop_parts(&self, pair: Pair<'_, Rule>, word: Rule) -> (Span, Expr, Block) {
        let mut children = Children::of(pair);
        let start = self.span_of(&children.need(word));
        let expr = self.expr(children.need(Rule::expr));
        (start, expr, self.block(children.need(Rule::block)))
    }

    fn for_stmt(&self, pair: Pair<'_, Rule>) -> Stmt {
        let mut children = Children::of(pair);
        let start = self.span_of(&children.need(Rule::for_word));
        children.accept(Rule::open_paren);
        let var = self.name_of(&children.need(Rule::variable));
        children.need(Rule::colon);
        let over = self.expr(children.need(Rule::expr));
        let end = children.accept_after(Rule::dots, Rule::expr).map(|end| self.expr(end));
        children.accept(Rule::close_paren);
        let body = self.block(children.need(Rule::block));
        let span = start.to(body.span);
        let kind = match end {
            Some(end) => StmtKind::ForRange { var, start: over, end, body },
            None => StmtKind::ForMap { var, map: self.looped_map(over), body },
        };
        Stmt { kind, span }
    }

    /// The map that a loop runs over.
    fn looped_map(&self, over: Expr) -> Name {
        if let ExprKind::Map { name, key: None } = over.kind {
            return name;
        }
        self.error(
            SyntaxError::new(over.span, "a loop runs over a map or a range of numbers")
                .with_help("write `for ($kv : @map) { ... }` or `for ($i : 0..10) { ... }`"),
        );
        Name { text: String::new(), span: over.span }
    }

    fn let_stmt(&self, pair: Pair<'_, Rule>) -> Stmt {
        let mut children = Children::of(pair);
        let start = self.span_of(&children.need(Rule::let_word));
        let var = self.name_of(&children.need(Rule::variable));
        let ty = children.accept_after(Rule::colon, Rule::type_expr).map(|ty| self.type_expr(ty));
        let value = children.accept_after(Rule::assign, Rule::expr).map(|value| self.expr(value));
        let end =
            value.as_ref().map(|value| value.span).or(ty.as_ref().map(|ty| ty.span)).unwrap_or(var.span);
        Stmt { kind: StmtKind::Let { var, ty, value }, span: start.to(end) }
    }

    fn return_stmt(&self, pair: Pair<'_, Rule>) -> Stmt {
        let mut children = Children::of(pair);
        let start = self.span_of(&children.need(Rule::return_word));
        let value = children.accept(Rule::expr).map(|value| self.expr(value));
        let span = value.as_ref().map_or(start, |value| start.to(value.span));
        Stmt { kind: StmtKind::Return(value), span }
    }

    /// An expression for its effect, or an assignment.
    fn expr_stmt(&self, pair: Pair<'_, Rule>) -> Stmt {
        let mut children = Children::of(pair);
        let expr = self.expr(children.need(Rule::expr));
        let Some(operator) = children.next() else {
            return Stmt { span: expr.span, kind: StmtKind::Expr(expr) };
        };
        let op = compound_operator(operator.as_str());
        self.check_place(&expr, op.is_some());
        let value = self.expr(children.need(Rule::expr));
        Stmt { span: expr.span.to(value.span), kind: StmtKind::Assign { place: expr, op, value } }
    }

    /// Notes an assignment to something that is not a place.
    fn check_place(&self, place: &Expr, compound: bool) {
        let help = match &place.kind {
            ExprKind::Var(_) | ExprKind::Map { .. } => return,
            ExprKind::Ident(name) if name.text == "_" && !compound => return,
            ExprKind::Ident(name) => {
                format!("variables begin with `$`, maps with `@`: `${0}`, `@{0}`", name.text)
            }
            _ => "assign to a `$variable`, to a `@map` or to an element of one, `@map[key]`".to_owned(),
        };
        self.error(SyntaxError::new(place.span, "this cannot be assigned to").with_help(help));
    }
}

/// Whether an `if` gives a value: it has an `else`, and each of its blocks ends with an expression.
fn is_choice(pair: &Pair<'_, Rule>) -> bool {
    let children = pair.clone().into_inner();
    let blocks: Vec<_> = children.clone().filter(|child| child.as_rule() == Rule::block).collect();
    let conditions = children.filter(|child| child.as_rule() == Rule::if_word).count();
    blocks.len() > conditions && blocks.iter().all(ends_with_value)
}

fn ends_with_value(block: &Pair<'_, Rule>) -> bool {
    let mut last = block.clone().into_inner().rev().skip(1);
    match last.next() {
        Some(child) if child.as_rule() == Rule::expr_stmt => is_plain_expr(&child),
        Some(child) if child.as_rule() == Rule::block => ends_with_value(&child),
        Some(child) if child.as_rule() == Rule::if_stmt => is_choice(&child),
        _ => false,
    }
}

/// Whether a child of a block is a statement; braces and semicolons are the others.
fn is_statement(pair: &Pair<'_, Rule>) -> bool {
    !matches!(pair.as_rule(), Rule::open_brace | Rule::close_brace | Rule::semicolon)
}

/// Whether an `expr_stmt` is not an assignment.
fn is_plain_expr(pair: &Pair<'_, Rule>) -> bool {
    pair.clone().into_inner().len() == 1
}

/// Arms of `if` and `else if` as nested statements.
fn fold_arms(arms: Vec<(Span, Expr, Block)>, mut otherwise: Option<Block>) -> Stmt {
    let mut folded = None;
    for (start, cond, then) in arms.into_iter().rev() {
        if let Some(next) = folded.take() {
            let next: Stmt = next;
            otherwise = Some(Block { span: next.span, stmts: vec![next], value: None, expanded_from: None });
        }
        let end = otherwise.as_ref().map_or(then.span, |otherwise| otherwise.span);
        folded = Some(Stmt {
            span: start.to(end),
            kind: StmtKind::If { cond, then, otherwise: otherwise.take() },
        });
    }
    folded.expect("memql.pest: an `if` has at least one arm")
}

/// The operator of `op=`; none for `=`.
fn compound_operator(text: &str) -> Option<BinaryOp> {
    Some(match text {
        "+=" => BinaryOp::Add,
        "-=" => BinaryOp::Sub,
        "*=" => BinaryOp::Mul,
        "/=" => BinaryOp::Div,
        "%=" => BinaryOp::Mod,
        "&=" => BinaryOp::BitAnd,
        "|=" => BinaryOp::BitOr,
        "^=" => BinaryOp::BitXor,
        "<<=" => BinaryOp::Shl,
        ">>=" => BinaryOp::Shr,
        _ => return None,
    })
}
