//! Expressions: operators by precedence, and what they apply to.

use std::sync::LazyLock;

use pest::iterators::Pair;
use pest::pratt_parser::{Assoc, Op, PrattParser};

use super::Builder;
use super::children::Children;
use crate::ast::{BinaryOp, Expr, ExprKind, Span, TupleField, TypeExpr, UnaryOp};
use crate::error::SyntaxError;
use crate::outline::span;
use crate::parser::Rule;

/// Operators from the loosest to the tightest, as in C. (The ternary, looser than all, is in `expr`.)
static PRECEDENCE: LazyLock<PrattParser<Rule>> = LazyLock::new(|| {
    let left = |rule| Op::infix(rule, Assoc::Left);
    PrattParser::new()
        .op(left(Rule::or))
        .op(left(Rule::and))
        .op(left(Rule::bit_or))
        .op(left(Rule::bit_xor))
        .op(left(Rule::bit_and))
        .op(left(Rule::eq) | left(Rule::ne))
        .op(left(Rule::lt) | left(Rule::le) | left(Rule::gt) | left(Rule::ge))
        .op(left(Rule::shl) | left(Rule::shr))
        .op(left(Rule::add) | left(Rule::sub))
        .op(left(Rule::mul) | left(Rule::div) | left(Rule::rem))
        .op(Op::prefix(Rule::cast)
            | Op::prefix(Rule::increment)
            | Op::prefix(Rule::decrement)
            | Op::prefix(Rule::negate)
            | Op::prefix(Rule::not)
            | Op::prefix(Rule::bit_not)
            | Op::prefix(Rule::dereference)
            | Op::prefix(Rule::address_of)
            | Op::prefix(Rule::comptime))
        .op(Op::postfix(Rule::increment_after)
            | Op::postfix(Rule::decrement_after)
            | Op::postfix(Rule::field)
            | Op::postfix(Rule::subscript))
});

impl Builder {
    /// An expression: `operation (? expr : operation)*`.
    pub(super) fn expr(&self, pair: Pair<'_, Rule>) -> Expr {
        let at = self.span_of(&pair);
        let children: Vec<Pair<'_, Rule>> = Children::of(pair).collect();
        // One level for itself, and one for each `?`.
        let levels = children.iter().filter(|child| child.as_rule() == Rule::question).count();
        self.deeper(1 + levels, at, || self.ternary_chain(children)).unwrap_or_else(|| stand_in(at))
    }

    /// Folds `a ? b : c ? d : e` from the right; `a ?: c` has nothing between `?` and `:`.
    fn ternary_chain(&self, pairs: Vec<Pair<'_, Rule>>) -> Expr {
        let (mut conds, mut thens) = (Vec::new(), Vec::new());
        for pair in pairs {
            match pair.as_rule() {
                Rule::operation => conds.push(self.operation(pair)),
                Rule::question => thens.push(None),
                Rule::expr => {
                    if let Some(then) = thens.last_mut() {
                        *then = Some(Box::new(self.expr(pair)));
                    }
                }
                _ => {} // Colons.
            }
        }
        let mut value = conds.pop().expect("memql.pest: an expression has an operation");
        while let (Some(then), Some(cond)) = (thens.pop(), conds.pop()) {
            let span = cond.span.to(value.span);
            let (cond, otherwise) = (Box::new(cond), Box::new(value));
            value = Expr { kind: ExprKind::Ternary { cond, then, otherwise }, span };
        }
        value
    }

    /// Operators and operands, by precedence.
    fn operation(&self, pair: Pair<'_, Rule>) -> Expr {
        let at = self.span_of(&pair);
        let mut tokens = Vec::new();
        for child in Children::of(pair) {
            match child.as_rule() {
                Rule::operand => tokens.extend(child.into_inner()),
                _ => tokens.push(child),
            }
        }
        self.deeper(tree_depth(&tokens).max(1), at, || {
            PRECEDENCE
                .map_primary(|pair| self.primary(pair))
                .map_prefix(|operator, operand| self.prefix(operator, operand))
                .map_postfix(|base, operator| self.postfix(base, operator))
                .map_infix(binary)
                .parse(tokens.into_iter())
        })
        .unwrap_or_else(|| stand_in(at))
    }

    fn prefix(&self, operator: Pair<'_, Rule>, operand: Expr) -> Expr {
        let span = self.span_of(&operator).to(operand.span);
        let op = match operator.as_rule() {
            Rule::cast => {
                let ty = self.type_expr(
                    Children::of(operator)
                        .nth(1)
                        .expect("memql.pest: the second child of a cast is its type"),
                );
                return Expr { kind: ExprKind::Cast { ty, operand: Box::new(operand) }, span };
            }
            Rule::increment | Rule::decrement => return self.inc_dec(operator, operand, false, span),
            Rule::negate => UnaryOp::Neg,
            Rule::not => UnaryOp::Not,
            Rule::bit_not => UnaryOp::BitNot,
            Rule::dereference => UnaryOp::Deref,
            Rule::address_of => UnaryOp::AddressOf,
            Rule::comptime => UnaryOp::Comptime,
            rule => unreachable!("memql.pest has no prefix operator {rule:?}"),
        };
        Expr { kind: ExprKind::Unary { op, operand: Box::new(operand) }, span }
    }

    fn postfix(&self, base: Expr, operator: Pair<'_, Rule>) -> Expr {
        let span = base.span.to(self.span_of(&operator));
        match operator.as_rule() {
            Rule::field => self.field(base, operator, span),
            Rule::subscript => self.subscript(base, operator, span),
            _ => self.inc_dec(operator, base, true, span),
        }
    }

    fn inc_dec(&self, operator: Pair<'_, Rule>, place: Expr, postfix: bool, span: Span) -> Expr {
        if !matches!(place.kind, ExprKind::Var(_) | ExprKind::Map { .. }) {
            let operator = operator.as_str();
            self.error(
                SyntaxError::new(place.span, format!("`{operator}` cannot change this"))
                    .with_help(format!("`{operator}` changes a `$variable`, a `@map` or an element of one")),
            );
        }
        let increment = operator.as_str() == "++";
        Expr { kind: ExprKind::IncDec { place: Box::new(place), increment, postfix }, span }
    }

    fn field(&self, base: Expr, operator: Pair<'_, Rule>, span: Span) -> Expr {
        let mut children = Children::of(operator);
        let arrow = children.need(Rule::field_op).as_str() == "->";
        let name = self.name_of(&children.need(Rule::field_name));
        if matches!(base.kind, ExprKind::Int(_)) {
            self.error(
                SyntaxError::new(span, "numbers have no fraction and no fields")
                    .with_help("numbers are integers: `15 / 10`"),
            );
        }
        Expr { kind: ExprKind::Field { base: Box::new(base), name, arrow }, span }
    }

    /// `@map[key, ...]`, or `base[index]` of anything else, such as `@map[key][index]` or `(@map)[index]`.
    fn subscript(&self, base: Expr, operator: Pair<'_, Rule>, span: Span) -> Expr {
        let brackets = self.span_of(&operator);
        let mut subscripts: Vec<Expr> =
            Children::of(operator).all(Rule::expr).map(|pair| self.expr(pair)).collect();
        match base.kind {
            ExprKind::Map { name, key: None } if name.span == base.span => {
                Expr { kind: ExprKind::Map { name, key: Some(subscripts) }, span }
            }
            kind => {
                if subscripts.len() > 1 {
                    self.error(SyntaxError::new(
                        brackets,
                        "an array has one index; only maps have several keys",
                    ));
                }
                let base = Box::new(Expr { kind, span: base.span });
                let index = Box::new(subscripts.swap_remove(0));
                Expr { kind: ExprKind::Index { base, index }, span }
            }
        }
    }

    fn primary(&self, pair: Pair<'_, Rule>) -> Expr {
        let mut children = Children::of(pair);
        let pair = children.next().expect("memql.pest: a primary has a child");
        let span = self.span_of(&pair);
        if let Some(arguments) = children.accept(Rule::arguments) {
            return self.call(pair, arguments);
        }
        let kind = match pair.as_rule() {
            Rule::if_expr => return self.choice(pair),
            Rule::type_call => self.type_call(pair),
            Rule::typeof_type => {
                let base = self.type_base(pair);
                ExprKind::Type(TypeExpr { base, modifiers: Vec::new(), span })
            }
            Rule::parenthesized => return self.parenthesized(pair, span),
            Rule::block => ExprKind::Block(self.value_block(pair)),
            Rule::map => ExprKind::Map { name: self.name_of(&pair), key: None },
            Rule::variable => ExprKind::Var(self.name_of(&pair)),
            Rule::positional_count => ExprKind::PositionalCount,
            Rule::positional => ExprKind::Positional(self.positional(&pair)),
            Rule::number => ExprKind::Int(self.integer(&pair)),
            Rule::string => ExprKind::Str(self.string(&pair)),
            Rule::name => match pair.as_str() {
                "true" => ExprKind::Bool(true),
                "false" => ExprKind::Bool(false),
                _ => ExprKind::Ident(self.name_of(&pair)),
            },
            rule => unreachable!("memql.pest has no {rule:?} among primaries"),
        };
        Expr { kind, span }
    }

    pub(super) fn block_expr(&self, pair: Pair<'_, Rule>) -> Expr {
        let at = self.span_of(&pair);
        let block = self.deeper(1, at, || self.value_block(pair)).unwrap_or_else(|| self.empty_block(at));
        Expr { span: block.span, kind: ExprKind::Block(block) }
    }

    fn call(&self, name: Pair<'_, Rule>, arguments: Pair<'_, Rule>) -> Expr {
        let name = self.name_of(&name);
        let span = name.span.to(self.span_of(&arguments));
        let args = Children::of(arguments).all(Rule::expr).map(|arg| self.expr(arg)).collect();
        Expr { kind: ExprKind::Call { name, args }, span }
    }

    /// `sizeof` and `offsetof`: the first argument may be a type.
    fn type_call(&self, pair: Pair<'_, Rule>) -> ExprKind {
        let mut children = Children::of(pair);
        let name = self.name_of(&children.need(Rule::type_call_word));
        children.need(Rule::open_paren);
        let mut args = Vec::new();
        if let Some(argument) = children.accept(Rule::type_argument) {
            let ty = self.type_expr(Children::of(argument).need(Rule::type_expr));
            args.push(Expr { span: ty.span, kind: ExprKind::Type(ty) });
        }
        args.extend(children.all(Rule::expr).map(|arg| self.expr(arg)));
        ExprKind::Call { name, args }
    }

    /// A tuple, a record, or an expression in parentheses, whose span then includes them.
    fn parenthesized(&self, pair: Pair<'_, Rule>, span: Span) -> Expr {
        let children: Vec<Pair<'_, Rule>> = Children::of(pair).collect();
        let has_comma = children.iter().any(|child| child.as_rule() == Rule::comma);
        let mut fields: Vec<TupleField> = children
            .into_iter()
            .filter(|child| child.as_rule() == Rule::element)
            .map(|child| self.element(child))
            .collect();
        match fields.pop() {
            Some(TupleField { name: None, value }) if fields.is_empty() && !has_comma => {
                Expr { kind: value.kind, span }
            }
            last => {
                fields.extend(last);
                self.check_names(&fields);
                Expr { kind: ExprKind::Tuple(fields), span }
            }
        }
    }

    fn element(&self, pair: Pair<'_, Rule>) -> TupleField {
        let mut children = Children::of(pair);
        let name = children.accept(Rule::name).map(|name| self.name_of(&name));
        children.accept(Rule::assign);
        TupleField { name, value: self.expr(children.need(Rule::expr)) }
    }

    /// Notes elements without a name among such with one.
    fn check_names(&self, fields: &[TupleField]) {
        if !fields.iter().any(|field| field.name.is_some()) {
            return;
        }
        for field in fields.iter().filter(|field| field.name.is_none()) {
            self.error(
                SyntaxError::new(field.value.span, "either all elements have a name or none has")
                    .with_help("write `(a = 1, b = 2)` for a record, `(1, 2)` for a tuple"),
            );
        }
    }
}

fn binary(left: Expr, operator: Pair<'_, Rule>, right: Expr) -> Expr {
    let op = match operator.as_rule() {
        Rule::or => BinaryOp::Or,
        Rule::and => BinaryOp::And,
        Rule::bit_or => BinaryOp::BitOr,
        Rule::bit_xor => BinaryOp::BitXor,
        Rule::bit_and => BinaryOp::BitAnd,
        Rule::eq => BinaryOp::Eq,
        Rule::ne => BinaryOp::Ne,
        Rule::lt => BinaryOp::Lt,
        Rule::le => BinaryOp::Le,
        Rule::gt => BinaryOp::Gt,
        Rule::ge => BinaryOp::Ge,
        Rule::shl => BinaryOp::Shl,
        Rule::shr => BinaryOp::Shr,
        Rule::add => BinaryOp::Add,
        Rule::sub => BinaryOp::Sub,
        Rule::mul => BinaryOp::Mul,
        Rule::div => BinaryOp::Div,
        Rule::rem => BinaryOp::Mod,
        rule => unreachable!("memql.pest has no infix operator {rule:?}"),
    };
    let span = left.span.to(right.span);
    Expr { kind: ExprKind::Binary { op, left: Box::new(left), right: Box::new(right) }, span }
}

/// How deep the tree of an operation will be: the same folding, of depths. Prefix operators cost stack
/// there too, so a run of them is measured by its length.
fn tree_depth(tokens: &[Pair<'_, Rule>]) -> usize {
    let is_prefix = |pair: &Pair<'_, Rule>| {
        use Rule::*;
        matches!(
            pair.as_rule(),
            cast | increment | decrement | negate | not | bit_not | dereference | address_of | comptime
        )
    };
    let longest_run = tokens.split(|pair| !is_prefix(pair)).map(<[_]>::len).max().unwrap_or(0);
    if longest_run > super::MAX_TREE_DEPTH {
        return longest_run;
    }
    PRECEDENCE
        .map_primary(|_| 0)
        .map_prefix(|_, depth: usize| depth + 1)
        .map_postfix(|depth, _| depth + 1)
        .map_infix(|left, _, right| left.max(right) + 1)
        .parse(tokens.iter().cloned())
}

/// Stands where an expression could not be built; an error has been noted.
fn stand_in(at: Span) -> Expr {
    Expr { kind: ExprKind::Int(0), span: span(at.start as usize, at.end as usize) }
}
