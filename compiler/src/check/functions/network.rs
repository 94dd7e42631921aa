//! Addresses of networks.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Call, Checks, Entry};
use crate::check::diagnostics::functions as errors;
use crate::check::{Checker, constant};
use crate::hir::{Expr, ExprKind};
use crate::types::{AF_INET, AF_INET6, Type};

pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "ntop",
        "inet ntop([const integer family,] integer or 4 or 16 bytes)",
        "an IPv4 or IPv6 address, for printing",
        Checks::Value(ntop),
    )
    .takes(1, 2),
    Entry::new(
        "pton",
        "uint8[4] or uint8[16] pton(const string address)",
        "the bytes of an IPv4 or IPv6 address",
        Checks::Value(pton),
    )
    .takes(1, 1),
    Entry::new(
        "macaddr",
        "macaddr_t macaddr(6 bytes)",
        "an Ethernet address, for printing",
        Checks::Value(macaddr),
    )
    .takes(1, 1),
];

fn address(bytes: Expr, ty: Type, call: &Call<'_>) -> Expr {
    Expr { kind: ExprKind::NetAddress(Box::new(bytes)), ty, span: call.span }
}

/// `size` bytes: of an array, of text that BTF takes them for, or behind a pointer.
fn bytes_of(checker: &mut Checker<'_>, value: Expr, sizes: &[u32]) -> Option<Expr> {
    let is_bytes = |ty: &Type| matches!(ty, Type::Int { bits: 8, .. });
    let size = match &value.ty {
        Type::Array { elem, len } if is_bytes(elem) => *len,
        // `u32 addr[4]`, as the kernel keeps IPv6 addresses.
        Type::Array { .. } | Type::Str { .. } | Type::Struct(_) => value.ty.size(),
        Type::Ptr { to, .. } => {
            let size = match &**to {
                Type::Array { .. } | Type::Str { .. } | Type::Struct(_) => to.size(),
                _ if sizes.len() == 1 => sizes[0],
                _ => 0,
            };
            let ty = Type::Array { elem: Box::new(Type::Int { bits: 8, signed: false }), len: size };
            if sizes.contains(&size) {
                let span = value.span;
                let kind = ExprKind::Load { addr: Box::new(value), offset: 0, bits: None };
                return Some(Expr { kind, ty, span });
            }
            size
        }
        _ => 0,
    };
    if sizes.contains(&size) {
        return Some(value);
    }
    checker.fail(|| errors::not_an_address_of_size(&value, sizes))
}

fn ntop(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let family = match call.args {
        [_, _] => match checker.constant_integer(call, 0, "the address family")? {
            f if f == i128::from(AF_INET) => Some(4),
            f if f == i128::from(AF_INET6) => Some(16),
            f => return checker.fail(|| errors::address_family(f, call.args[0].span)),
        },
        _ => None,
    };
    let value = checker.stored_value(call.args.last()?)?;
    if matches!(value.ty, Type::Int { .. } | Type::Bool | Type::Enum { .. }) && family != Some(16) {
        let value = match constant::value_of(&value) {
            // A constant is taken by its bits.
            Some(v) => constant::constant(v & 0xffff_ffff, Type::U32, value.span),
            None => {
                let span = value.span;
                Expr { kind: ExprKind::Cast(Box::new(value)), ty: Type::U32, span }
            }
        };
        return Some(address(value, Type::Inet, call));
    }
    let bytes = match family {
        Some(size) => bytes_of(checker, value, &[size])?,
        None => bytes_of(checker, value, &[4, 16])?,
    };
    Some(address(bytes, Type::Inet, call))
}

fn macaddr(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let value = checker.stored_value(call.args.first()?)?;
    let bytes = bytes_of(checker, value, &[6])?;
    Some(address(bytes, Type::MacAddr, call))
}

fn pton(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let text = checker.constant_text(call, 0, "the address")?;
    let bytes = match (text.parse::<Ipv4Addr>(), text.parse::<Ipv6Addr>()) {
        (Ok(v4), _) => v4.octets().to_vec(),
        (Err(_), Ok(v6)) => v6.octets().to_vec(),
        (Err(_), Err(_)) => return checker.fail(|| errors::not_an_ip_address(&text, call.args[0].span)),
    };
    let ty = Type::Array { elem: Box::new(Type::Int { bits: 8, signed: false }), len: bytes.len() as u32 };
    Some(Expr { kind: ExprKind::Text(bytes), ty, span: call.span })
}
