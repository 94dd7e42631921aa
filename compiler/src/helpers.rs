//! The eBPF helpers that memql calls: number, signature, and what the optimiser may assume.
//!
//! Numbers and signatures are those of `enum bpf_func_id` and the manual comments in
//! include/uapi/linux/bpf.h.

use crate::ir::{Helper, Type};

/// What a helper takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Its name without `bpf_`.
    pub name: &'static str,
    /// How many arguments it takes.
    pub args: u8,
    /// The type of its result.
    pub result: Type,
    /// Whether it can be dropped when its result is unused.
    pub pure: bool,
    /// Whether two calls in one run of a program give the same value (so one call is enough).
    pub stable: bool,
    /// The number of the kernel that brought it: `(5, 15)`; for messages only.
    pub since: (u8, u8),
}

macro_rules! helpers {
    ($($(#[$doc:meta])* $konst:ident = $number:literal $name:literal ($args:literal) -> $result:ident $pure:literal $stable:literal $major:literal.$minor:literal;)*) => {
        $($(#[$doc])* pub const $konst: Helper = Helper($number);)*

        /// A helper's signature, if memql knows it.
        pub fn signature(helper: Helper) -> Option<Signature> {
            match helper.0 {
                $($number => Some(Signature {
                    name: $name, args: $args, result: Type::$result, pure: $pure, stable: $stable, since: ($major, $minor),
                }),)*
                _ => None,
            }
        }

        /// The helper of this name (without `bpf_`), if memql knows it.
        pub fn by_name(name: &str) -> Option<Helper> {
            match name {
                $($name => Some(Helper($number)),)*
                _ => None,
            }
        }
    };
}

helpers! {
    /// `bpf_map_lookup_elem(map, key)`: the value's address or 0.
    MAP_LOOKUP_ELEM = 1 "map_lookup_elem" (2) -> Map true false 3 . 19;
    /// `bpf_map_update_elem(map, key, value, flags)`: 0 or a negative errno.
    MAP_UPDATE_ELEM = 2 "map_update_elem" (4) -> I64 false false 3 . 19;
    /// `bpf_map_delete_elem(map, key)`: 0 or a negative errno.
    MAP_DELETE_ELEM = 3 "map_delete_elem" (2) -> I64 false false 3 . 19;
    /// `bpf_ktime_get_ns()`: monotonic time.
    KTIME_GET_NS = 5 "ktime_get_ns" (0) -> I64 true false 4 . 1;
    /// `bpf_trace_printk(format, size, a, b, c)`: bytes written or a negative errno.
    TRACE_PRINTK = 6 "trace_printk" (5) -> I64 false false 4 . 1;
    /// `bpf_get_prandom_u32()`
    GET_PRANDOM_U32 = 7 "get_prandom_u32" (0) -> I64 true false 4 . 1;
    /// `bpf_get_smp_processor_id()`
    GET_SMP_PROCESSOR_ID = 8 "get_smp_processor_id" (0) -> I64 true true 4 . 1;
    /// `bpf_get_current_pid_tgid()`: tgid in the high half, thread id in the low half.
    GET_CURRENT_PID_TGID = 14 "get_current_pid_tgid" (0) -> I64 true true 4 . 2;
    /// `bpf_get_current_uid_gid()`: gid in the high half, uid in the low half.
    GET_CURRENT_UID_GID = 15 "get_current_uid_gid" (0) -> I64 true true 4 . 2;
    /// `bpf_get_current_comm(buf, size)`: 0 or a negative errno.
    GET_CURRENT_COMM = 16 "get_current_comm" (2) -> I64 false false 4 . 2;
    /// `bpf_get_current_task()`: address of the `task_struct`.
    GET_CURRENT_TASK = 35 "get_current_task" (0) -> Kernel true true 4 . 8;
    /// `bpf_get_numa_node_id()`
    GET_NUMA_NODE_ID = 42 "get_numa_node_id" (0) -> I64 true true 4 . 10;
    /// `bpf_probe_write_user(dst, src, len)`: 0 or a negative errno.
    PROBE_WRITE_USER = 36 "probe_write_user" (3) -> I64 false false 4 . 8;
    /// `bpf_get_socket_cookie(sock)`: the cookie, 0 without a socket.
    GET_SOCKET_COOKIE = 46 "get_socket_cookie" (1) -> I64 true false 4 . 12;
    /// `bpf_override_return(regs, rc)`
    OVERRIDE_RETURN = 58 "override_return" (2) -> I64 false false 4 . 16;
    /// `bpf_get_stack(ctx, buf, size, flags)`: bytes written or a negative errno.
    GET_STACK = 67 "get_stack" (4) -> I64 false false 4 . 18;
    /// `bpf_get_current_cgroup_id()`
    GET_CURRENT_CGROUP_ID = 80 "get_current_cgroup_id" (0) -> I64 true true 4 . 18;
    /// `bpf_send_signal(signal)`: 0 or a negative errno.
    SEND_SIGNAL = 109 "send_signal" (1) -> I64 false false 5 . 3;
    /// `bpf_probe_read_user(dst, size, src)`: 0 or a negative errno; `dst` is zeroed on failure.
    PROBE_READ_USER = 112 "probe_read_user" (3) -> I64 false false 5 . 5;
    /// `bpf_probe_read_kernel(dst, size, src)`: 0 or a negative errno; `dst` is zeroed on failure.
    PROBE_READ_KERNEL = 113 "probe_read_kernel" (3) -> I64 false false 5 . 5;
    /// `bpf_probe_read_user_str(dst, size, src)`: bytes written with the NUL, or a negative errno.
    PROBE_READ_USER_STR = 114 "probe_read_user_str" (3) -> I64 false false 5 . 5;
    /// `bpf_probe_read_kernel_str(dst, size, src)`: bytes written with the NUL, or a negative errno.
    PROBE_READ_KERNEL_STR = 115 "probe_read_kernel_str" (3) -> I64 false false 5 . 5;
    /// `bpf_send_signal_thread(signal)`: 0 or a negative errno.
    SEND_SIGNAL_THREAD = 117 "send_signal_thread" (1) -> I64 false false 5 . 5;
    /// `bpf_jiffies64()`
    JIFFIES64 = 118 "jiffies64" (0) -> I64 true false 5 . 5;
    /// `bpf_get_ns_current_pid_tgid(dev, ino, nsdata, size)`: 0 or a negative errno.
    GET_NS_CURRENT_PID_TGID = 120 "get_ns_current_pid_tgid" (4) -> I64 false false 5 . 7;
    /// `bpf_ktime_get_boot_ns()`
    KTIME_GET_BOOT_NS = 125 "ktime_get_boot_ns" (0) -> I64 true false 5 . 8;
    /// `bpf_seq_printf(seq_file, format, size, values, bytes)`: 0 or a negative errno.
    SEQ_PRINTF = 126 "seq_printf" (5) -> I64 false false 5 . 7;
    /// `bpf_seq_write(seq_file, data, bytes)`: 0 or a negative errno.
    SEQ_WRITE = 127 "seq_write" (3) -> I64 false false 5 . 7;
    /// `bpf_ringbuf_output(map, data, size, flags)`: 0 or a negative errno.
    RINGBUF_OUTPUT = 130 "ringbuf_output" (4) -> I64 false false 5 . 8;
    /// `bpf_ringbuf_reserve(map, size, flags)`: the record's address or 0; size must be constant.
    RINGBUF_RESERVE = 131 "ringbuf_reserve" (3) -> Ring false false 5 . 8;
    /// `bpf_ringbuf_submit(record, flags)`
    RINGBUF_SUBMIT = 132 "ringbuf_submit" (2) -> I64 false false 5 . 8;
    /// `bpf_ringbuf_discard(record, flags)`
    RINGBUF_DISCARD = 133 "ringbuf_discard" (2) -> I64 false false 5 . 8;
    /// `bpf_get_current_task_btf()`: the `task_struct`, typed.
    GET_CURRENT_TASK_BTF = 158 "get_current_task_btf" (0) -> Btf true true 5 . 11;
    /// `bpf_d_path(path, buf, size)`: bytes written with the NUL, or a negative errno.
    D_PATH = 147 "d_path" (3) -> I64 false false 5 . 10;
    /// `bpf_for_each_map_elem(map, callback, ctx, flags)`: elements visited or a negative errno.
    FOR_EACH_MAP_ELEM = 164 "for_each_map_elem" (4) -> I64 false false 5 . 13;
    /// `bpf_get_func_ip(ctx)`: address of the traced function.
    GET_FUNC_IP = 173 "get_func_ip" (1) -> I64 true true 5 . 15;
    /// `bpf_get_attach_cookie(ctx)`
    GET_ATTACH_COOKIE = 174 "get_attach_cookie" (1) -> I64 true true 5 . 15;
    /// `bpf_task_pt_regs(task)`: the registers with which a task entered the kernel, typed.
    TASK_PT_REGS = 175 "task_pt_regs" (1) -> Btf true true 5 . 15;
    /// `bpf_loop(count, callback, ctx, flags)`: iterations made or a negative errno.
    LOOP = 181 "loop" (4) -> I64 false false 5 . 17;
    /// `bpf_get_func_ret(ctx, value)`: what the traced function returned, in 8 bytes; 0 or a negative errno.
    GET_FUNC_RET = 184 "get_func_ret" (2) -> I64 false false 5 . 17;
    /// `bpf_map_lookup_percpu_elem(map, key, cpu)`: the value's address or 0.
    MAP_LOOKUP_PERCPU_ELEM = 195 "map_lookup_percpu_elem" (3) -> Map true false 5 . 19;
    /// `bpf_ktime_get_tai_ns()`
    KTIME_GET_TAI_NS = 208 "ktime_get_tai_ns" (0) -> I64 true false 6 . 1;
    /// Not the kernel's: calls a function of the program that only reads memory and gives a number:
    /// `call_function(function, memory, bytes)`. The kernel verifier walks such a function once, on its own, however often it
    /// is called; functions that take addresses came with Linux 5.12.
    CALL_FUNCTION = 0x10000 "call_function" (3) -> I64 true false 5 . 12;
    /// The same for a function that also writes the memory that it gets.
    CALL_PROCEDURE = 0x10001 "call_procedure" (3) -> I64 false false 5 . 12;
}

/// Whether a helper stands for a call of one of the program's own functions.
pub fn calls_function(helper: Helper) -> bool {
    matches!(helper, CALL_FUNCTION | CALL_PROCEDURE)
}

/// Which argument of a helper is handed to a callback; the kernel wants it on the stack.
pub fn callback_context(helper: Helper) -> Option<usize> {
    match helper {
        LOOP | FOR_EACH_MAP_ELEM => Some(2),
        _ => None,
    }
}
