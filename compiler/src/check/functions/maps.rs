//! What is done with maps: deleting, clearing, asking.

use memql_grammar::ast::{self, Expr as AstExpr, ExprKind as Ast, Name};

use super::{Call, Checks, Entry};
use crate::check::Checker;
use crate::check::diagnostics::{functions as errors, maps};
use crate::hir::{Expr, ExprKind, MapId, StmtKind};
use crate::types::Type;

pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "delete",
        "bool delete(map, key)",
        "removes a key; whether it was there",
        Checks::Value(delete),
    )
    .takes(1, 2)
    .with_effect(),
    Entry::new("has_key", "bool has_key(map, key)", "whether a key is there", Checks::Value(has_key))
        .takes(2, 2),
    Entry::new(
        "find",
        "bool find(map, key, $variable)",
        "whether a key is there; its value goes into the variable",
        Checks::Value(find),
    )
    .takes(3, 3)
    .with_effect(),
    Entry::new("clear", "void clear(map)", "removes all keys", Checks::Effect(clear)).takes(1, 1),
    Entry::new("zero", "void zero(map)", "sets all values to zero", Checks::Effect(zero)).takes(1, 1),
    Entry::new("len", "int64 len(map or stack)", "how many keys or frames", Checks::Value(len)).takes(1, 1),
];

/// The key of `f(@map, key)`, of the map's key type.
fn key_argument(checker: &mut Checker<'_>, name: &Name, arg: &AstExpr) -> Option<(MapId, Expr)> {
    let value = checker.stored_value(arg);
    let exists = checker.read_map_name(name);
    let id = checker.use_map(name, true);
    let key = checker.convert_key(name, value?)?;
    exists?;
    Some((id?, key))
}

fn delete(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let (map, key) = match (&call.args.first()?.kind, call.args.get(1)) {
        (Ast::Map { name, key: None }, Some(key)) => {
            let (map, key) = key_argument(checker, name, key)?;
            (map, Some(key))
        }
        // The old form names the key in brackets.
        (Ast::Map { name, key: Some(parts) }, None) => {
            let exists = checker.read_map_name(name);
            let (map, key) = checker.map_key(name, Some(parts), call.args[0].span)?;
            exists?;
            (map, key)
        }
        (Ast::Map { name, key: None }, None) => {
            checker.read_map_name(name)?;
            if matches!(checker.map_facts(&name.text).keyed, Some((true, _))) {
                return checker.fail(|| maps::delete_needs_key(name, call.span));
            }
            (checker.use_map(name, false)?, None)
        }
        (Ast::Map { name, key: Some(_) }, Some(_)) => {
            return checker.fail(|| errors::map_with_key(call.name, name, call.args[0].span));
        }
        _ => return checker.fail(|| errors::not_a_map(call.name, call.args[0].span)),
    };
    let kind = ExprKind::Delete { map, key: key.map(Box::new) };
    Some(Expr { kind, ty: Type::Bool, span: call.span })
}

fn has_key(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let name = checker.map_argument(call)?;
    let (map, key) = key_argument(checker, name, call.args.get(1)?)?;
    Some(Expr { kind: ExprKind::HasKey { map, key: Box::new(key) }, ty: Type::Bool, span: call.span })
}

/// `find(@map, key, $variable)`: the value goes into the variable if it is there.
///
/// ```text
/// { $k = key; $there = has_key(@map, $k); if ($there) { $variable = @map[$k]; } $there }
/// ```
fn find(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let map = checker.map_argument(call)?;
    let (key, place) = (call.args.get(1)?, call.args.get(2)?);
    let Ast::Var(var) = &place.kind else {
        return checker.fail(|| errors::not_a_variable(call.name, place.span));
    };
    if checker.probe.scopes.find(&var.text).is_none() {
        checker.declare(var, None, true, false);
    }
    // Names that no script can have.
    let own = |text: &str, span| AstExpr { kind: Ast::Var(Name { text: text.to_owned(), span }), span };
    let (held, there) = (own(" key", key.span), own(" there", call.name.span));
    let map_expr = |key| AstExpr { kind: Ast::Map { name: map.clone(), key }, span: map.span };
    let set = |place: &AstExpr, value| ast::Stmt {
        kind: ast::StmtKind::Assign { place: place.clone(), op: None, value },
        span: place.span,
    };
    let has_key = AstExpr {
        kind: Ast::Call {
            name: Name { text: "has_key".to_owned(), span: call.name.span },
            args: vec![map_expr(None), held.clone()],
        },
        span: call.span,
    };
    let taken = set(place, map_expr(Some(vec![held.clone()])));
    let block = ast::Block {
        stmts: vec![
            set(&held, key.clone()),
            set(&there, has_key),
            ast::Stmt {
                kind: ast::StmtKind::If {
                    cond: there.clone(),
                    then: ast::Block {
                        stmts: vec![taken],
                        value: None,
                        span: call.span,
                        expanded_from: None,
                    },
                    otherwise: None,
                },
                span: call.span,
            },
        ],
        value: Some(Box::new(there)),
        span: call.span,
        expanded_from: None,
    };
    checker.expr(&AstExpr { kind: Ast::Block(block), span: call.span })
}

/// A map taken as a whole, with or without keys.
pub(super) fn whole_map(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<MapId> {
    let name = checker.map_argument(call)?;
    checker.read_map_name(name)?;
    Some(checker.map_id(&name.text))
}

fn clear(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<StmtKind> {
    whole_map(checker, call).map(StmtKind::Clear)
}

fn zero(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<StmtKind> {
    whole_map(checker, call).map(StmtKind::Zero)
}

fn len(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let span = call.span;
    if let Ast::Map { name, key: None } = &call.args.first()?.kind {
        let is_stack =
            matches!(checker.map_facts(&name.text).value.map(|l| l.shape.ty()), Some(Type::Stack(_)));
        let keyed = checker.map_facts(&name.text).keyed.is_some_and(|k| k.0);
        if keyed || !is_stack {
            checker.read_map_name(name)?;
            let map = checker.use_map(name, true)?;
            return Some(Expr { kind: ExprKind::MapLen(map), ty: Type::I64, span });
        }
    }
    let value = checker.stored_value(&call.args[0])?;
    match value.ty {
        Type::Stack(_) => Some(Expr { kind: ExprKind::StackLen(Box::new(value)), ty: Type::I64, span }),
        _ => checker.fail(|| errors::no_length(&value)),
    }
}
