//! bpftrace's tools: for each what makes the things that it looks at, and what it must say of them.
//!
//! The same table serves this machine and the guests. A tool runs under memql, or under memql and bpftrace at the same time, which
//! then must print the same, but for what the time decides.

use std::path::{Path, PathBuf};

/// Runs a tool under tracers: shell functions for [`Tool::run`].
pub const HARNESS: &str = include_str!("tools.sh");

/// The folder of Debian's package, by `tests/vm/fetch-bpftrace`; an error says why there is none.
pub fn package() -> Result<PathBuf, String> {
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(|broken| broken.into_inner());
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = std::process::Command::new(here.join("tests/vm/fetch-bpftrace"))
        .output()
        .expect("run tests/vm/fetch-bpftrace");
    if !out.status.success() {
        return Err(format!("bpftrace cannot be fetched: {}", String::from_utf8_lossy(&out.stderr).trim()));
    }
    let vm = std::env::var_os("MEMQL_VM").map_or_else(|| here.join("target/vm"), PathBuf::from);
    Ok(vm.join("debian"))
}

/// A tool, its load, and what it must print.
pub struct Tool {
    /// Its name without `.bt`.
    pub name: &'static str,
    /// What runs while it is attached: a shell command. It finds a file or device to read in `$disk`, a new file on a disk in
    /// `$file`, a file system of XFS in `$xfs`, an array of disks in `$md`.
    load: &'static str,
    /// So many lines at its start are its headline.
    head: usize,
    /// What it must say.
    says: &'static [Reading],
    /// What it needs; without it, it is not run.
    needs: Needs,
}

/// Where a tool can be run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Whatever has its probes.
    Probes,
    /// A guest of our own, too: it kills, swaps or wants a file system.
    Guest,
    /// Functions that not every kernel has: the tool runs without them and then says nothing.
    MaybeNothing,
}

/// Something that a tool must say of its load.
struct Reading {
    form: Form,
    times: Times,
}

enum Form {
    /// Lines with all these words; those at `blank` (from the end, if negative) are times, which differ.
    Lines { with: &'static [&'static str], blank: &'static [isize] },
    /// The sum of the numbers after this text at the start of lines.
    Sum(&'static str),
    /// The entries of all histograms that have this text in their names; whether their rows do not depend on the time.
    Histogram { name: &'static str, steady: bool },
}

/// How many there must be.
#[derive(Clone, Copy)]
enum Times {
    /// So many.
    Exactly(u64),
    /// So many or more, and bpftrace sees as many.
    Steady(u64),
    /// So many or more, which depends on the time.
    AtLeast(u64),
}

use Needs::{Guest, MaybeNothing, Probes};
use Times::{AtLeast, Exactly, Steady};

const fn lines(times: Times, with: &'static [&'static str], blank: &'static [isize]) -> Reading {
    Reading { form: Form::Lines { with, blank }, times }
}

const fn sum(times: Times, of: &'static str) -> Reading {
    Reading { form: Form::Sum(of), times }
}

const fn histogram(times: Times, name: &'static str) -> Reading {
    Reading { form: Form::Histogram { name, steady: false }, times }
}

const fn steady_histogram(times: Times, name: &'static str) -> Reading {
    Reading { form: Form::Histogram { name, steady: true }, times }
}

const fn tool(
    name: &'static str,
    head: usize,
    needs: Needs,
    load: &'static str,
    says: &'static [Reading],
) -> Tool {
    Tool { name, load, head, says, needs }
}

/// All of them.
pub const TOOLS: &[Tool] = &[
    tool(
        "bashreadline",
        2,
        Probes,
        r"printf 'echo one\necho two\nexit\n' | bash --norc -i",
        &[lines(Exactly(2), &["echo "], &[])],
    ),
    tool("biolatency", 1, Probes, "provoke disk 8 $disk", &[histogram(AtLeast(8), "@usecs")]),
    tool("biolatency-kp", 1, MaybeNothing, "provoke disk 8 $disk", &[histogram(AtLeast(8), "@usecs")]),
    tool("biosnoop", 2, Probes, "provoke disk 8 $disk", &[lines(Exactly(8), &[" provoke "], &[0, -1])]),
    tool("biostacks", 1, Probes, "provoke disk 8 $disk", &[histogram(AtLeast(8), "pread64")]),
    tool("bitesize", 1, Probes, "provoke disk 8 $disk", &[steady_histogram(Exactly(8), "@[provoke]")]),
    tool("capable", 2, Probes, "provoke names 5", &[lines(Exactly(5), &[" provoke ", "CAP_SYS_ADMIN"], &[])]),
    tool("cpuwalk", 1, Probes, "provoke spins 300", &[histogram(AtLeast(10), "@cpu")]),
    tool(
        "dcsnoop",
        2,
        Probes,
        "provoke dirs 5 /tmp/seen.here",
        &[lines(Steady(5), &[" provoke ", " seen.here"], &[0])],
    ),
    tool("execsnoop", 1, Probes, "provoke execs 3", &[lines(Exactly(3), &["true one two three"], &[])]),
    tool(
        "gethostlatency",
        2,
        Probes,
        "provoke hosts 3",
        &[lines(Exactly(9), &[" provoke ", " 127.0.0."], &[2])],
    ),
    tool("killsnoop", 2, Probes, "provoke kills 2", &[lines(Exactly(8), &[" provoke "], &[])]),
    tool("loads", 1, Probes, "sleep 2.2", &[lines(AtLeast(1), &["load averages: "], &[2, 3, 4])]),
    tool("mdflush", 2, Guest, "provoke device 5 $md", &[lines(Exactly(5), &[" provoke ", " md"], &[])]),
    tool("naptime", 2, Probes, "provoke sleeps 3", &[lines(Exactly(6), &[" provoke ", " 0.005"], &[])]),
    tool(
        "oomkill",
        1,
        Guest,
        "sh -c 'echo $$ >/sys/fs/cgroup/small/cgroup.procs; exec eat 100'; true",
        &[lines(Exactly(1), &["(\"eat\"), CGROUP", "small", "OOM kill of PID"], &[-1, -2, -3, -4, -5])],
    ),
    tool(
        "opensnoop",
        2,
        Probes,
        "provoke opens 3",
        &[
            lines(Exactly(3), &["provoke ", " /dev/zero"], &[]),
            lines(Exactly(3), &["provoke ", "/comm"], &[]),
            lines(Exactly(3), &["provoke ", " -1 ", " 2 /no/such/file"], &[]),
        ],
    ),
    tool(
        "pidpersec",
        1,
        Probes,
        "quietly provoke forks 25; sleep 2.2",
        &[sum(AtLeast(25), " PIDs/sec: @: ")],
    ),
    tool("runqlat", 1, Probes, "provoke turns 500", &[histogram(AtLeast(500), "@usecs")]),
    tool("runqlen", 1, Probes, "provoke spins 300", &[histogram(AtLeast(10), "@runqlen")]),
    tool("setuids", 2, Probes, "provoke uids 2", &[lines(Exactly(10), &[" provoke "], &[])]),
    tool(
        "ssllatency",
        1,
        Probes,
        "provoke tls 5",
        &[
            histogram(Exactly(5), "@hist[SSL_write]"),
            histogram(Exactly(5), "@hist[SSL_read]"),
            lines(Exactly(1), &["@stat[SSL_write]: { .count = 5, "], &[7, 10]),
        ],
    ),
    tool(
        "sslsnoop",
        2,
        Probes,
        "provoke tls 5",
        &[
            lines(Exactly(5), &[" provoke ", " SSL_write"], &[0, 3]),
            lines(Exactly(5), &[" provoke ", " SSL_read"], &[0, 3]),
        ],
    ),
    tool(
        "statsnoop",
        2,
        Probes,
        "provoke stats 2",
        &[
            lines(Exactly(2), &["provoke ", " 2 /no/such/file"], &[]),
            lines(Exactly(2), &["provoke ", " 0 /dev/null"], &[]),
            lines(Exactly(4), &["provoke ", " 0 /proc"], &[]),
        ],
    ),
    tool("swapin", 0, Guest, "quietly provoke swaps 64; sleep 2.2", &[sum(AtLeast(32), "@[provoke, ")]),
    tool("syncsnoop", 2, Probes, "provoke synced 4 $file", &[lines(Exactly(5), &[" provoke "], &[])]),
    tool(
        "syscount",
        1,
        Probes,
        "provoke calls 50000",
        &[sum(AtLeast(50000), "@syscall[110]: "), sum(Steady(50000), "@process[provoke]: ")],
    ),
    tool("tcpaccept", 2, Probes, "provoke connections 3", &[lines(Exactly(3), &[" provoke "], &[])]),
    tool("tcpconnect", 2, Probes, "provoke connections 3", &[lines(Exactly(3), &[" provoke "], &[])]),
    tool(
        "tcpdrop",
        2,
        Probes,
        "quietly provoke dropped 3; sleep 2",
        &[
            lines(Steady(1), &[" provoke ", "127.0.0.2:", "ESTABLISHED"], &[]),
            lines(Steady(1), &["__ip_queue_xmit"], &[]),
        ],
    ),
    tool("tcplife", 1, Probes, "provoke connections 3", &[lines(Exactly(6), &[" provoke "], &[-1])]),
    tool("tcpretrans", 2, Probes, "provoke lost 2", &[lines(Steady(2), &["127.0.0.3:"], &[])]),
    tool("tcpsynbl", 1, Probes, "provoke backlog 5", &[steady_histogram(Exactly(5), "@backlog[77]")]),
    tool("threadsnoop", 1, Probes, "provoke threads 3", &[lines(Exactly(3), &[" provoke ", " begins"], &[])]),
    tool(
        "undump",
        2,
        Probes,
        "provoke sockets 3",
        &[lines(Exactly(3), &[" provoke ", r" hello\x0a\x01"], &[])],
    ),
    tool(
        "vfscount",
        1,
        Probes,
        "provoke dirs 25 /tmp/seen.here",
        &[sum(Exactly(25), "@[vfs_mkdir]: "), sum(Exactly(25), "@[vfs_rmdir]: ")],
    ),
    tool(
        "vfsstat",
        1,
        Probes,
        "quietly provoke nodes 25 /tmp/seen.here; sleep 2.2",
        &[sum(Exactly(25), "@[vfs_create]: ")],
    ),
    tool("writeback", 2, Probes, "provoke synced 8 $file", &[lines(AtLeast(1), &[" sync "], &[1, -1])]),
    tool(
        "xfsdist",
        1,
        Guest,
        "provoke file 25 $xfs",
        &[
            histogram(Exactly(25), "@us[xfs_file_open]"),
            histogram(Exactly(25), "@us[xfs_file_read_iter]"),
            histogram(Exactly(25), "@us[xfs_file_write_iter]"),
            histogram(Exactly(25), "@us[xfs_file_fsync]"),
        ],
    ),
];

impl Tool {
    /// Whether it can be run on this machine as it is.
    pub fn is_harmless(&self) -> bool {
        self.needs != Guest
    }

    /// The line of a shell script that runs it; `tracers` are `memql` and `bpftrace`, or one of them.
    pub fn run(&self, tracers: &str) -> String {
        format!("tool {} '{}' {tracers}\n", self.name, self.load.replace('\'', r"'\''"))
    }

    /// What memql did: saw its load (`yes`), ran without functions that the kernel lacks, or said why it cannot.
    ///
    /// On a machine that is not left alone other programs are seen too, and what they have in memory cannot always be read.
    ///
    /// # Errors
    /// What is wrong with what it printed.
    pub fn judge(&self, ran: &Ran, alone: bool) -> Result<String, String> {
        let wrong = |what: String| {
            Err(format!(
                "{}: {what}\nload said:\n{}\nstdout:\n{}\nstderr:\n{}",
                self.name, ran.load, ran.stdout, ran.stderr
            ))
        };
        if ran.code != 0 {
            return match refusal(&ran.stderr) {
                Some(why) => Ok(format!("no: {why}")),
                None => wrong(format!("memql ended with {}", ran.code)),
            };
        }
        if let Some(line) = ran.stderr.lines().find(|line| is_complaint(line, alone)) {
            return wrong(format!("memql warned: {line}"));
        }
        if !ran.load.is_empty() {
            return wrong("the load failed".into());
        }
        let nothing = ran.stdout.lines().skip(self.head).all(|line| line.is_empty());
        if self.needs == MaybeNothing && nothing {
            return Ok("runs; the kernel has none of its functions".into());
        }
        for reading in self.says {
            if let Err(what) = reading.holds(&ran.stdout) {
                return wrong(what);
            }
        }
        Ok("yes".into())
    }

    /// Whether both tracers printed the same; what differs.
    pub fn compare(&self, memql: &Ran, bpftrace: &Ran) -> Result<(), String> {
        let head = |ran: &Ran| ran.stdout.lines().take(self.head).map(str::to_owned).collect::<Vec<_>>();
        let mut pairs = vec![(head(memql), head(bpftrace))];
        for reading in self.says {
            pairs.push((reading.shown(&memql.stdout), reading.shown(&bpftrace.stdout)));
        }
        match pairs.into_iter().find(|(memql, bpftrace)| memql != bpftrace) {
            None => Ok(()),
            Some((ours, theirs)) => Err(format!(
                "{} prints\n{}\nunder memql and\n{}\nunder bpftrace, whose stderr is\n{}\nmemql's stdout:\n{}\nbpftrace's:\n{}",
                self.name,
                ours.join("\n"),
                theirs.join("\n"),
                bpftrace.stderr,
                memql.stdout,
                bpftrace.stdout
            )),
        }
    }
}

/// The reason that memql gives when it cannot; `None` if it failed otherwise.
fn refusal(stderr: &str) -> Option<String> {
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error")).collect();
    if errors.is_empty() || stderr.contains("internal error") || stderr.contains("panicked") {
        return None;
    }
    let text = |line: &&str| line.split_once(": ").map_or(*line, |(_, text)| text).to_owned();
    let mut texts: Vec<String> = errors.iter().map(text).collect();
    texts.dedup();
    Some(texts.join("; "))
}

/// Whether a line of stderr says more than what is wrong with the script: bpftrace warns of the same there.
fn is_complaint(line: &str, alone: bool) -> bool {
    let of_the_script = ["warning[W0001]", "warning[W0201]"].iter().any(|known| line.starts_with(known));
    let of_others =
        !alone && (line.contains(" of user memory failed ") || line.contains(" of kernel memory failed "));
    (line.starts_with("warning") || line.starts_with("error")) && !of_the_script && !of_others
}

/// What a tracer did.
#[derive(Debug, Default)]
pub struct Ran {
    /// The tool's name.
    pub tool: String,
    /// `memql` or `bpftrace`.
    pub tracer: String,
    /// Its exit code.
    pub code: i32,
    /// What it printed, without bpftrace's words about attaching.
    pub stdout: String,
    /// Its stderr.
    pub stderr: String,
    /// What the load said if it failed.
    pub load: String,
}

/// Takes the output of [`HARNESS`] apart.
pub fn ran(output: &str) -> Vec<Ran> {
    let mut all: Vec<Ran> = Vec::new();
    let mut part = 0;
    for line in output.lines() {
        if let Some(title) = line.strip_prefix("==== ") {
            let words: Vec<&str> = title.split(' ').collect();
            part = match words[..] {
                ["stderr"] => 1,
                ["trigger", _] => 2,
                [tool, tracer, code] => {
                    let code = code.parse().expect("a title of the harness ends with a code");
                    all.push(Ran { tool: tool.into(), tracer: tracer.into(), code, ..Ran::default() });
                    0
                }
                _ => panic!("not a title of the harness: {line}"),
            };
            continue;
        }
        let Some(last) = all.last_mut() else { panic!("before any title: {line}") };
        if line == "__BPFTRACE_NOTIFY_PROBES_ATTACHED" || line.starts_with("Attached ") {
            continue;
        }
        let text =
            [&mut last.stdout, &mut last.stderr, &mut last.load].into_iter().nth(part).expect("three parts");
        text.push_str(line);
        text.push('\n');
    }
    all
}

impl Reading {
    /// Checks that a tool's output has it as often as it must.
    fn holds(&self, stdout: &str) -> Result<(), String> {
        let (found, what) = match self.form {
            Form::Lines { with, .. } => {
                (having(stdout, with).count() as u64, format!("lines with {}", with.join(" and ")))
            }
            Form::Sum(of) => (total(stdout, of), format!("the sum of `{of}`")),
            Form::Histogram { name, .. } => (
                entries(stdout, name)?.iter().map(|(_, count)| count).sum(),
                format!("the entries of `{name}`"),
            ),
        };
        match self.times {
            Exactly(n) if n == found => Ok(()),
            Steady(n) | AtLeast(n) if n <= found => Ok(()),
            Exactly(n) => Err(format!("{what}: {found}, expected {n}")),
            Steady(n) | AtLeast(n) => Err(format!("{what}: {found}, expected {n} or more")),
        }
    }

    /// What both tracers must show of it.
    fn shown(&self, stdout: &str) -> Vec<String> {
        let mut shown: Vec<String> = match self.form {
            Form::Lines { with, blank } => having(stdout, with).map(|line| blanked(line, blank)).collect(),
            Form::Sum(of) => match self.times {
                Exactly(_) | Steady(_) => vec![total(stdout, of).to_string()],
                AtLeast(n) => vec![(total(stdout, of) >= n).to_string()],
            },
            Form::Histogram { name, steady: true } => {
                sections(stdout, name).flatten().map(str::to_owned).collect()
            }
            Form::Histogram { name, steady: false } => {
                let count = entries(stdout, name).map(|all| all.iter().map(|(_, count)| count).sum::<u64>());
                let mut shown: Vec<String> = sections(stdout, name)
                    .flatten()
                    .filter(|line| !is_row(line))
                    .map(str::to_owned)
                    .collect();
                if !matches!(self.times, AtLeast(_)) {
                    shown.push(format!("{count:?} entries"));
                }
                shown
            }
        };
        shown.sort_unstable();
        if matches!(self.times, AtLeast(_)) {
            shown.dedup();
        }
        shown
    }
}

fn having<'a>(stdout: &'a str, with: &'a [&str]) -> impl Iterator<Item = &'a str> {
    stdout.lines().filter(move |line| with.iter().all(|word| line.contains(word)))
}

/// The line without clock times, which may stand in the wrong line too: they are events of their own; and with `TIME` in place
/// of these words. Blanks stay as they are but beside what is replaced, which fills its column.
fn blanked(line: &str, blank: &[isize]) -> String {
    let is_clock = |word: &str| {
        word.len() >= 8
            && word.bytes().all(|b| b.is_ascii_digit() || b":.".contains(&b))
            && word.matches(':').count() == 2
    };
    let count = line.split_whitespace().filter(|word| !is_clock(word)).count();
    let is_blank = |at: usize| {
        blank
            .iter()
            .any(|b| if *b < 0 { count.checked_add_signed(*b) } else { usize::try_from(*b).ok() } == Some(at))
    };
    let (mut out, mut rest, mut at, mut is_after_time) = (String::new(), line, 0, true);
    for word in line.split_whitespace() {
        let start = rest.find(word).expect("a word of the line");
        let gap = &rest[..start];
        rest = &rest[start + word.len()..];
        if is_clock(word) {
            is_after_time = true;
            continue;
        }
        if is_blank(at) {
            out.push_str(" TIME ");
        } else {
            out.push_str(if is_after_time { "" } else { gap });
            out.push_str(word);
        }
        is_after_time = is_blank(at);
        at += 1;
    }
    out
}

fn total(stdout: &str, of: &str) -> u64 {
    let number = |line: &str| {
        let (_, rest) = line.split_once(of)?;
        rest.rsplit(' ').next()?.parse::<u64>().ok()
    };
    stdout.lines().filter_map(number).sum()
}

/// The lines of each map entry whose name has this text: its name, which may have a stack in it, and its rows.
fn sections<'a>(stdout: &'a str, name: &'a str) -> impl Iterator<Item = Vec<&'a str>> {
    let mut all: Vec<Vec<&str>> = Vec::new();
    let mut open = false;
    for line in stdout.lines() {
        if line.starts_with('@') {
            all.push(Vec::new());
        }
        open = (open || line.starts_with('@')) && !line.is_empty();
        if let (true, Some(section)) = (open, all.last_mut()) {
            section.push(line);
        }
    }
    all.into_iter().filter(move |lines| lines.iter().any(|line| !is_row(line) && line.contains(name)))
}

fn is_row(line: &str) -> bool {
    line.starts_with(['[', '(']) && line.ends_with('|')
}

/// The rows of histograms: intervals and their counts. Fails if a row is not printed as bpftrace prints it.
fn entries<'a>(stdout: &'a str, name: &'a str) -> Result<Vec<(&'a str, u64)>, String> {
    const BAR: usize = 52;
    let mut all = Vec::new();
    for section in sections(stdout, name) {
        let mut rows = Vec::new();
        for line in section.into_iter().filter(|line| is_row(line)) {
            let wrong = || format!("not a row of a histogram: {line}");
            let (left, _) = line.split_once('|').ok_or_else(wrong)?;
            let (interval, count) = left.trim_end().rsplit_once(' ').ok_or_else(wrong)?;
            rows.push((line, interval.trim_end(), count.parse::<u64>().map_err(|_| wrong())?));
        }
        let most = rows.iter().map(|(_, _, count)| *count).max().unwrap_or(0).max(1);
        for (line, interval, count) in rows {
            let bar = "@".repeat((count as f64 / most as f64 * BAR as f64) as usize);
            let expected = format!("{interval:<16}{count:>8} |{bar:<BAR$}|");
            if line != expected {
                return Err(format!("a histogram has the row\n{line}\nand not\n{expected}"));
            }
            all.push((interval, count));
        }
    }
    Ok(all)
}
