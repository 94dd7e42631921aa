//! uprobe and uretprobe: arguments, results, strings, stacks and return values of user functions.

use crate::need;
use crate::support::{
    machine, memql,
    programs::{fixed_program, program},
    text,
    trigger::Trigger,
};

/// Traces three calls of each function of `calls args` and gives what memql printed. `CALLS` in the
/// script stands for the program's path.
fn traced(script: &str) -> Result<String, String> {
    machine::uprobes()?;
    let calls = program("calls")?;
    let mut trigger = Trigger::start(&calls, &["args", "3"]);
    let script = script.replace("CALLS", &calls.display().to_string());
    let tracing = memql::attached(["-p", &trigger.pid(), "-e", &script]);
    trigger.work();
    Ok(tracing.stop().output())
}

#[test]
fn six_arguments_arrive_in_order() {
    let script =
        r#"uprobe:CALLS:six_args { printf("%d %d %d %d %d %d\n", arg0, arg1, arg2, arg3, arg4, arg5); }"#;
    let out = need!(traced(script));
    assert_eq!(out, "0 1 2 3 4 5\n1 2 3 4 5 6\n2 3 4 5 6 7\n");
}

#[test]
fn a_return_value_is_what_the_function_returned() {
    let out = need!(traced(r#"uretprobe:CALLS:six_args { printf("%d\n", retval); }"#));
    assert_eq!(out, "15\n21\n27\n");
}

#[test]
fn a_cast_makes_a_narrow_result_negative() {
    let out = need!(traced("uretprobe:CALLS:negative { @[(int32)retval] = count(); }"));
    assert_eq!(text::lines(&out), ["@[-7]: 3"]);
}

#[test]
fn strings_are_read_from_user_memory() {
    let script =
        r#"uprobe:CALLS:text_arg { printf("%s|%s|%d\n", str(arg0), str(arg0, 8), strlen(str(arg0))); }"#;
    let out = need!(traced(script));
    assert_eq!(out, "sixteen tons|sixteen|12\n".repeat(3));
}

#[test]
fn bytes_are_read_from_user_memory() {
    let out = need!(traced(r#"uprobe:CALLS:text_arg { printf("%rh\n", buf(arg0, 7)); }"#));
    assert_eq!(out, "73 69 78 74 65 65 6e\n".repeat(3));
}

#[test]
fn integers_are_read_through_a_user_pointer() {
    // struct point begins with int x = 10 and int y = -20
    let script = r#"uprobe:CALLS:struct_arg { $p = (int32 *)arg0; printf("%d %d\n", *$p, *($p + 1)); }"#;
    let out = need!(traced(script));
    assert_eq!(out, "10 -20\n".repeat(3));
}

#[test]
fn an_offset_probes_inside_of_the_function() {
    let out = need!(traced("uprobe:CALLS:negative+0 { @ = count(); }"));
    assert_eq!(text::lines(&out), ["@: 3"]);
}

/// The address of a symbol as the file has it.
fn address(program: &std::path::Path, symbol: &str) -> u64 {
    let listed =
        std::process::Command::new("nm").arg(program).output().expect("`nm` comes with the compiler");
    let listed = String::from_utf8(listed.stdout).expect("symbols of C are text");
    let line =
        listed.lines().find(|line| line.ends_with(&format!(" {symbol}"))).expect("the symbol is there");
    let digits = line.split(' ').next().unwrap_or_default();
    u64::from_str_radix(digits, 16).expect("its address is a number")
}

#[test]
fn every_instruction_of_a_function_can_be_probed() {
    need!(machine::uprobes());
    let entries = need!(program("entries"));
    let (path, start) = (entries.display(), address(&entries, "several"));
    // xor (2 bytes), mov (7), lea (4), jmp (2), ret
    let places = ["several+2".to_owned(), format!("{:#x}", start + 9), "several+15".to_owned()];
    let script: String =
        places.iter().map(|p| format!("uprobe:{path}:{p} {{ @[probe] = count(); }}\n")).collect();
    let mut trigger = Trigger::start(&entries, &["5"]);
    let tracing = memql::attached(["-p", &trigger.pid(), "-e", &script]);
    trigger.work();
    let out = tracing.stop().output();
    let mut lines: Vec<String> = places.iter().map(|p| format!("@[uprobe:{path}:{p}]: 5")).collect();
    lines.sort();
    assert_eq!(text::sorted(&out), lines);
}

#[test]
fn places_that_may_be_inside_an_instruction_need_unsafe() {
    need!(machine::uprobes());
    let entries = need!(program("entries"));
    let start = address(&entries, "several");
    let refused = |place: &str, flag: &str| {
        let script = format!("uprobe:{}:{place} {{ }} begin {{ exit(); }}", entries.display());
        let ended = memql::run([flag, "-e", &script]);
        (!ended.status.success()).then_some(ended.stderr)
    };
    for (place, why) in [
        ("several+4".to_owned(), "the instructions around are at +2 and +9"),
        (format!("{:#x}", start + 4), "in the middle of an instruction"),
        ("fallen_into".to_owned(), "the file does not say how long `fallen_into` is"),
        ("fallen_into+1".to_owned(), "the file does not say how long `fallen_into` is"),
        ("0x0".to_owned(), "no function that the file names has this address"),
    ] {
        let said = refused(&place, "-q").unwrap_or_default();
        assert!(said.contains(why), "{place}: {said}");
        assert_eq!(refused(&place, "--unsafe"), None, "{place}");
    }
    assert!(refused("several+16", "--unsafe").unwrap_or_default().contains("behind the end of the function"));
    // A wildcard takes whole functions.
    assert_eq!(refused("fallen_*", "-q"), None);
}

#[test]
fn a_user_stack_names_every_function() {
    // At a return the stack is whole on every kernel; at an entry the caller has not saved its frame yet.
    let out = need!(traced("uretprobe:CALLS:depth /retval == 0/ { @[ustack(4)] = count(); }"));
    let functions: Vec<&str> =
        text::lines(&out).iter().map(|line| line.split('+').next().unwrap_or(line).trim()).collect();
    assert_eq!(functions, ["@[", "depth", "depth", "depth", "main", "]: 3"]);
}

#[test]
fn func_and_probe_tell_several_functions_apart() {
    let out = need!(traced(
        "uprobe:CALLS:six_args, uprobe:CALLS:negative, uprobe:CALLS:depth { @[func] = count(); }"
    ));
    assert_eq!(text::sorted(&out), ["@[depth]: 12", "@[negative]: 3", "@[six_args]: 3"]);
}

#[test]
fn a_wildcard_takes_the_functions_that_match() {
    let out = need!(traced("uprobe:CALLS:*_arg { @[func] = count(); }"));
    assert_eq!(text::sorted(&out), ["@[struct_arg]: 3", "@[text_arg]: 3"]);
}

#[test]
fn entry_and_return_are_paired() {
    let script = "
        uprobe:CALLS:six_args { @start[tid] = nsecs; }
        uretprobe:CALLS:six_args /@start[tid] != 0/ { @longer_than_nothing[nsecs > @start[tid]] = count(); delete(@start, tid); }";
    assert_eq!(text::lines(&need!(traced(script))), ["@longer_than_nothing[true]: 3"]);
}

#[test]
fn a_library_is_found_by_its_name() {
    need!(machine::uprobes());
    let leak = need!(program("leak"));
    let mut trigger = Trigger::start(&leak, &["7", "100", "0"]);
    let script = "uprobe:libc:malloc { @[comm] = hist(arg0); }";
    let tracing = memql::attached(["-p", &trigger.pid(), "-e", script]);
    trigger.work();
    let out = tracing.stop().output();
    assert_eq!(text::lines(&out), ["@[leak]:", &format!("[64, 128)              7 |{}|", "@".repeat(52))]);
}

#[test]
fn a_command_is_traced_from_its_first_instruction() {
    need!(machine::uprobes());
    let leak = need!(program("leak"));
    let command = format!("{} 7 100 13", leak.display());
    // MALLOC of start-up code, if any, is in other sizes
    let out =
        memql::run(["-c", &command, "-e", "uprobe:libc:malloc /arg0 == 100/ { @ = count(); }"]).output();
    assert_eq!(text::lines(&out), ["start", "done", "@: 7"]);
}

/// Traces `zoo`, a program in C++, and gives what memql printed, sorted.
fn traced_zoo(script: &str) -> Result<Vec<String>, String> {
    machine::uprobes()?;
    let zoo = program("zoo")?;
    let mut trigger = Trigger::start(&zoo, &[]);
    let script = script.replace("ZOO", &zoo.display().to_string());
    let tracing = memql::attached(["-p", &trigger.pid(), "-e", &script]);
    trigger.work();
    Ok(text::sorted(&tracing.stop().output()).into_iter().map(str::to_owned).collect())
}

#[test]
fn functions_in_cpp_are_named_as_in_their_source() {
    let one = ["@[zoo::hatch(zoo::Animal const&, unsigned long)]: 1"];
    for name in ["zoo::hatch", "zoo::hatch(zoo::Animal const&, unsigned long)", "zoo::h*"] {
        let script = format!("uprobe:ZOO:cpp:\"{name}\" {{ @[func] = count(); }}");
        assert_eq!(need!(traced_zoo(&script)), one, "{name}");
    }
    let found = need!(traced_zoo("uprobe:ZOO:cpp:\"zoo::Keeper<int>::*\" { @[func] = count(); }"));
    assert_eq!(found, ["@[zoo::Keeper<int>::keep(unsigned long)]: 1", "@[zoo::Keeper<int>::release()]: 1"]);
}

#[test]
fn an_address_is_that_of_the_file_and_knows_its_function() {
    need!(machine::uprobes());
    let calls = need!(program("calls"));
    let symbols = std::process::Command::new("nm").arg(&calls).output().expect("binutils come with gcc");
    let symbols = String::from_utf8_lossy(&symbols.stdout).into_owned();
    let address = symbols.lines().find_map(|l| l.strip_suffix(" T negative")).expect("it is in the program");
    let address = u64::from_str_radix(address, 16).expect("nm prints addresses");
    let out = need!(traced(&format!("uprobe:CALLS:{address:#x} {{ @[func, probe] = count(); }}")));
    assert_eq!(text::lines(&out), [format!("@[negative, uprobe:{}:{address:#x}]: 3", calls.display())]);
}

/// The number of the line of `calls.c` that has this text.
fn line_of(text: &str) -> usize {
    let source = include_str!("../programs/calls.c");
    source.lines().position(|line| line.contains(text)).expect("the text is in the source") + 1
}

#[test]
fn a_line_of_source_is_a_place() {
    let line = line_of("return -x;");
    let out = need!(traced(&format!("uprobe:CALLS@calls.c:{line} {{ @[func, probe] = count(); }}")));
    let calls = need!(program("calls")).display().to_string();
    assert_eq!(text::lines(&out), [format!("@[negative, uprobe:{calls}@calls.c:{line}]: 3")]);
    let entry = line_of("int negative(int x)");
    let out = need!(traced(&format!("uprobe:CALLS@programs/calls.c:{entry} {{ @[arg0] = count(); }}")));
    assert_eq!(text::lines(&out), ["@[7]: 3"], "a function's first line is its entry");
}

#[test]
fn the_first_line_of_a_function_is_where_the_function_is() {
    let line = line_of("int negative(int x)");
    let script = format!(
        "uprobe:CALLS@calls.c:{line} {{ @line = reg(\"pc\"); }} uprobe:CALLS:negative {{ @same[reg(\"pc\") == @line] = count(); }} end {{ clear(@line); }}"
    );
    assert_eq!(text::lines(&need!(traced(&script))), ["@same[true]: 3"]);
}

#[test]
fn a_line_without_code_is_named_with_those_that_have_some() {
    need!(machine::uprobes());
    let calls = need!(program("calls")).display().to_string();
    let script = |place: &str| format!("uprobe:{calls}@{place} {{ exit(); }}");
    let wrong = |place: &str| memql::run(["-e", &script(place)]).stderr;
    assert!(wrong("calls.c:1").contains("line 1 of `calls.c` has no code in"), "{}", wrong("calls.c:1"));
    assert!(wrong("calls.c:1").contains(&format!("uprobe:{calls}@calls.c:")), "{}", wrong("calls.c:1"));
    assert!(wrong("coils.c:1").contains("has no code of a source file `coils.c`"));
}

#[test]
fn a_verbose_list_has_the_arguments_that_debug_information_knows() {
    let calls = need!(program("calls")).display().to_string();
    let listed = |function: &str| memql::run(["-lv", &format!("uprobe:{calls}:{function}")]).output();
    let arguments =
        "    long int a\n    long int b\n    long int c\n    long int d\n    long int e\n    long int f\n";
    assert_eq!(listed("six_args"), format!("uprobe:{calls}:six_args\n{arguments}"));
    assert_eq!(listed("struct_arg"), format!("uprobe:{calls}:struct_arg\n    struct point* p\n"));
    assert_eq!(listed("text_arg"), format!("uprobe:{calls}:text_arg\n    const char* text\n"));
}

#[test]
fn debug_information_may_be_in_a_file_of_its_own() {
    need!(machine::uprobes());
    let folder =
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("stripped-{}", std::process::id()));
    let (stripped, kept) = (folder.join("calls"), folder.join("debug"));
    std::fs::create_dir_all(&kept).expect("make a folder");
    std::fs::copy(need!(program("calls")), &stripped).expect("copy the program");
    let run = |program: &str, args: &[&std::ffi::OsStr]| {
        let status = std::process::Command::new(program).args(args).status().expect("binutils come with gcc");
        assert!(status.success(), "{program}");
    };
    let debug = kept.join("calls.debug");
    run("objcopy", &["--only-keep-debug".as_ref(), stripped.as_ref(), debug.as_ref()]);
    run("strip", &["--strip-debug".as_ref(), stripped.as_ref()]);
    let point = format!("uprobe:{}:negative", stripped.display());
    let listed = |folder: &str| memql::run(["-lv", &point, "--debuginfo", folder]).output();
    assert_eq!(listed("nowhere"), format!("{point}\n"));
    assert_eq!(listed("debug"), format!("{point}\n    int x\n"), "beside the program");
    assert_eq!(listed(&kept.display().to_string()), format!("{point}\n    int x\n"));
}

#[test]
fn arguments_have_the_names_and_types_of_the_source() {
    let script = r#"
        uprobe:CALLS:six_args { printf("%d %d\n", args.a, args.f); }
        uprobe:CALLS:text_arg { printf("%s\n", str(args.text)); }
        uprobe:CALLS:struct_arg {
            printf("%d %d %d %s %s\n", args.p->x, args.p.y, args.p.in.small, args.p.in.name, args.p.next.in.name);
        }"#;
    let round = |n: u32| format!("{n} {}\nsixteen tons\n10 -20 -3 near far\n", n + 5);
    assert_eq!(need!(traced(script)), (0..3).map(round).collect::<String>());
}

#[test]
fn a_struct_of_the_program_can_be_named() {
    let out = need!(traced(
        "uprobe:CALLS:struct_arg { $p = (struct point *)arg0; @[$p.next.y, sizeof(struct point)] = count(); }"
    ));
    assert_eq!(text::lines(&out), ["@[40, 40]: 3"]);
}

#[test]
fn a_struct_has_one_type_in_several_functions() {
    let out = need!(traced(
        "uprobe:CALLS:struct_arg { @p = args.p; @q = (struct point *)arg0; } uprobe:CALLS:depth /@p != 0/ { @x = @p.x; @y = @q.y; }"
    ));
    let lines: Vec<&str> = text::lines(&out).into_iter().filter(|l| !l.contains("0x")).collect();
    assert_eq!(lines, ["@x: 10", "@y: -20"]);
}

#[test]
fn what_the_script_defines_goes_before_what_the_program_does() {
    let out = need!(traced(
        "struct point { short low; } uprobe:CALLS:struct_arg { @[((struct point *)arg0).low] = count(); }"
    ));
    assert_eq!(text::lines(&out), ["@[10]: 3"]);
}

#[test]
fn variables_are_read_at_their_address_in_the_process_with_their_size() {
    need!(machine::uprobes());
    let values = r#"printf("%c %x %x %lx %s\n", *uaddr("one"), *uaddr("two"), *uaddr("four"), *uaddr("eight"), str(*uaddr("text")))"#;
    for globals in [need!(program("globals")), need!(fixed_program("globals"))] {
        let file = globals.display();
        for point in [format!("uprobe:{file}:look"), format!("uretprobe:{file}:look")] {
            let mut trigger = Trigger::start(&globals, &["2"]);
            let script = format!("{point} {{ {values}; }}");
            let tracing = memql::attached(["-p", &trigger.pid(), "-e", &script]);
            trigger.work();
            let expected = "g fffe 55555555 123456789abcdef0 in the program\n".repeat(2);
            assert_eq!(tracing.stop().output(), expected, "{script}");
        }
    }
}
