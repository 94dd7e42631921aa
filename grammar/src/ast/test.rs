//! Tests of scripts, which `memql test` runs and a normal run passes over.

use super::{AttachSpec, Expr, Name, Span, StrLit, TypeBase, TypeExpr};

/// `script "FILE";` in a file of tests: the script that they are about.
#[derive(Clone, Debug, PartialEq)]
pub struct TestedScript {
    /// Its path, as seen from the folder of the file that says this.
    pub path: StrLit,
    /// The whole item.
    pub span: Span,
}

/// `kernel { ... }`: what the kernel has that tests run on.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelFacts {
    /// The facts in source order.
    pub facts: Vec<KernelFact>,
    /// The whole block.
    pub span: Span,
}

/// One thing that the kernel has.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelFact {
    /// What it is.
    pub kind: KernelFactKind,
    /// Without the semicolon.
    pub span: Span,
}

/// The kinds of things that a kernel has.
#[derive(Clone, Debug, PartialEq)]
pub enum KernelFactKind {
    /// `tracepoint:oom:mark_victim (pid: int32)`: something to attach to, with its arguments.
    Point {
        /// The attach point, without wildcards.
        spec: AttachSpec,
        /// Its arguments; `retval` is a function's result.
        fields: Vec<FactField>,
    },
    /// `struct page (flags: uint64)`, `union u (...)`
    Record {
        /// The tag.
        tag: TypeBase,
        /// The members in order.
        fields: Vec<FactField>,
    },
    /// `enum zone (ZONE_DMA = 0, ZONE_NORMAL = 2)`
    Enum {
        /// The tag.
        tag: TypeBase,
        /// The enumerators.
        values: Vec<NamedValue>,
    },
    /// `symbol jiffies = 0xffffffff81000000`
    Symbol {
        /// Its name.
        name: Name,
        /// Its address.
        address: u64,
    },
}

/// `name: type`
#[derive(Clone, Debug, PartialEq)]
pub struct FactField {
    /// The name.
    pub name: Name,
    /// The type.
    pub ty: TypeExpr,
}

/// `name = value`
#[derive(Clone, Debug, PartialEq)]
pub struct NamedValue {
    /// The name.
    pub name: Name,
    /// The value; literals, and records and tuples of them.
    pub value: Expr,
}

/// `test "title" { steps }`
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// What is expected, in words.
    pub title: StrLit,
    /// What is done, in order.
    pub steps: Vec<TestStep>,
    /// The whole test.
    pub span: Span,
}

/// One step of a test.
#[derive(Clone, Debug, PartialEq)]
pub struct TestStep {
    /// What it is.
    pub kind: TestStepKind,
    /// Without the semicolon.
    pub span: Span,
}

/// The kinds of steps.
#[derive(Clone, Debug, PartialEq)]
pub enum TestStepKind {
    /// `kernel { ... }`: more that this test's kernel has.
    Kernel(KernelFacts),
    /// `run "-p 42 --top 3";`: what follows the script on the command line.
    Run(StrLit),
    /// `memory 0x1000: struct page = (flags = 1);`: what can be read at an address.
    Memory {
        /// The address.
        address: u64,
        /// The type of what is there.
        ty: TypeExpr,
        /// What is there.
        value: Expr,
    },
    /// `file "/proc/loadavg" = "0.1 ...\n";`: what `cat()` reads.
    File {
        /// Its path.
        path: StrLit,
        /// Its content.
        content: StrLit,
    },
    /// `fire kprobe:vfs_read (pid = 1, arg2 = 10);`: an event.
    Fire {
        /// Where it happens.
        spec: AttachSpec,
        /// By whom, when, with what.
        values: Vec<NamedValue>,
    },
    /// `expect ...;`
    Expect(Expectation),
}

/// What is expected.
#[derive(Clone, Debug, PartialEq)]
pub enum Expectation {
    /// `expect "a line", "another";`: exactly these lines since the last expectation of lines.
    Lines(Vec<StrLit>),
    /// `expect nothing;`: no line since then.
    Nothing,
    /// `expect exit;`, `expect exit 3;`: the script has called `exit()`.
    Exit(Option<u64>),
    /// `expect lost "map @x was full";`: a loss whose report contains this.
    Lost(StrLit),
    /// `expect @calls == 3;`: a condition on maps.
    Condition(Expr),
}
