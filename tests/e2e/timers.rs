//! begin, end, interval and profile.

use crate::need;
use crate::support::{machine, memql, text};

#[test]
fn begin_runs_first_and_end_last() {
    need!(machine::root());
    let script = r#"end { printf("end\n"); } begin { printf("begin\n"); } interval:ms:10 { printf("interval\n"); exit(); }"#;
    assert_eq!(memql::run(["-e", script]).output(), "begin\ninterval\nend\n");
}

#[test]
fn an_interval_runs_until_exit() {
    need!(machine::root());
    let script = "interval:ms:5 { @n++; if (@n == 20) { exit(); } }";
    assert_eq!(text::lines(&memql::run(["-e", script]).output()), ["@n: 20"]);
}

#[test]
fn print_and_clear_happen_in_the_order_they_are_written() {
    need!(machine::root());
    let script = r#"
        interval:ms:5 {
            @round++;
            @k[@round] = @round * 10;
            print(@k); printf("round %d\n", @round); clear(@k); print(@k);
            if (@round == 3) { exit(); }
        }"#;
    let out = memql::run(["-e", script]).output();
    assert_eq!(
        text::lines(&out),
        ["@k[1]: 10", "round 1", "@k[2]: 20", "round 2", "@k[3]: 30", "round 3", "@round: 3"]
    );
}

#[test]
fn profile_samples_every_cpu() {
    need!(machine::root());
    let cpus = std::thread::available_parallelism().expect("the number of CPUs").get();
    let script = format!(
        "profile:hz:999 {{ @[cpu] = count(); }} interval:ms:10 {{ if (len(@) >= {cpus}) {{ exit(); }} }}"
    );
    let out = memql::run(["-e", &script]).output();
    assert!(text::sorted(&out).len() >= cpus, "{out}");
}

#[test]
fn ctrl_c_prints_what_there_is() {
    need!(machine::root());
    let tracing = memql::attached([
        "-e",
        r#"begin { @x = 3; @y["a", 1] = 4; } interval:1h { } end { printf("bye\n"); }"#,
    ]);
    assert_eq!(text::lines(&tracing.stop().output()), ["bye", "@x: 3", "@y[a, 1]: 4"]);
}

#[test]
fn sigterm_ends_a_run_like_ctrl_c() {
    need!(machine::root());
    let tracing = memql::attached(["-e", "begin { @x = 3; } interval:1h { }"]);
    tracing.signal(libc::SIGTERM);
    assert_eq!(text::lines(&tracing.wait().output()), ["@x: 3"]);
}

#[test]
fn exit_gives_its_code() {
    need!(machine::root());
    let ended = memql::run(["-e", r#"begin { printf("hi\n"); exit(3); }"#]);
    assert_eq!((ended.code(), ended.stdout.as_str()), (3, "hi\n"));
}

#[test]
fn what_end_prints_is_told_apart_from_what_goes_on_around_it() {
    need!(machine::root());
    // Whoever traces system calls while memql runs its `end` sends events all the time, calls of `exit()` too.
    let script = r#"
        rawtracepoint:sys_enter { printf("late\n"); exit(); }
        end { for ($i : 0..5) { printf("end %d\n", $i); } }
        end { printf("second\n"); }"#;
    let out = memql::run(["-e", script]).output();
    let (first, rest) = out.split_once('\n').expect("lines");
    assert_eq!((first, rest), ("late", "end 0\nend 1\nend 2\nend 3\nend 4\nsecond\n"));
}

#[test]
fn ctrl_c_does_not_wait_for_commands_that_are_due() {
    need!(machine::root());
    let script = r#"
        begin { for ($i : 0..1000) { system("sleep 0.1"); } }
        interval:1h { }
        end { printf("end\n"); }"#;
    let tracing = memql::start(["--unsafe", "-e", script]);
    std::thread::sleep(std::time::Duration::from_millis(500));
    tracing.signal(libc::SIGINT);
    let ended = tracing.wait();
    assert_eq!((ended.code(), ended.stdout.trim()), (0, "end"));
    let told = "events were not handled: memql was asked to end while earlier ones took their time";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
}
