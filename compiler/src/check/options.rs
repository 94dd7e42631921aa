//! Script options: `option top: uint64 = 10, "-T --top N", "print the N largest";`
//!
//! [`script_options`] gives what the command line needs to build its parser and its help from; in the
//! script an option is a constant, `opt.top`.

use std::collections::BTreeMap;

use memql_grammar::ast::{self, ExprKind as Ast, Item, Name, OptionDecl, Span, TypeBase, UnaryOp};

use super::diagnostics::{names, options as errors};
use super::run::{OptionValue, RunConfig};
use super::type_expr::integer_named;
use super::{Checker, constant};
use crate::diagnostic::{Diagnostic, Severity, similar};
use crate::hir::Expr;
use crate::types::Type;

/// A declared option, as the command line offers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionSpec {
    /// Its name in the script: `opt.NAME`.
    pub name: String,
    /// What it takes.
    pub ty: OptionType,
    /// Its value when it is not given; without one it must be given. A `bool` always has one.
    pub default: Option<OptionValue>,
    /// Its flags with their dashes, as `-T` and `--top`; none for a positional argument.
    pub flags: Vec<String>,
    /// How the help calls its value.
    pub value_name: Option<String>,
    /// One line of help.
    pub help: String,
    /// The declaration.
    pub span: Span,
}

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionType {
    /// A flag without a value.
    Bool,
    /// Any text.
    Str,
    /// An integer of a width and sign.
    Int {
        /// Width in bits.
        bits: u8,
        /// Whether it is signed.
        signed: bool,
    },
}

impl OptionSpec {
    /// Whether it is a positional argument.
    pub fn is_positional(&self) -> bool {
        self.flags.is_empty()
    }

    /// The value that a text of the command line means.
    ///
    /// # Errors
    /// The accepted form, if the text is no value of the option's type.
    pub fn parse(&self, text: &str) -> Result<OptionValue, String> {
        match self.ty {
            OptionType::Bool => match parse_bool(text) {
                Some(value) => Ok(OptionValue::Bool(value)),
                None => Err("expected true or false".to_owned()),
            },
            OptionType::Str => Ok(OptionValue::Str(text.to_owned())),
            OptionType::Int { bits, signed } => {
                let (least, most) = range(bits, signed);
                match parse_integer(text) {
                    Some(v) if (least..=most).contains(&v) => Ok(OptionValue::Int(v)),
                    Some(_) => Err(format!("expected a number from {least} to {most}")),
                    None => Err("expected a number, such as 42, 0x2a or 1_000".to_owned()),
                }
            }
        }
    }
}

/// The script's declared options in source order.
///
/// # Errors
/// What is wrong with the declarations.
pub fn script_options(script: &ast::Script) -> Result<Vec<OptionSpec>, Vec<Diagnostic>> {
    let (mut specs, mut findings): (Vec<OptionSpec>, Vec<Diagnostic>) = (Vec::new(), Vec::new());
    for item in &script.items {
        let Item::Option(decl) = item else { continue };
        match spec(decl) {
            Ok(new) => match clash(&new, &specs) {
                Some((what, first)) => findings.push(errors::option_twice(&what, decl.name.span, first)),
                None => specs.push(new),
            },
            Err(finding) => findings.push(*finding),
        }
    }
    let optional = specs.iter().find(|s| s.is_positional() && s.default.is_some());
    if let Some(optional) = optional {
        let late = specs.iter().find(|s| s.is_positional() && s.default.is_none() && s.span > optional.span);
        findings.extend(late.map(|l| errors::required_after_optional(&l.name, l.span, optional.span)));
    }
    if findings.iter().any(|d| d.severity == Severity::Error) { Err(findings) } else { Ok(specs) }
}

/// The name or flag that two options share, and where the first one is.
fn clash(new: &OptionSpec, specs: &[OptionSpec]) -> Option<(String, Span)> {
    for old in specs {
        if old.name == new.name {
            return Some((new.name.clone(), old.span));
        }
        if let Some(flag) = new.flags.iter().find(|f| old.flags.contains(f)) {
            return Some((flag.clone(), old.span));
        }
    }
    None
}

fn spec(decl: &OptionDecl) -> Result<OptionSpec, Box<Diagnostic>> {
    let ty = option_type(decl)?;
    let default = match &decl.default {
        Some(expr) => Some(
            default_value(expr, ty)
                .ok_or_else(|| Box::new(errors::bad_default(&decl.name, ty, expr.span)))?,
        ),
        None if ty == OptionType::Bool => Some(OptionValue::Bool(false)),
        None => None,
    };
    let text = String::from_utf8_lossy(&decl.flags.bytes).into_owned();
    let (mut flags, mut value_name) = (Vec::new(), None);
    for word in text.split_whitespace() {
        let body = word.trim_start_matches('-');
        let dashes = word.len() - body.len();
        let fits = body.starts_with(|c: char| c.is_ascii_alphanumeric())
            && body.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        match dashes {
            0 if value_name.is_none() && fits => value_name = Some(word.to_owned()),
            1 if body.chars().count() == 1 && fits => flags.push(word.to_owned()),
            2 if body.chars().count() > 1 && fits => flags.push(word.to_owned()),
            _ => return Err(Box::new(errors::bad_flag(&decl.name, word, decl.flags.span))),
        }
    }
    let help = String::from_utf8_lossy(&decl.help.bytes).into_owned();
    Ok(OptionSpec { name: decl.name.text.clone(), ty, default, flags, value_name, help, span: decl.span })
}

fn option_type(decl: &OptionDecl) -> Result<OptionType, Box<Diagnostic>> {
    if let (TypeBase::Named(name), true) = (&decl.ty.base, decl.ty.modifiers.is_empty()) {
        match (name.text.as_str(), integer_named(&name.text)) {
            ("bool", _) => return Ok(OptionType::Bool),
            ("string", _) => return Ok(OptionType::Str),
            (_, Some(Type::Int { bits, signed })) => return Ok(OptionType::Int { bits, signed }),
            _ => {}
        }
    }
    Err(Box::new(errors::bad_option_type(&decl.name, decl.ty.span)))
}

fn default_value(expr: &ast::Expr, ty: OptionType) -> Option<OptionValue> {
    match (ty, &expr.kind) {
        (OptionType::Bool, Ast::Bool(v)) => Some(OptionValue::Bool(*v)),
        (OptionType::Bool, Ast::Int(v @ (0 | 1))) => Some(OptionValue::Bool(*v == 1)),
        (OptionType::Str, Ast::Str(s)) => {
            Some(OptionValue::Str(String::from_utf8_lossy(&s.bytes).into_owned()))
        }
        (OptionType::Int { bits, signed }, kind) => {
            let value = match kind {
                Ast::Int(v) => i128::from(*v),
                Ast::Unary { op: UnaryOp::Neg, operand } => match operand.kind {
                    Ast::Int(v) => -i128::from(v),
                    _ => return None,
                },
                _ => return None,
            };
            let (least, most) = range(bits, signed);
            (least..=most).contains(&value).then_some(OptionValue::Int(value))
        }
        _ => None,
    }
}

fn range(bits: u8, signed: bool) -> (i128, i128) {
    if signed { (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1) } else { (0, (1i128 << bits) - 1) }
}

/// `true`, `1`, `false`, `0`.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// An integer as people type it: decimal, hexadecimal or octal as in the language, with `_`.
pub(crate) fn parse_integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (radix, digits) = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        (16, hex)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (8, &digits[1..])
    } else {
        (10, digits)
    };
    let plain: String = digits.chars().filter(|c| *c != '_').collect();
    if !plain.starts_with(|c: char| c.is_ascii_hexdigit()) || plain.len() > 24 {
        return None;
    }
    let value = i128::from_str_radix(&plain, radix).ok()?;
    Some(if negative { -value } else { value })
}

/// The options of a run: constants.
#[derive(Clone, Debug, Default)]
pub(crate) struct OptionConstants {
    values: BTreeMap<String, (OptionType, OptionValue)>,
    /// Options that are wrong or missing, whose uses are not to be reported too.
    broken: Vec<String>,
}

impl OptionConstants {
    pub(crate) fn of(
        script: &ast::Script,
        run: &RunConfig,
        findings: &mut Vec<Diagnostic>,
    ) -> OptionConstants {
        let mut constants = OptionConstants::default();
        let specs = match script_options(script) {
            Ok(specs) => specs,
            Err(errors) => {
                findings.extend(errors);
                constants.broken = script
                    .items
                    .iter()
                    .filter_map(|i| match i {
                        Item::Option(decl) => Some(decl.name.text.clone()),
                        _ => None,
                    })
                    .collect();
                return constants;
            }
        };
        for spec in specs {
            match run.options.get(&spec.name).or(spec.default.as_ref()) {
                Some(value) => {
                    constants.values.insert(spec.name, (spec.ty, value.clone()));
                }
                None => {
                    findings.push(errors::option_missing(&spec));
                    constants.broken.push(spec.name);
                }
            }
        }
        constants
    }

    /// The names of declared options.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// An option's value as text, for attach points.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.values.get(name).map(|(_, value)| match value {
            OptionValue::Bool(v) => v.to_string(),
            OptionValue::Int(v) => v.to_string(),
            OptionValue::Str(v) => v.clone(),
        })
    }

    pub(crate) fn is_broken(&self, name: &str) -> bool {
        self.broken.iter().any(|b| b == name)
    }
}

impl Checker<'_> {
    /// `opt.name`
    pub(crate) fn option(&mut self, name: &Name, span: Span) -> Option<Expr> {
        match self.options.values.get(&name.text) {
            Some((_, OptionValue::Bool(v))) => Some(constant::boolean(*v, span)),
            Some((_, OptionValue::Str(v))) => Some(constant::text(v.as_bytes(), span)),
            Some((OptionType::Int { bits, signed }, OptionValue::Int(v))) => {
                let ty = Type::Int { bits: *bits, signed: *signed };
                Some(constant::constant(constant::in_type(*v, &ty), ty, span))
            }
            Some((_, OptionValue::Int(v))) => constant::literal(*v, span),
            None if self.options.is_broken(&name.text) => None,
            None => {
                let close = similar(&name.text, self.options.names());
                let all: Vec<String> = self.options.names().map(str::to_owned).collect();
                self.fail(|| names::unknown_option(name, &close, &all))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_people_type_them() {
        assert_eq!(parse_integer("42"), Some(42));
        assert_eq!(parse_integer("-0x2a"), Some(-42));
        assert_eq!(parse_integer("1_000"), Some(1000));
        assert_eq!(parse_integer("0755"), Some(0o755));
        assert_eq!(parse_integer("0"), Some(0));
        for wrong in ["", "-", "0x", "abc", "1.5", "+5", "--5", "99999999999999999999999999999"] {
            assert_eq!(parse_integer(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_value_out_of_range_names_the_range() {
        let spec = OptionSpec {
            name: "n".into(),
            ty: OptionType::Int { bits: 8, signed: false },
            default: None,
            flags: vec!["-n".into()],
            value_name: None,
            help: String::new(),
            span: Span::default(),
        };
        assert_eq!(spec.parse("300"), Err("expected a number from 0 to 255".to_owned()));
        assert_eq!(spec.parse("0xff"), Ok(OptionValue::Int(255)));
    }
}
