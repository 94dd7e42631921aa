//! Parts of values: fields of structs, tuples and records, elements of arrays, and what pointers
//! point to.
//!
//! A chain of fields is one load: `$p.se.on_rq` reads at `$p + offsetof(se) + offsetof(on_rq)`. Only
//! a pointer in the middle makes another load.

use memql_grammar::ast::{self, BinaryOp, ExprKind as Ast, Name, Span};

use super::diagnostics::{names, types};
use super::{Checker, constant};
use crate::btf::Field;
use crate::hir::{Expr, ExprKind};
use crate::types::{AddrSpace, StructRef, TupleField, Type, tuple_layout};

impl Checker<'_> {
    /// `base.name`
    pub(crate) fn field(&mut self, base: &ast::Expr, name: &Name, span: Span) -> Option<Expr> {
        if let Ast::Ident(ident) = &base.kind {
            match ident.text.as_str() {
                "args" => return self.argument(name, base.span, span),
                "opt" => return self.option(name, span),
                _ => {}
            }
        }
        if let Some(context) = self.perf_context(base) {
            let value = self.field_of(context?, name, span)?;
            return self.perf_member(value, name);
        }
        let value = self.any_size_value(base)?;
        let value = self.field_of(value, name, span)?;
        self.perf_member(value, name)
    }

    fn field_of(&mut self, base: Expr, name: &Name, span: Span) -> Option<Expr> {
        match &base.ty {
            Type::Tuple(fields) => {
                let fields = fields.clone();
                self.tuple_field(base, &fields, name, span)
            }
            Type::Struct(of) => {
                let of = of.clone();
                let field = self.struct_field(&of, name)?;
                self.member(base, &of, &field, span)
            }
            Type::Ptr { to, space } => match (&**to, *space) {
                (Type::Struct(of), space) => {
                    let of = of.clone();
                    let field = self.struct_field(&of, name)?;
                    self.member_through(base, 0, space, &of, &field, span)
                }
                _ => self.fail(|| types::no_fields_behind(&base, name)),
            },
            _ => self.fail(|| types::no_fields(&base, name)),
        }
    }

    fn tuple_field(&mut self, base: Expr, fields: &[TupleField], name: &Name, span: Span) -> Option<Expr> {
        let at = match name.text.parse::<usize>() {
            Ok(n) => Some(n).filter(|n| *n < fields.len()),
            Err(_) => fields.iter().position(|f| f.name.as_deref() == Some(name.text.as_str())),
        };
        match at {
            Some(at) => self.element_of_tuple(base, fields, at, span),
            None => self.fail(|| names::unknown_tuple_field(&base.ty, fields, name)),
        }
    }

    /// A field of a struct value: part of the load that the value is, or of the value in memory.
    fn member(&mut self, base: Expr, of: &StructRef, field: &Field, span: Span) -> Option<Expr> {
        if let ExprKind::Load { addr, offset, bits: None } = base.kind {
            let space = addr.space();
            return self.member_through(*addr, offset, space, of, field, span);
        }
        let (ty, offset, bits) = self.placed(of, field, AddrSpace::Kernel, span)?;
        let offset = u32::try_from(offset).ok()?;
        self.part_of(base, offset, bits, ty, span)
    }

    /// A field of what a pointer points to.
    fn member_through(
        &mut self,
        addr: Expr,
        base_offset: i64,
        space: AddrSpace,
        of: &StructRef,
        field: &Field,
        span: Span,
    ) -> Option<Expr> {
        let (ty, offset, bits) = self.placed(of, field, space, span)?;
        let kind = ExprKind::Load { addr: Box::new(addr), offset: base_offset + offset, bits };
        Some(Expr { kind, ty, span })
    }

    /// A field's type, its offset in bytes, and its bits within the load.
    fn placed(&mut self, of: &StructRef, field: &Field, space: AddrSpace, span: Span) -> Option<Placed> {
        let shown = Type::Struct(of.clone()).to_string();
        // What the context holds are the kernel's own addresses.
        let space = if space == AddrSpace::Context { AddrSpace::Kernel } else { space };
        let ty = self.btf(span, &shown)?.lang_type(field.type_id, space);
        let Some(bits) = field.bitfield_bits else {
            return Some((ty, i64::from(field.bit_offset / 8), None));
        };
        // Of 128 bits, or damaged.
        if !ty.is_scalar() {
            return self.fail(|| super::diagnostics::unsupported::packed_bit_field(&field.name, span));
        }
        // A bit-field is read with a load of its declared type, aligned to it as compilers lay it out.
        let unit = ty.size() * 8;
        let start = field.bit_offset / unit * unit;
        let first = field.bit_offset - start;
        if first + u32::from(bits) <= unit {
            return Some((ty, i64::from(start / 8), Some((first as u8, bits))));
        }
        let start = field.bit_offset / 8 * 8;
        let first = field.bit_offset - start;
        if first + u32::from(bits) <= unit {
            return Some((ty, i64::from(start / 8), Some((first as u8, bits))));
        }
        self.fail(|| super::diagnostics::unsupported::packed_bit_field(&field.name, span))
    }

    /// `base[index]`
    pub(crate) fn index(&mut self, base: &ast::Expr, index: &ast::Expr, span: Span) -> Option<Expr> {
        let (value, at) = (self.any_size_value(base), self.stored_value(index));
        let (value, at) = (value?, at?);
        if !super::arithmetic::is_integer(&at.ty) {
            return self.fail(|| types::bad_index(&at));
        }
        let fixed = constant::value_of(&at);
        match &value.ty {
            Type::Tuple(fields) => {
                let fields = fields.clone();
                match fixed.map(usize::try_from) {
                    Some(Ok(n)) if n < fields.len() => self.element_of_tuple(value, &fields, n, span),
                    Some(_) => {
                        let name = Name { text: format!("{}", fixed.unwrap_or_default()), span: at.span };
                        self.fail(|| names::unknown_tuple_field(&value.ty, &fields, &name))
                    }
                    None => self.fail(|| types::index_not_constant(at.span)),
                }
            }
            Type::Array { elem, len } => {
                let (elem, len) = ((**elem).clone(), *len);
                // An array of no length at a struct's end is as long as there is memory for it.
                let open = len == 0 && matches!(value.kind, ExprKind::Load { .. });
                if !open && fixed.is_some_and(|n| n < 0 || n >= i128::from(len)) {
                    return self.fail(|| {
                        types::index_out_of_bounds(at.span, fixed.unwrap_or_default(), &value.ty, len)
                    });
                }
                self.element(value, at, elem, span)
            }
            Type::Ptr { to, .. } => {
                let elem = (**to).clone();
                if elem == Type::Void {
                    return self.fail(|| types::void_pointer(&value));
                }
                self.element_through(value, 0, at, elem, span)
            }
            Type::Str { .. } => self.character(value, at, fixed, span),
            _ => self.fail(|| types::not_indexable(&value)),
        }
    }

    fn element(&mut self, base: Expr, at: Expr, elem: Type, span: Span) -> Option<Expr> {
        if let ExprKind::Load { addr, offset, bits: None } = base.kind {
            return self.element_through(*addr, offset, at, elem, span);
        }
        self.keepable(&base)?;
        match constant::value_of(&at) {
            Some(n) => self.part_of(base, u32::try_from(n).ok()? * elem.size(), None, elem, span),
            None => {
                let index = Box::new(self.convert(at, &Type::I64)?);
                Some(Expr { kind: ExprKind::Index { base: Box::new(base), index }, ty: elem, span })
            }
        }
    }

    /// An element of an array in memory, by address.
    fn element_through(&mut self, addr: Expr, offset: i64, at: Expr, elem: Type, span: Span) -> Option<Expr> {
        let elem = inherit(elem, addr.space());
        let size = i128::from(elem.size().max(1));
        let bytes = self.scaled(at, size, span)?;
        let (addr, offset) = match bytes.as_int() {
            Some(n) => (addr, offset.wrapping_add(n)),
            None => {
                let ty = addr.ty.clone();
                let kind =
                    ExprKind::Binary { op: BinaryOp::Add, left: Box::new(addr), right: Box::new(bytes) };
                (Expr { kind, ty, span }, offset)
            }
        };
        Some(Expr { kind: ExprKind::Load { addr: Box::new(addr), offset, bits: None }, ty: elem, span })
    }

    /// A character of a string: an `int8`.
    fn character(&mut self, text: Expr, at: Expr, fixed: Option<i128>, span: Span) -> Option<Expr> {
        let cap = text.ty.size();
        let ty = Type::Int { bits: 8, signed: true };
        match fixed {
            Some(n) if n < 0 || n >= i128::from(cap) => {
                self.fail(|| types::index_out_of_bounds(at.span, n, &text.ty, cap))
            }
            Some(n) => match constant::text_of(&text) {
                Some(bytes) => {
                    let byte = bytes.get(usize::try_from(n).ok()?).copied().unwrap_or(0);
                    Some(constant::constant(i128::from(byte as i8), ty, span))
                }
                None => self.part_of(text, u32::try_from(n).ok()?, None, ty, span),
            },
            // An index outside gives zero, as in an array.
            None => {
                let array = Type::Array { elem: Box::new(ty.clone()), len: cap };
                let text = Expr { span: text.span, kind: ExprKind::Cast(Box::new(text)), ty: array };
                self.element(text, at, ty, span)
            }
        }
    }

    /// `*&$x` and `*(type *)&$x`: the variable's bytes, read as another type.
    fn deref_variable(&mut self, operand: &ast::Expr, span: Span) -> Option<Option<Expr>> {
        let (ty, address) = match &operand.kind {
            Ast::Cast { ty, operand } => (Some(ty), &**operand),
            _ => (None, operand),
        };
        let Ast::Unary { op: ast::UnaryOp::AddressOf, operand: variable } = &address.kind else {
            return None;
        };
        let Ast::Var(name) = &variable.kind else { return None };
        let Some(value) = self.read_var(name) else { return Some(None) };
        let Some(ty) = ty else { return Some(Some(Expr { span, ..value })) };
        let Some(Type::Ptr { to, .. }) = self.type_of(ty) else {
            return Some(self.deref_value(operand, span));
        };
        if *to == Type::Void || to.size() > value.ty.size() {
            return Some(self.fail(|| types::larger_than_variable(&to, &value, span)));
        }
        Some(self.part_of(value, 0, None, *to, span))
    }

    /// `*p`
    pub(crate) fn deref(&mut self, operand: &ast::Expr, span: Span) -> Option<Expr> {
        match self.deref_variable(operand, span) {
            Some(value) => value,
            None => self.deref_value(operand, span),
        }
    }

    fn deref_value(&mut self, operand: &ast::Expr, span: Span) -> Option<Expr> {
        let value = self.stored_value(operand)?;
        let Type::Ptr { to, space } = &value.ty else {
            return self.fail(|| types::not_a_pointer(&value, span));
        };
        if **to == Type::Void {
            return self.fail(|| types::void_pointer(&value));
        }
        let ty = inherit((**to).clone(), *space);
        Some(Expr { kind: ExprKind::Load { addr: Box::new(value), offset: 0, bits: None }, ty, span })
    }

    /// `&x`: of a variable, a map, a field of something in memory.
    pub(crate) fn address_of(&mut self, operand: &ast::Expr, span: Span) -> Option<Expr> {
        let value = match &operand.kind {
            Ast::Map { name, key: None } => return self.address_of_map(name, span),
            Ast::Map { key: Some(_), .. } => return self.fail(|| types::no_element_address(span)),
            _ => self.any_size_value(operand)?,
        };
        match value.kind {
            ExprKind::Load { addr, offset, bits: None } => {
                let ty = Type::Ptr { to: Box::new(value.ty), space: addr.space() };
                let addr = Expr { ty: ty.clone(), span, kind: ExprKind::Cast(addr) };
                let right = Box::new(Expr::int(offset, Type::I64, span));
                let kind = ExprKind::Binary { op: BinaryOp::Add, left: Box::new(addr), right };
                Some(Expr { kind, ty, span })
            }
            ExprKind::Var(var) => {
                let ty = Type::Ptr { to: Box::new(value.ty), space: AddrSpace::Kernel };
                Some(Expr { kind: ExprKind::VarAddr(var), ty, span })
            }
            _ => self.fail(|| types::no_address(span)),
        }
    }

    /// `&@x`: the address of a map's only value; of a map with keys, the kernel's map itself.
    fn address_of_map(&mut self, name: &Name, span: Span) -> Option<Expr> {
        let facts = self.map_facts(&name.text);
        let keyed = facts.keyed.is_some_and(|(keyed, _)| keyed);
        self.read_map_name(name)?;
        let map = self.use_map(name, keyed)?;
        let to = if keyed {
            let kernels = self.named_types().ok().and_then(|btf| {
                let id = btf.struct_named("bpf_map")?;
                Some(btf.lang_type(id, AddrSpace::Kernel))
            });
            kernels.unwrap_or(Type::Void)
        } else {
            facts.value?.shape.ty()
        };
        if let Type::Agg(agg) = to {
            return self.fail(|| types::no_aggregation_address(agg, span));
        }
        let ty = Type::Ptr { to: Box::new(to), space: AddrSpace::Kernel };
        Some(Expr { kind: ExprKind::MapAddr(map), ty, span })
    }

    /// A tuple's element.
    fn element_of_tuple(&mut self, base: Expr, fields: &[TupleField], at: usize, span: Span) -> Option<Expr> {
        let offset = tuple_layout(fields).offsets[at];
        self.part_of(base, offset, None, fields[at].ty.clone(), span)
    }

    /// A part of a value, all of which lies in memory then; parts of parts are parts of the whole.
    fn part_of(
        &mut self,
        base: Expr,
        offset: u32,
        bits: Option<(u8, u8)>,
        ty: Type,
        span: Span,
    ) -> Option<Expr> {
        self.keepable(&base)?;
        // Where members are is what the kernel says. The load of a bit-field's unit may go beyond a packed struct's
        // end, but not beyond the words that hold it.
        let room = if bits.is_some() { base.ty.size().next_multiple_of(8) } else { base.ty.size() };
        let end = u64::from(offset) + u64::from(ty.size());
        if end > room.into() {
            return self.fail(|| types::part_outside(&base.ty, end, span));
        }
        let (base, offset) = match base.kind {
            ExprKind::Extract { base: whole, offset: outer, bits: None } => (whole, outer + offset),
            _ => (Box::new(base), offset),
        };
        Some(Expr { kind: ExprKind::Extract { base, offset, bits }, ty, span })
    }
}

/// A field's type, its offset in bytes, and its bits within the load.
type Placed = (Type, i64, Option<(u8, u8)>);

/// Pointers read from memory point into the same memory, unless their type says otherwise.
fn inherit(ty: Type, space: AddrSpace) -> Type {
    match ty {
        Type::Ptr { to, space: AddrSpace::Unknown } if space != AddrSpace::Context => Type::Ptr { to, space },
        other => other,
    }
}
