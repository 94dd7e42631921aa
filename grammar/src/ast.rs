//! The abstract syntax tree: what a script says, with a span on every node.
//!
//! Nothing here is resolved: names are text, attach points are text cut at their colons, and types
//! are as written. Sugar stays (`a += 1` is not rewritten), so that the tree can be printed back.
//! Resolving, typing and desugaring belong to the compiler's `check`.

mod c_types;
mod test;

pub use c_types::{
    CAttribute, CBase, CDeclarator, CEnum, CMember, CModifier, CRecord, CTypedef, Define, Include,
};
pub use test::{
    Expectation, FactField, KernelFact, KernelFactKind, KernelFacts, NamedValue, Test, TestStep,
    TestStepKind, TestedScript,
};

/// A half-open range of byte offsets into the source text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte.
    pub end: u32,
}

impl Span {
    /// The smallest span that covers both.
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// The span as a range, for slicing the source.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A piece of text of the source that names something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The name, without sigils (`x` for `$x` and for `@x`; empty for the map `@`).
    pub text: String,
    /// Where it stands, sigil included.
    pub span: Span,
}

/// A whole script.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Script {
    /// The items in source order.
    pub items: Vec<Item>,
}

/// One top-level item.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// `config = { name = value; ... }`
    Config(Config),
    /// `option name: type = default, "-f --flag VALUE", "help";`
    Option(OptionDecl),
    /// `let @name = kind(max_entries);`
    Map(MapDecl),
    /// `attach points /predicate/ { body }`
    Probe(Probe),
    /// `macro name(params) { body }`
    Macro(MacroDef),
    /// `import "path";`
    Import(Import),
    /// `struct name { ... };`, `union name { ... };`
    Record(CRecord),
    /// `enum name { ... };`
    Enum(CEnum),
    /// `typedef type name;`
    Typedef(CTypedef),
    /// `#define name value`
    Define(Define),
    /// `#include <header>`
    Include(Include),
    /// `script "FILE";`: the script that the tests of this file are about.
    TestedScript(TestedScript),
    /// `kernel { ... }`: what the tests' kernel has.
    Kernel(KernelFacts),
    /// `test "title" { ... }`
    Test(Test),
}

impl Item {
    /// Where it stands.
    pub fn span(&self) -> Span {
        match self {
            Item::Config(item) => item.span,
            Item::Option(item) => item.span,
            Item::Map(item) => item.span,
            Item::Probe(item) => item.span,
            Item::Macro(item) => item.span,
            Item::Import(item) => item.span,
            Item::Record(item) => item.span,
            Item::Enum(item) => item.span,
            Item::Typedef(item) => item.span,
            Item::Define(item) => item.span,
            Item::Include(item) => item.span,
            Item::TestedScript(item) => item.span,
            Item::Kernel(item) => item.span,
            Item::Test(item) => item.span,
        }
    }
}

/// `macro name($variable, @map, expression) { body }`: a body that is put where it is called.
#[derive(Clone, Debug, PartialEq)]
pub struct MacroDef {
    /// The name.
    pub name: Name,
    /// The parameters in order.
    pub params: Vec<MacroParam>,
    /// The body, with a value if its last expression has no semicolon.
    pub body: Block,
    /// The whole definition.
    pub span: Span,
}

/// A parameter of a macro: how it is written says what may be passed.
#[derive(Clone, Debug, PartialEq)]
pub enum MacroParam {
    /// `$name`: a variable, which the body may change.
    Variable(Name),
    /// `@name`: a map, which the body may change.
    Map(Name),
    /// `name`: an expression, or a type in `typeof(...)`.
    Expr(Name),
}

impl MacroParam {
    /// Its name, without the sigil.
    pub fn name(&self) -> &Name {
        match self {
            MacroParam::Variable(name) | MacroParam::Map(name) | MacroParam::Expr(name) => name,
        }
    }
}

/// `import "path";`: another script's macros, declarations and probes.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// The path, relative to the folder of the script that imports.
    pub path: StrLit,
    /// The whole statement.
    pub span: Span,
}

/// `config = { ... }`: settings of the run.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The settings in source order.
    pub entries: Vec<ConfigEntry>,
    /// The whole block.
    pub span: Span,
}

/// One `name = value` of a config block.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigEntry {
    /// The setting's name.
    pub name: Name,
    /// Its value: an integer or string literal, or an identifier (`perf`, `true`, `ignore`).
    pub value: Expr,
}

/// A script option: `option top: uint64 = 10, "-T --top N", "print the N largest";`
///
/// In the script its value is `opt.top`, a constant.
#[derive(Clone, Debug, PartialEq)]
pub struct OptionDecl {
    /// The name used in the script (`opt.NAME`).
    pub name: Name,
    /// `bool`, `string`, or an integer type.
    pub ty: TypeExpr,
    /// The default; a `bool` without one is false.
    pub default: Option<Expr>,
    /// The words of the flags text: those that start with `-` are flags, one upper-case word names
    /// the value in the help; without a flag the option is a positional argument.
    pub flags: StrLit,
    /// One line for `--help`.
    pub help: StrLit,
    /// The whole declaration.
    pub span: Span,
}

/// `let @name = hash(max_entries);` declares a map's kind and size.
#[derive(Clone, Debug, PartialEq)]
pub struct MapDecl {
    /// The map.
    pub name: Name,
    /// The kind, as written: `hash`, `lruhash`, `percpuhash`, `percpulruhash`, ...
    pub kind: Name,
    /// The number of entries.
    pub max_entries: Expr,
    /// The whole declaration.
    pub span: Span,
}

/// Attach points, a predicate and a body.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// The comma-separated attach points, at least one.
    pub points: Vec<AttachPoint>,
    /// The expression between slashes.
    pub predicate: Option<Expr>,
    /// What happens when an event passes the predicate.
    pub body: Block,
    /// The whole probe.
    pub span: Span,
}

/// One attach point with its fall-backs: `kprobe:oom_kill_process || tracepoint:oom:mark_victim`.
#[derive(Clone, Debug, PartialEq)]
pub struct AttachPoint {
    /// `start` of `start = kprobe:vfs_read`: what the reader calls it; nothing refers to it.
    pub name: Option<Name>,
    /// The alternatives in order of preference, at least one.
    pub alternatives: Vec<AttachSpec>,
    /// All of them.
    pub span: Span,
}

/// One attach point as written, cut at its colons: `uprobe:/bin/sh:main+4` is
/// `["uprobe", "/bin/sh", "main+4"]`. Quotes are removed; wildcards, `+offset` and `$1` stay text.
#[derive(Clone, Debug, PartialEq)]
pub struct AttachSpec {
    /// The parts, at least one (the provider).
    pub parts: Vec<Name>,
    /// From the provider to the end of the last part.
    pub span: Span,
}

/// `{ statements }`, with a value if the last one is an expression without a semicolon.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The statements in order.
    pub stmts: Vec<Stmt>,
    /// The last expression, if it has no semicolon and the block is an `ExprKind::Block`: the
    /// block's value. In every other block such an expression is the last of `stmts`.
    pub value: Option<Box<Expr>>,
    /// Braces included.
    pub span: Span,
    /// The call that this is the body of, where a macro was expanded; the parser makes none.
    pub expanded_from: Option<Name>,
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Stmt {
    /// What it is.
    pub kind: StmtKind,
    /// Without the semicolon.
    pub span: Span,
}

/// The kinds of statements.
#[derive(Clone, Debug, PartialEq)]
pub enum StmtKind {
    /// An expression for its effect: `printf(...)`, `@x++`, `exit()`.
    Expr(Expr),
    /// `place = value`, or `place op= value` when `op` is given.
    Assign {
        /// A variable, a map, a map element, or `_` to discard (an `Ident`).
        place: Expr,
        /// The operator of a compound assignment.
        op: Option<BinaryOp>,
        /// The right-hand side.
        value: Expr,
    },
    /// `let $x`, `let $x: type`, `let $x = value`, `let $x: type = value`.
    Let {
        /// The variable.
        var: Name,
        /// Its type, if given.
        ty: Option<TypeExpr>,
        /// Its first value, if given.
        value: Option<Expr>,
    },
    /// `if (cond) { } else { }`; `else if` is an `otherwise` block with a single `If` in it.
    If {
        /// The condition.
        cond: Expr,
        /// Taken when the condition is not zero.
        then: Block,
        /// Taken otherwise.
        otherwise: Option<Block>,
    },
    /// `while (cond) { }`
    While {
        /// The condition.
        cond: Expr,
        /// The body.
        body: Block,
    },
    /// `unroll (count) { }`
    Unroll {
        /// How many copies; constant.
        count: Expr,
        /// The body.
        body: Block,
    },
    /// `for ($i : start..end) { }` (parentheses optional)
    ForRange {
        /// The loop variable.
        var: Name,
        /// First value.
        start: Expr,
        /// One past the last value.
        end: Expr,
        /// The body.
        body: Block,
    },
    /// `for ($kv : @map) { }` (parentheses optional)
    ForMap {
        /// The loop variable, a `(key, value)` tuple.
        var: Name,
        /// The map.
        map: Name,
        /// The body.
        body: Block,
    },
    /// `break`
    Break,
    /// `continue`
    Continue,
    /// `return` or `return value`
    Return(Option<Expr>),
    /// `{ ... }` as a statement.
    Block(Block),
    /// `report @map ...`: print a map as a table (memql's own).
    Report(Box<Report>),
}

/// A declarative report of a map, executed in user space on a snapshot of it:
///
/// ```text
/// report @allocs as $addr, $a
///     where $a.time <= $cutoff
///     select bytes = sum($a.size), count = count(), stack = $a.stack
///     order by bytes desc
///     limit opt.top
///     print "    %d bytes in %d allocations from stack\n%s\n";
/// ```
///
/// Columns without an aggregate (`sum`, `count`, `min`, `max`, `avg`) are what rows are grouped by
/// when another column has one. Without `print`, an aligned table with a heading is printed.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The map.
    pub map: Name,
    /// The variable that stands for an element's key.
    pub key: Option<Name>,
    /// The variable that stands for an element's value.
    pub value: Option<Name>,
    /// Only elements for which this holds.
    pub filter: Option<Expr>,
    /// The columns; at least one.
    pub columns: Vec<ReportColumn>,
    /// Sort by this column (its name), and whether the largest come first.
    pub order: Option<(Name, bool)>,
    /// Print at most so many rows.
    pub limit: Option<Expr>,
    /// A `printf` format that takes the columns in order, once per row.
    pub print: Option<StrLit>,
}

/// One `name = expression` of a report's `select`.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportColumn {
    /// The column's name.
    pub name: Name,
    /// The expression.
    pub value: Expr,
}

/// A string literal, escapes resolved. Bytes, since `\x80` is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StrLit {
    /// The bytes, without the terminating NUL.
    pub bytes: Vec<u8>,
    /// Quotes included.
    pub span: Span,
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub span: Span,
}

/// The kinds of expressions.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// An integer literal; durations are nanoseconds, suffixes are dropped. Never negative: `-1` is
    /// a `Neg` of 1.
    Int(u64),
    /// `true` or `false`.
    Bool(bool),
    /// A string literal.
    Str(StrLit),
    /// A bare identifier: a builtin (`pid`, `args`), an enumerator, a macro, `opt`, `_`.
    Ident(Name),
    /// `$name`
    Var(Name),
    /// `$1`, `$2`, ...
    Positional(u32),
    /// `$#`
    PositionalCount,
    /// `@name` or `@name[key, ...]`
    Map {
        /// The map.
        name: Name,
        /// The key's parts; `None` without brackets.
        key: Option<Vec<Expr>>,
    },
    /// `name(args)`
    Call {
        /// The function.
        name: Name,
        /// The arguments. A type argument (`sizeof(struct x)`) is an `ExprKind::Type`.
        args: Vec<Expr>,
    },
    /// `base.name`, `base->name`, `base.0`
    Field {
        /// The struct, pointer, tuple, record, `args`, or `opt`.
        base: Box<Expr>,
        /// The field; decimal digits for a tuple's element.
        name: Name,
        /// Whether it was written as `->`.
        arrow: bool,
    },
    /// `base[index]` of anything that is not a map.
    Index {
        /// The array, pointer or tuple.
        base: Box<Expr>,
        /// The index.
        index: Box<Expr>,
    },
    /// `-x`, `!x`, `~x`, `*x`, `&x`, `comptime x`
    Unary {
        /// The operator.
        op: UnaryOp,
        /// The operand.
        operand: Box<Expr>,
    },
    /// `++x`, `x++`, `--x`, `x--`
    IncDec {
        /// A variable or a map.
        place: Box<Expr>,
        /// `++` or `--`.
        increment: bool,
        /// Whether the value is the one before the change.
        postfix: bool,
    },
    /// `a op b`
    Binary {
        /// The operator.
        op: BinaryOp,
        /// Left-hand side.
        left: Box<Expr>,
        /// Right-hand side.
        right: Box<Expr>,
    },
    /// `cond ? a : b`, `cond ?: b`, and `if (cond) { a } else { b }` as a value
    Ternary {
        /// The condition.
        cond: Box<Expr>,
        /// The value when it is not zero; the condition's own if there is none.
        then: Option<Box<Expr>>,
        /// The value when it is.
        otherwise: Box<Expr>,
    },
    /// `(type)x`
    Cast {
        /// The type.
        ty: TypeExpr,
        /// The operand.
        operand: Box<Expr>,
    },
    /// `(a, b)`, `(a,)`, `()`; with names for a record, `(a=1, b=2)`.
    Tuple(Vec<TupleField>),
    /// `{ ...; x }` used as a value.
    Block(Block),
    /// A type as an argument: `sizeof(struct task_struct)`.
    Type(TypeExpr),
}

/// One element of a tuple or record.
#[derive(Clone, Debug, PartialEq)]
pub struct TupleField {
    /// The name, in a record.
    pub name: Option<Name>,
    /// The value.
    pub value: Expr,
}

/// Prefix operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOp {
    /// `-`
    Neg,
    /// `!`
    Not,
    /// `~`
    BitNot,
    /// `*`
    Deref,
    /// `&`
    AddressOf,
    /// `comptime`: the value must be known when the script is compiled.
    Comptime,
}

/// Infix operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `&`
    BitAnd,
    /// `|`
    BitOr,
    /// `^`
    BitXor,
    /// `<<`
    Shl,
    /// `>>`
    Shr,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `&&`
    And,
    /// `||`
    Or,
}

/// A type as written: a base name and postfix modifiers.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeExpr {
    /// The base.
    pub base: TypeBase,
    /// `*` and `[N]`, left to right.
    pub modifiers: Vec<TypeModifier>,
    /// Where it stands.
    pub span: Span,
}

/// The base of a type.
#[derive(Clone, Debug, PartialEq)]
pub enum TypeBase {
    /// `uint32`, `string`, `size_t`, ...; multi-word C names are joined by one space (`unsigned long`).
    Named(Name),
    /// `struct name`
    Struct(Name),
    /// `union name`
    Union(Name),
    /// `enum name`
    Enum(Name),
    /// `typeof(type)`
    Typeof(Box<TypeExpr>),
    /// `typeof(expression)`: the type of an expression that is not evaluated.
    TypeofExpr(Box<Expr>),
}

/// A postfix modifier of a type.
#[derive(Clone, Debug, PartialEq)]
pub enum TypeModifier {
    /// `*`
    Pointer,
    /// `[N]`, or `[]` with the size left to the value.
    Array(Option<u64>),
}
