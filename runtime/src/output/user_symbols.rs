//! Whether a plan prints addresses of processes as symbols, so that looking at processes is worth it.

use memql_compiler::plan::{Arg, EventPlan, MapPlan, Plan};
use memql_compiler::types::Type;

/// Whether any map or event of a plan holds user stacks or symbols.
pub(super) fn wanted(plan: &Plan) -> bool {
    let in_map = |map: &MapPlan| map.key.as_ref().is_some_and(has) || has(&map.value);
    let in_event = |event: &EventPlan| arguments(event).iter().any(|arg| has(&arg.ty));
    plan.maps.iter().any(in_map) || plan.events.iter().any(in_event)
}

/// The values that an event carries. Reports show what maps hold.
fn arguments(event: &EventPlan) -> &[Arg] {
    match event {
        EventPlan::Printf { args, .. }
        | EventPlan::Tell { args, .. }
        | EventPlan::Cat { args, .. }
        | EventPlan::System { args, .. } => args,
        EventPlan::Print(arg) => std::slice::from_ref(arg),
        EventPlan::Join { .. }
        | EventPlan::PrintMap { .. }
        | EventPlan::PrintMapElem { .. }
        | EventPlan::Clear { .. }
        | EventPlan::Zero { .. }
        | EventPlan::Time { .. }
        | EventPlan::Exit { .. }
        | EventPlan::Report(_) => &[],
    }
}

fn has(ty: &Type) -> bool {
    match ty {
        Type::Usym => true,
        Type::Stack(stack) => stack.user,
        Type::Tuple(fields) => fields.iter().any(|f| has(&f.ty)),
        Type::Array { elem, .. } => has(elem),
        Type::Void
        | Type::Int { .. }
        | Type::Bool
        | Type::Enum { .. }
        | Type::Str { .. }
        | Type::Buf { .. }
        | Type::Ptr { .. }
        | Type::Struct(_)
        | Type::Ksym
        | Type::Timestamp { .. }
        | Type::Point(_)
        | Type::Named(_)
        | Type::Inet
        | Type::MacAddr
        | Type::Agg(_) => false,
    }
}
