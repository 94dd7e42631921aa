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
    use_instead("tseries", "`@[nsecs / 1000000000] = sum(x)`, a total per second"),
    use_instead("assert", "`if (!condition) { printf(\"...\"); exit(1); }`"),
    use_instead("static_assert", "compare the constants in an `if` and call `exit(1)`"),
    use_instead("fail", "`printf(\"...\"); exit(1);`"),
    use_instead("errorf", "`printf`"),
    use_instead("warnf", "`printf`"),
    use_instead("find", "`if (has_key(@map, key)) { $value = @map[key]; }`"),
    use_instead("memcmp", "`==` and `!=`, which compare arrays and buffers as a whole"),
    use_instead("strstr", "`strcontains(text, \"part\")`"),
    missing("str_concat"),
    missing("strcap"),
    use_instead("username", "`uid`"),
    use_instead("probetype", "`probe`"),
    use_instead("pcomm", "`curtask.real_parent.comm`"),
    use_instead("leader_comm", "`curtask.group_leader.comm`"),
    use_instead("leader_tid", "`pid`"),
    use_instead("jiffies", "`nsecs`"),
    use_instead("usermode", "`ustack` and `kstack`"),
    missing("cgroupid"),
    use_instead("cgroup_path", "`cgroup`, the id"),
    use_instead("container_of", "`(struct type *)((uint64)ptr - offsetof(struct type, member))`"),
    use_instead("dw_ustack", "`ustack`, which follows frame pointers"),
    missing("macaddr"),
    missing("ntop"),
    missing("pton"),
    missing("path"),
    missing("percpu_kaddr"),
    missing("override"),
    missing("skboutput"),
    missing("socket_cookie"),
    use_instead("signal_thread", "`signal`, which goes to the process"),
    missing("signal_name"),
    use_instead("strerror", "the number: `printf(\"%d\", -retval)`"),
    missing("syscall_name"),
    use_instead("is_err", "`(int64)ptr < 0`"),
    missing("kfunc_allowed"),
    missing("kfunc_exist"),
    missing("typeof"),
    missing("typeinfo"),
    missing("is_array"),
    missing("is_integer"),
    missing("is_literal"),
    missing("is_ptr"),
    missing("is_str"),
    missing("is_unsigned_integer"),
    missing("unwatch"),
    missing("write_user"),
    use_instead("config", "the setting's own value"),
    missing("ctx"),
];

/// The record of a name that bpftrace has and memql lacks.
pub(crate) fn find(name: &str) -> Option<&'static Unsupported> {
    ALL.iter().find(|u| u.name == name)
}
