//! The arguments of attach points, one a line: type and name.

use memql_compiler::attach::AttachPoint;
use memql_compiler::btf::Btf;
use memql_compiler::debug_info::{Parameter, Signature};
use memql_compiler::target::{FactError, FieldForm, Target, TracepointField};

/// The arguments of a point; nothing for one that has none or whose arguments nobody tells.
pub fn of(point: &AttachPoint, target: &dyn Target) -> Result<Vec<String>, FactError> {
    match point {
        AttachPoint::Tracepoint { category, name } => {
            let format = target.tracepoint(category, name)?;
            Ok(format.iter().flat_map(|f| &f.fields).map(field).collect())
        }
        AttachPoint::RawTracepoint { module, name } => {
            let described = |btf: Btf| typed(&btf, btf.raw_tracepoint_args(name).unwrap_or_default());
            Ok(types_of(module.as_deref(), target)?.map(described).unwrap_or_default())
        }
        AttachPoint::Kprobe { module, function, offset: 0, ret } => {
            let types = types_of(module.as_deref(), target)?;
            Ok(types.map(|btf| function_arguments(&btf, function, !ret, *ret)).unwrap_or_default())
        }
        AttachPoint::Fentry { module, function, exit } => {
            let types = types_of(module.as_deref(), target)?;
            Ok(types.map(|btf| function_arguments(&btf, function, true, *exit)).unwrap_or_default())
        }
        AttachPoint::BpfFunction { program, function, exit } => {
            let types = target.bpf_program_btf(*program)?;
            Ok(types.map(|btf| function_arguments(&btf, function, true, *exit)).unwrap_or_default())
        }
        AttachPoint::Uprobe { path, file_offset, offset: 0, ret: false, .. } => {
            Ok(target.user_signature(path, *file_offset)?.as_ref().map(parameters).unwrap_or_default())
        }
        AttachPoint::Iter { name, .. } => {
            let btf = target.btf()?;
            Ok(typed(btf, btf.iterator_members(name)))
        }
        AttachPoint::Begin
        | AttachPoint::End
        | AttachPoint::SelfSignal { .. }
        | AttachPoint::Interval { .. }
        | AttachPoint::Profile { .. }
        | AttachPoint::Kprobe { .. }
        | AttachPoint::Uprobe { .. }
        | AttachPoint::Usdt { .. }
        | AttachPoint::Watchpoint { .. }
        | AttachPoint::Software { .. }
        | AttachPoint::Hardware { .. }
        | AttachPoint::Test { .. }
        | AttachPoint::Bench { .. } => Ok(Vec::new()),
    }
}

/// What a function of a program takes, as its debug information has it.
fn parameters(signature: &Signature) -> Vec<String> {
    let line = |parameter: &Parameter| {
        let of = signature.types.c_name(parameter.type_ref);
        if parameter.name.is_empty() { of } else { format!("{of} {}", parameter.name) }
    };
    signature.parameters.iter().map(line).collect()
}

/// A field of a tracepoint's record, as its format file declares it.
fn field(field: &TracepointField) -> String {
    let TracepointField { name, ctype, size, form, .. } = field;
    let marked = |mark: &str| match ctype.starts_with(mark) {
        true => format!("{ctype} {name}"),
        false => format!("{mark} {ctype} {name}"),
    };
    match form {
        FieldForm::DataLoc { .. } => marked("__data_loc"),
        FieldForm::RelLoc { .. } => marked("__rel_loc"),
        // Some formats have no brackets for what only its size tells to be an array.
        FieldForm::Array { len, .. } if *len > 0 && size.is_multiple_of(*len) => {
            format!("{ctype} {name}[{len}]")
        }
        FieldForm::Array { .. } | FieldForm::Int | FieldForm::Pointer => format!("{ctype} {name}"),
    }
}

/// The types of a module, or of the kernel itself.
fn types_of(module: Option<&str>, target: &dyn Target) -> Result<Option<Btf>, FactError> {
    match module {
        Some(module) => target.module_btf(module),
        None => target.btf().cloned().map(Some),
    }
}

fn function_arguments(btf: &Btf, function: &str, params: bool, result: bool) -> Vec<String> {
    let Some(proto) = btf.function(function) else { return Vec::new() };
    let mut lines = if params { typed(btf, proto.params) } else { Vec::new() };
    lines.extend(proto.ret.filter(|_| result).map(|id| format!("{} retval", btf.c_name(id))));
    lines
}

fn typed(btf: &Btf, arguments: Vec<(String, u32)>) -> Vec<String> {
    let line = |(name, id): (String, u32)| match (name.as_str(), id) {
        // How BTF says that there are more.
        ("", 0) => "...".to_owned(),
        ("", id) => btf.c_name(id),
        (name, id) => format!("{} {name}", btf.c_name(id)),
    };
    arguments.into_iter().map(line).collect()
}
