//! The checked AST: names resolved, every expression typed, attach points concrete.
//!
//! Made by `check`, read by `lower`. After `check` succeeds nothing blames the user any more. What
//! holds here, so that `lower` need not ask:
//!
//! - Conversions are explicit: the operands of arithmetic, comparisons, ternaries, assignments, map
//!   keys and values have exactly the type that is wanted there ([`ExprKind::Cast`] was put in).
//! - Script options, positional parameters, `sizeof`, `offsetof`, `kaddr`, `uaddr`, enumerators and
//!   what follows from constants are [`ExprKind::Int`] or [`ExprKind::Text`]; branches on constants
//!   are gone, and so are probes whose predicate is never true.
//! - `unroll` is unrolled, compound assignments to variables are plain ones, `.` and `->` chains are
//!   an address and an offset.
//! - A probe's attach points agree in everything its body uses of them: where layouts differ, `check`
//!   made one [`Probe`] per layout. Programs that the kernel binds to one target
//!   ([`crate::attach::ProgramKind::one_point_each`]) have one point.

use cranelift_entity::{PrimaryMap, entity_impl};
use memql_grammar::ast::{BinaryOp, Span};

use crate::attach::AttachPoint;
use crate::btf::Btf;
use crate::ir::Helper;
use crate::plan::{Format, ReportColumn, ReportExpr, Settings, Severity};
use crate::types::{AddrSpace, Clock, PointText, Type};

/// One of the script's maps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MapId(u32);
entity_impl!(MapId, "@");

/// One variable of a probe.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VarId(u32);
entity_impl!(VarId, "$");

/// A whole script, checked.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// Its maps.
    pub maps: PrimaryMap<MapId, Map>,
    /// Its probes in source order, those that never run left out.
    pub probes: Vec<Probe>,
    /// The `strftime` formats that [`Type::Timestamp`] indexes.
    pub time_formats: Vec<String>,
    /// The `cgroup_path` filters that [`crate::types::Naming::Cgroup`] indexes.
    pub cgroup_filters: Vec<String>,
    /// The map that time series take the time from, in place of the clock; an integer without a key.
    pub series_clock: Option<MapId>,
    /// Settings of the run.
    pub settings: Settings,
    /// The object's license.
    pub license: String,
    /// The kernel's types with those that the script defines; `None` if it defines none.
    pub types: Option<Btf>,
}

/// A map.
#[derive(Clone, Debug)]
pub struct Map {
    /// Its name with the sigil.
    pub name: String,
    /// Its key's type; `None` without a key. A key of several parts is a [`Type::Tuple`].
    pub key: Option<Type>,
    /// Its value's type; a [`Type::Agg`] for aggregations.
    pub value: Type,
    /// How it is kept.
    pub kind: MapKind,
    /// How many keys fit.
    pub max_entries: u32,
    /// Where its keys are the largest; of a map without keys, where it is first used.
    pub span: Span,
}

/// How a keyed map is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapKind {
    /// As the value wants: per CPU for aggregations, else shared.
    Auto,
    /// `hash`
    Hash,
    /// `lruhash`
    LruHash,
    /// `percpuhash`
    PerCpuHash,
    /// `percpulruhash`
    PerCpuLruHash,
}

/// A probe: what runs where.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Where it runs; at least one, all of the same [`crate::attach::ProgramKind`].
    pub points: Vec<AttachPoint>,
    /// Its variables.
    pub vars: PrimaryMap<VarId, Var>,
    /// Runs only if this is not zero (a scalar).
    pub predicate: Option<Expr>,
    /// What it does.
    pub body: Vec<Stmt>,
    /// The attach point in the source.
    pub span: Span,
}

/// A variable.
#[derive(Clone, Debug)]
pub struct Var {
    /// Its name with the sigil.
    pub name: String,
    /// Its type; the same everywhere in the probe.
    pub ty: Type,
}

/// A statement.
#[derive(Clone, Debug)]
pub struct Stmt {
    /// What it is.
    pub kind: StmtKind,
    /// Where it stands.
    pub span: Span,
}

/// The kinds of statements.
#[derive(Clone, Debug)]
pub enum StmtKind {
    /// An expression for its effect.
    Expr(Expr),
    /// `$var = value`
    AssignVar {
        /// The variable.
        var: VarId,
        /// A value of its type.
        value: Expr,
    },
    /// `@map[key] = value`
    AssignMap {
        /// The map.
        map: MapId,
        /// A key of its type.
        key: Option<Expr>,
        /// A value of its type.
        value: Expr,
    },
    /// `@map[key] op= value`: `+=` and `-=` are atomic on shared maps, others read, compute and write.
    UpdateMap {
        /// The map; its value is an integer, or a pointer that is added to.
        map: MapId,
        /// A key of its type.
        key: Option<Expr>,
        /// The operator.
        op: BinaryOp,
        /// The operand, of the map's value type (a shift count has its own type, a pointer's is in bytes).
        value: Expr,
    },
    /// `@map[key] = count()`, `= sum(x)`, `= hist(x)`...: which one is the map's value type.
    Aggregate {
        /// The map.
        map: MapId,
        /// A key of its type.
        key: Option<Expr>,
        /// The value aggregated: an integer of 64 bits; `None` for `count()`.
        value: Option<Expr>,
    },
    /// `if`
    If {
        /// A scalar.
        cond: Expr,
        /// Taken when it is not zero.
        then: Vec<Stmt>,
        /// Taken when it is.
        otherwise: Vec<Stmt>,
    },
    /// `while`
    While {
        /// A scalar.
        cond: Expr,
        /// The body.
        body: Vec<Stmt>,
    },
    /// `for ($i : start..end)`
    ForRange {
        /// The loop variable, an `int64`.
        var: VarId,
        /// First value, an `int64`; evaluated once.
        start: Expr,
        /// One past the last, an `int64`; evaluated once.
        end: Expr,
        /// The body.
        body: Vec<Stmt>,
    },
    /// `for ($kv : @map)`
    ForMap {
        /// The loop variable: a tuple of key and value.
        var: VarId,
        /// The map; it has a key.
        map: MapId,
        /// The body.
        body: Vec<Stmt>,
    },
    /// `break`: leave the innermost loop.
    Break,
    /// `continue`: next round of the innermost loop.
    Continue,
    /// `return`: leave the probe. Of tests and benchmarks, with a value if one is given.
    Return(Option<Expr>),
    /// Statements in a scope of their own.
    Block(Vec<Stmt>),
    /// `printf(format, args)`; one argument per conversion.
    Printf {
        /// The format.
        format: Format,
        /// The arguments.
        args: Vec<Expr>,
    },
    /// `print(value)`
    Print(Expr),
    /// `print(@map, top, div)`
    PrintMap {
        /// The map.
        map: MapId,
        /// `uint64`
        top: Option<Expr>,
        /// `uint64`
        div: Option<Expr>,
    },
    /// `print(@map[key])` where the value is an aggregation.
    PrintMapElem {
        /// The map.
        map: MapId,
        /// A key of its type.
        key: Expr,
    },
    /// `clear(@map)`
    Clear(MapId),
    /// `zero(@map)`
    Zero(MapId),
    /// `time(format)`
    Time(String),
    /// `join(argv, delimiter)`
    Join {
        /// Address of an array of addresses of strings.
        argv: Expr,
        /// Between them.
        delimiter: String,
    },
    /// `warnf(format, args)`, `errorf(format, args)`: a message about the place it stands at.
    Tell {
        /// How bad it is.
        severity: Severity,
        /// The format.
        format: Format,
        /// The arguments.
        args: Vec<Expr>,
    },
    /// `cat(format, args)`
    Cat {
        /// The path.
        format: Format,
        /// The arguments.
        args: Vec<Expr>,
    },
    /// `system(format, args)`
    System {
        /// The command.
        format: Format,
        /// The arguments.
        args: Vec<Expr>,
    },
    /// `exit()`, `exit(code)`: ends the run and leaves the probe.
    Exit(Option<Expr>),
    /// `report @map ...`
    Report(Box<Report>),
}

/// A `report` statement.
#[derive(Clone, Debug)]
pub struct Report {
    /// The map.
    pub map: MapId,
    /// What the probe computes for it. In the report's expressions, the `offset` of a
    /// [`crate::plan::Arg`] is an index into this list; `lower` replaces it by the event's offset.
    pub captured: Vec<Expr>,
    /// See [`crate::plan::ReportPlan::filter`]. Maps are named by [`MapId`] index.
    pub filter: Option<ReportExpr>,
    /// The columns.
    pub columns: Vec<ReportColumn>,
    /// Column to sort by, and whether the largest come first.
    pub order: Option<(usize, bool)>,
    /// At most so many rows.
    pub limit: Option<ReportExpr>,
    /// Printed once a row.
    pub format: Option<Format>,
}

/// An expression.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Its type. Scalars of fewer than 64 bits are sign- or zero-extended by it in registers.
    pub ty: Type,
    /// Where it stands.
    pub span: Span,
}

/// The kinds of expressions.
#[derive(Clone, Debug)]
pub enum ExprKind {
    /// A constant of a scalar type.
    Int(i64),
    /// Constant text of a [`Type::Str`], shorter than its capacity; constant bytes of another type that lies in
    /// memory, zeros from where they end.
    Text(Vec<u8>),
    /// `$var`
    Var(VarId),
    /// `@map[key]`: zero (all bytes) if there is none. Of an aggregation: its result as an integer
    /// (count, sum, min, max, avg), combined over all CPUs.
    Map {
        /// The map.
        map: MapId,
        /// A key of its type.
        key: Option<Box<Expr>>,
    },
    /// `&$var`: the address of the variable's value; a pointer of [`AddrSpace::Kernel`].
    VarAddr(VarId),
    /// `&@map`: the address of the value of a map without a key, of the map itself if it has one; a pointer of
    /// [`AddrSpace::Kernel`].
    MapAddr(MapId),
    /// A builtin without arguments.
    Builtin(Builtin),
    /// A load from the context: a tracepoint's field, a register, a raw argument. What narrower
    /// widths than the type's leave out is filled by `signed`.
    CtxLoad {
        /// Bytes from the context's start.
        offset: u32,
        /// 1, 2, 4 or 8.
        bytes: u32,
        /// Sign-extend.
        signed: bool,
    },
    /// What the eBPF program or function that is traced has returned.
    ProgramResult,
    /// The address of something in the context; a pointer of [`AddrSpace::Context`].
    CtxAddr {
        /// Bytes from the context's start.
        offset: u32,
    },
    /// A tracepoint's `__data_loc` field: the address of its bytes; a pointer of [`AddrSpace::Context`].
    DataLoc {
        /// Offset of the location word in the context.
        offset: u32,
        /// `__rel_loc`: counted from the end of the location word.
        relative: bool,
    },
    /// The length in bytes that a `__data_loc` field's location word tells; `uint32`.
    DataLocLen {
        /// Offset of the location word in the context.
        offset: u32,
    },
    /// What is at `addr + offset`, read by the address's space. Scalars are loaded with their width;
    /// a [`Type::Str`] (a char array) is read up to its NUL; structs and arrays are copied.
    Load {
        /// The address: a pointer.
        addr: Box<Expr>,
        /// Added to it.
        offset: i64,
        /// For a bit-field: the first bit within the load, and how many bits.
        bits: Option<(u8, u8)>,
    },
    /// A part of a value in memory (a tuple's element, a struct value's field, an array's element).
    Extract {
        /// The tuple, struct or array.
        base: Box<Expr>,
        /// Bytes from its start.
        offset: u32,
        /// For a bit-field: the first bit within the load, and how many bits.
        bits: Option<(u8, u8)>,
    },
    /// An array value's element with an index known only at run time; zero when out of bounds.
    Index {
        /// The array.
        base: Box<Expr>,
        /// The index: an integer.
        index: Box<Expr>,
    },
    /// Arithmetic: `+ - * / % & | ^ << >>`. Both operands and the result have the same type (a shift
    /// count any integer type; a pointer plus or minus a 64-bit integer of bytes is a pointer).
    /// Division and right shift are signed if the type is.
    Binary {
        /// The operator.
        op: BinaryOp,
        /// Left operand.
        left: Box<Expr>,
        /// Right operand.
        right: Box<Expr>,
    },
    /// `== != < <= > >=` of two scalars of one type, signed if the type is; a [`Type::Bool`].
    Compare {
        /// The operator.
        op: BinaryOp,
        /// Left operand.
        left: Box<Expr>,
        /// Right operand.
        right: Box<Expr>,
    },
    /// Whether two strings are equal, in their first `len` bytes if given; buffers, tuples, arrays of
    /// one type as a whole. A [`Type::Bool`]. Strings may differ in capacity.
    Equal {
        /// Left operand.
        left: Box<Expr>,
        /// Right operand.
        right: Box<Expr>,
        /// Compare at most so many bytes.
        len: Option<u32>,
        /// True for `!=`.
        negate: bool,
    },
    /// `&&`: short-circuit; a [`Type::Bool`].
    And(Box<Expr>, Box<Expr>),
    /// `||`: short-circuit; a [`Type::Bool`].
    Or(Box<Expr>, Box<Expr>),
    /// `!x`; a [`Type::Bool`].
    Not(Box<Expr>),
    /// `-x`
    Neg(Box<Expr>),
    /// `~x`
    BitNot(Box<Expr>),
    /// `c ? a : b`; both of the result's type.
    Ternary {
        /// A scalar.
        cond: Box<Expr>,
        /// The value when it is not zero.
        then: Box<Expr>,
        /// The value when it is.
        otherwise: Box<Expr>,
    },
    /// A conversion to the expression's type: scalar to scalar (truncate, then extend by the new
    /// type), string to string of another capacity, tuple to tuple elementwise, integer to array of
    /// the same size and back, integer to ksym, usym, timestamp or pointer.
    Cast(Box<Expr>),
    /// A tuple or record; fields have the types of the tuple's.
    Tuple(Vec<Expr>),
    /// `++` or `--` of a variable.
    IncDecVar {
        /// The variable: an integer or pointer.
        var: VarId,
        /// What is added: 1, -1, or for pointers the pointee's size.
        delta: i64,
        /// Whether the value is the old one.
        postfix: bool,
    },
    /// `++` or `--` of a map: atomic on shared maps.
    IncDecMap {
        /// The map; its value is an integer.
        map: MapId,
        /// A key of its type.
        key: Option<Box<Expr>>,
        /// What is added.
        delta: i64,
        /// Whether the value is the old one.
        postfix: bool,
    },
    /// `{ stmts; value }`
    Block(Vec<Stmt>, Box<Expr>),
    /// `str(addr, len)`: a string at an address.
    Str {
        /// The address.
        addr: Box<Expr>,
        /// Read at most so many bytes, the NUL included: `uint64`. The type's capacity is the limit.
        len: Option<Box<Expr>>,
    },
    /// `buf(addr, len)`: bytes at an address.
    Buf {
        /// The address.
        addr: Box<Expr>,
        /// How many bytes, `uint64`; the type's capacity is the limit.
        len: Box<Expr>,
    },
    /// `has_key(@map, key)`: a [`Type::Bool`].
    HasKey {
        /// The map.
        map: MapId,
        /// A key of its type.
        key: Box<Expr>,
    },
    /// `delete(@map, key)`: whether there was one; a [`Type::Bool`]. Without a key the map's only
    /// value is set to zero.
    Delete {
        /// The map.
        map: MapId,
        /// A key of its type.
        key: Option<Box<Expr>>,
    },
    /// `len(@map)`: how many elements; `int64`.
    MapLen(MapId),
    /// `len(stack)`: how many frames; `int64`. The operand is a [`Type::Stack`].
    StackLen(Box<Expr>),
    /// `strlen(s)`: `uint64`. The operand is a [`Type::Str`].
    StrLen(Box<Expr>),
    /// `strstr(haystack, needle)`: where the needle begins, -1 if it is not there; `int64`.
    StrIndex {
        /// A [`Type::Str`].
        haystack: Box<Expr>,
        /// A [`Type::Str`]; constant text has no NUL in it.
        needle: Box<Expr>,
    },
    /// `str_concat(a, b)`: a [`Type::Str`] that has room for both.
    StrConcat(Box<Expr>, Box<Expr>),
    /// `memcmp(a, b, count)`: `int32`.
    MemCompare {
        /// A string, buffer, array or tuple.
        left: Box<Expr>,
        /// The same.
        right: Box<Expr>,
        /// Compare at most so many bytes, and no more than both have: `uint64`.
        count: Box<Expr>,
    },
    /// `path(address)`: the path of a `struct path`, as [`Type::Str`]. Only where the kernel knows the
    /// address's type: the arguments of fentry, fexit and iterators.
    Path(Box<Expr>),
    /// `bswap(x)` of an integer of 16, 32 or 64 bits.
    Bswap(Box<Expr>),
    /// A helper's result. Arguments that are no scalars are passed by address.
    Helper {
        /// The helper.
        helper: Helper,
        /// Whether the context is its first argument.
        context: bool,
        /// Its other arguments.
        args: Vec<Expr>,
    },
    /// An address of 4 or 16 bytes as a [`Type::Inet`]; of 6 as a [`Type::MacAddr`]. The operand is
    /// an array, a string, or for 4 bytes an integer.
    NetAddress(Box<Expr>),
}

/// Builtins without arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Builtin {
    /// Process id (`tgid` in the kernel); `uint32`.
    Pid,
    /// Thread id; `uint32`.
    Tid,
    /// Process id in the first PID namespace; `uint32`.
    InitPid,
    /// Thread id in the first PID namespace; `uint32`.
    InitTid,
    /// User id; `uint32`.
    Uid,
    /// Group id; `uint32`.
    Gid,
    /// The thread's name; a string of 16 bytes.
    Comm,
    /// Address of the current `task_struct`; a pointer to it where BTF is at hand, else `uint64`.
    Curtask,
    /// The processor; `uint32`.
    Cpu,
    /// The NUMA node; `uint32`.
    NumaNode,
    /// Time of a clock in nanoseconds; `uint64`.
    Nsecs(Clock),
    /// Nanoseconds since the begin probes ran; `uint64`.
    Elapsed,
    /// Cgroup id of the current process; `uint64`.
    Cgroup,
    /// A random number; `uint32`.
    Rand,
    /// `probe` or `func`: a [`Type::Point`].
    Point(PointText),
    /// `kstack`, `ustack`: the type says which, how deep and how it prints.
    Stack,
    /// `dw_ustack`: the same of a process, found by unwind tables.
    UnwoundStack,
}

impl Expr {
    /// A constant.
    pub fn int(value: i64, ty: Type, span: Span) -> Expr {
        Expr { kind: ExprKind::Int(value), ty, span }
    }

    /// The constant it is, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        match self.kind {
            ExprKind::Int(value) => Some(value),
            _ => None,
        }
    }

    /// The address space of a pointer.
    pub fn space(&self) -> AddrSpace {
        match &self.ty {
            Type::Ptr { space, .. } => *space,
            _ => AddrSpace::Unknown,
        }
    }
}
