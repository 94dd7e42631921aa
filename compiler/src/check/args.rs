//! What a probe's attach point passes: `args`, `argN` and `retval`.

use memql_grammar::ast::{BinaryOp, Name, Span};

use super::Checker;
use super::debug_types::Known;
use super::diagnostics::points;
use super::type_expr::integer_named;
use crate::arch::{self, ArgumentPlace};
use crate::attach::{AttachPoint, ProgramKind};
use crate::btf::{Btf, FuncProto};
use crate::hir::{Expr, ExprKind};
use crate::target::{FieldForm, TracepointField, TracepointFormat};
use crate::types::{AddrSpace, TupleField, Type};
use crate::usdt::UsdtPlace;

/// No context is larger in bytes: the largest is a tracepoint's, its record (`PERF_MAX_TRACE_SIZE`,
/// include/linux/trace_events.h).
pub(crate) const MAX_CONTEXT_BYTES: u32 = 8192;

/// An argument typed by BTF: its name, its type, and which 8-byte slot of the context it starts in.
struct TypedArgument {
    name: String,
    type_id: u32,
    slot: u32,
}

impl Checker<'_> {
    /// `args.name`
    pub(crate) fn argument(&mut self, name: &Name, base: Span, span: Span) -> Option<Expr> {
        match self.arguments_point(base)? {
            AttachPoint::Tracepoint { category, name: event } => {
                let format = self.tracepoint_format(&category, &event, base)?;
                match format.fields.iter().find(|f| f.name == name.text) {
                    Some(field) => self.tracepoint_field(field, &category, span),
                    None => {
                        let fields: Vec<String> = format.fields.into_iter().map(|f| f.name).collect();
                        let point = format!("tracepoint `{category}:{event}`");
                        let at = self.probe.span;
                        self.fail(|| points::unknown_argument(&point, name, &fields, at))
                    }
                }
            }
            AttachPoint::Uprobe { path, file_offset, .. } => {
                let known = self.user_function(&path, file_offset, base)?;
                let parameters = &known.signature.parameters;
                match parameters.iter().position(|p| p.name == name.text) {
                    Some(n) => self.user_argument(&known, n, span),
                    None => {
                        let fields: Vec<String> = parameters.iter().map(|p| p.name.clone()).collect();
                        let (at, point) = (self.probe.span, self.live_point()?);
                        self.fail(|| points::unknown_argument(&format!("`{point}`"), name, &fields, at))
                    }
                }
            }
            point => {
                let arguments = self.typed_arguments(&point, base)?;
                match arguments.iter().find(|a| a.name == name.text) {
                    Some(argument) => self.typed_argument(argument, span),
                    None => {
                        let fields: Vec<String> = arguments.into_iter().map(|a| a.name).collect();
                        let at = self.probe.span;
                        self.fail(|| points::unknown_argument(&format!("`{point}`"), name, &fields, at))
                    }
                }
            }
        }
    }

    /// `args` as a whole: a record of everything.
    pub(crate) fn all_arguments(&mut self, span: Span) -> Option<Expr> {
        let (mut items, mut fields) = (Vec::new(), Vec::new());
        let mut add = |name: String, value: Expr| {
            fields.push(TupleField { name: Some(name), ty: value.ty.clone() });
            items.push(value);
        };
        match self.arguments_point(span)? {
            AttachPoint::Tracepoint { category, name: event } => {
                for field in self.tracepoint_format(&category, &event, span)?.fields {
                    let value = self.tracepoint_field(&field, &category, span)?;
                    add(field.name, value);
                }
            }
            AttachPoint::Uprobe { path, file_offset, .. } => {
                let known = self.user_function(&path, file_offset, span)?;
                for (n, parameter) in known.signature.parameters.iter().enumerate() {
                    let value = self.user_argument(&known, n, span)?;
                    add(parameter.name.clone(), value);
                }
            }
            point => {
                for argument in self.typed_arguments(&point, span)? {
                    let value = self.typed_argument(&argument, span)?;
                    add(argument.name, value);
                }
            }
        }
        // A tuple of the same values, with names.
        let tuple = self.tuple_of(items, span)?;
        Some(Expr { ty: Type::Tuple(fields), ..tuple })
    }

    /// `argN`
    pub(crate) fn numbered_argument(&mut self, n: usize, span: Span) -> Option<Expr> {
        // A probe that never runs is walked for what its maps hold: any register will do.
        let Some(point) = self.live_point() else { return Some(register(0, span)) };
        match self.probe.kind()? {
            kind @ (ProgramKind::Kprobe | ProgramKind::Uprobe) => {
                let kernel = kind == ProgramKind::Kprobe;
                let registers = arch::registers(self.target.features().arch);
                match registers.argument(n) {
                    Some(offset) => Some(register(offset, span)),
                    None => self.fail(|| points::argument_not_in_register(n, registers, kernel, span)),
                }
            }
            ProgramKind::RawTracepoint => {
                let arguments = self.typed_arguments(&point, span)?;
                match arguments.get(n) {
                    Some(argument) => self.typed_argument(argument, span),
                    None => self.fail(|| points::argument_missing(n, arguments.len(), &point, span)),
                }
            }
            ProgramKind::Usdt => self.usdt_argument(&point, n, span),
            kind => {
                let at = self.probe.span;
                self.fail(|| points::no_numbered_arguments(n, kind, span, at))
            }
        }
    }

    /// `argN` of a static probe: an `int64`, as its location has it.
    fn usdt_argument(&mut self, point: &AttachPoint, n: usize, span: Span) -> Option<Expr> {
        let AttachPoint::Usdt { args, .. } = point else { return None };
        let Some(arg) = args.get(n) else {
            return self.fail(|| points::argument_missing(n, args.len(), point, span));
        };
        let ty = Type::Int { bits: arg.bytes * 8, signed: arg.signed };
        let value = match &arg.place {
            UsdtPlace::Constant(number) => {
                let cut = Expr { kind: ExprKind::Int(*number), ty: Type::I64, span };
                self.convert(cut, &ty)?
            }
            UsdtPlace::Register(offset) => {
                let kind = ExprKind::CtxLoad { offset: *offset, bytes: arg.bytes.into(), signed: arg.signed };
                Expr { kind, ty, span }
            }
            UsdtPlace::Memory { base, index, displacement } => {
                let addr = Box::new(user_address(*base, *index, ty.clone(), span));
                Expr { kind: ExprKind::Load { addr, offset: *displacement, bits: None }, ty, span }
            }
            UsdtPlace::Unreadable(text) => {
                return self.fail(|| points::usdt_argument_unreadable(n, text, point, span));
            }
        };
        self.convert(value, &Type::I64)
    }

    /// `retval`
    pub(crate) fn return_value(&mut self, span: Span) -> Option<Expr> {
        let Some(point) = self.live_point() else { return Some(register(0, span)) };
        match (self.probe.kind()?, &point) {
            (ProgramKind::Kretprobe | ProgramKind::Uretprobe, _) => {
                Some(register(arch::registers(self.target.features().arch).return_value, span))
            }
            (ProgramKind::Fexit, AttachPoint::Fentry { .. } | AttachPoint::BpfFunction { .. }) => {
                let slots = slots_after(&self.typed_arguments(&point, span)?, self.btf(span, "`retval`")?);
                match self.described(&point, span)?.and_then(|proto| proto.ret) {
                    Some(ret) => {
                        let ty = self.btf(span, "`retval`")?.lang_type(ret, AddrSpace::Kernel);
                        match point {
                            AttachPoint::BpfFunction { .. } if ty.is_scalar() => {
                                Some(Expr { kind: ExprKind::ProgramResult, ty, span })
                            }
                            _ => self.context_value(slots.saturating_mul(8), ty, "retval", span),
                        }
                    }
                    None => {
                        let (at, function) = (self.probe.span, point.function().unwrap_or_default());
                        self.fail(|| points::returns_nothing(function, span, at))
                    }
                }
            }
            (kind, _) => {
                let at = self.probe.span;
                self.fail(|| points::no_return_value(kind, span, at))
            }
        }
    }

    /// The point whose arguments are meant; a finding where probes of this kind have none.
    fn arguments_point(&mut self, span: Span) -> Option<AttachPoint> {
        let point = self.live_point()?;
        match point.kind() {
            ProgramKind::Tracepoint
            | ProgramKind::RawTracepoint
            | ProgramKind::Fentry
            | ProgramKind::Fexit => Some(point),
            // Inside of a function, arguments may be gone.
            ProgramKind::Uprobe if matches!(point, AttachPoint::Uprobe { offset: 0, .. }) => Some(point),
            kind => {
                let at = self.probe.span;
                self.fail(|| points::no_arguments(kind, span, at))
            }
        }
    }

    /// What debug information says of a function of a program.
    fn user_function(&mut self, path: &str, entry: u64, span: Span) -> Option<Known> {
        match self.debug_signature(path, entry, span)? {
            Some(known) => Some(known),
            None => {
                let (at, point) = (self.probe.span, self.live_point()?);
                self.fail(|| points::no_debug_information(&point, span, at))
            }
        }
    }

    /// The nth argument of a function of a program.
    fn user_argument(&mut self, known: &Known, n: usize, span: Span) -> Option<Expr> {
        let arch = self.target.features().arch;
        let place = *arch::argument_places(arch, &known.signature).get(n)?;
        let parameter = known.signature.parameters.get(n)?;
        let id = known.id(parameter.type_ref);
        let ty = self.btf(span, "`args`")?.lang_type(id, AddrSpace::User);
        let in_memory = |addr: Expr, offset: u32| {
            let pointer = Type::Ptr { to: Box::new(ty.clone()), space: AddrSpace::User };
            let addr = Box::new(Expr { ty: pointer, ..addr });
            let kind = ExprKind::Load { addr, offset: i64::from(offset), bits: None };
            Some(Expr { kind, ty: ty.clone(), span })
        };
        let stack_pointer = arch::registers(arch).stack_pointer;
        match place {
            ArgumentPlace::Register(offset) if ty.is_scalar() => {
                let kind = ExprKind::CtxLoad { offset, bytes: ty.size(), signed: ty.is_signed() };
                Some(Expr { kind, ty, span })
            }
            ArgumentPlace::Stack(offset) if ty != Type::Void => {
                in_memory(register(stack_pointer, span), offset)
            }
            ArgumentPlace::Behind(offset) => in_memory(register(offset, span), 0),
            ArgumentPlace::BehindStack(offset) => {
                let pointer = Type::Ptr { to: Box::new(ty.clone()), space: AddrSpace::User };
                let slot = Type::Ptr { to: Box::new(pointer.clone()), space: AddrSpace::User };
                let addr = Box::new(Expr { ty: slot, ..register(stack_pointer, span) });
                let kind = ExprKind::Load { addr, offset: i64::from(offset), bits: None };
                in_memory(Expr { kind, ty: pointer, span }, 0)
            }
            ArgumentPlace::Register(_) | ArgumentPlace::Stack(_) | ArgumentPlace::Unreadable(_) => {
                let why = match place {
                    ArgumentPlace::Unreadable(why) => why,
                    _ => "the language has no values of its type",
                };
                let shown = known.signature.types.c_name(parameter.type_ref);
                self.fail(|| points::user_argument_unreadable(&parameter.name, &shown, why, span))
            }
        }
    }

    /// The first of the probe's points, which stands for all; nothing for probes that never run.
    fn live_point(&self) -> Option<AttachPoint> {
        if self.probe.live { self.probe.points.first().cloned() } else { None }
    }

    pub(crate) fn tracepoint_format(
        &mut self,
        category: &str,
        event: &str,
        span: Span,
    ) -> Option<TracepointFormat> {
        match self.target.tracepoint(category, event) {
            Ok(Some(format)) => Some(format),
            Ok(None) => self.fail(|| points::format_gone(category, event, span)),
            Err(error) => self.fail(|| points::fact(span, &error)),
        }
    }

    /// An enumeration of the kernel's BTF that has this width.
    fn enumeration(&self, name: &str, width: u8) -> Option<Type> {
        let btf = self.target.btf().ok()?;
        let ty = btf.lang_type(btf.enum_named(name)?, AddrSpace::Kernel);
        matches!(ty, Type::Enum { bits, .. } if bits == width).then_some(ty)
    }

    fn tracepoint_field(&mut self, field: &TracepointField, category: &str, span: Span) -> Option<Expr> {
        let syscall = category == "syscalls";
        let offset = field.offset;
        self.in_context(&field.name, offset, field.size, span)?;
        let text = |cap: u32, kind: ExprKind| Some(Expr { kind, ty: Type::Str { cap }, span });
        match field.form {
            FieldForm::Int => {
                let Some(record_bits) = width(field.size) else {
                    return self.fail(|| points::odd_field(&field.name, field.size, span));
                };
                let (bits, signed) = match syscall_argument(&field.ctype).filter(|_| syscall) {
                    Some((bits, signed)) => (bits.min(record_bits), signed || field.signed),
                    None => (record_bits, field.signed),
                };
                let ty = match field.ctype.strip_prefix("enum ") {
                    _ if field.ctype == "bool" && bits == 8 => Type::Bool,
                    Some(name) => self.enumeration(name, bits).unwrap_or(Type::Int { bits, signed }),
                    None => Type::Int { bits, signed },
                };
                let bytes = u32::from(bits / 8);
                Some(Expr { kind: ExprKind::CtxLoad { offset, bytes, signed }, ty, span })
            }
            FieldForm::Pointer => {
                let space = if syscall { AddrSpace::User } else { AddrSpace::Kernel };
                let to = self.pointee(&field.ctype, space);
                let ty = Type::Ptr { to: Box::new(to), space };
                Some(Expr { kind: ExprKind::CtxLoad { offset, bytes: 8, signed: false }, ty, span })
            }
            FieldForm::Array { len: _, is_char: true } => {
                let addr = Box::new(context_address(
                    ExprKind::CtxAddr { offset },
                    Type::Int { bits: 8, signed: true },
                    span,
                ));
                text(field.size.max(1), ExprKind::Load { addr, offset: 0, bits: None })
            }
            FieldForm::Array { len, is_char: false } => {
                let Some(bits) = field.size.checked_div(len).and_then(width) else {
                    return self.fail(|| points::odd_field(&field.name, field.size, span));
                };
                let signed_type = integer_named(&field.ctype).is_some_and(|ty| ty.is_signed());
                let elem = Type::Int { bits, signed: field.signed || signed_type };
                let addr = Box::new(context_address(ExprKind::CtxAddr { offset }, elem.clone(), span));
                let ty = Type::Array { elem: Box::new(elem), len };
                Some(Expr { kind: ExprKind::Load { addr, offset: 0, bits: None }, ty, span })
            }
            FieldForm::DataLoc { is_char } | FieldForm::RelLoc { is_char } => {
                let relative = matches!(field.form, FieldForm::RelLoc { .. });
                let to = if is_char {
                    Type::Int { bits: 8, signed: true }
                } else {
                    location_element(&field.ctype)
                };
                let addr = context_address(ExprKind::DataLoc { offset, relative }, to, span);
                if !is_char {
                    return Some(addr);
                }
                let len = Expr { kind: ExprKind::DataLocLen { offset }, ty: Type::U32, span };
                let len = Some(Box::new(self.convert(len, &Type::U64)?));
                text(self.settings.max_strlen, ExprKind::Str { addr: Box::new(addr), len })
            }
        }
    }

    /// What the kernel says of where an argument lies is input: it may be nowhere.
    fn in_context(&mut self, name: &str, offset: u32, size: u32, span: Span) -> Option<()> {
        let end = u64::from(offset) + u64::from(size);
        if end > MAX_CONTEXT_BYTES.into() {
            return self.fail(|| points::outside_of_context(name, end, span));
        }
        Some(())
    }

    /// What a C pointer type points to: `const char *` -> `int8`; structs by BTF where there is one.
    fn pointee(&self, ctype: &str, space: AddrSpace) -> Type {
        let inner = ctype.trim().strip_suffix('*').unwrap_or(ctype).trim();
        let inner = inner.strip_suffix("const").unwrap_or(inner).trim();
        if inner.ends_with('*') {
            return Type::Ptr { to: Box::new(self.pointee(inner, space)), space };
        }
        let words: Vec<&str> =
            inner.split_whitespace().filter(|w| !matches!(*w, "const" | "volatile" | "__user")).collect();
        let name = words.join(" ");
        if let Some(ty) = integer_named(&name) {
            return ty;
        }
        let (tag, is_union) = match (name.strip_prefix("struct "), name.strip_prefix("union ")) {
            (Some(tag), _) => (tag, false),
            (_, Some(tag)) => (tag, true),
            _ => return Type::Void,
        };
        // Without BTF the address can still be printed and compared, only not looked behind.
        let Ok(btf) = self.named_types() else { return Type::Void };
        let id = if is_union { btf.union_named(tag) } else { btf.struct_named(tag) };
        id.map_or(Type::Void, |id| btf.lang_type(id, space))
    }

    /// The arguments that BTF gives a point.
    fn typed_arguments(&mut self, point: &AttachPoint, span: Span) -> Option<Vec<TypedArgument>> {
        let Some(FuncProto { params, ret: _ }) = self.described(point, span)? else {
            return self.fail(|| points::arguments_unknown(point, span));
        };
        let btf = self.btf(span, "`args`")?;
        let mut slot = 0;
        let mut arguments = Vec::with_capacity(params.len());
        for (name, type_id) in params {
            arguments.push(TypedArgument { name, type_id, slot });
            slot = slots_of(&btf.lang_type(type_id, AddrSpace::Kernel)).saturating_add(slot);
        }
        Some(arguments)
    }

    fn typed_argument(&mut self, argument: &TypedArgument, span: Span) -> Option<Expr> {
        let ty = self.btf(span, "`args`")?.lang_type(argument.type_id, AddrSpace::Kernel);
        self.context_value(argument.slot.saturating_mul(8), ty, &argument.name, span)
    }

    /// A value that lies in the context with its BTF type.
    fn context_value(&mut self, offset: u32, ty: Type, name: &str, span: Span) -> Option<Expr> {
        self.in_context(name, offset, ty.size(), span)?;
        if ty.is_scalar() {
            let kind = ExprKind::CtxLoad { offset, bytes: ty.size(), signed: ty.is_signed() };
            return Some(Expr { kind, ty, span });
        }
        if matches!(ty, Type::Struct(_) | Type::Array { .. }) {
            let addr = Box::new(context_address(ExprKind::CtxAddr { offset }, ty.clone(), span));
            return Some(Expr { kind: ExprKind::Load { addr, offset: 0, bits: None }, ty, span });
        }
        self.fail(|| points::odd_field(name, ty.size(), span))
    }
}

fn register(offset: u32, span: Span) -> Expr {
    Expr { kind: ExprKind::CtxLoad { offset, bytes: 8, signed: false }, ty: Type::U64, span }
}

/// The sum of registers, as an address in the process's memory.
fn user_address(base: Option<u32>, index: Option<(u32, u8)>, to: Type, span: Span) -> Expr {
    let ty = Type::Ptr { to: Box::new(to), space: AddrSpace::User };
    let typed = |kind: ExprKind, ty: &Type| Expr { kind, ty: ty.clone(), span };
    let base = match base {
        Some(base) => Expr { ty: ty.clone(), ..register(base, span) },
        None => typed(ExprKind::Int(0), &ty),
    };
    let Some((index, scale)) = index else { return base };
    let (op, left) = (BinaryOp::Mul, Box::new(register(index, span)));
    let index = Expr::int(scale.into(), Type::U64, span);
    let index = typed(ExprKind::Binary { op, left, right: Box::new(index) }, &Type::U64);
    typed(ExprKind::Binary { op: BinaryOp::Add, left: Box::new(base), right: Box::new(index) }, &ty)
}

fn context_address(kind: ExprKind, to: Type, span: Span) -> Expr {
    Expr { kind, ty: Type::Ptr { to: Box::new(to), space: AddrSpace::Context }, span }
}

/// How many 8-byte slots of the context an argument takes: structs by value can take two.
fn slots_of(ty: &Type) -> u32 {
    ty.size().div_ceil(8).max(1)
}

fn slots_after(arguments: &[TypedArgument], btf: &Btf) -> u32 {
    let after =
        |a: &TypedArgument| a.slot.saturating_add(slots_of(&btf.lang_type(a.type_id, AddrSpace::Kernel)));
    arguments.last().map_or(0, after)
}

fn width(bytes: u32) -> Option<u8> {
    matches!(bytes, 1 | 2 | 4 | 8).then(|| bytes as u8 * 8)
}

/// Names of narrow integers that arguments of system calls have, beside those of C (include/linux/types.h).
const SYSCALL_INTEGERS: [(&str, u8, bool); 14] = [
    ("__s32", 32, true),
    ("__u32", 32, false),
    ("clockid_t", 32, true),
    ("gid_t", 32, false),
    ("key_serial_t", 32, true),
    ("key_t", 32, true),
    ("mqd_t", 32, true),
    ("pid_t", 32, true),
    ("qid_t", 32, false),
    ("rwf_t", 32, true),
    ("timer_t", 32, true),
    ("u32", 32, false),
    ("uid_t", 32, false),
    ("umode_t", 16, false),
];

/// Width in bits and sign of an argument of a system call. Formats call all of them unsigned and 8 bytes wide: that is the
/// register, of which the kernel takes the low bits, and the C type says how many.
fn syscall_argument(ctype: &str) -> Option<(u8, bool)> {
    let words: Vec<&str> = ctype.split_whitespace().filter(|w| *w != "const").collect();
    let name = words.join(" ");
    let listed = SYSCALL_INTEGERS.iter().find(|(known, _, _)| *known == name);
    listed.map(|&(_, bits, signed)| (bits, signed)).or_else(|| match integer_named(&name)? {
        Type::Int { bits, signed } => Some((bits, signed)),
        _ => None,
    })
}

/// The element type in `__data_loc TYPE[]`.
fn location_element(ctype: &str) -> Type {
    let inner = ctype.trim_start_matches("__data_loc").trim_start_matches("__rel_loc").trim();
    let inner = inner.trim_end_matches("[]").trim();
    integer_named(inner).unwrap_or(Type::Int { bits: 8, signed: false })
}
