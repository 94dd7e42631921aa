//! `dw_ustack` without a kernel: the program runs in the interpreter, plain and optimised, on tables and a stack made by hand.

use memql_compiler::check::{self, RunConfig};
use memql_compiler::interpret::{Machine, World};
use memql_compiler::ir::{MapRef, Module};
use memql_compiler::plan::{Loss, Plan};
use memql_compiler::target::Features;
use memql_compiler::unwind::{self, Base, Cfa, Mapping, Place, Rule, Saved};
use memql_compiler::{diagnostic, lower, passes};

mod check_support;

/// A process's frames, and what was counted as lost.
type Unwound = (Vec<u64>, Vec<(Loss, u64)>);

/// Where the process's stack is.
const STACK: u64 = 0x7ffc_0000_1000;

/// The registers that matter.
#[derive(Clone, Copy)]
struct Registers {
    instruction: u64,
    stack: u64,
    frame: u64,
}

/// Tables of a process with one file, mapped at 0x400000 and, from its place 0x1000 on, again at 0x900000.
#[derive(Default)]
struct Case {
    rows: Vec<(u32, Rule)>,
    stack: Vec<(u64, u64)>,
    /// Another process's tables were read, not this one's.
    other_process: bool,
    /// A return probe waits for a call: where its return address was on the stack, and that address.
    return_probe: Option<(u64, u64)>,
}

/// What return probes put in place of return addresses.
const TRAMPOLINE: u64 = 0x7fff_ffff_e000;

impl Case {
    fn unwind(&self, call: &str, registers: Registers) -> Unwound {
        let source = format!("uprobe:libc:malloc {{ @ = {call}; }}");
        let types = self.return_probe.map(|_| check_support::return_probe_types());
        let instances = types.map(|types| lower::ReturnInstances::of(&types).expect("all types are there"));
        let (plain, plan) = lowered_with(&source, check_support::kernel().features, instances).unwrap();
        let mut optimised = plain.clone();
        passes::optimise(&mut optimised);
        let found = self.run(&plain, &plan, registers);
        assert_eq!(found, self.run(&optimised, &plan, registers), "lowered and optimised");
        found
    }

    fn run(&self, module: &Module, plan: &Plan, registers: Registers) -> Unwound {
        let mut module = module.clone();
        let map = |module: &Module, name: &str| -> MapRef {
            module.maps.iter().find(|(_, def)| def.name == name).expect("dw_ustack has its maps").0
        };
        for def in module.maps.values_mut().filter(|def| def.name.starts_with("unwind_")) {
            def.max_entries = 100;
        }
        let mut world = World::default();
        for (address, word) in &self.stack {
            world.user.put(*address, &word.to_le_bytes());
        }
        if let Some((place, original)) = self.return_probe {
            // See `return_probe_types`. The innermost call's address was replaced twice.
            let task = world.task.address;
            let words = [
                (task + 8, 0x1000),
                (0x1000 + 40, 0x2000),
                (0x2000 + 24, TRAMPOLINE),
                (task + 16, 0x3000),
                (0x3000 + 32, 0x4000),
                (0x4000, 0x5000),
                (0x4000 + 8, place),
                (0x4000 + 16, TRAMPOLINE),
                (0x5000, 0),
                (0x5000 + 8, place),
                (0x5000 + 16, original),
            ];
            words.iter().for_each(|(address, word)| world.kernel.put(*address, &u64::to_le_bytes(*word)));
        }
        let process = world.task.pid + u32::from(self.other_process);
        let mut machine = Machine::new(&module, world);
        let mut put = |name: &str, key: u32, value: &[u8]| {
            assert!(machine.put(map(&module, name), &key.to_le_bytes(), value), "{name} {key}");
        };
        let rows = self.rows.len() as u32;
        // Another file's rows come first.
        for (n, (place, rule)) in self.rows.iter().enumerate() {
            let number = 10 + n as u32;
            put(unwind::ROWS, 7 + n as u32, &[place.to_le_bytes(), number.to_le_bytes()].concat());
            put(unwind::RULES, number, &rule.bytes());
        }
        let mapping =
            |start, place| Mapping { start, end: start + 0x1000, bias: start - place, first_row: 7, rows };
        put(unwind::MAPPINGS, 3, &mapping(0x40_0000, 0).bytes());
        put(unwind::MAPPINGS, 4, &mapping(0x90_0000, 0x1000).bytes());
        put(unwind::PROCESSES, process, &[3u32.to_le_bytes(), 2u32.to_le_bytes()].concat());

        let mut context = [0; 168];
        for (offset, value) in [(128, registers.instruction), (152, registers.stack), (32, registers.frame)] {
            context[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
        }
        machine.run(0, &context).unwrap_or_else(|trap| panic!("{trap}"));
        let bss = machine.bss();
        let counted =
            |offset: u32| u64::from_le_bytes(bss[offset as usize..][..8].try_into().expect("eight bytes"));
        let losses = plan.health.iter().map(|counter| (counter.what.clone(), counted(counter.offset)));
        let losses = losses.filter(|(_, count)| *count > 0).collect();
        let frames = machine.elements(map(&module, "stacks")).first().map(|(_, values)| values[0].clone());
        let frames = frames.unwrap_or_default();
        let words = frames.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("eight")));
        (words.take_while(|word| *word != 0).collect(), losses)
    }
}

fn lowered(source: &str, features: Features) -> Result<(Module, Plan), String> {
    lowered_with(source, features, None)
}

fn lowered_with(
    source: &str,
    features: Features,
    return_instances: Option<lower::ReturnInstances>,
) -> Result<(Module, Plan), String> {
    let tree = memql_grammar::parse(source).unwrap_or_else(|errors| panic!("{source}\n{errors:?}"));
    let mut target = check_support::kernel();
    target.features = features.clone();
    let shown =
        |findings: Vec<diagnostic::Diagnostic>| diagnostic::render("test.mq", source, &findings, false);
    let (script, _) = check::check(&tree, &target, &RunConfig::default()).map_err(shown)?;
    let lowered =
        lower::lower(&script, &lower::Config { pid: None, features, lost_by_place: false, return_instances });
    lowered.map(|lowered| (lowered.module, lowered.plan)).map_err(shown)
}

/// A function that has moved its stack pointer by so much since it was called.
fn moved(bytes: i32) -> Rule {
    Rule {
        cfa: Cfa::Register(Base::StackPointer, bytes + 8),
        frame_pointer: Saved::Same,
        return_address: Place::FromCfa(-8),
        signal: false,
    }
}

/// One that uses its frame pointer, which it has pushed.
const FRAMED: Rule = Rule {
    cfa: Cfa::Register(Base::FramePointer, 16),
    frame_pointer: Saved::At(Place::FromCfa(-16)),
    return_address: Place::FromCfa(-8),
    signal: false,
};

const OUTERMOST: Rule = Rule { cfa: Cfa::Outermost, ..Rule::UNKNOWN };

#[test]
fn frames_without_and_with_frame_pointers_are_followed_to_the_outermost() {
    // 0x100 moved its stack pointer by 24; its caller uses the frame pointer; that one's caller is the first function.
    let case = Case {
        rows: vec![(0x100, moved(24)), (0x200, FRAMED), (0x1800, OUTERMOST), (0x1900, Rule::UNKNOWN)],
        stack: vec![(STACK + 24, 0x40_0234), (STACK + 0x80, 0x1234), (STACK + 0x88, 0x90_0810)],
        ..Case::default()
    };
    let registers = Registers { instruction: 0x40_0110, stack: STACK, frame: STACK + 0x80 };
    assert_eq!(case.unwind("dw_ustack()", registers), (vec![0x40_0110, 0x40_0234, 0x90_0810], vec![]));
    assert_eq!(case.unwind("dw_ustack(2)", registers), (vec![0x40_0110, 0x40_0234], vec![]));
    assert_eq!(case.unwind("dw_ustack(raw, 1)", registers), (vec![0x40_0110], vec![]));
}

#[test]
fn a_return_address_belongs_to_the_call_before_it_and_an_interrupted_instruction_to_itself() {
    // The call is the last instruction of a function; the one behind it has another rule.
    let signal = Rule {
        cfa: Cfa::Memory(Base::StackPointer, 160, 0),
        frame_pointer: Saved::At(Place::FromStackPointer(120)),
        return_address: Place::FromStackPointer(168),
        signal: true,
    };
    let rows = vec![(0x100, moved(0)), (0x200, signal), (0x300, OUTERMOST), (0x400, Rule::UNKNOWN)];
    let returned = Case { rows: rows.clone(), stack: vec![(STACK, 0x40_0400)], ..Case::default() };
    let registers = Registers { instruction: 0x40_0100, stack: STACK, frame: 0 };
    assert_eq!(returned.unwind("dw_ustack", registers), (vec![0x40_0100, 0x40_0400], vec![]));
    // The handler returns to the frame of the signal, which interrupted the first instruction of a function.
    let handler = STACK - 8;
    let interrupted = Case {
        rows,
        stack: vec![
            (handler, 0x40_0210),
            (STACK + 120, 0),
            (STACK + 160, STACK + 0x400),
            (STACK + 168, 0x40_0300),
        ],
        ..Case::default()
    };
    let registers = Registers { stack: handler, ..registers };
    assert_eq!(interrupted.unwind("dw_ustack", registers), (vec![0x40_0100, 0x40_0210, 0x40_0300], vec![]));
}

#[test]
fn an_entry_of_the_linkage_table_has_pushed_its_number_or_not_yet() {
    let linkage = Rule { cfa: Cfa::Linkage(11), ..moved(0) };
    let rows = vec![(0x100, linkage), (0x200, OUTERMOST), (0x300, Rule::UNKNOWN)];
    let case = Case { rows, stack: vec![(STACK, 0x40_0204), (STACK + 8, 0x40_0208)], ..Case::default() };
    let at = |instruction| case.unwind("dw_ustack", Registers { instruction, stack: STACK, frame: 0 }).0;
    assert_eq!(at(0x40_011a), [0x40_011a, 0x40_0204]);
    assert_eq!(at(0x40_011b), [0x40_011b, 0x40_0208]);
}

#[test]
fn what_is_not_known_cuts_a_stack_and_is_counted() {
    let lost = Rule { frame_pointer: Saved::Lost, ..moved(0) };
    let rows = vec![(0x100, moved(0)), (0x200, lost), (0x300, FRAMED), (0x400, Rule::UNKNOWN)];
    let stack = vec![(STACK, 0x40_0210), (STACK + 8, 0x40_0310)];
    let case = Case { rows, stack, ..Case::default() };
    let at = |instruction, stack| case.unwind("dw_ustack", Registers { instruction, stack, frame: STACK });
    let unknown = vec![(Loss::StackUnknown, 1)];
    // Between functions; in no mapping; before the first row.
    assert_eq!(at(0x40_0500, STACK), (vec![0x40_0500], unknown.clone()));
    assert_eq!(at(0x50_0000, STACK), (vec![0x50_0000], unknown.clone()));
    assert_eq!(at(0x3f_ffff, STACK), (vec![0x3f_ffff], unknown.clone()));
    assert_eq!(at(0x40_0050, STACK), (vec![0x40_0050], unknown));
    // The third frame is found from a frame pointer that nobody kept; the stack is where nothing can be read.
    let unread = vec![(Loss::StackUnread, 1)];
    assert_eq!(at(0x40_0110, STACK), (vec![0x40_0110, 0x40_0210, 0x40_0310], unread.clone()));
    assert_eq!(at(0x40_0110, 0x10), (vec![0x40_0110], unread));
}

#[test]
fn a_process_whose_tables_were_not_read_has_no_stack() {
    let case = Case { rows: vec![(0, moved(0))], other_process: true, ..Case::default() };
    let registers = Registers { instruction: 0x40_0000, stack: STACK, frame: 0 };
    assert_eq!(case.unwind("dw_ustack", registers), (vec![], vec![(Loss::StackWithoutTables, 1)]));
}

#[test]
fn a_return_address_that_return_probes_replaced_is_looked_up_by_its_place() {
    let rows = vec![(0x100, moved(24)), (0x200, moved(0)), (0x300, OUTERMOST), (0x400, Rule::UNKNOWN)];
    let stack = vec![(STACK + 24, TRAMPOLINE), (STACK + 32, 0x40_0310)];
    let registers = Registers { instruction: 0x40_0110, stack: STACK, frame: 0 };
    let case = |place| Case {
        rows: rows.clone(),
        stack: stack.clone(),
        return_probe: Some((place, 0x40_0234)),
        ..Case::default()
    };
    let whole = (vec![0x40_0110, 0x40_0234, 0x40_0310], vec![]);
    assert_eq!(case(STACK + 24).unwind("dw_ustack", registers), whole);
    // It waits for another call: where this one returns to is not known.
    let cut = (vec![0x40_0110], vec![(Loss::StackUnknown, 1)]);
    assert_eq!(case(STACK + 80).unwind("dw_ustack", registers), cut);
}

#[test]
fn a_stack_that_goes_on_is_cut_where_all_are() {
    let case = Case {
        rows: vec![(0x100, moved(0)), (0x200, Rule::UNKNOWN)],
        stack: (0..200).map(|n| (STACK + n * 8, 0x40_0110)).collect(),
        ..Case::default()
    };
    let registers = Registers { instruction: 0x40_0100, stack: STACK, frame: 0 };
    let (frames, lost) = case.unwind("dw_ustack", registers);
    assert_eq!((frames.len(), lost), (127, vec![(Loss::StackCut, 1)]));
}

#[test]
fn kernels_that_lack_what_it_needs_are_told_apart() {
    let all = check_support::kernel().features;
    let uprobe = "uprobe:libc:malloc { @ = dw_ustack; }";
    let tracepoint = "tracepoint:syscalls:sys_enter_openat { @ = dw_ustack; }";
    let without_registers = Features { task_pt_regs: false, ..all.clone() };
    assert!(lowered(uprobe, without_registers.clone()).is_ok());
    let refusal = lowered(tracepoint, without_registers).unwrap_err();
    assert!(refusal.contains("it needs `bpf_task_pt_regs`, which came with Linux 5.15"), "{refusal}");
    let without_functions = Features { for_each_map_elem: false, ..all };
    let refusal = lowered(uprobe, without_functions).unwrap_err();
    assert!(refusal.contains("error[E0801]: `dw_ustack` is not possible on this kernel"), "{refusal}");
}
