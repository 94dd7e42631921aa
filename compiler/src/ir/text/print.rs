//! Printing.

use std::fmt::Write;

use cranelift_entity::SecondaryMap;
use memql_grammar::ast::Span;

use super::super::{
    Block, BlockData, Function, GlobalDef, Inst, InstId, MapDef, Module, Program, SlotDef, Target,
    Terminator, Type, UnaryOp, Value, Width,
};
use super::{BINARY_OPS, CONDS, MAP_KINDS, PROGRAM_KINDS, WIDTHS, is_identifier, name_of};

/// The column at which spans stand, where lines are shorter than that.
const SPAN_COLUMN: usize = 64;

/// The numbers that a function's values have in print: by place of definition.
#[derive(Clone, Debug)]
pub struct ValueNames(SecondaryMap<Value, Option<u32>>);

impl ValueNames {
    /// Numbers the values that the function's blocks define.
    pub fn new(function: &Function) -> ValueNames {
        let mut names = SecondaryMap::new();
        let mut next = 0..;
        for block in function.blocks.values() {
            let results = block.insts.iter().filter_map(|&inst| function.results[inst]);
            for value in block.params.iter().copied().chain(results) {
                names[value] = next.next();
            }
        }
        ValueNames(names)
    }

    /// A value's name. One that no block defines (which the IR verifier forbids) gets a name that
    /// cannot be mistaken for another's.
    pub fn of(&self, value: Value) -> String {
        match self.0[value] {
            Some(number) => format!("v{number}"),
            None => format!("undefined_{value}"),
        }
    }

    fn list(&self, values: &[Value]) -> String {
        values.iter().map(|&v| self.of(v)).collect::<Vec<_>>().join(", ")
    }

    fn address(&self, base: Value, off: i32) -> String {
        address(self.of(base), off)
    }

    fn target(&self, target: &Target) -> String {
        let Target { block, args } = target;
        if args.is_empty() { block.to_string() } else { format!("{block}({})", self.list(args)) }
    }
}

/// Prints a whole module.
pub fn print_module(module: &Module) -> String {
    let Module { maps, globals, programs, license } = module;
    let mut out = String::new();
    if !license.is_empty() {
        line(&mut out, format_args!("license {}", quoted(license)));
    }
    for (map, def) in maps {
        line(&mut out, format_args!("{map} = {}", map_def(def)));
    }
    for (global, def) in globals {
        let GlobalDef { name, size, align, offset } = def;
        line(
            &mut out,
            format_args!("{global} = {}, size {size}, align {align}, offset {offset}", quoted(name)),
        );
    }
    for program in programs {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&print_program(program));
    }
    out
}

/// Prints a program.
pub fn print_program(program: &Program) -> String {
    let Program { name, kind, attach_to, functions } = program;
    let name = if is_identifier(name) { name.clone() } else { quoted(name) };
    let attach_to = attach_to.as_ref().map(|target| format!(" {}", quoted(target))).unwrap_or_default();
    let mut out = String::new();
    line(&mut out, format_args!("program %{name} on {}{attach_to} {{", name_of(PROGRAM_KINDS, kind)));
    for (func, function) in functions {
        let params = function.params.iter().map(|ty| ty.name()).collect::<Vec<_>>().join(", ");
        line(&mut out, format_args!("{func}({params}):"));
        out.push_str(&print_function(function));
    }
    out.push_str("}\n");
    out
}

/// Prints a function's slots and blocks, without its header.
pub fn print_function(function: &Function) -> String {
    let names = ValueNames::new(function);
    let mut out = String::new();
    for (slot, def) in &function.slots {
        let SlotDef { size, align, name } = def;
        let name = name.as_ref().map(|name| format!(", for {}", quoted(name))).unwrap_or_default();
        line(&mut out, format_args!("    {slot} = stack {size}, align {align}{name}"));
    }
    for (block, data) in &function.blocks {
        line(&mut out, format_args!("{}:", block_header(function, &names, block, data)));
        for &inst in &data.insts {
            spanned(&mut out, &print_inst(function, &names, inst), function.spans[inst]);
        }
        if let Some(terminator) = &data.terminator {
            spanned(&mut out, &print_terminator(&names, terminator), data.terminator_span);
        }
    }
    out
}

fn block_header(function: &Function, names: &ValueNames, block: Block, data: &BlockData) -> String {
    let param = |&value: &Value| format!("{}: {}", names.of(value), function.values[value].ty.name());
    let params: Vec<String> = data.params.iter().map(param).collect();
    if params.is_empty() { block.to_string() } else { format!("{block}({})", params.join(", ")) }
}

/// Prints an instruction with the value it defines, without indentation and span.
pub fn print_inst(function: &Function, names: &ValueNames, id: InstId) -> String {
    let body = inst_body(function, names, &function.insts[id]);
    match function.results[id] {
        None => body,
        Some(value) => match function.values[value].ty {
            Type::I64 => format!("{} = {body}", names.of(value)),
            ty => format!("{}: {} = {body}", names.of(value), ty.name()),
        },
    }
}

fn inst_body(function: &Function, names: &ValueNames, inst: &Inst) -> String {
    let v = |value: &Value| names.of(*value);
    let at = |base: &Value, off: &i32| names.address(*base, *off);
    let w = |width: &Width| name_of(WIDTHS, width);
    match inst {
        Inst::Const(imm) => format!("const {imm}"),
        Inst::Unary { op, arg } => match op {
            UnaryOp::Neg => format!("neg {}", v(arg)),
            UnaryOp::Sext(width) => format!("sext.{} {}", w(width), v(arg)),
            UnaryOp::Zext(width) => format!("zext.{} {}", w(width), v(arg)),
            UnaryOp::Hide => format!("hide {}", v(arg)),
            UnaryOp::Bswap(width) => format!("bswap.{} {}", w(width), v(arg)),
        },
        Inst::Binary { op, left, right } => format!("{} {}, {}", name_of(BINARY_OPS, op), v(left), v(right)),
        Inst::Icmp { cond, left, right } => {
            format!("icmp.{} {}, {}", name_of(CONDS, cond), v(left), v(right))
        }
        Inst::Select { cond, then, otherwise } => {
            format!("select {}, {}, {}", v(cond), v(then), v(otherwise))
        }
        Inst::Load { width, signed, ptr, off } => {
            format!("load.{}{} {}", if *signed { 's' } else { 'u' }, w(width), at(ptr, off))
        }
        Inst::Store { width, ptr, off, value } => {
            format!("store.{} {}, {}", w(width), at(ptr, off), v(value))
        }
        Inst::AtomicAdd { width, ptr, off, value } => {
            format!("atomic_add.{} {}, {}", w(width), at(ptr, off), v(value))
        }
        Inst::AtomicFetchAdd { width, ptr, off, value } => {
            format!("atomic_fetch_add.{} {}, {}", w(width), at(ptr, off), v(value))
        }
        Inst::AtomicXchg { width, ptr, off, value } => {
            format!("atomic_xchg.{} {}, {}", w(width), at(ptr, off), v(value))
        }
        Inst::AtomicCmpXchg { width, ptr, off, expected, value } => {
            format!("atomic_cmpxchg.{} {}, {}, {}", w(width), at(ptr, off), v(expected), v(value))
        }
        Inst::SlotAddr { slot, off } => format!("slot_addr {}", address(slot.to_string(), *off)),
        Inst::GlobalAddr { global, off } => format!("global_addr {}", address(global.to_string(), *off)),
        Inst::MapObject(map) => format!("map_object {map}"),
        Inst::FnAddr(func) => format!("fn_addr {func}"),
        Inst::MemZero { ptr, off, len } => format!("mem_zero {}, {len}", at(ptr, off)),
        Inst::MemCopy { dst, dst_off, src, src_off, len, align } => {
            format!("mem_copy {}, {}, {len}, align {align}", at(dst, dst_off), at(src, src_off))
        }
        Inst::Call { helper, args } => {
            let args = names.list(args.as_slice(&function.pool));
            match crate::helpers::signature(*helper) {
                Some(signature) => format!("call {}({args})", signature.name),
                None => format!("call helper_{}({args})", helper.0),
            }
        }
        Inst::Cast(value) => format!("cast {}", v(value)),
        Inst::Address(value) => format!("address {}", v(value)),
    }
}

/// Prints a terminator, without indentation and span.
pub fn print_terminator(names: &ValueNames, terminator: &Terminator) -> String {
    match terminator {
        Terminator::Jump(target) => format!("jump {}", names.target(target)),
        Terminator::Branch { cond, left, right, then, otherwise } => format!(
            "brif {} {}, {}, {}, {}",
            name_of(CONDS, cond),
            names.of(*left),
            names.of(*right),
            names.target(then),
            names.target(otherwise)
        ),
        Terminator::Return(value) => format!("return {}", names.of(*value)),
    }
}

fn map_def(def: &MapDef) -> String {
    let MapDef { name, kind, key_size, value_size, max_entries, flags } = def;
    let flags = if *flags == 0 { String::new() } else { format!(", flags {flags:#x}") };
    let (kind, name) = (name_of(MAP_KINDS, kind), quoted(name));
    format!("{kind} {name}, key {key_size}, value {value_size}, max_entries {max_entries}{flags}")
}

fn address(base: String, off: i32) -> String {
    match off {
        0 => base,
        1.. => format!("{base}+{off}"),
        _ => format!("{base}-{}", off.unsigned_abs()),
    }
}

/// A string with `"`, `\` and line ends escaped, as the parser reads it back.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

fn spanned(out: &mut String, text: &str, span: Span) {
    if span == Span::default() {
        line(out, format_args!("    {text}"));
    } else {
        let width = SPAN_COLUMN - 4;
        line(out, format_args!("    {text:<width$} ; {}..{}", span.start, span.end));
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("writing to a string does not fail");
}
