//! What the runtime needs beside the object: how to attach its programs, decode its maps and print
//! its events. Made by `emit`, read by `memql-runtime`; no part of it depends on a kernel.

use std::ops::Range;

use memql_grammar::ast::Span;

use crate::attach::{AttachPoint, ProgramKind};
use crate::btf::Btf;
use crate::types::Type;

/// The operators of [`ReportExpr`].
pub use memql_grammar::ast::{BinaryOp, UnaryOp};

/// A compiled script: the object and how to run it.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The ELF relocatable with BTF, as libbpf opens it.
    pub object: Vec<u8>,
    /// Everything else.
    pub plan: Plan,
}

/// How to run an object.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The programs, in the order of the script's probes.
    pub programs: Vec<ProgramPlan>,
    /// The script's maps, sorted by name.
    pub maps: Vec<MapPlan>,
    /// What an event's id means.
    pub events: Vec<EventPlan>,
    /// The attach points that [`Type::Point`] values index.
    pub points: Vec<AttachPoint>,
    /// The formats that [`Type::Timestamp`] values index.
    pub time_formats: Vec<String>,
    /// The hierarchies that `cgroup_path` values are looked up in, as patterns; empty for all.
    pub cgroup_filters: Vec<String>,
    /// Counters of what was lost, by place in the `.bss` section.
    pub health: Vec<HealthCounter>,
    /// Under `-k`, the same by place in the script, in its order.
    pub lost_at: Vec<LostAt>,
    /// ELF name of the ring buffer; `None` if no probe sends events.
    pub ring: Option<String>,
    /// ELF name of the map from stack id to frames, and frames per entry; `None` if no stack is taken.
    pub stacks: Option<(String, u32)>,
    /// Whether programs read unwind tables ([`crate::unwind`]), which the runtime is to fill.
    pub unwinds: bool,
    /// Byte offset in `.bss` of a `u64` into which the runtime puts the boot clock's nanoseconds
    /// before the first program runs; `None` if no probe asks for `elapsed`.
    pub start_time: Option<u32>,
    /// Settings that the runtime acts on.
    pub settings: Settings,
    /// The kernel's types with those that the script defines, which type ids of values refer to; `None` if it
    /// defines none.
    pub types: Option<Btf>,
}

/// Settings of a run that the runtime acts on, from the `config` block and the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Size of the ring buffer in bytes, a power of two and a multiple of the page size.
    pub ring_bytes: u32,
    /// Print the maps at the end.
    pub print_maps_on_exit: bool,
    /// What to do about attach points that cannot be attached.
    pub missing_probes: MissingProbes,
    /// Capacity in bytes of strings whose length nothing else says: what fills one was cut.
    pub max_strlen: u32,
    /// Text appended to strings that were cut.
    pub str_trunc_trailer: String,
    /// At most so many bytes are read by `cat()`.
    pub max_cat_bytes: u32,
    /// Demangle C++ and Rust symbols.
    pub demangle: bool,
    /// Show file and line of symbols where debug information is at hand.
    pub show_debug_info: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            ring_bytes: 2 << 20,
            print_maps_on_exit: true,
            missing_probes: MissingProbes::Error,
            max_strlen: 1024,
            str_trunc_trailer: "..".into(),
            max_cat_bytes: 10240,
            demangle: true,
            show_debug_info: true,
        }
    }
}

/// What to do about attach points that cannot be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingProbes {
    /// Stop with an error.
    Error,
    /// Say so and go on.
    Warn,
    /// Go on; they are still counted.
    Ignore,
}

/// One eBPF program and where it runs.
#[derive(Clone, Debug)]
pub struct ProgramPlan {
    /// Its function name in the object.
    pub name: String,
    /// Its type.
    pub kind: ProgramKind,
    /// Where it is attached, each with the cookie it gets (its index in [`Plan::points`]).
    pub points: Vec<(AttachPoint, u64)>,
    /// Whether it reads its cookie, so that points cannot share a link without cookies.
    pub uses_cookie: bool,
    /// The ids of the events that it sends, and no other program does: a part of [`Plan::events`].
    pub events: Range<u64>,
}

/// One of the script's maps.
#[derive(Clone, Debug)]
pub struct MapPlan {
    /// Its name with the sigil: `@bytes`.
    pub name: String,
    /// The key's type; `None` for a map without a key.
    pub key: Option<Type>,
    /// The value's type.
    pub value: Type,
    /// Where it is kept.
    pub storage: MapStorage,
}

/// Where a map's values are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapStorage {
    /// In an eBPF map by key.
    Keyed {
        /// Name of the map in the object.
        elf_name: String,
        /// One value per CPU, to be combined by the value's [`crate::types::Agg`].
        per_cpu: bool,
        /// How many keys fit.
        max_entries: u32,
    },
    /// Without a key, in the `.bss` section.
    Global {
        /// Byte offset of the first value.
        offset: u32,
        /// How many values there are: 1, or one per possible CPU.
        copies: u32,
        /// Bytes from one copy to the next.
        stride: u32,
        /// Byte offset of a `u64` that is not zero once the map has been assigned; `None` where any
        /// word of any copy that is not zero says so. A map that was never assigned is not printed
        /// at the end.
        set_flag: Option<u32>,
    },
}

/// A counter of something lost: a `u64` in the `.bss` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCounter {
    /// Byte offset in `.bss`.
    pub offset: u32,
    /// What it counts.
    pub what: Loss,
}

/// A counter of something lost at one place of the script: a `u64` in the `.bss` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostAt {
    /// Byte offset in `.bss`.
    pub offset: u32,
    /// What it counts.
    pub what: Loss,
    /// The bytes of the script that ask for what is lost.
    pub span: Span,
}

/// What can be lost.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// The ring buffer was full.
    Event,
    /// A map was full: index into [`Plan::maps`].
    MapFull(usize),
    /// Kernel memory could not be read.
    KernelRead,
    /// User memory could not be read.
    UserRead,
    /// A string was longer than its place.
    StringCut,
    /// A stack could not be taken.
    StackFailed,
    /// A stack had more frames than are kept.
    StackCut,
    /// A stack was asked of a process whose unwind tables were not read.
    StackWithoutTables,
    /// A stack ends where unwind tables do not tell how to go on.
    StackUnknown,
    /// A stack ends where the process's stack could not be read.
    StackUnread,
    /// The stacks map was full.
    StackMapFull,
    /// Scratch memory was in use by an interrupted run of the same program.
    ScratchBusy,
}

/// A value inside an event's payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg {
    /// Its type.
    pub ty: Type,
    /// Its byte offset from the event's first byte.
    pub offset: u32,
}

/// Events start with a `u64` event id; arguments follow at the offsets that the plan gives.
pub const EVENT_HEADER_BYTES: u32 = 8;

/// What to do with an event.
#[derive(Clone, Debug)]
pub enum EventPlan {
    /// `printf`: format and print.
    Printf {
        /// The format.
        format: Format,
        /// Its arguments.
        args: Vec<Arg>,
    },
    /// `print(value)`
    Print(Arg),
    /// `print(@map)`, `print(@map, top)`, `print(@map, top, div)`
    PrintMap {
        /// Index into [`Plan::maps`].
        map: usize,
        /// At most so many entries, the largest; 0 for all.
        top: Option<Arg>,
        /// Divide values by this.
        div: Option<Arg>,
    },
    /// `print(@map[key])` of an aggregation: the key's bytes; the value is read by the runtime.
    PrintMapElem {
        /// Index into [`Plan::maps`].
        map: usize,
        /// The key.
        key: Arg,
    },
    /// `clear(@map)`
    Clear {
        /// Index into [`Plan::maps`].
        map: usize,
    },
    /// `zero(@map)`
    Zero {
        /// Index into [`Plan::maps`].
        map: usize,
    },
    /// `time(format)`: print the wall-clock time.
    Time {
        /// A `strftime` format.
        format: String,
    },
    /// `join(args, delimiter)`: argv-like strings.
    Join {
        /// The strings; each a [`Type::Str`] (empty ones end the list).
        parts: Vec<Arg>,
        /// Between them.
        delimiter: String,
    },
    /// `warnf(format, args)`, `errorf(format, args)`: tell people something.
    Tell {
        /// How bad it is.
        severity: Severity,
        /// The call that says so.
        place: Place,
        /// The format.
        format: Format,
        /// Its arguments.
        args: Vec<Arg>,
    },
    /// `cat(format, args)`: print a file.
    Cat {
        /// The path.
        format: Format,
        /// Its arguments.
        args: Vec<Arg>,
    },
    /// `system(format, args)`: run a command.
    System {
        /// The command.
        format: Format,
        /// Its arguments.
        args: Vec<Arg>,
    },
    /// `exit()`, `exit(code)`
    Exit {
        /// The exit code; 0 without.
        code: Option<Arg>,
    },
    /// `report @map ...`
    Report(Box<ReportPlan>),
}

/// How bad it is what a script tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// `warnf`
    Warning,
    /// `errorf`
    Error,
}

/// A place in the script, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Where it is in the text.
    pub span: Span,
    /// The script's name.
    pub file: String,
    /// Its line, from 1.
    pub line: u32,
    /// Its first column, from 1.
    pub column: u32,
    /// The column after its last, in the same line; 0 if it goes on into further lines.
    pub end_column: u32,
}

impl Place {
    /// A place whose name and numbers [`Place::locate`] fills in.
    pub fn of(span: Span) -> Place {
        Place { span, ..Place::default() }
    }

    /// Fills in name and numbers from the text that it is in, which begins at `base` among all texts.
    pub fn locate(&mut self, file: &str, text: &str, base: usize) {
        let within =
            (self.span.start as usize).saturating_sub(base)..(self.span.end as usize).saturating_sub(base);
        let before = text.get(..within.start).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        self.file = file.to_owned();
        self.line = before.matches('\n').count() as u32 + 1;
        self.column = (before.len() - start) as u32 + 1;
        let covered = text.get(within).unwrap_or_default();
        self.end_column = if covered.contains('\n') { 0 } else { self.column + covered.len() as u32 };
    }
}

/// A `printf` format, parsed and checked against its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Format {
    /// Literal text and conversions in order; the n-th conversion takes the n-th argument.
    pub pieces: Vec<FormatPiece>,
}

/// A piece of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatPiece {
    /// Bytes that are printed as they are.
    Text(Vec<u8>),
    /// `%...`
    Conversion(Conversion),
}

/// One conversion of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversion {
    /// `-`: pad on the right.
    pub left: bool,
    /// `0`: pad with zeros.
    pub zero: bool,
    /// `+`: always a sign.
    pub plus: bool,
    /// ` `: a blank in place of a plus.
    pub space: bool,
    /// `#`: alternative form.
    pub alternate: bool,
    /// Minimum width; `*` is not a conversion's width in the language.
    pub width: Option<u32>,
    /// Precision: maximum bytes of a string, minimum digits of a number.
    pub precision: Option<u32>,
    /// Width in bits that the length modifier asks for: `hh` 8, `h` 16, `l`, `ll`, `z`, `j` and `t` 64, none 0.
    /// Without one it is [`Conversion::of`] the argument's type.
    pub bits: u8,
    /// The conversion itself.
    pub verb: Verb,
}

impl Conversion {
    /// Gives a conversion without a length modifier the width of its argument, as C does: 32 bits for what is
    /// no wider, so that `%x` of an `int8` that is -1 prints `ffffffff`; 64 for the rest, since a number is
    /// never cut.
    pub fn of(&mut self, ty: &Type) {
        if self.bits == 0 {
            let narrow = ty.is_scalar() && ty.size() <= 4;
            self.bits = if narrow { 32 } else { 64 };
        }
    }
}

/// What a conversion prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `%d %i`
    Signed,
    /// `%u`
    Unsigned,
    /// `%x`
    Hex,
    /// `%X`
    HexUpper,
    /// `%o`
    Octal,
    /// `%p`
    Pointer,
    /// `%c`
    Char,
    /// `%s`: strings, symbols, stacks, enumerators, booleans, anything with a text form.
    Text,
    /// `%r`, `%rx`: escaped hex.
    EscapedHex,
    /// `%rh`: hex with blanks.
    SpacedHex,
    /// `%gr`: GFP flags by name.
    GfpFlags,
}

/// A `report` statement: executed by the runtime on a snapshot of the map.
#[derive(Clone, Debug)]
pub struct ReportPlan {
    /// Index into [`Plan::maps`].
    pub map: usize,
    /// Only elements for which this is not zero.
    pub filter: Option<ReportExpr>,
    /// The columns.
    pub columns: Vec<ReportColumn>,
    /// Column to sort by, and whether the largest come first. Ties, and reports without an order,
    /// are sorted by the columns from left to right so that output is stable.
    pub order: Option<(usize, bool)>,
    /// At most so many rows.
    pub limit: Option<ReportExpr>,
    /// Printed once a row with the columns in order; without it an aligned table is printed.
    pub format: Option<Format>,
}

/// One column of a report.
#[derive(Clone, Debug)]
pub struct ReportColumn {
    /// Its name: the table's heading and the JSON field.
    pub name: String,
    /// Its value.
    pub value: ReportValue,
    /// The type of the value.
    pub ty: Type,
}

/// Where a report's column comes from.
#[derive(Clone, Debug)]
pub enum ReportValue {
    /// The same for all elements of a group: rows are grouped by these.
    Group(ReportExpr),
    /// Number of elements.
    Count,
    /// Sum over the group's elements.
    Sum(ReportExpr),
    /// Smallest over the group's elements.
    Min(ReportExpr),
    /// Largest over the group's elements.
    Max(ReportExpr),
    /// Average over the group's elements.
    Avg(ReportExpr),
}

/// An expression over one element of a map, evaluated by the runtime.
///
/// Arithmetic is 64-bit and wraps; division by zero gives 0, modulo by zero the dividend, as in eBPF.
#[derive(Clone, Debug)]
pub struct ReportExpr {
    /// What it is.
    pub kind: ReportExprKind,
    /// Its type.
    pub ty: Type,
}

/// The kinds of report expressions.
#[derive(Clone, Debug)]
pub enum ReportExprKind {
    /// A constant.
    Int(i64),
    /// A value computed by the probe and carried in the event.
    Captured(Arg),
    /// The element's key, at this offset.
    Key {
        /// Byte offset of a field, 0 for all of it.
        offset: u32,
    },
    /// The element's value, at this offset. For an aggregation, its result as an integer
    /// (count, sum, min, max, avg).
    Value {
        /// Byte offset of a field, 0 for all of it.
        offset: u32,
    },
    /// The value that another map has for this key; zero without.
    Lookup {
        /// Index into [`Plan::maps`].
        map: usize,
        /// The key, which has exactly that map's key type.
        key: Box<ReportExpr>,
    },
    /// `op a`
    Unary(UnaryOp, Box<ReportExpr>),
    /// `a op b`
    Binary(BinaryOp, Box<ReportExpr>, Box<ReportExpr>),
    /// `c ? a : b`
    Ternary(Box<ReportExpr>, Box<ReportExpr>, Box<ReportExpr>),
}
