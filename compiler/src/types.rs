//! The language's types and how their values lie in memory.
//!
//! One layout serves everywhere a value is stored: map keys and values, event records and scratch
//! memory. The compiler writes it, the runtime reads it back, and both ask this module.
//!
//! ```text
//! type              size               align  bytes
//! int, bool, ptr    bits/8             =size  native endian
//! enum              4 or 8             =size  as the integer
//! string[N]         N                  1      text, then NULs up to N: always zero-padded; no NUL where it was cut
//! buffer[N]         4+N                4      u32 length, then N bytes, zero-padded
//! tuple, record     C struct layout; padding is zero
//! array             N * elem           elem
//! struct            as BTF says        8      a copy of the bytes
//! stack             16                 8      u64 id, u32 tgid (0 for kernel), u32 frames
//! ksym              8                  8      u64 address
//! usym              16                 8      u64 address, u32 tgid, u32 zero
//! timestamp         8                  8      u64 nanoseconds
//! point             8                  8      u64 index into `Plan::points`
//! named             8                  8      i64 the number
//! inet              20                 4      u32 address family, then 4 or 16 bytes of address, zero-padded
//! macaddr           6                  1      the bytes
//! ```
//!
//! Aggregations (`count()`, `hist()`...) exist only as map values; theirs is in [`Agg`].

/// A type of the language.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// No value: what `printf()` and other statements-like calls have.
    Void,
    /// A two's-complement integer of 8, 16, 32 or 64 bits.
    Int {
        /// Width in bits.
        bits: u8,
        /// Whether it is signed.
        signed: bool,
    },
    /// `true` or `false`, one byte.
    Bool,
    /// An enumeration: printed as a number by `%d`, as its name by `%s` and `print`.
    Enum {
        /// The tag, without `enum`; empty for an anonymous one.
        name: String,
        /// BTF type id.
        id: u32,
        /// Width in bits.
        bits: u8,
        /// Whether it is signed.
        signed: bool,
    },
    /// Text of at most `cap` bytes; shorter text ends with a NUL.
    Str {
        /// Bytes, the NUL included.
        cap: u32,
    },
    /// Binary data of at most `cap` bytes with its length.
    Buf {
        /// Bytes, without the length word.
        cap: u32,
    },
    /// A tuple, or a record where the fields have names.
    Tuple(Vec<TupleField>),
    /// An address.
    Ptr {
        /// What is there.
        to: Box<Type>,
        /// Which memory it is in.
        space: AddrSpace,
    },
    /// A struct or union of the kernel's BTF.
    Struct(StructRef),
    /// A fixed-length array.
    Array {
        /// The element's type.
        elem: Box<Type>,
        /// How many.
        len: u32,
    },
    /// A call stack, kept in the stacks map under its id.
    Stack(StackType),
    /// A kernel address printed as a symbol.
    Ksym,
    /// A user address printed as a symbol of its process.
    Usym,
    /// Nanoseconds printed as a date by `strftime`.
    Timestamp {
        /// Index into [`crate::plan::Plan::time_formats`].
        format: u32,
        /// Which clock the nanoseconds are of.
        clock: Clock,
    },
    /// The attach point that fired (`probe`) or its function (`func`).
    Point(PointText),
    /// A number printed as the name it stands for, which is looked up when it is printed.
    Named(Naming),
    /// An IPv4 or IPv6 address.
    Inet,
    /// An Ethernet address.
    MacAddr,
    /// What an aggregation keeps; only as a map's value.
    Agg(Agg),
}

/// One field of a tuple or record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TupleField {
    /// The name, in a record.
    pub name: Option<String>,
    /// The field's type.
    pub ty: Type,
}

/// Which memory an address is in, and so how it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddrSpace {
    /// Kernel memory (`bpf_probe_read_kernel`).
    Kernel,
    /// The current process's memory (`bpf_probe_read_user`).
    User,
    /// Not known: integers cast to pointers. Read as kernel memory in kernel probes, as user memory
    /// in uprobes and USDT probes.
    Unknown,
    /// The probe's context: fields are loaded directly.
    Context,
}

/// A struct or union, by its place in the kernel's BTF.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StructRef {
    /// The tag, without `struct` or `union`; empty for an anonymous one.
    pub name: String,
    /// BTF type id.
    pub id: u32,
    /// Size in bytes.
    pub size: u32,
    /// Whether it is a union.
    pub is_union: bool,
}

/// Which stack, how much of it and how it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StackType {
    /// The user's stack rather than the kernel's.
    pub user: bool,
    /// At most so many frames are kept.
    pub limit: u32,
    /// How it is printed.
    pub mode: StackMode,
}

/// How a stack is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StackMode {
    /// `symbol+offset`
    Bpftrace,
    /// `address symbol+offset (module)`
    Perf,
    /// Addresses.
    Raw,
    /// Build id and file offset.
    BuildId,
    /// `    symbol+0x1f [module]`, as bcc's tools print frames: memql's own.
    Bcc,
}

/// The clocks of `nsecs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Clock {
    /// `CLOCK_BOOTTIME`
    Boot,
    /// `CLOCK_MONOTONIC`
    Monotonic,
    /// `CLOCK_TAI`
    Tai,
    /// `CLOCK_TAI`, computed from the boot clock and an offset.
    SoftwareTai,
    /// `CLOCK_REALTIME`, computed from the boot clock and an offset.
    Realtime,
}

/// Which text of an attach point a [`Type::Point`] prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PointText {
    /// `probe`: the whole attach point.
    Probe,
    /// `func`: the function's name.
    Func,
}

/// What the number of a [`Type::Named`] is, and so what its name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Naming {
    /// `strerror`: an error number; a negative one counts as its opposite.
    Error,
    /// `signal_name`: a signal.
    Signal,
    /// `syscall_name`: a system call of the machine's architecture.
    Syscall,
    /// `username`: a user id.
    User,
    /// `comm(pid)`: a process id in memql's namespace; the name of its first thread.
    Process,
    /// `cgroup_path`: a cgroup id.
    Cgroup {
        /// Index into [`crate::plan::Plan::cgroup_filters`].
        filter: u32,
    },
}

/// Address families of [`Type::Inet`] (`AF_INET`, include/linux/socket.h).
pub const AF_INET: u32 = 2;
/// `AF_INET6`
pub const AF_INET6: u32 = 10;

/// What an aggregation keeps per key (and, in per-CPU storage, per CPU).
///
/// ```text
/// count        u64 count
/// sum          u64 total
/// min, max     u64 value, u64 is-set
/// avg, stats   u64 count, u64 total
/// hist(bits)   u64 per bucket: bucket 0 negative, 1 zero, then 2^bits buckets per power of two
/// lhist        u64 per bucket: 0 below min, then the steps that end by max, last one above them
/// tseries      Series::WORDS u64 per interval
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Agg {
    /// `count()`
    Count,
    /// `sum(x)`
    Sum {
        /// Whether the summands are signed.
        signed: bool,
    },
    /// `min(x)`
    Min {
        /// Whether the values are signed.
        signed: bool,
    },
    /// `max(x)`
    Max {
        /// Whether the values are signed.
        signed: bool,
    },
    /// `avg(x)`
    Avg {
        /// Whether the values are signed.
        signed: bool,
    },
    /// `stats(x)`
    Stats {
        /// Whether the values are signed.
        signed: bool,
    },
    /// `hist(x, bits)`
    Hist {
        /// Buckets per power of two, as a power of two: 0 to 5.
        bits: u8,
    },
    /// `lhist(x, min, max, step)`
    Lhist {
        /// Lower end of the first step.
        min: i64,
        /// Upper end of the last step.
        max: i64,
        /// Width of a step.
        step: i64,
    },
    /// `tseries(x, interval, intervals, "mean of them")`
    Tseries(Series),
}

/// A time series: what it keeps of each of the last intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Series {
    /// Length of an interval in nanoseconds.
    pub interval_ns: u64,
    /// How many intervals are kept.
    pub intervals: u32,
    /// What is kept of an interval's values.
    pub keeps: SeriesValue,
    /// Whether the values are signed.
    pub signed: bool,
}

/// What a time series keeps of the values in one interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SeriesValue {
    /// The last.
    Last,
    /// The average.
    Avg,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// The total.
    Sum,
}

impl Series {
    /// Words of one interval: its stamp, which is its number since 1970 plus 1 and 0 while it is unused;
    /// the value, or the total of an average; the time of the last value, how many an average is of, or
    /// whether a minimum or maximum is set. Interval `n` lies at `n % intervals`.
    pub const WORDS: u32 = 3;
}

impl Agg {
    /// The language's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Agg::Count => "count",
            Agg::Sum { .. } => "sum",
            Agg::Min { .. } => "min",
            Agg::Max { .. } => "max",
            Agg::Avg { .. } => "avg",
            Agg::Stats { .. } => "stats",
            Agg::Hist { .. } => "hist",
            Agg::Lhist { .. } => "lhist",
            Agg::Tseries(_) => "tseries",
        }
    }

    /// How many 64-bit words are kept.
    pub fn words(self) -> u32 {
        match self {
            Agg::Count | Agg::Sum { .. } => 1,
            Agg::Min { .. } | Agg::Max { .. } | Agg::Avg { .. } | Agg::Stats { .. } => 2,
            Agg::Hist { bits } => hist_buckets(bits),
            // What is left above the last whole step counts as above.
            Agg::Lhist { min, max, step } => ((max - min) / step) as u32 + 2,
            Agg::Tseries(series) => series.intervals * Series::WORDS,
        }
    }
}

/// How many buckets `hist(x, bits)` has.
///
/// Bucket 0 holds negative values. With `b = bits`, values below `2^b` have a bucket each
/// (`1 + value`); above, each power of two is cut into `2^b` buckets: for `value` with highest set
/// bit `l >= b`, the bucket is `1 + 2^b * (l - b + 1) + ((value >> (l - b)) & (2^b - 1))`.
/// For `bits` = 0 this is: 0 negative, 1 zero, 2 one, 3 [2, 4), 4 [4, 8), ...
pub fn hist_buckets(bits: u8) -> u32 {
    let b = u32::from(bits);
    1 + (1 << b) * (64 - b + 1)
}

impl Type {
    /// `int64`
    pub const I64: Type = Type::Int { bits: 64, signed: true };
    /// `uint64`
    pub const U64: Type = Type::Int { bits: 64, signed: false };
    /// `uint32`
    pub const U32: Type = Type::Int { bits: 32, signed: false };
    /// `int32`
    pub const I32: Type = Type::Int { bits: 32, signed: true };

    /// Whether a value of it fits a register.
    pub fn is_scalar(&self) -> bool {
        match self {
            Type::Int { .. }
            | Type::Bool
            | Type::Enum { .. }
            | Type::Ptr { .. }
            | Type::Ksym
            | Type::Timestamp { .. }
            | Type::Point(_)
            | Type::Named(_) => true,
            Type::Void
            | Type::Str { .. }
            | Type::Buf { .. }
            | Type::Tuple(_)
            | Type::Struct(_)
            | Type::Array { .. }
            | Type::Stack(_)
            | Type::Usym
            | Type::Inet
            | Type::MacAddr
            | Type::Agg(_) => false,
        }
    }

    /// Whether comparing, dividing, shifting and widening treat it as signed.
    pub fn is_signed(&self) -> bool {
        match self {
            Type::Int { signed, .. } | Type::Enum { signed, .. } => *signed,
            Type::Named(_) => true,
            Type::Agg(
                Agg::Sum { signed }
                | Agg::Min { signed }
                | Agg::Max { signed }
                | Agg::Avg { signed }
                | Agg::Stats { signed }
                | Agg::Tseries(Series { signed, .. }),
            ) => *signed,
            _ => false,
        }
    }

    /// Whether both are one type but for the memory that their pointers point into.
    pub fn same_but_spaces(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::Ptr { to, .. }, Type::Ptr { to: other, .. }) => to.same_but_spaces(other),
            (Type::Array { elem, len }, Type::Array { elem: other, len: other_len }) => {
                len == other_len && elem.same_but_spaces(other)
            }
            (one, other) => one == other,
        }
    }

    /// Size in bytes of a stored value; one that is too large for the number has the largest there is. What
    /// is kept is much smaller: [`crate::check`] sees to that.
    pub fn size(&self) -> u32 {
        match self {
            Type::Void => 0,
            Type::Int { bits, .. } | Type::Enum { bits, .. } => u32::from(*bits) / 8,
            Type::Bool => 1,
            Type::Str { cap } => *cap,
            Type::Buf { cap } => aligned(*cap, 4).saturating_add(4),
            Type::Tuple(fields) => tuple_layout(fields).size,
            Type::Ptr { .. } | Type::Ksym | Type::Timestamp { .. } | Type::Point(_) | Type::Named(_) => 8,
            Type::Inet => 20,
            Type::MacAddr => 6,
            Type::Struct(s) => s.size,
            Type::Array { elem, len } => elem.size().saturating_mul(*len),
            Type::Stack(_) | Type::Usym => 16,
            Type::Agg(agg) => agg.words() * 8,
        }
    }

    /// Both at once: asking for one after the other would lay nested tuples out twice at each level.
    fn size_and_align(&self) -> (u32, u32) {
        match self {
            Type::Tuple(fields) => {
                let layout = tuple_layout(fields);
                (layout.size, layout.align)
            }
            other => (other.size(), other.align()),
        }
    }

    /// Alignment in bytes of a stored value.
    pub fn align(&self) -> u32 {
        match self {
            Type::Void | Type::Bool | Type::Str { .. } | Type::MacAddr => 1,
            Type::Int { bits, .. } | Type::Enum { bits, .. } => u32::from(*bits) / 8,
            Type::Buf { .. } | Type::Inet => 4,
            Type::Tuple(fields) => tuple_layout(fields).align,
            Type::Array { elem, .. } => elem.align(),
            Type::Ptr { .. }
            | Type::Ksym
            | Type::Timestamp { .. }
            | Type::Point(_)
            | Type::Named(_)
            | Type::Struct(_)
            | Type::Stack(_)
            | Type::Usym
            | Type::Agg(_) => 8,
        }
    }
}

/// Where a tuple's fields lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TupleLayout {
    /// Byte offset of each field.
    pub offsets: Vec<u32>,
    /// Total size in bytes, a multiple of `align`.
    pub size: u32,
    /// The largest alignment of a field; at least 1.
    pub align: u32,
}

/// A size rounded up to an alignment; the largest there is where that is too much.
fn aligned(size: u32, align: u32) -> u32 {
    size.checked_next_multiple_of(align).unwrap_or(u32::MAX)
}

/// Lays a tuple's fields out as C would.
pub fn tuple_layout(fields: &[TupleField]) -> TupleLayout {
    let (mut offsets, mut size, mut align) = (Vec::with_capacity(fields.len()), 0u32, 1u32);
    for field in fields {
        let (bytes, a) = field.ty.size_and_align();
        size = aligned(size, a);
        offsets.push(size);
        size = size.saturating_add(bytes);
        align = align.max(a);
    }
    TupleLayout { offsets, size: aligned(size, align), align }
}

impl std::fmt::Display for Type {
    /// The type as the language writes it; this is what diagnostics show.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Type::Void => f.write_str("void"),
            Type::Int { bits, signed } => write!(f, "{}int{bits}", if *signed { "" } else { "u" }),
            Type::Bool => f.write_str("bool"),
            Type::Enum { name, .. } if name.is_empty() => f.write_str("enum"),
            Type::Enum { name, .. } => write!(f, "enum {name}"),
            Type::Str { cap } => write!(f, "string[{cap}]"),
            Type::Buf { cap } => write!(f, "buffer[{cap}]"),
            Type::Tuple(fields) => {
                f.write_str("(")?;
                for (i, field) in fields.iter().enumerate() {
                    if i > 0 {
                        f.write_str(",")?;
                    }
                    if let Some(name) = &field.name {
                        write!(f, "{name}=")?;
                    }
                    write!(f, "{}", field.ty)?;
                }
                f.write_str(")")
            }
            Type::Ptr { to, .. } => write!(f, "{to} *"),
            Type::Struct(s) => write!(f, "{} {}", if s.is_union { "union" } else { "struct" }, s.name),
            Type::Array { elem, len } => write!(f, "{elem}[{len}]"),
            Type::Stack(s) => f.write_str(if s.user { "ustack" } else { "kstack" }),
            Type::Ksym => f.write_str("ksym_t"),
            Type::Usym => f.write_str("usym_t"),
            Type::Timestamp { .. } => f.write_str("timestamp"),
            Type::Point(_) => f.write_str("string"),
            Type::Named(Naming::User) => f.write_str("username_t"),
            Type::Named(Naming::Cgroup { .. }) => f.write_str("cgroup_path_t"),
            Type::Named(_) => f.write_str("name"),
            Type::Inet => f.write_str("inet"),
            Type::MacAddr => f.write_str("macaddr_t"),
            Type::Agg(agg) => write!(f, "{}_t", agg.name()),
        }
    }
}
