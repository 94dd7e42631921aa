//! scripts/faults.mq: a stack has as many faults as the kernel counts for the process that touched the pages.

use crate::need;
use crate::support::{machine, memql, programs, trigger::Trigger};

#[test]
fn a_stack_has_the_faults_that_the_kernel_counted() {
    need!(machine::root());
    let mut trigger = Trigger::start(&need!(programs::program("touch")), &["500"]);
    let pid = trigger.pid();
    let tracing = memql::attached([programs::script("faults.mq").as_str(), "-p", &pid, "--top", "1"]);
    let said = trigger.work();
    let out = tracing.stop().output();
    trigger.end();
    let counted: u64 = said.trim().strip_prefix("faults ").and_then(|n| n.parse().ok()).expect(&said);
    assert!(counted >= 500, "{counted} faults for 500 pages");
    let report: Vec<&str> = out.lines().skip_while(|line| !line.contains("Top 1 stacks")).collect();
    // The page of the stack that the first call needs may be among what the kernel counts.
    let faults: u64 = report[1].trim().split(' ').next().and_then(|n| n.parse().ok()).expect(report[1]);
    assert!(faults == 500 && counted - faults <= 1, "{faults} of {counted}: {out}");
    assert_eq!(report[1], format!("  500 faults, 0 major, of PID {pid} (\"touch\") from stack"));
    assert!(report[2].starts_with("    touch_pages+0x") && report[3].starts_with("    main+0x"), "{out}");
}

#[test]
fn reports_come_every_interval_until_the_count_is_reached() {
    need!(machine::root());
    let out = memql::run([programs::script("faults.mq").as_str(), "--major", "1", "2"]).output();
    assert_eq!(out.matches("Top 10 stacks with major faults:").count(), 2, "{out}");
}
