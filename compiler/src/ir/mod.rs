//! The intermediate representation: SSA over basic blocks with block parameters.
//!
//! A [`Module`] holds maps, globals and [`Program`]s; a program is one entry [`Function`] and the
//! callback functions it passes to helpers. Scalars are 64-bit registers: narrow integers exist only
//! in memory, and the width is part of the load or store that touches it. Address spaces are part
//! of a value's [`Type`], so that reading user memory with the kernel helper is a type error here.
//!
//! Each opcode's meaning stands at its definition in [`Inst`]; eBPF's edge cases are the meaning:
//! division by zero gives 0, modulo by zero leaves the dividend, shift counts are taken modulo 64.
//!
//! ```text
//! text form         [`text`]      printed and parsed; print-then-parse is the identity
//! invariants        [`verify`]    the IR verifier
//! passes            [`crate::passes`]
//! allocation        [`crate::alloc`]
//! ```

use cranelift_entity::{EntityList, ListPool, PrimaryMap, SecondaryMap, entity_impl};
use memql_grammar::ast::Span;

use crate::attach::ProgramKind;

pub mod cfg;
pub mod compact;
pub mod dominators;
pub mod effects;
pub mod eval;
pub mod memory;
pub mod text;
pub mod verify;

/// An SSA value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(u32);
entity_impl!(Value, "v");

/// A basic block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Block(u32);
entity_impl!(Block, "block");

/// An instruction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstId(u32);
entity_impl!(InstId, "inst");

/// A piece of a function's own memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u32);
entity_impl!(Slot, "ss");

/// An eBPF map of the module.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MapRef(u32);
entity_impl!(MapRef, "map");

/// A directly addressed variable of the module (in `.bss`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Global(u32);
entity_impl!(Global, "global");

/// A function of a program; the entry is always the first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FuncRef(u32);
entity_impl!(FuncRef, "fn");

/// A list of values in a function's pool.
pub type ValueList = EntityList<Value>;

/// All programs of a script with what they share.
#[derive(Clone, Debug, Default)]
pub struct Module {
    /// The maps.
    pub maps: PrimaryMap<MapRef, MapDef>,
    /// The variables in `.bss`.
    pub globals: PrimaryMap<Global, GlobalDef>,
    /// The programs.
    pub programs: Vec<Program>,
    /// The object's license.
    pub license: String,
}

/// An eBPF map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapDef {
    /// Its name in the object: an identifier of at most 15 bytes.
    pub name: String,
    /// Its type.
    pub kind: MapKind,
    /// Bytes of a key; 0 for a ring buffer.
    pub key_size: u32,
    /// Bytes of a value; 0 for a ring buffer.
    pub value_size: u32,
    /// Entries; bytes for a ring buffer.
    pub max_entries: u32,
    /// `BPF_F_*` flags of map creation.
    pub flags: u32,
}

/// The map types that memql uses, by their number in `enum bpf_map_type` (include/uapi/linux/bpf.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum MapKind {
    /// `BPF_MAP_TYPE_HASH`
    #[doc(alias = "BPF_MAP_TYPE_HASH")]
    Hash = 1,
    /// `BPF_MAP_TYPE_ARRAY`
    #[doc(alias = "BPF_MAP_TYPE_ARRAY")]
    Array = 2,
    /// `BPF_MAP_TYPE_PERCPU_HASH`
    #[doc(alias = "BPF_MAP_TYPE_PERCPU_HASH")]
    PerCpuHash = 5,
    /// `BPF_MAP_TYPE_PERCPU_ARRAY`
    #[doc(alias = "BPF_MAP_TYPE_PERCPU_ARRAY")]
    PerCpuArray = 6,
    /// `BPF_MAP_TYPE_LRU_HASH`
    #[doc(alias = "BPF_MAP_TYPE_LRU_HASH")]
    LruHash = 9,
    /// `BPF_MAP_TYPE_LRU_PERCPU_HASH`
    #[doc(alias = "BPF_MAP_TYPE_LRU_PERCPU_HASH")]
    LruPerCpuHash = 10,
    /// `BPF_MAP_TYPE_RINGBUF`
    #[doc(alias = "BPF_MAP_TYPE_RINGBUF")]
    RingBuf = 27,
}

/// A variable in `.bss`: zero at the start, shared by all programs, readable by the runtime through
/// a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalDef {
    /// Its name: an identifier.
    pub name: String,
    /// Bytes.
    pub size: u32,
    /// Alignment in bytes.
    pub align: u32,
    /// Byte offset in `.bss`; kept here so that everybody agrees on it.
    pub offset: u32,
}

/// One eBPF program.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name in the object: an identifier.
    pub name: String,
    /// Its type.
    pub kind: ProgramKind,
    /// What the kernel must know at load time of a program bound to one target: the function or
    /// tracepoint (for `tp_btf`, `fentry`, `fexit`).
    pub attach_to: Option<String>,
    /// The functions; the first is the entry.
    pub functions: PrimaryMap<FuncRef, Function>,
}

/// A function: the entry of a program (one parameter: the context), or a callback.
#[derive(Clone, Debug, Default)]
pub struct Function {
    /// Parameters' types; they are the entry block's parameters. At most 5.
    pub params: Vec<Type>,
    /// Blocks in layout order; the first is the entry.
    pub blocks: PrimaryMap<Block, BlockData>,
    /// Instructions; a block names its own, in order.
    pub insts: PrimaryMap<InstId, Inst>,
    /// Values: what defines each, and its type.
    pub values: PrimaryMap<Value, ValueDef>,
    /// The value each instruction defines, if it defines one.
    pub results: SecondaryMap<InstId, Option<Value>>,
    /// The source text each instruction comes from.
    pub spans: SecondaryMap<InstId, Span>,
    /// The function's memory.
    pub slots: PrimaryMap<Slot, SlotDef>,
    /// Storage of value lists.
    pub pool: ListPool<Value>,
}

/// A basic block.
#[derive(Clone, Debug, Default)]
pub struct BlockData {
    /// Parameters, defined on entry.
    pub params: Vec<Value>,
    /// Instructions in order.
    pub insts: Vec<InstId>,
    /// How it ends. `None` only while it is being built.
    pub terminator: Option<Terminator>,
    /// The source text the terminator comes from.
    pub terminator_span: Span,
}

/// A piece of memory of a function. Uninitialised at entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotDef {
    /// Bytes.
    pub size: u32,
    /// Alignment in bytes: 1, 2, 4 or 8.
    pub align: u32,
    /// The variable it is for, for people: `$name`, `key of @x`.
    pub name: Option<String>,
}

/// A value's type and definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueDef {
    /// Its type.
    pub ty: Type,
    /// What defines it.
    pub by: DefinedBy,
}

/// What defines a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefinedBy {
    /// The n-th parameter of a block.
    Param(Block, u32),
    /// An instruction.
    Inst(InstId),
}

/// A value's type. All are 64 bits wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// An integer.
    I64,
    /// The program's context.
    Ctx,
    /// An address in a slot of this function (or, in a callback, of the caller).
    Stack,
    /// An address in a map's value or a global.
    Map,
    /// An address in a reserved ring buffer record.
    Ring,
    /// A map itself, as helpers take it.
    MapObject,
    /// A callback, as helpers take it.
    Callback,
    /// A kernel address that only `probe_read_kernel` may read: for the kernel verifier an integer.
    Kernel,
    /// A user address that only `probe_read_user` may read: for the kernel verifier an integer.
    User,
    /// A kernel pointer typed by BTF that the kernel verifier lets a program load through.
    Btf,
}

impl Type {
    /// Whether loads and stores may go through it directly.
    pub fn is_memory(self) -> bool {
        matches!(self, Type::Ctx | Type::Stack | Type::Map | Type::Ring | Type::Btf)
    }

    /// Whether the kernel verifier treats it as a plain number.
    pub fn is_number(self) -> bool {
        matches!(self, Type::I64 | Type::Kernel | Type::User)
    }

    /// Its name in the text form.
    pub fn name(self) -> &'static str {
        match self {
            Type::I64 => "i64",
            Type::Ctx => "ptr.ctx",
            Type::Stack => "ptr.stack",
            Type::Map => "ptr.map",
            Type::Ring => "ptr.ring",
            Type::MapObject => "map",
            Type::Callback => "fn",
            Type::Kernel => "ptr.kernel",
            Type::User => "ptr.user",
            Type::Btf => "ptr.btf",
        }
    }
}

/// Width of a memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// One byte.
    W8,
    /// Two bytes.
    W16,
    /// Four bytes.
    W32,
    /// Eight bytes.
    W64,
}

impl Width {
    /// Bytes.
    pub fn bytes(self) -> u32 {
        match self {
            Width::W8 => 1,
            Width::W16 => 2,
            Width::W32 => 4,
            Width::W64 => 8,
        }
    }

    /// Bits.
    pub fn bits(self) -> u32 {
        self.bytes() * 8
    }

    /// The width of so many bytes, if there is one.
    pub fn of_bytes(bytes: u32) -> Option<Width> {
        match bytes {
            1 => Some(Width::W8),
            2 => Some(Width::W16),
            4 => Some(Width::W32),
            8 => Some(Width::W64),
            _ => None,
        }
    }
}

/// One-operand operations on integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// Two's complement negation.
    Neg,
    /// Sign-extend the low bits of this width.
    Sext(Width),
    /// Zero-extend the low bits of this width (clear the rest).
    Zext(Width),
    /// Reverse the bytes of the low part of this width (16, 32 or 64) and zero-extend.
    Bswap(Width),
    /// The same number, of which the kernel verifier knows nothing (see [`crate::emit::hide`]).
    Hide,
}

/// Two-operand operations on 64-bit integers. A number of space Kernel or User plus or minus an
/// integer keeps the space; a memory pointer plus an integer keeps the pointer's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// Wrapping addition.
    Add,
    /// Wrapping subtraction.
    Sub,
    /// Wrapping multiplication.
    Mul,
    /// Unsigned division; by zero gives 0.
    Udiv,
    /// Unsigned remainder; by zero gives the dividend.
    Umod,
    /// Signed division, rounding towards zero; by zero gives 0; `i64::MIN / -1` gives `i64::MIN`.
    Sdiv,
    /// Signed remainder, with the dividend's sign; by zero gives the dividend.
    Smod,
    /// Bitwise and.
    And,
    /// Bitwise or.
    Or,
    /// Bitwise exclusive or.
    Xor,
    /// Left shift by the count modulo 64.
    Shl,
    /// Logical right shift by the count modulo 64.
    Lshr,
    /// Arithmetic right shift by the count modulo 64.
    Ashr,
}

/// Comparisons of 64-bit values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cond {
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// Unsigned `<`
    Ult,
    /// Unsigned `<=`
    Ule,
    /// Unsigned `>`
    Ugt,
    /// Unsigned `>=`
    Uge,
    /// Signed `<`
    Slt,
    /// Signed `<=`
    Sle,
    /// Signed `>`
    Sgt,
    /// Signed `>=`
    Sge,
}

impl Cond {
    /// The comparison that holds exactly when this one does not.
    pub fn negated(self) -> Cond {
        match self {
            Cond::Eq => Cond::Ne,
            Cond::Ne => Cond::Eq,
            Cond::Ult => Cond::Uge,
            Cond::Ule => Cond::Ugt,
            Cond::Ugt => Cond::Ule,
            Cond::Uge => Cond::Ult,
            Cond::Slt => Cond::Sge,
            Cond::Sle => Cond::Sgt,
            Cond::Sgt => Cond::Sle,
            Cond::Sge => Cond::Slt,
        }
    }
}

/// An instruction. The doc line of each is its meaning; `off` is in bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Inst {
    /// `const imm`: an integer (or, by result type, a Kernel or User address).
    Const(i64),
    /// `op a`
    Unary {
        /// The operation.
        op: UnaryOp,
        /// The operand.
        arg: Value,
    },
    /// `op a, b`
    Binary {
        /// The operation.
        op: BinaryOp,
        /// Left operand.
        left: Value,
        /// Right operand.
        right: Value,
    },
    /// `icmp cc a, b`: 1 if the comparison holds, else 0.
    Icmp {
        /// The comparison.
        cond: Cond,
        /// Left operand.
        left: Value,
        /// Right operand.
        right: Value,
    },
    /// `select c, a, b`: `a` if `c` is not zero, else `b`.
    Select {
        /// The condition.
        cond: Value,
        /// The value if it is not zero.
        then: Value,
        /// The value if it is.
        otherwise: Value,
    },
    /// `load.uW p+off`, `load.sW p+off`: memory, zero- or sign-extended. The result's type may be a
    /// pointer for 64-bit loads (a spilled pointer, a pointer field of the context or of BTF memory).
    Load {
        /// Width of the access.
        width: Width,
        /// Sign-extend.
        signed: bool,
        /// Base address.
        ptr: Value,
        /// Added to it.
        off: i32,
    },
    /// `store.W p+off, v`: the low bits of `v`.
    Store {
        /// Width of the access.
        width: Width,
        /// Base address.
        ptr: Value,
        /// Added to it.
        off: i32,
        /// The value.
        value: Value,
    },
    /// `atomic_add.W p+off, v` (32 or 64 bits): add in one step, no result.
    AtomicAdd {
        /// Width of the access: 32 or 64.
        width: Width,
        /// Base address: Map memory.
        ptr: Value,
        /// Added to it.
        off: i32,
        /// The addend.
        value: Value,
    },
    /// `atomic_fetch_add.W p+off, v`: the same, giving the old value (Linux 5.12).
    AtomicFetchAdd {
        /// Width of the access: 32 or 64.
        width: Width,
        /// Base address: Map memory.
        ptr: Value,
        /// Added to it.
        off: i32,
        /// The addend.
        value: Value,
    },
    /// `atomic_xchg.W p+off, v`: store and give the old value (Linux 5.12).
    AtomicXchg {
        /// Width of the access: 32 or 64.
        width: Width,
        /// Base address: Map memory.
        ptr: Value,
        /// Added to it.
        off: i32,
        /// The new value.
        value: Value,
    },
    /// `atomic_cmpxchg.W p+off, e, v`: if memory equals `e` store `v`; gives the old value (Linux 5.12).
    AtomicCmpXchg {
        /// Width of the access: 32 or 64.
        width: Width,
        /// Base address: Map memory.
        ptr: Value,
        /// Added to it.
        off: i32,
        /// The expected value.
        expected: Value,
        /// The new value.
        value: Value,
    },
    /// `slot_addr ssN+off`: type Stack. (A pass turns slots that do not fit the stack into scratch
    /// map memory, type Map.)
    SlotAddr {
        /// The slot.
        slot: Slot,
        /// Added to its address.
        off: i32,
    },
    /// `global_addr globalN+off`: type Map.
    GlobalAddr {
        /// The variable.
        global: Global,
        /// Added to its address.
        off: i32,
    },
    /// `map_object mapN`: the map, as an argument for helpers.
    MapObject(MapRef),
    /// `fn_addr fnN`: the callback, as an argument for helpers.
    FnAddr(FuncRef),
    /// `mem_zero p+off, len`: set memory to zero.
    MemZero {
        /// Base address.
        ptr: Value,
        /// Added to it.
        off: i32,
        /// Bytes.
        len: u32,
    },
    /// `mem_copy d+off, s+off, len`: copy directly addressable memory; the ranges do not overlap.
    /// Both addresses are aligned to `align`.
    MemCopy {
        /// Destination base.
        dst: Value,
        /// Added to it.
        dst_off: i32,
        /// Source base.
        src: Value,
        /// Added to it.
        src_off: i32,
        /// Bytes.
        len: u32,
        /// Known alignment of both: 1, 2, 4 or 8.
        align: u32,
    },
    /// `call helper(args)`: at most 5 arguments; the result's type is as [`crate::helpers`] says.
    Call {
        /// The helper.
        helper: Helper,
        /// The arguments.
        args: ValueList,
    },
    /// `cast v`: the same bits as another type among the numbers (I64, Kernel, User); no code.
    Cast(Value),
    /// `address p`: an address of memory, or a map's, as a number of type Kernel, of which the kernel
    /// verifier knows nothing. `probe_read_kernel` reads what is there; nothing can be written through it.
    Address(Value),
}

/// How a block ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Terminator {
    /// `jump block(args)`
    Jump(Target),
    /// `brif cc a, b, then(args), else(args)`. The two targets may be the same block.
    Branch {
        /// The comparison.
        cond: Cond,
        /// Left operand.
        left: Value,
        /// Right operand.
        right: Value,
        /// Where to go if it holds.
        then: Target,
        /// Where to go if it does not.
        otherwise: Target,
    },
    /// `return v`: leave the function.
    Return(Value),
}

/// A block and the values of its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The block.
    pub block: Block,
    /// One value per parameter.
    pub args: Vec<Value>,
}

/// An eBPF helper by its number in `enum bpf_func_id` (include/uapi/linux/bpf.h); its signature
/// stands in [`crate::helpers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Helper(pub u32);

impl Function {
    /// A function with an entry block whose parameters are `params`.
    pub fn new(params: &[Type]) -> Function {
        let mut function = Function { params: params.to_vec(), ..Function::default() };
        let entry = function.add_block();
        for ty in params {
            function.add_param(entry, *ty);
        }
        function
    }

    /// The entry block.
    pub fn entry(&self) -> Block {
        Block::from_u32(0)
    }

    /// Adds an empty block.
    pub fn add_block(&mut self) -> Block {
        self.blocks.push(BlockData::default())
    }

    /// Adds a parameter to a block.
    pub fn add_param(&mut self, block: Block, ty: Type) -> Value {
        let index = self.blocks[block].params.len() as u32;
        let value = self.values.push(ValueDef { ty, by: DefinedBy::Param(block, index) });
        self.blocks[block].params.push(value);
        value
    }

    /// Adds memory.
    pub fn add_slot(&mut self, slot: SlotDef) -> Slot {
        self.slots.push(slot)
    }

    /// Makes an instruction (not yet in a block) that defines a value of type `ty`, or none.
    pub fn make_inst(&mut self, inst: Inst, ty: Option<Type>, span: Span) -> (InstId, Option<Value>) {
        let id = self.insts.push(inst);
        self.spans[id] = span;
        let value = ty.map(|ty| self.values.push(ValueDef { ty, by: DefinedBy::Inst(id) }));
        self.results[id] = value;
        (id, value)
    }

    /// Appends an instruction to a block.
    pub fn append(&mut self, block: Block, inst: Inst, ty: Option<Type>, span: Span) -> Option<Value> {
        let (id, value) = self.make_inst(inst, ty, span);
        self.blocks[block].insts.push(id);
        value
    }

    /// A value's type.
    pub fn type_of(&self, value: Value) -> Type {
        self.values[value].ty
    }

    /// The instruction that defines a value, unless it is a block parameter.
    pub fn def(&self, value: Value) -> Option<&Inst> {
        match self.values[value].by {
            DefinedBy::Inst(id) => Some(&self.insts[id]),
            DefinedBy::Param(..) => None,
        }
    }

    /// The constant a value is, if it is one.
    pub fn as_const(&self, value: Value) -> Option<i64> {
        match self.def(value) {
            Some(Inst::Const(imm)) => Some(*imm),
            _ => None,
        }
    }
}

impl Inst {
    /// Calls `f` with each operand.
    pub fn for_each_arg(&self, pool: &ListPool<Value>, mut f: impl FnMut(Value)) {
        match self {
            Inst::Const(_)
            | Inst::SlotAddr { .. }
            | Inst::GlobalAddr { .. }
            | Inst::MapObject(_)
            | Inst::FnAddr(_) => {}
            Inst::Unary { arg, .. } | Inst::Cast(arg) | Inst::Address(arg) => f(*arg),
            Inst::Binary { left, right, .. } | Inst::Icmp { left, right, .. } => {
                f(*left);
                f(*right);
            }
            Inst::Select { cond, then, otherwise } => {
                f(*cond);
                f(*then);
                f(*otherwise);
            }
            Inst::Load { ptr, .. } | Inst::MemZero { ptr, .. } => f(*ptr),
            Inst::Store { ptr, value, .. }
            | Inst::AtomicAdd { ptr, value, .. }
            | Inst::AtomicFetchAdd { ptr, value, .. }
            | Inst::AtomicXchg { ptr, value, .. } => {
                f(*ptr);
                f(*value);
            }
            Inst::AtomicCmpXchg { ptr, expected, value, .. } => {
                f(*ptr);
                f(*expected);
                f(*value);
            }
            Inst::MemCopy { dst, src, .. } => {
                f(*dst);
                f(*src);
            }
            Inst::Call { args, .. } => args.as_slice(pool).iter().copied().for_each(f),
        }
    }

    /// Replaces each operand by what `f` gives for it.
    pub fn map_args(&mut self, pool: &mut ListPool<Value>, mut f: impl FnMut(Value) -> Value) {
        match self {
            Inst::Const(_)
            | Inst::SlotAddr { .. }
            | Inst::GlobalAddr { .. }
            | Inst::MapObject(_)
            | Inst::FnAddr(_) => {}
            Inst::Unary { arg, .. } | Inst::Cast(arg) | Inst::Address(arg) => *arg = f(*arg),
            Inst::Binary { left, right, .. } | Inst::Icmp { left, right, .. } => {
                *left = f(*left);
                *right = f(*right);
            }
            Inst::Select { cond, then, otherwise } => {
                *cond = f(*cond);
                *then = f(*then);
                *otherwise = f(*otherwise);
            }
            Inst::Load { ptr, .. } | Inst::MemZero { ptr, .. } => *ptr = f(*ptr),
            Inst::Store { ptr, value, .. }
            | Inst::AtomicAdd { ptr, value, .. }
            | Inst::AtomicFetchAdd { ptr, value, .. }
            | Inst::AtomicXchg { ptr, value, .. } => {
                *ptr = f(*ptr);
                *value = f(*value);
            }
            Inst::AtomicCmpXchg { ptr, expected, value, .. } => {
                *ptr = f(*ptr);
                *expected = f(*expected);
                *value = f(*value);
            }
            Inst::MemCopy { dst, src, .. } => {
                *dst = f(*dst);
                *src = f(*src);
            }
            Inst::Call { args, .. } => args.as_mut_slice(pool).iter_mut().for_each(|arg| *arg = f(*arg)),
        }
    }

    /// Whether it can be dropped when its result is not used. Helper calls say so in [`crate::helpers`].
    pub fn is_pure(&self) -> bool {
        match self {
            Inst::Const(_)
            | Inst::Unary { .. }
            | Inst::Binary { .. }
            | Inst::Icmp { .. }
            | Inst::Select { .. }
            | Inst::Load { .. }
            | Inst::SlotAddr { .. }
            | Inst::GlobalAddr { .. }
            | Inst::MapObject(_)
            | Inst::FnAddr(_)
            | Inst::Cast(_)
            | Inst::Address(_) => true,
            Inst::Call { helper, .. } => crate::helpers::signature(*helper).is_some_and(|s| s.pure),
            Inst::Store { .. }
            | Inst::AtomicAdd { .. }
            | Inst::AtomicFetchAdd { .. }
            | Inst::AtomicXchg { .. }
            | Inst::AtomicCmpXchg { .. }
            | Inst::MemZero { .. }
            | Inst::MemCopy { .. } => false,
        }
    }
}

impl Terminator {
    /// The targets it may go to.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        let (a, b) = match self {
            Terminator::Jump(t) => (Some(t), None),
            Terminator::Branch { then, otherwise, .. } => (Some(then), Some(otherwise)),
            Terminator::Return(_) => (None, None),
        };
        a.into_iter().chain(b)
    }

    /// The targets it may go to, to be changed.
    pub fn targets_mut(&mut self) -> impl Iterator<Item = &mut Target> {
        let (a, b) = match self {
            Terminator::Jump(t) => (Some(t), None),
            Terminator::Branch { then, otherwise, .. } => (Some(then), Some(otherwise)),
            Terminator::Return(_) => (None, None),
        };
        a.into_iter().chain(b)
    }

    /// Calls `f` with each operand, block arguments included.
    pub fn for_each_arg(&self, mut f: impl FnMut(Value)) {
        match self {
            Terminator::Jump(_) => {}
            Terminator::Branch { left, right, .. } => {
                f(*left);
                f(*right);
            }
            Terminator::Return(value) => f(*value),
        }
        self.targets().flat_map(|t| &t.args).copied().for_each(f);
    }

    /// Replaces each operand by what `f` gives for it.
    pub fn map_args(&mut self, mut f: impl FnMut(Value) -> Value) {
        match self {
            Terminator::Jump(_) => {}
            Terminator::Branch { left, right, .. } => {
                *left = f(*left);
                *right = f(*right);
            }
            Terminator::Return(value) => *value = f(*value),
        }
        self.targets_mut().flat_map(|t| &mut t.args).for_each(|arg| *arg = f(*arg));
    }
}
