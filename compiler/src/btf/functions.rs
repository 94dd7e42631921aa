//! Functions, raw tracepoints and iterators.

use super::Btf;
use super::records::Kind;

/// A function's parameters and result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FuncProto {
    /// Name and type of each parameter; a name can be empty, and a last parameter of type 0 stands
    /// for `...`.
    pub params: Vec<(String, u32)>,
    /// The result's type; `None` for `void`.
    pub ret: Option<u32>,
}

/// Prefix of the functions that call a tracepoint's programs (include/linux/tracepoint.h). There is
/// one for each event, with the names of its arguments.
const TRACE_ITER: &str = "__traceiter_";

/// Prefix of the functions between a tracepoint and its eBPF programs (include/trace/bpf_probe.h).
/// There is one for each class of events.
const BPF_TRACE: &str = "__bpf_trace_";

/// Prefix of the typedefs that carry a raw tracepoint's signature (include/trace/bpf_probe.h).
const BTF_TRACE: &str = "btf_trace_";

/// Prefix of the functions that programs of iterators are bound to (include/linux/bpf.h, `DEFINE_BPF_ITER_FUNC`).
const ITERATOR_FUNCTION: &str = "bpf_iter_";

impl Btf {
    /// Prefix of the structs that are the contexts of iterators.
    pub(crate) const ITERATOR_CONTEXT: &'static str = "bpf_iter__";

    /// Whether the kernel has an iterator of this name.
    pub fn has_iterator(&self, name: &str) -> bool {
        self.struct_named(&format!("{}{name}", Self::ITERATOR_CONTEXT)).is_some()
            && self.function_id(&format!("{ITERATOR_FUNCTION}{name}")).is_some()
    }

    /// What the context of an iterator has beside what all have: names and types.
    pub fn iterator_members(&self, name: &str) -> Vec<(String, u32)> {
        let function = self.function(&format!("{ITERATOR_FUNCTION}{name}"));
        // The context is the function's arguments, of which the first is the same for all.
        function.map(|f| f.params.into_iter().skip(1).collect()).unwrap_or_default()
    }

    /// The names of the kernel's iterators, sorted.
    pub fn iterators(&self) -> Vec<&str> {
        let structs = self.named_types().into_iter().filter(|id| self.kind_is(*id, Kind::Struct));
        let names = structs.filter_map(|id| self.name(id).strip_prefix(Self::ITERATOR_CONTEXT));
        // Structs that only tell the kernel verifier what it may trust have no function.
        let mut names: Vec<&str> = names.filter(|name| self.has_iterator(name)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// A function by name.
    pub fn function(&self, name: &str) -> Option<FuncProto> {
        self.proto(self.function_type(name)?)
    }

    /// The BTF id of a function, as `BPF_PROG_LOAD` wants it for fentry and fexit.
    pub fn function_id(&self, name: &str) -> Option<u32> {
        self.function_named(name)
    }

    /// The arguments of a raw tracepoint as (name, type), without the kernel's private first one.
    /// Arguments whose names the kernel does not tell are `arg0`, `arg1`...
    pub fn raw_tracepoint_args(&self, event: &str) -> Option<Vec<(String, u32)>> {
        let pointer = self.record(self.resolve(self.typedef_named(&format!("{BTF_TRACE}{event}"))?))?;
        if pointer.kind != Kind::Ptr {
            return None;
        }
        let mut args = self.proto(self.resolve(pointer.size_or_type))?.params;
        if !args.is_empty() {
            args.remove(0);
        }
        if args.iter().any(|(name, _)| name.is_empty()) {
            self.name_arguments(event, &mut args);
        }
        Some(args)
    }

    /// The ids of the typedefs that say which raw tracepoints there are: event name and typedef.
    pub fn raw_tracepoints(&self) -> Vec<(&str, u32)> {
        let named = self.named_types().into_iter().filter(|id| self.kind_is(*id, Kind::Typedef));
        let mut found: Vec<(&str, u32)> =
            named.filter_map(|id| self.name(id).strip_prefix(BTF_TRACE).map(|event| (event, id))).collect();
        found.sort_unstable();
        found.dedup_by_key(|(event, _)| *event);
        found
    }

    /// The raw tracepoints of this BTF itself, not of what it is on top of, sorted.
    pub fn own_raw_tracepoints(&self) -> Vec<&str> {
        self.raw_tracepoints()
            .into_iter()
            .filter(|(_, id)| self.is_own(*id))
            .map(|(event, _)| event)
            .collect()
    }

    /// Whether this BTF itself has such a raw tracepoint.
    pub fn has_own_raw_tracepoint(&self, event: &str) -> bool {
        self.typedef_named(&format!("{BTF_TRACE}{event}")).is_some_and(|id| self.is_own(id))
    }

    /// Takes the arguments' names from the functions that have the same ones.
    fn name_arguments(&self, event: &str, args: &mut [(String, u32)]) {
        let same_shape = |prefix: &str| {
            let names = self.function(&format!("{prefix}{event}"))?.params;
            (names.len() == args.len() + 1).then_some(names)
        };
        let named = same_shape(TRACE_ITER).or_else(|| same_shape(BPF_TRACE)).unwrap_or_default();
        let mut names = named.into_iter().skip(1).map(|(name, _)| name);
        for (i, (name, _)) in args.iter_mut().enumerate() {
            *name = names.next().filter(|n| !n.is_empty()).unwrap_or_else(|| format!("arg{i}"));
        }
    }

    fn function_type(&self, name: &str) -> Option<u32> {
        Some(self.record(self.function_named(name)?)?.size_or_type)
    }

    fn proto(&self, id: u32) -> Option<FuncProto> {
        let record = self.record(id).filter(|r| r.kind == Kind::FuncProto)?;
        let params = record.params().map(|(name, ty)| (self.string(name).to_owned(), ty)).collect();
        Some(FuncProto { params, ret: Some(record.size_or_type).filter(|id| self.resolve(*id) != 0) })
    }

    fn kind_is(&self, id: u32, kind: Kind) -> bool {
        self.record(id).is_some_and(|r| r.kind == kind)
    }
}
