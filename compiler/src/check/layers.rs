//! Types of kernel modules and of loaded eBPF programs, read when a probe or a name needs them.
//!
//! They go on top of all other types ([`Btf::on_top_of`]), so that fields, casts and printing treat all alike.
//! Names are looked up among them after the script's: first in the module that the probe is in, since what
//! it calls `struct node` is its own, then in the kernel, then in all other modules.

use std::collections::HashMap;

use memql_grammar::ast::Span;

use super::Checker;
use super::diagnostics::points;
use crate::attach::AttachPoint;
use crate::btf::{Btf, FuncProto};
use crate::target::FactError;
use crate::types::{AddrSpace, Type};

/// Where types come from that are not the kernel's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// A kernel module.
    Module(String),
    /// A loaded eBPF program.
    Program(u32),
}

/// What has been read so far; `None` for what has no types.
pub(crate) type Layers = HashMap<Source, Option<Layer>>;

/// The types of one source.
#[derive(Clone)]
pub(crate) struct Layer {
    /// As the kernel has them, to look names up.
    own: Btf,
    /// How far their ids were moved to be on top of what was there.
    moved_by: u32,
}

impl Layer {
    /// The id among all types.
    fn id(&self, own: u32) -> u32 {
        self.own.moved_id(own, self.moved_by)
    }

    fn proto(&self, own: FuncProto) -> FuncProto {
        let params = own.params.into_iter().map(|(name, id)| (name, self.id(id))).collect();
        FuncProto { params, ret: own.ret.map(|id| self.id(id)) }
    }
}

impl Checker<'_> {
    /// The types of a source; `None` inside if it has none.
    fn layer(&mut self, source: &Source, span: Span) -> Option<Option<Layer>> {
        if let Some(known) = self.layers.get(source) {
            return Some(known.clone());
        }
        let layer = match self.read_layer(source) {
            Ok(layer) => layer,
            Err(error) => return self.fail(|| points::fact(span, &error)),
        };
        self.layers.insert(source.clone(), layer.clone());
        Some(layer)
    }

    fn read_layer(&mut self, source: &Source) -> Result<Option<Layer>, FactError> {
        let own = match source {
            Source::Module(module) => self.target.module_btf(module)?,
            Source::Program(program) => self.target.bpf_program_btf(*program)?,
        };
        let Some(own) = own else { return Ok(None) };
        let (all, moved_by) = own.on_top_of(self.types()?).map_err(|error| {
            let whose = match source {
                Source::Module(module) => format!("module `{module}`"),
                Source::Program(program) => format!("eBPF program {program}"),
            };
            FactError {
                message: format!("cannot understand the types of {whose}: {error}"),
                help: Some("please report it with the output of `memql --info`".into()),
            }
        })?;
        self.debug.all = Some(all);
        Ok(Some(Layer { own, moved_by }))
    }

    /// What BTF says of the function or raw tracepoint that a point is on; `None` inside where it says nothing.
    /// A raw tracepoint returns nothing.
    pub(crate) fn described(&mut self, point: &AttachPoint, span: Span) -> Option<Option<FuncProto>> {
        let raw = |args: Option<Vec<(String, u32)>>| args.map(|params| FuncProto { params, ret: None });
        let source = match point {
            AttachPoint::RawTracepoint { module, .. } | AttachPoint::Fentry { module, .. } => {
                module.clone().map(Source::Module)
            }
            AttachPoint::BpfFunction { program, .. } => Some(Source::Program(*program)),
            _ => return Some(None),
        };
        let layer = match source {
            Some(source) => self.layer(&source, span)?,
            None => {
                let shown = format!("the arguments of `{point}`");
                Some(Layer { own: self.btf(span, &shown)?.clone(), moved_by: 0 })
            }
        };
        let Some(layer) = layer else { return Some(None) };
        let found = match point {
            AttachPoint::RawTracepoint { name, .. } => raw(layer.own.raw_tracepoint_args(name)),
            AttachPoint::Fentry { function, .. } | AttachPoint::BpfFunction { function, .. } => {
                layer.own.function(function)
            }
            _ => None,
        };
        Some(found.map(|proto| layer.proto(proto)))
    }

    /// A type by name that the module of the probe has; `None` in other probes.
    pub(crate) fn type_of_own_module(
        &mut self,
        span: Span,
        find: impl Fn(&Btf) -> Option<u32>,
    ) -> Option<Type> {
        let module = match self.probe.points.first().filter(|_| self.probe.live)? {
            AttachPoint::Kprobe { module: Some(module), .. }
            | AttachPoint::Fentry { module: Some(module), .. }
            | AttachPoint::RawTracepoint { module: Some(module), .. } => module.clone(),
            _ => return None,
        };
        let id = self.find_in_module(&module, span, &find)??;
        Some(self.types().ok()?.lang_type(id, AddrSpace::Kernel))
    }

    /// The id of something that any module has, in the first one that has it; `None` inside if none has.
    pub(crate) fn find_in_modules(
        &mut self,
        span: Span,
        find: impl Fn(&Btf) -> Option<u32>,
    ) -> Option<Option<u32>> {
        let modules = match self.target.modules_with_types() {
            Ok(modules) => modules,
            Err(error) => return self.fail(|| points::fact(span, &error)),
        };
        for module in modules {
            if let Some(id) = self.find_in_module(&module, span, &find)? {
                return Some(Some(id));
            }
        }
        Some(None)
    }

    fn find_in_module(
        &mut self,
        module: &str,
        span: Span,
        find: &impl Fn(&Btf) -> Option<u32>,
    ) -> Option<Option<u32>> {
        let source = Source::Module(module.to_owned());
        // Most modules do not have it: they are looked at before they are put on top of the others.
        let layer = match self.layers.get(&source) {
            Some(layer) => layer.clone(),
            None => match self.target.module_btf(module) {
                Ok(Some(own)) if find(&own).is_some_and(|id| own.is_own(id)) => self.layer(&source, span)?,
                Ok(_) => None,
                Err(error) => return self.fail(|| points::fact(span, &error)),
            },
        };
        let Some(layer) = layer else { return Some(None) };
        Some(find(&layer.own).filter(|id| layer.own.is_own(*id)).map(|id| layer.id(id)))
    }
}
