//! What memql can do on each kernel: a script, a program that does something countable, and what must be
//! printed. One table; a guest runs all of it.
//!
//! The answer to a row is what memql did: printed exactly that, or said that it cannot. Anything else, a wrong
//! number above all, fails the test.

use super::facts::Fact;
use super::guest::{self, Size};

/// A row.
pub struct Feature {
    /// What it is, for the page.
    what: &'static str,
    /// What is traced with.
    script: &'static str,
    /// A shell command that runs while everything is attached; memql is ended after it. Without one, memql ends
    /// by itself.
    trigger: &'static str,
    /// What memql prints: lines in any order, without blank ones and without offsets into functions. With a line
    /// `...` others may be there too.
    prints: &'static [&'static str],
    /// Whether the way it is attached belongs to the answer.
    how: bool,
}

const fn row(
    what: &'static str,
    trigger: &'static str,
    prints: &'static [&'static str],
    script: &'static str,
) -> Feature {
    Feature { what, script, trigger, prints, how: false }
}

/// The same, and the answer says how it is attached.
const fn and_how(feature: Feature) -> Feature {
    Feature { how: true, ..feature }
}

const UMASK: &str = "calls umask 25";
const GETPPID: &str = "calls getppid 25";
const ARGS: &str = "calls args 25";
/// Four processes on two CPUs.
const FOUR: &str = "for i in 1 2 3 4; do calls getppid 3000 & done; wait";

/// What attaches and sees events.
pub const PROBES: &[Feature] = &[
    row("`begin`, `end`", "", &["@b: 1", "@e: 1"], "begin { @b = count(); } end { @e = count(); }"),
    row("`interval`", "", &["@n: 20"], "interval:ms:5 { @n++; if (@n == 20) { exit(); } }"),
    row("`self:signal`", "kill -USR1 $memql", &["@n: 1"], "self:signal:SIGUSR1 { @n = count(); }"),
    row(
        "`profile`, on every CPU",
        "",
        &["@seen[0]: 1", "@seen[1]: 1"],
        "profile:ms:10 { @seen[cpu] = 1; if (@seen[0] && @seen[1]) { exit(); } }",
    ),
    row(
        "`software`",
        "calls fault 25",
        &["@: 25"],
        r#"tracepoint:syscalls:sys_enter_getppid /comm == "calls"/ { @on = 1 - @on; }
           software:page-faults:1 /@on && comm == "calls"/ { @ = count(); } end { clear(@on); }"#,
    ),
    row("`iter:task`", "", &["@: 1"], "iter:task /ctx.task.pid == 1/ { @ = count(); }"),
    row(
        "`iter:task_vma`",
        "",
        &["@seen: 1"],
        "iter:task_vma /ctx.task.pid == 1 && ctx.vma.vm_end > ctx.vma.vm_start/ { @seen = 1; }",
    ),
    row("`hardware`", ":", &[], "hardware:instructions:1000000 { @ = count(); } end { clear(@); }"),
    row(
        "`tracepoint`",
        GETPPID,
        &["@: 25"],
        r#"tracepoint:syscalls:sys_enter_getppid /comm == "calls"/ { @ = count(); }"#,
    ),
    row(
        "`rawtracepoint`",
        GETPPID,
        &["@: 25"],
        r#"rawtracepoint:sys_enter /args.id == 110 && comm == "calls"/ { @ = count(); }"#,
    ),
    row("`kprobe`", UMASK, &["@: 25"], r#"kprobe:__x64_sys_umask /comm == "calls"/ { @ = count(); }"#),
    row(
        "`kretprobe`",
        UMASK,
        &["@: 25"],
        r#"kretprobe:__x64_sys_umask /comm == "calls"/ { @ += retval == 18; }"#,
    ),
    row("`fentry`", UMASK, &["@: 25"], r#"fentry:__x64_sys_umask /comm == "calls"/ { @ = count(); }"#),
    row("`fexit`", UMASK, &["@: 25"], r#"fexit:__x64_sys_umask /comm == "calls"/ { @ += retval == 18; }"#),
    row("`uprobe`", ARGS, &["@: 25"], "uprobe:calls:six_args { @ = count(); }"),
    row("`uretprobe`", ARGS, &["@[-7]: 25"], "uretprobe:calls:negative { @[(int32)retval] = count(); }"),
    row(
        "`uprobe` of a library",
        "leak 25 100 10",
        &["@: 25"],
        "uprobe:libc:malloc /arg0 == 100/ { @ = count(); }",
    ),
    and_how(row(
        "many kernel functions in one probe",
        UMASK,
        &["@: 25"],
        r#"kprobe:__x64_sys_um* /comm == "calls"/ { @ = count(); }"#,
    )),
    and_how(row(
        "many returns of kernel functions in one probe",
        UMASK,
        &["@: 25"],
        r#"kretprobe:__x64_sys_um* /comm == "calls" && retval == 18/ { @ = count(); }"#,
    )),
    and_how(row("many user functions in one probe", ARGS, &["@: 50"], "uprobe:calls:*_arg { @ = count(); }")),
    row(
        "`probe` tells attach points apart",
        GETPPID,
        &["@[tracepoint:syscalls:sys_enter_getppid]: 25", "@[tracepoint:syscalls:sys_exit_getppid]: 25"],
        r#"tracepoint:syscalls:sys_*_getppid /comm == "calls"/ { @[probe] = count(); }"#,
    ),
    row(
        "`func` tells user functions apart",
        ARGS,
        &["@[negative]: 25", "@[six_args]: 25"],
        "uprobe:calls:six_args, uprobe:calls:negative { @[func] = count(); }",
    ),
    row(
        "kprobe and fentry on one function",
        UMASK,
        &["@f: 25", "@k: 25"],
        r#"kprobe:__x64_sys_umask /comm == "calls"/ { @k = count(); } fentry:__x64_sys_umask /comm == "calls"/ { @f = count(); }"#,
    ),
    row(
        "an attach point that falls back",
        UMASK,
        &["@: 25"],
        r#"kprobe:no_such_function || kprobe:__x64_sys_umask /comm == "calls"/ { @ = count(); }"#,
    ),
];

/// What programs can do.
pub const LANGUAGE: &[Feature] = &[
    row(
        "`@x++`, `count()`, `sum()` of four processes on two CPUs",
        FOUR,
        &["@c: 12000", "@n: 12000", "@s: 24000"],
        r#"tracepoint:syscalls:sys_enter_getppid /comm == "calls"/ { @n++; @c = count(); @s = sum(2); }"#,
    ),
    row(
        "the same with keys",
        FOUR,
        &["@c[calls]: 12000", "@n[calls]: 12000", "@s[calls]: 24000"],
        r#"tracepoint:syscalls:sys_enter_getppid /comm == "calls"/ { @n[comm]++; @c[comm] = count(); @s[comm] = sum(2); }"#,
    ),
    row(
        "`$n = @x++` gives each event its own number",
        FOUR,
        &["@: 71994000"],
        r#"tracepoint:syscalls:sys_enter_getppid /comm == "calls"/ { $n = @x++; @ = sum($n); } end { clear(@x); }"#,
    ),
    row(
        "`hist()`, `lhist()`, `stats()`, `avg()`, `min()`, `max()`",
        "calls args 4",
        &[
            "@a: 1",
            "@l:",
            "[0, 2)                 2 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@|",
            "[2, 4)                 2 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@|",
            "@m: 0",
            "@n: 3",
            "@s: { .count = 4, .average = 1, .total = 6 }",
        ],
        "uprobe:calls:six_args { @a = avg(arg0); @l = lhist(arg0, 0, 4, 2); @m = min(arg0); @n = max(arg0); @s = stats(arg0); }",
    ),
    row(
        "a line for each event",
        "calls getppid 5",
        &["calls 0", "calls 1", "calls 2", "calls 3", "calls 4"],
        r#"tracepoint:syscalls:sys_enter_getppid /comm == "calls"/ { printf("%s %d\n", comm, @n); @n++; } end { clear(@n); }"#,
    ),
    row(
        "text of user memory in keys",
        ARGS,
        &["@[sixteen tons, 12]: 25"],
        "uprobe:calls:text_arg { @[str(arg0, 64), strlen(str(arg0))] = count(); }",
    ),
    row(
        "structures of the kernel",
        GETPPID,
        &["@[calls, 1]: 25"],
        r#"tracepoint:syscalls:sys_enter_getppid /comm == "calls"/ { @[curtask->comm, curtask->mm->mm_users.counter] = count(); }"#,
    ),
    row(
        "typed arguments of kernel functions, text of user memory in keys",
        "calls open 25",
        &["@[/dev/null]: 25"],
        r#"fentry:do_sys_openat2 /comm == "calls" && str(uptr(args.filename)) == "/dev/null"/ { @[str(uptr(args.filename), 64)] = count(); }"#,
    ),
    row(
        "kernel stacks in `kprobe`",
        "calls umask 5",
        &["...", "entry_SYSCALL_64_after_hwframe", "]: 5"],
        r#"kprobe:__x64_sys_umask /comm == "calls"/ { @[kstack] = count(); }"#,
    ),
    row(
        "kernel stacks in `fentry`",
        "calls umask 5",
        &["...", "entry_SYSCALL_64_after_hwframe", "]: 5"],
        r#"fentry:__x64_sys_umask /comm == "calls"/ { @[kstack] = count(); }"#,
    ),
    row(
        "kernel stacks in `tracepoint:syscalls`",
        "calls getppid 5",
        &["...", "entry_SYSCALL_64_after_hwframe", "]: 5"],
        r#"tracepoint:syscalls:sys_enter_getppid /comm == "calls"/ { @[kstack] = count(); }"#,
    ),
    row(
        "user stacks",
        ARGS,
        &["@[", "main", "]: 25"],
        "uretprobe:calls:text_arg { @[ustack(perf, 1)] = count(); }",
    ),
    row(
        "`for` over a map",
        "",
        &["600"],
        r#"begin { @m[1] = 100; @m[2] = 200; @m[3] = 300; $n = 0; for ($kv : @m) { $n += $kv.1; } printf("%d\n", $n); clear(@m); exit(); }"#,
    ),
    row(
        "`len()` of a map",
        "",
        &["2"],
        r#"begin { @m[1] = 1; @m[2] = 2; printf("%d\n", len(@m)); clear(@m); exit(); }"#,
    ),
    row(
        "short loops",
        "",
        &["190"],
        r#"begin { $n = 0; for ($i : 0..20) { $n += $i; } printf("%d\n", $n); exit(); }"#,
    ),
    row(
        "long loops",
        "",
        &["4999950000"],
        r#"begin { $n = 0; for ($i : 0..100000) { $n += $i; } printf("%d\n", $n); exit(); }"#,
    ),
    row(
        "aggregations read in a probe, without a key",
        "",
        &["2"],
        r#"begin { @c = count(); @c = count(); printf("%d\n", (int64)@c); clear(@c); exit(); }"#,
    ),
    row(
        "aggregations read in a probe, with a key",
        "",
        &["2"],
        r#"begin { @c[1] = count(); @c[1] = count(); printf("%d\n", (int64)@c[1]); clear(@c); exit(); }"#,
    ),
    row("`nsecs(tai)`", "", &["1"], r#"begin { printf("%d\n", nsecs(tai) > 1000000000000000000); exit(); }"#),
    row(
        "keys beyond 512 bytes",
        "calls args 25",
        &["@[sixteen tons, sixteen tons]: 25"],
        "config = { max_strlen = 400 } uprobe:calls:text_arg { @[str(arg0), str(arg0)] = count(); }",
    ),
    row(
        "kernel symbols, `ksym()`, `kaddr()`",
        "",
        &["schedule"],
        r#"begin { printf("%s\n", ksym(kaddr("schedule"))); exit(); }"#,
    ),
];

/// Runs a table in one guest.
pub fn run(kernel: &str, table: &[Feature]) -> Result<Vec<Fact>, String> {
    let mut script = String::new();
    for (number, Feature { script: text, trigger, .. }) in table.iter().enumerate() {
        let quote = |text: &str| text.replace('\'', r"'\''");
        let (text, trigger) = (quote(text), quote(trigger));
        script.push_str(&format!(
            "echo 'row {number}'; traced '{trigger}' -v -e '{text}' >/dev/null 2>&1; echo code $code
             sed 's/^/| /' /tmp/out; sed 's/^/! /' /tmp/err\n"
        ));
    }
    let files = guest::programs(&["calls", "leak"])?;
    let out = guest::run(kernel, Size::default(), &script, &files)?.output();
    let rows: Vec<&str> = out.split("row ").skip(1).collect();
    assert_eq!(rows.len(), table.len(), "{kernel}:\n{out}");
    let mut facts = Vec::new();
    let mut wrong = Vec::new();
    for (feature, row) in table.iter().zip(rows) {
        match feature.answer(row) {
            Some(answer) => facts.push((feature.what.to_owned(), answer)),
            None => wrong.push(format!("{}\n{}\n{row}", feature.what, feature.script)),
        }
    }
    assert!(wrong.is_empty(), "on {kernel}:\n{}", wrong.join("\n"));
    Ok(facts)
}

/// Events of the four processes of [`FOUR`].
const FOUR_EVENTS: u64 = 12_000;

/// How many runs a warning says that the kernel left out.
fn left_out(text: &str) -> Option<u64> {
    let (count, rest) = text.split_once(" runs of ")?;
    rest.contains("left out by the kernel").then(|| count.parse().ok()).flatten()
}

impl Feature {
    /// Whether every figure is what is expected without the events that the kernel left out: counts, sums of
    /// twos, or the sum of their numbers.
    fn is_accounted(&self, printed: &[String], left_out: u64) -> bool {
        let Some(n) = FOUR_EVENTS.checked_sub(left_out) else { return false };
        printed.len() == self.prints.len()
            && self.prints.iter().all(|expected| {
                let Some((name, figure)) = expected.rsplit_once(": ") else { return false };
                let of: [fn(u64) -> u64; 3] = [|n| n, |n| 2 * n, |n| n * n.saturating_sub(1) / 2];
                let of = of.iter().find(|of| of(FOUR_EVENTS).to_string() == figure);
                of.is_some_and(|of| printed.contains(&format!("{name}: {}", of(n))))
            })
    }

    /// What memql did; `None` if it is neither right nor a refusal.
    fn answer(&self, row: &str) -> Option<String> {
        let code = row.lines().find_map(|line| line.strip_prefix("code "))?;
        let of = |mark: &str| -> Vec<String> {
            row.lines()
                .filter_map(|line| line.strip_prefix(mark))
                .map(|line| line.trim().to_owned())
                .collect()
        };
        let said = of("! ");
        let complaint = said.iter().find_map(|line| {
            let (word, text) = line.split_once(": ")?;
            (word.starts_with("error") || word.starts_with("warning")).then_some(text)
        });
        let mut printed: Vec<String> = of("| ").iter().map(|line| without_offset(line).to_owned()).collect();
        printed.retain(|line| !line.is_empty());
        printed.sort_unstable();
        if let Some(text) = complaint {
            // Since Linux 6.13 a program on a system call can be preempted, and the kernel then leaves out others
            // on that CPU. What it left out and what was counted must be all.
            return Some(
                match left_out(text).is_some_and(|left_out| self.is_accounted(&printed, left_out)) {
                    true => "yes".to_owned(),
                    false => format!("no: {text}"),
                },
            );
        }
        let mut expected: Vec<&str> = self.prints.to_vec();
        expected.sort_unstable();
        let is_right = match expected.contains(&"...") {
            true => expected.iter().all(|line| *line == "..." || printed.iter().any(|p| p == line)),
            false => printed == expected,
        };
        if code != "0" || !is_right {
            return None;
        }
        let ways = [
            ("kprobe_multi", "kprobe_multi"),
            ("uprobe_multi", "uprobe_multi"),
            ("perf event", "one by one"),
        ];
        let attached = said.iter().find(|line| line.contains(" points in ") && line.contains(" link"));
        let way = attached.and_then(|line| ways.iter().find(|(name, _)| line.contains(name)));
        match (self.how, way) {
            (false, _) => Some("yes".into()),
            (true, Some((_, way))) => Some(format!("yes, {way}")),
            (true, None) => None,
        }
    }
}

/// `do_exit` of `do_exit+12`, `main` of `401136 main+35@/src/calls.c:12 (/usr/bin/calls)`.
fn without_offset(line: &str) -> &str {
    let Some((function, rest)) = line.split_once('+') else { return line };
    match rest.as_bytes().first() {
        Some(digit) if digit.is_ascii_digit() => function.rsplit(' ').next().unwrap_or(function),
        Some(_) | None => line,
    }
}
