//! Parsing.
//!
//! A function is read twice: first its definitions, so that a block may use a value that stands
//! further down (its definition dominates the use, but need not come first in the text), then its
//! operands.

use std::collections::HashMap;
use std::fmt;

use memql_grammar::ast::Span;

use super::super::{
    Block, DefinedBy, FuncRef, Function, Global, GlobalDef, Helper, Inst, InstId, MapDef, MapKind, MapRef,
    Module, Program, Slot, SlotDef, Target, Terminator, Type, UnaryOp, Value, ValueDef, ValueList, Width,
};
use super::{BINARY_OPS, CONDS, MAP_KINDS, PROGRAM_KINDS, TYPES, WIDTHS, by_name};
use crate::helpers;

/// Why a text is not IR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// What was expected there.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for ParseError {}

type Result<T> = std::result::Result<T, ParseError>;

/// Reads a module.
///
/// # Errors
/// The first line that is not IR, and what was expected there. What is IR but breaks its rules is
/// left to the IR verifier.
pub fn parse_module(text: &str) -> Result<Module> {
    let lines: Vec<Line> = text.lines().enumerate().filter_map(|(i, raw)| Line::new(i + 1, raw)).collect();
    let mut module = Module::default();
    let mut rest = lines.as_slice();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let mut line = first.cursor();
        match line.word() {
            "license" => module.license = line.string()?,
            "program" => {
                let end = rest.iter().position(|l| l.text == "}");
                let Some(end) = end else { return Err(line.error("this program has no closing `}`")) };
                module.programs.push(parse_program(line, &rest[..end])?);
                rest = &rest[end + 1..];
                continue;
            }
            word if word.starts_with("map") => {
                line.entity_is(word, module.maps.next_key())?;
                let def = parse_map(&mut line)?;
                module.maps.push(def);
            }
            word if word.starts_with("global") => {
                line.entity_is(word, module.globals.next_key())?;
                let def = parse_global(&mut line)?;
                module.globals.push(def);
            }
            _ => return Err(line.error("expected `license`, `map`, `global` or `program`")),
        }
        line.end()?;
    }
    Ok(module)
}

fn parse_map(line: &mut Cursor) -> Result<MapDef> {
    line.expect("=")?;
    let kind: MapKind = line.entry("a map type", MAP_KINDS)?;
    let name = line.string()?;
    let key_size = line.labelled(", key")?;
    let value_size = line.labelled(", value")?;
    let max_entries = line.labelled(", max_entries")?;
    let flags = if line.at(",") { line.labelled(", flags")? } else { 0 };
    Ok(MapDef { name, kind, key_size, value_size, max_entries, flags })
}

fn parse_global(line: &mut Cursor) -> Result<GlobalDef> {
    line.expect("=")?;
    let name = line.string()?;
    let size = line.labelled(", size")?;
    let align = line.labelled(", align")?;
    let offset = line.labelled(", offset")?;
    Ok(GlobalDef { name, size, align, offset })
}

fn parse_program(mut header: Cursor, lines: &[Line]) -> Result<Program> {
    header.expect("%")?;
    let name = if header.at("\"") { header.string()? } else { header.word().to_string() };
    header.expect("on")?;
    let kind = header.entry("a program type", PROGRAM_KINDS)?;
    let attach_to = if header.at("\"") { Some(header.string()?) } else { None };
    header.expect("{")?;
    header.end()?;
    let mut program = Program { name, kind, attach_to, functions: Default::default() };
    let mut rest = lines;
    while let Some((first, after)) = rest.split_first() {
        let params = parse_function_header(first, program.functions.next_key())?;
        let end = after.iter().position(|l| l.text.starts_with("fn")).unwrap_or(after.len());
        let (body, next) = after.split_at(end);
        program.functions.push(FunctionParser::new(params).parse(body)?);
        rest = next;
    }
    Ok(program)
}

fn parse_function_header(line: &Line, key: FuncRef) -> Result<Vec<Type>> {
    let mut line = line.cursor();
    let word = line.word();
    line.entity_is(word, key)?;
    let params = line.list(|line| line.ty())?;
    line.expect(":")?;
    line.end()?;
    Ok(params)
}

/// One function under construction.
struct FunctionParser {
    function: Function,
    /// Values by their number in the text.
    names: HashMap<u32, Value>,
}

impl FunctionParser {
    fn new(params: Vec<Type>) -> FunctionParser {
        FunctionParser { function: Function { params, ..Function::default() }, names: HashMap::new() }
    }

    fn parse(mut self, lines: &[Line]) -> Result<Function> {
        let definitions = self.define(lines)?;
        for (line, block) in definitions {
            self.fill(line, block)?;
        }
        Ok(self.function)
    }

    /// Reads slots, block headers and results; gives the lines of instructions with their blocks.
    fn define<'l, 't>(&mut self, lines: &'l [Line<'t>]) -> Result<Vec<(&'l Line<'t>, Block)>> {
        let mut contents = Vec::new();
        let mut insts = 0;
        let mut current = None;
        for line in lines {
            let mut cursor = line.cursor();
            let word = cursor.word();
            if word.starts_with("ss") {
                cursor.entity_is(word, self.function.slots.next_key())?;
                let slot = parse_slot(&mut cursor)?;
                self.function.slots.push(slot);
            } else if word.starts_with("block") {
                let block = self.function.add_block();
                cursor.entity_is(word, block)?;
                self.define_params(&mut cursor, block)?;
                current = Some(block);
            } else {
                let Some(block) = current else { return Err(cursor.error("expected a slot or a block")) };
                if let Some(number) = numbered(word, "v") {
                    let ty = cursor.type_or_i64()?;
                    let by = DefinedBy::Inst(InstId::from_u32(insts));
                    self.name_value(&cursor, number, ValueDef { ty, by })?;
                }
                insts += u32::from(!is_terminator(word));
                contents.push((line, block));
            }
        }
        Ok(contents)
    }

    fn define_params(&mut self, line: &mut Cursor, block: Block) -> Result<()> {
        if line.at("(") {
            let params = line.list(|line| {
                let word = line.word();
                let Some(number) = numbered(word, "v") else { return Err(line.error("expected a value")) };
                line.expect(":")?;
                Ok((number, line.ty()?))
            })?;
            for (number, ty) in params {
                let index = self.function.blocks[block].params.len() as u32;
                let value =
                    self.name_value(line, number, ValueDef { ty, by: DefinedBy::Param(block, index) })?;
                self.function.blocks[block].params.push(value);
            }
        }
        line.expect(":")?;
        line.end()
    }

    fn name_value(&mut self, line: &Cursor, number: u32, def: ValueDef) -> Result<Value> {
        let value = self.function.values.push(def);
        match self.names.insert(number, value) {
            None => Ok(value),
            Some(_) => Err(line.error(format!("v{number} is defined twice"))),
        }
    }

    /// Reads an instruction or terminator.
    fn fill(&mut self, line: &Line, block: Block) -> Result<()> {
        let mut cursor = line.cursor();
        if self.function.blocks[block].terminator.is_some() {
            return Err(cursor.error(format!("{block} has ended already")));
        }
        let mut word = cursor.word();
        if is_terminator(word) {
            let terminator = self.terminator(word, &mut cursor)?;
            let data = &mut self.function.blocks[block];
            data.terminator = Some(terminator);
            data.terminator_span = line.span;
            return cursor.end();
        }
        let result = numbered(word, "v").and_then(|number| self.names.get(&number).copied());
        if result.is_some() {
            cursor.type_or_i64()?;
            cursor.expect("=")?;
            word = cursor.word();
        }
        let inst = self.inst(word, &mut cursor)?;
        cursor.end()?;
        let id = self.function.insts.push(inst);
        self.function.spans[id] = line.span;
        self.function.results[id] = result;
        self.function.blocks[block].insts.push(id);
        Ok(())
    }

    fn inst(&mut self, word: &str, line: &mut Cursor) -> Result<Inst> {
        let (name, suffix) = word.split_once('.').unwrap_or((word, ""));
        if let Some(op) = by_name(BINARY_OPS, word) {
            let [left, right] = self.values(line)?;
            return Ok(Inst::Binary { op, left, right });
        }
        Ok(match name {
            "const" => Inst::Const(line.number()?),
            "neg" => self.unary(UnaryOp::Neg, line)?,
            "hide" => self.unary(UnaryOp::Hide, line)?,
            "sext" => self.unary(UnaryOp::Sext(line.width(suffix)?), line)?,
            "zext" => self.unary(UnaryOp::Zext(line.width(suffix)?), line)?,
            "bswap" => self.unary(UnaryOp::Bswap(line.width(suffix)?), line)?,
            "icmp" => {
                let cond =
                    by_name(CONDS, suffix).ok_or_else(|| line.error("expected `icmp.` and a comparison"))?;
                let [left, right] = self.values(line)?;
                Inst::Icmp { cond, left, right }
            }
            "select" => {
                let [cond, then, otherwise] = self.values(line)?;
                Inst::Select { cond, then, otherwise }
            }
            "load" => {
                let (signed, bits) = match suffix.split_at_checked(1) {
                    Some(("s", bits)) => (true, bits),
                    Some(("u", bits)) => (false, bits),
                    Some(_) | None => return Err(line.error("expected `load.u` or `load.s` and a width")),
                };
                let width = line.width(bits)?;
                let (ptr, off) = self.address(line)?;
                Inst::Load { width, signed, ptr, off }
            }
            "store" => {
                let (width, ptr, off, value) = self.access(suffix, line)?;
                Inst::Store { width, ptr, off, value }
            }
            "atomic_add" => {
                let (width, ptr, off, value) = self.access(suffix, line)?;
                Inst::AtomicAdd { width, ptr, off, value }
            }
            "atomic_fetch_add" => {
                let (width, ptr, off, value) = self.access(suffix, line)?;
                Inst::AtomicFetchAdd { width, ptr, off, value }
            }
            "atomic_xchg" => {
                let (width, ptr, off, value) = self.access(suffix, line)?;
                Inst::AtomicXchg { width, ptr, off, value }
            }
            "atomic_cmpxchg" => {
                let (width, ptr, off, expected) = self.access(suffix, line)?;
                line.expect(",")?;
                let value = self.value(line)?;
                Inst::AtomicCmpXchg { width, ptr, off, expected, value }
            }
            "slot_addr" => {
                Inst::SlotAddr { slot: line.reference("ss", Slot::from_u32)?, off: line.offset()? }
            }
            "global_addr" => {
                Inst::GlobalAddr { global: line.reference("global", Global::from_u32)?, off: line.offset()? }
            }
            "map_object" => Inst::MapObject(line.reference("map", MapRef::from_u32)?),
            "fn_addr" => Inst::FnAddr(line.reference("fn", FuncRef::from_u32)?),
            "mem_zero" => {
                let (ptr, off) = self.address(line)?;
                Inst::MemZero { ptr, off, len: line.labelled(",")? }
            }
            "mem_copy" => {
                let (dst, dst_off) = self.address(line)?;
                line.expect(",")?;
                let (src, src_off) = self.address(line)?;
                let len = line.labelled(",")?;
                Inst::MemCopy { dst, dst_off, src, src_off, len, align: line.labelled(", align")? }
            }
            "call" => {
                let name = line.word();
                let by_number = || name.strip_prefix("helper_")?.parse().ok().map(Helper);
                let Some(helper) = helpers::by_name(name).or_else(by_number) else {
                    return Err(line.error(format!("`{name}` is not a helper")));
                };
                let args = line.list(|line| self.value(line))?;
                Inst::Call { helper, args: ValueList::from_slice(&args, &mut self.function.pool) }
            }
            "cast" => Inst::Cast(self.value(line)?),
            "address" => Inst::Address(self.value(line)?),
            _ => return Err(line.error(format!("`{word}` is not an instruction"))),
        })
    }

    fn terminator(&self, word: &str, line: &mut Cursor) -> Result<Terminator> {
        match word {
            "jump" => Ok(Terminator::Jump(self.target(line)?)),
            "return" => Ok(Terminator::Return(self.value(line)?)),
            _ => {
                let cond = line.entry("a comparison", CONDS)?;
                let [left, right] = self.values(line)?;
                line.expect(",")?;
                let then = self.target(line)?;
                line.expect(",")?;
                let otherwise = self.target(line)?;
                Ok(Terminator::Branch { cond, left, right, then, otherwise })
            }
        }
    }

    fn unary(&self, op: UnaryOp, line: &mut Cursor) -> Result<Inst> {
        Ok(Inst::Unary { op, arg: self.value(line)? })
    }

    /// `.W p+off, v`
    fn access(&self, suffix: &str, line: &mut Cursor) -> Result<(Width, Value, i32, Value)> {
        let width = line.width(suffix)?;
        let (ptr, off) = self.address(line)?;
        line.expect(",")?;
        Ok((width, ptr, off, self.value(line)?))
    }

    fn address(&self, line: &mut Cursor) -> Result<(Value, i32)> {
        Ok((self.value(line)?, line.offset()?))
    }

    fn target(&self, line: &mut Cursor) -> Result<Target> {
        let block = line.reference("block", Block::from_u32)?;
        let args = if line.at("(") { line.list(|line| self.value(line))? } else { Vec::new() };
        Ok(Target { block, args })
    }

    fn values<const N: usize>(&self, line: &mut Cursor) -> Result<[Value; N]> {
        let mut values = [Value::from_u32(0); N];
        for (i, value) in values.iter_mut().enumerate() {
            if i > 0 {
                line.expect(",")?;
            }
            *value = self.value(line)?;
        }
        Ok(values)
    }

    fn value(&self, line: &mut Cursor) -> Result<Value> {
        let word = line.word();
        let number =
            numbered(word, "v").ok_or_else(|| line.error(format!("expected a value, found `{word}`")))?;
        self.names.get(&number).copied().ok_or_else(|| line.error(format!("v{number} is not defined")))
    }
}

fn parse_slot(line: &mut Cursor) -> Result<SlotDef> {
    line.expect("=")?;
    let size = line.labelled("stack")?;
    let align = line.labelled(", align")?;
    let name = if line.at(",") {
        line.expect(",")?;
        line.expect("for")?;
        Some(line.string()?)
    } else {
        None
    };
    line.end()?;
    Ok(SlotDef { size, align, name })
}

fn is_terminator(word: &str) -> bool {
    matches!(word, "jump" | "brif" | "return")
}

/// The number of an entity's name: 7 of `block7`. The highest number is not one: it is reserved for
/// absence in packed options.
fn numbered(word: &str, prefix: &str) -> Option<u32> {
    let digits = word.strip_prefix(prefix)?;
    let number = digits.parse().ok().filter(|&n: &u32| n < u32::MAX)?;
    digits.starts_with(|c: char| c.is_ascii_digit()).then_some(number)
}

/// A line with its comment taken off.
struct Line<'t> {
    number: usize,
    text: &'t str,
    span: Span,
}

impl<'t> Line<'t> {
    /// `None` for a line without text.
    fn new(number: usize, raw: &'t str) -> Option<Line<'t>> {
        let (text, comment) = split_comment(raw);
        let span = comment.and_then(parse_span).unwrap_or_default();
        (!text.trim().is_empty()).then(|| Line { number, text: text.trim(), span })
    }

    fn cursor(&self) -> Cursor<'t> {
        Cursor { rest: self.text, line: self.number }
    }
}

/// Splits at the first `;` that is not in a string.
fn split_comment(raw: &str) -> (&str, Option<&str>) {
    let (mut in_string, mut escaped) = (false, false);
    for (at, c) in raw.char_indices() {
        match c {
            ';' if !in_string => return (&raw[..at], Some(&raw[at + 1..])),
            '"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    (raw, None)
}

fn parse_span(comment: &str) -> Option<Span> {
    let (start, end) = comment.trim().split_once("..")?;
    Some(Span { start: start.parse().ok()?, end: end.parse().ok()? })
}

/// The rest of a line.
struct Cursor<'t> {
    rest: &'t str,
    line: usize,
}

impl<'t> Cursor<'t> {
    fn error(&self, message: impl Into<String>) -> ParseError {
        ParseError { line: self.line, message: message.into() }
    }

    fn at(&mut self, text: &str) -> bool {
        self.rest = self.rest.trim_start();
        self.rest.starts_with(text)
    }

    /// Takes each word of `text`, which are separated by spaces.
    fn expect(&mut self, text: &str) -> Result<()> {
        for part in text.split(' ') {
            self.rest = self.rest.trim_start();
            match self.rest.strip_prefix(part) {
                Some(rest) => self.rest = rest,
                None => return Err(self.error(format!("expected `{part}`, found `{}`", self.rest))),
            }
        }
        Ok(())
    }

    fn end(&self) -> Result<()> {
        match self.rest.trim() {
            "" => Ok(()),
            rest => Err(self.error(format!("expected the end of the line, found `{rest}`"))),
        }
    }

    /// Letters, digits, `_` and `.`; empty if there are none.
    fn word(&mut self) -> &'t str {
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    fn entry<T: Copy>(&mut self, what: &str, table: &[(T, &'static str)]) -> Result<T> {
        let word = self.word();
        by_name(table, word).ok_or_else(|| self.error(format!("expected {what}, found `{word}`")))
    }

    fn ty(&mut self) -> Result<Type> {
        let word = self.word();
        let found = TYPES.iter().find(|ty| ty.name() == word);
        found.copied().ok_or_else(|| self.error(format!("expected a type, found `{word}`")))
    }

    /// The type after a defined value: `: ptr.map`, or nothing.
    fn type_or_i64(&mut self) -> Result<Type> {
        if !self.at(":") {
            return Ok(Type::I64);
        }
        self.expect(":")?;
        self.ty()
    }

    fn width(&self, bits: &str) -> Result<Width> {
        by_name(WIDTHS, bits)
            .ok_or_else(|| self.error(format!("expected a width of 8, 16, 32 or 64, found `{bits}`")))
    }

    /// A decimal number with sign, or a hexadecimal one without.
    fn number(&mut self) -> Result<i64> {
        let negative = self.at("-");
        if negative {
            self.expect("-")?;
        }
        let word = self.word();
        let magnitude = match word.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => word.parse(),
        };
        let signed = magnitude.ok().and_then(|m| match negative {
            true => 0i64.checked_sub_unsigned(m),
            false if word.starts_with("0x") => Some(m as i64),
            false => i64::try_from(m).ok(),
        });
        signed.ok_or_else(|| self.error(format!("expected a number, found `{word}`")))
    }

    fn u32(&mut self) -> Result<u32> {
        let number = self.number()?;
        u32::try_from(number).map_err(|_| self.error(format!("{number} is not a 32-bit number")))
    }

    fn labelled(&mut self, label: &str) -> Result<u32> {
        self.expect(label)?;
        self.u32()
    }

    /// `+8`, `-8`, or nothing.
    fn offset(&mut self) -> Result<i32> {
        if self.at("+") {
            self.expect("+")?;
        } else if !self.at("-") {
            return Ok(0);
        }
        let number = self.number()?;
        i32::try_from(number).map_err(|_| self.error(format!("{number} is not a 32-bit offset")))
    }

    /// A string in quotes, with its escapes resolved.
    fn string(&mut self) -> Result<String> {
        self.expect("\"")?;
        let mut text = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(text);
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 'r')) => text.push('\r'),
                    Some((_, escaped)) => text.push(escaped),
                    None => break,
                },
                other => text.push(other),
            }
        }
        Err(self.error("this string has no closing quote"))
    }

    fn reference<T>(&mut self, prefix: &str, make: fn(u32) -> T) -> Result<T> {
        let word = self.word();
        numbered(word, prefix)
            .map(make)
            .ok_or_else(|| self.error(format!("expected `{prefix}N`, found `{word}`")))
    }

    /// Entities are written in order, so that their names are their places.
    fn entity_is(&self, word: &str, next: impl fmt::Display) -> Result<()> {
        let next = next.to_string();
        if word == next { Ok(()) } else { Err(self.error(format!("expected `{next}`, found `{word}`"))) }
    }

    /// `(a, b, ...)`
    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        self.expect("(")?;
        let mut items = Vec::new();
        while !self.at(")") {
            if !items.is_empty() {
                self.expect(",")?;
            }
            items.push(item(self)?);
        }
        self.expect(")")?;
        Ok(items)
    }
}
