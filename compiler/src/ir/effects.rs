//! What a helper does with its arguments: what each must be, and which memory it reads and writes.
//!
//! [`crate::helpers`] says how many arguments a helper takes; this table says what they are. The IR
//! verifier checks calls against it and the passes learn from it what a call may change.

use cranelift_entity::PrimaryMap;

use super::{Function, Helper, Inst, MapDef, MapRef, Type, Value};
use crate::helpers as h;

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// A map itself.
    Map,
    /// The program's context.
    Ctx,
    /// The address of a key of the map that the helper is given.
    Key,
    /// The address of a value for the map that the helper is given.
    MapValue,
    /// The address of bytes that the helper reads; the next argument says how many.
    Reads,
    /// The address of bytes that the helper writes; the next argument says how many.
    Writes,
    /// The address of bytes that the helper reads and may write; the next argument says how many.
    Updates,
    /// A plain number: a size, flags, an index.
    Number,
    /// Any value at all: what the helper does with it depends on another argument.
    Anything,
    /// An address that the helper reads with the kernel's care for faults: any but a user's.
    KernelAddr,
    /// A kernel pointer typed by BTF.
    TypedAddr,
    /// A user address that the helper reads with care for faults.
    UserAddr,
    /// A task, typed by BTF.
    Task,
    /// A reserved ring buffer record, which the helper takes away.
    Record,
    /// A callback with (a prefix of) these parameters.
    Callback(&'static [Type]),
    /// What a callback gets as its last parameter: an address in a slot, or the constant 0.
    CallbackCtx,
}

/// Parameters of a callback of `bpf_loop`: the index, and the context argument.
const LOOP_PARAMS: &[Type] = &[Type::I64, Type::Stack];

/// Parameters of a callback of `bpf_for_each_map_elem`: map, key, value, and the context argument.
const FOR_EACH_PARAMS: &[Type] = &[Type::MapObject, Type::Map, Type::Map, Type::Stack];

/// Parameters of a function that is called: the address of the memory that it gets.
const FUNCTION_PARAMS: &[Type] = &[Type::Map];

/// What a helper's arguments are, in order, if memql knows the helper.
pub fn args(helper: Helper) -> Option<&'static [Arg]> {
    Some(match helper {
        h::MAP_LOOKUP_ELEM | h::MAP_DELETE_ELEM => &[Arg::Map, Arg::Key],
        h::MAP_UPDATE_ELEM => &[Arg::Map, Arg::Key, Arg::MapValue, Arg::Number],
        h::MAP_LOOKUP_PERCPU_ELEM => &[Arg::Map, Arg::Key, Arg::Number],
        h::KTIME_GET_NS
        | h::KTIME_GET_BOOT_NS
        | h::KTIME_GET_TAI_NS
        | h::JIFFIES64
        | h::GET_PRANDOM_U32
        | h::GET_SMP_PROCESSOR_ID
        | h::GET_CURRENT_PID_TGID
        | h::GET_CURRENT_UID_GID
        | h::GET_CURRENT_TASK
        | h::GET_CURRENT_TASK_BTF
        | h::GET_NUMA_NODE_ID
        | h::GET_CURRENT_CGROUP_ID => &[],
        h::GET_CURRENT_COMM => &[Arg::Writes, Arg::Number],
        h::GET_STACK => &[Arg::Ctx, Arg::Writes, Arg::Number, Arg::Number],
        h::SEND_SIGNAL | h::SEND_SIGNAL_THREAD | h::GET_SOCKET_COOKIE => &[Arg::Number],
        h::TRACE_PRINTK => &[Arg::Reads, Arg::Number, Arg::Anything, Arg::Anything, Arg::Anything],
        h::OVERRIDE_RETURN => &[Arg::Ctx, Arg::Number],
        h::D_PATH => &[Arg::TypedAddr, Arg::Writes, Arg::Number],
        h::PROBE_WRITE_USER => &[Arg::UserAddr, Arg::Reads, Arg::Number],
        h::PROBE_READ_USER | h::PROBE_READ_USER_STR => &[Arg::Writes, Arg::Number, Arg::UserAddr],
        h::PROBE_READ_KERNEL | h::PROBE_READ_KERNEL_STR => &[Arg::Writes, Arg::Number, Arg::KernelAddr],
        h::GET_NS_CURRENT_PID_TGID => &[Arg::Number, Arg::Number, Arg::Writes, Arg::Number],
        h::SEQ_PRINTF => &[Arg::TypedAddr, Arg::Reads, Arg::Number, Arg::Reads, Arg::Number],
        h::SEQ_WRITE => &[Arg::TypedAddr, Arg::Reads, Arg::Number],
        h::RINGBUF_OUTPUT => &[Arg::Map, Arg::Reads, Arg::Number, Arg::Number],
        h::RINGBUF_RESERVE => &[Arg::Map, Arg::Number, Arg::Number],
        h::RINGBUF_SUBMIT | h::RINGBUF_DISCARD => &[Arg::Record, Arg::Number],
        h::FOR_EACH_MAP_ELEM => &[Arg::Map, Arg::Callback(FOR_EACH_PARAMS), Arg::CallbackCtx, Arg::Number],
        h::LOOP => &[Arg::Number, Arg::Callback(LOOP_PARAMS), Arg::CallbackCtx, Arg::Number],
        h::GET_FUNC_IP | h::GET_ATTACH_COOKIE => &[Arg::Ctx],
        h::GET_FUNC_RET => &[Arg::Ctx, Arg::Writes],
        h::TASK_PT_REGS => &[Arg::Task],
        h::CALL_FUNCTION => &[Arg::Callback(FUNCTION_PARAMS), Arg::Reads, Arg::Number],
        h::CALL_PROCEDURE => &[Arg::Callback(FUNCTION_PARAMS), Arg::Updates, Arg::Number],
        _ => return None,
    })
}

impl Arg {
    /// The argument in words, for messages.
    pub fn describe(self) -> &'static str {
        match self {
            Arg::Map => "a map",
            Arg::Ctx => "the context",
            Arg::Key => "the address of a key",
            Arg::MapValue => "the address of a map's value",
            Arg::Reads => "an address of readable memory",
            Arg::Writes | Arg::Updates => "an address of writable memory",
            Arg::Number => "a number",
            Arg::Anything => "a value",
            Arg::KernelAddr => "a kernel address",
            Arg::TypedAddr => "a kernel pointer typed by BTF",
            Arg::UserAddr => "a user address",
            Arg::Task => "a kernel pointer typed by BTF",
            Arg::Record => "a ring buffer record",
            Arg::Callback(_) => "a callback",
            Arg::CallbackCtx => "a stack address or the constant 0",
        }
    }

    /// Whether a value of this type may be the argument. For [`Arg::CallbackCtx`] an integer must
    /// also be the constant 0, and for [`Arg::Callback`] the parameters must match.
    pub fn admits(self, ty: Type) -> bool {
        match self {
            Arg::Map => ty == Type::MapObject,
            Arg::Ctx => ty == Type::Ctx,
            Arg::Key | Arg::MapValue | Arg::Reads | Arg::Writes | Arg::Updates => {
                matches!(ty, Type::Stack | Type::Map | Type::Ring)
            }
            Arg::Number => ty == Type::I64,
            Arg::Anything => true,
            Arg::KernelAddr => ty == Type::Kernel || ty.is_memory(),
            // What is loaded from the context is a number here whatever the kernel verifier knows of it.
            Arg::TypedAddr => matches!(ty, Type::Btf | Type::I64),
            Arg::UserAddr => ty == Type::User,
            Arg::Task => ty == Type::Btf,
            Arg::Record => ty == Type::Ring,
            Arg::Callback(_) => ty == Type::Callback,
            Arg::CallbackCtx => matches!(ty, Type::Stack | Type::I64),
        }
    }
}

/// What a helper may change beside the memory its [`Arg::Writes`] and [`Arg::Updates`] arguments point to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// Nothing that a program can read.
    Nothing,
    /// The elements of the map it is given: which there are, and their values.
    MapElements,
    /// Whatever its callback changes: all maps, globals, and the callback's context.
    Anything,
}

/// What a helper may change beside the memory its [`Arg::Writes`] arguments point to. A helper that
/// memql does not know may change anything.
pub fn changes(helper: Helper) -> Changes {
    match helper {
        h::MAP_UPDATE_ELEM | h::MAP_DELETE_ELEM => Changes::MapElements,
        h::FOR_EACH_MAP_ELEM | h::LOOP => Changes::Anything,
        _ if args(helper).is_some() => Changes::Nothing,
        _ => Changes::Anything,
    }
}

/// How many bytes a call reads or writes at its argument of this index, if that is known: a map's key or
/// value, or the constant that is the next argument. `None` also for arguments that are no addresses.
pub fn bytes_at(
    function: &Function,
    maps: &PrimaryMap<MapRef, MapDef>,
    helper: Helper,
    args: &[Value],
    index: usize,
) -> Option<u32> {
    let map = || match function.def(*args.first()?) {
        Some(Inst::MapObject(map)) => maps.get(*map),
        _ => None,
    };
    match self::args(helper)?.get(index)? {
        Arg::Key => Some(map()?.key_size),
        Arg::MapValue => Some(map()?.value_size),
        Arg::Reads | Arg::Writes | Arg::Updates => {
            u32::try_from(function.as_const(*args.get(index + 1)?)?).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_helper_with_a_signature_has_as_many_arguments_here() {
        let known: Vec<Helper> = (0..1000).map(Helper).filter(|&x| h::signature(x).is_some()).collect();
        assert!(known.len() > 20);
        for helper in known {
            let count = h::signature(helper).map(|s| s.args as usize);
            assert_eq!(args(helper).map(<[Arg]>::len), count, "{helper:?}");
        }
    }
}
