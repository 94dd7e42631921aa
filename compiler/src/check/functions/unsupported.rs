//! What bpftrace has and memql does not have yet, with what to use instead where there is something.

/// A name of bpftrace's language that is not here yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unsupported {
    /// The name.
    pub name: &'static str,
    /// What to use instead, if there is anything.
    pub instead: Option<&'static str>,
}

const fn missing(name: &'static str) -> Unsupported {
    Unsupported { name, instead: None }
}

const fn use_instead(name: &'static str, instead: &'static str) -> Unsupported {
    Unsupported { name, instead: Some(instead) }
}

const ALL: &[Unsupported] = &[
    use_instead("dw_ustack", "`ustack`, which follows frame pointers"),
    missing("skboutput"),
    missing("typeof"),
    missing("typeinfo"),
    missing("unwatch"),
    missing("ctx"),
];

/// The record of a name that bpftrace has and memql lacks.
pub(crate) fn find(name: &str) -> Option<&'static Unsupported> {
    ALL.iter().find(|u| u.name == name)
}
