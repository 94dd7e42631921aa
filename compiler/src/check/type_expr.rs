//! Types as the script writes them.

use memql_grammar::ast::{self, Span, TypeBase, TypeExpr, TypeModifier};

use super::diagnostics::{names, types, unsupported};
use super::{Checker, constant};
use crate::constants;
use crate::diagnostic::similar;
use crate::hir::Expr;
use crate::types::{AddrSpace, Type};

/// The language's integer types and the names that the kernel and C's library have for them.
const INTEGERS: &[(&str, u8, bool)] = &[
    ("int8", 8, true),
    ("int16", 16, true),
    ("int32", 32, true),
    ("int64", 64, true),
    ("uint8", 8, false),
    ("uint16", 16, false),
    ("uint32", 32, false),
    ("uint64", 64, false),
    ("int8_t", 8, true),
    ("int16_t", 16, true),
    ("int32_t", 32, true),
    ("int64_t", 64, true),
    ("uint8_t", 8, false),
    ("uint16_t", 16, false),
    ("uint32_t", 32, false),
    ("uint64_t", 64, false),
    ("s8", 8, true),
    ("s16", 16, true),
    ("s32", 32, true),
    ("s64", 64, true),
    ("u8", 8, false),
    ("u16", 16, false),
    ("u32", 32, false),
    ("u64", 64, false),
    ("__s8", 8, true),
    ("__s16", 16, true),
    ("__s32", 32, true),
    ("__s64", 64, true),
    ("__u8", 8, false),
    ("__u16", 16, false),
    ("__u32", 32, false),
    ("__u64", 64, false),
    ("size_t", 64, false),
    ("ssize_t", 64, true),
    ("uintptr_t", 64, false),
    ("intptr_t", 64, true),
    ("off_t", 64, true),
    ("loff_t", 64, true),
    ("pid_t", 32, true),
    ("uid_t", 32, false),
    ("gid_t", 32, false),
    ("gfp_t", 32, false),
];

/// The integer type of this name.
pub(crate) fn integer_named(name: &str) -> Option<Type> {
    let listed = INTEGERS.iter().find(|(n, _, _)| *n == name);
    listed.map(|&(_, bits, signed)| Type::Int { bits, signed }).or_else(|| c_integer(name))
}

/// The integer type that C's keywords name on 64-bit Linux, in any order: `unsigned long int`.
pub(crate) fn c_integer(name: &str) -> Option<Type> {
    let (mut longs, mut short, mut char, mut int, mut signed, mut unsigned) = (0, 0, 0, 0, 0, 0);
    for word in name.split(' ') {
        *match word {
            "long" => &mut longs,
            "short" => &mut short,
            "char" => &mut char,
            "int" => &mut int,
            "signed" => &mut signed,
            "unsigned" => &mut unsigned,
            _ => return None,
        } += 1;
    }
    let once = short <= 1 && char <= 1 && int <= 1 && signed + unsigned <= 1;
    let bits = match (longs, short, char) {
        (0, 0, 1) if int == 0 => 8,
        (0, 1, 0) => 16,
        (0, 0, 0) => 32,
        (1 | 2, 0, 0) => 64,
        _ => return None,
    };
    once.then_some(Type::Int { bits, signed: unsigned == 0 })
}

impl Checker<'_> {
    /// A type whose size is left open takes it from the value.
    pub(crate) fn sized_type(&mut self, ty: &TypeExpr, value: Option<&Expr>) -> Option<Type> {
        match (&ty.base, ty.modifiers.as_slice()) {
            (TypeBase::Named(n), []) if n.text == "string" => match value.map(|v| &v.ty) {
                Some(Type::Str { cap }) => Some(Type::Str { cap: *cap }),
                Some(other) => {
                    let other = other.clone();
                    self.fail(|| types::not_a_string_type(ty.span, &other))
                }
                None => Some(Type::Str { cap: self.settings.max_strlen }),
            },
            (_, [rest @ .., TypeModifier::Array(None)]) => {
                let elem = self.plain_type(&ty.base, rest, ty.span)?;
                let size = elem.size();
                match value.map(|v| v.ty.size()) {
                    Some(bytes) if size > 0 && bytes % size == 0 && bytes > 0 => {
                        Some(Type::Array { elem: Box::new(elem), len: bytes / size })
                    }
                    _ => self.fail(|| types::array_size_unknown(ty.span)),
                }
            }
            _ => self.plain_type(&ty.base, &ty.modifiers, ty.span),
        }
    }

    /// A type as written, complete in itself.
    pub(crate) fn type_of(&mut self, ty: &TypeExpr) -> Option<Type> {
        self.sized_type(ty, None)
    }

    /// The type of a constant that stands where a type may stand too; nothing for names of types.
    pub(crate) fn enumerator_as_type(&mut self, ty: &TypeExpr) -> Option<Type> {
        let (TypeBase::Named(name), []) = (&ty.base, ty.modifiers.as_slice()) else { return None };
        if integer_named(&name.text).is_some() || self.kernel_typedef(name).is_some() {
            return None;
        }
        let of_headers = |value: u64| Some(constant::literal(value.into(), name.span)?.ty);
        match self.enumerator(name) {
            Some((_, ty)) => Some(ty),
            None => constants::named(&name.text, self.target.features().arch).and_then(of_headers),
        }
    }

    /// The type of an expression that is not evaluated.
    pub(crate) fn type_of_expr(&mut self, expr: &ast::Expr) -> Option<Type> {
        Some(self.unevaluated(expr)?.ty)
    }

    /// An expression of which only the type matters: what it would assign is assigned nowhere.
    pub(crate) fn unevaluated(&mut self, expr: &ast::Expr) -> Option<Expr> {
        self.any_size_value(expr)
    }

    fn plain_type(&mut self, base: &TypeBase, modifiers: &[TypeModifier], span: Span) -> Option<Type> {
        let (mut ty, rest) = self.base_type(base, modifiers, span)?;
        for modifier in rest {
            ty = match modifier {
                TypeModifier::Pointer => Type::Ptr { to: Box::new(ty), space: AddrSpace::Unknown },
                TypeModifier::Array(Some(len)) => match u32::try_from(*len) {
                    Ok(len) if len > 0 && u64::from(ty.size()) * u64::from(len) <= MAX_VALUE_BYTES => {
                        Type::Array { elem: Box::new(ty), len }
                    }
                    _ => return self.fail(|| types::array_size(span, *len)),
                },
                TypeModifier::Array(None) => return self.fail(|| types::array_size_unknown(span)),
            };
        }
        Some(ty)
    }

    /// The base, with the modifiers that are left: `string[64]` takes one as its capacity.
    fn base_type<'m>(
        &mut self,
        base: &TypeBase,
        modifiers: &'m [TypeModifier],
        span: Span,
    ) -> Option<(Type, &'m [TypeModifier])> {
        match base {
            TypeBase::Named(n) if matches!(n.text.as_str(), "string" | "buffer") => {
                let (cap, rest) = match modifiers {
                    [TypeModifier::Array(Some(cap)), rest @ ..] => (*cap, rest),
                    rest => (u64::from(self.settings.max_strlen), rest),
                };
                if cap == 0 || cap > MAX_VALUE_BYTES {
                    return self.fail(|| types::array_size(span, cap));
                }
                let cap = cap as u32;
                let ty = if n.text == "string" { Type::Str { cap } } else { Type::Buf { cap } };
                Some((ty, rest))
            }
            TypeBase::Named(n) => {
                let known = integer_named(&n.text).or(match n.text.as_str() {
                    "bool" | "_Bool" => Some(Type::Bool),
                    "void" => Some(Type::Void),
                    "inet" => Some(Type::Inet),
                    "macaddr_t" => Some(Type::MacAddr),
                    _ => None,
                });
                let ty = match known {
                    Some(ty) => Some(ty),
                    None if matches!(n.text.as_str(), "timestamp" | "cgroup_path_t") => {
                        return self.fail(|| unsupported::type_named(n));
                    }
                    None => self.kernel_typedef(n),
                };
                match ty {
                    Some(ty) => Some((ty, modifiers)),
                    None => {
                        let close = similar(
                            &n.text,
                            INTEGERS.iter().map(|t| t.0).chain(["bool", "string", "buffer"]),
                        );
                        self.fail(|| names::unknown_type(&n.text, span, &close))
                    }
                }
            }
            TypeBase::Typeof(ty) => match self.enumerator_as_type(ty) {
                Some(ty) => Some((ty, modifiers)),
                None => Some((self.type_of(ty)?, modifiers)),
            },
            TypeBase::TypeofExpr(expr) => Some((self.type_of_expr(expr)?, modifiers)),
            TypeBase::Struct(n) => Some((self.kernel_struct(n, false)?, modifiers)),
            TypeBase::Union(n) => Some((self.kernel_struct(n, true)?, modifiers)),
            TypeBase::Enum(n) => Some((self.kernel_enum(n)?, modifiers)),
        }
    }
}

/// The largest value that memql keeps: far above what fits an event, well below what overflows sizes.
pub(crate) const MAX_VALUE_BYTES: u64 = 1 << 16;
