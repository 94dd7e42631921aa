//! Tables from call frame information made by hand, and from files that are there.

use std::fs::File;

use gimli::{BaseAddresses, EhFrame, LittleEndian};
use memql_compiler::unwind::{Base, Cfa, Place, Rule, Saved};

use super::rule::Bytes;
use super::table::{Row, Table, of_section};

/// A record of `.eh_frame`: its length, the word behind it, its content padded with `DW_CFA_nop`.
fn record(word: u32, content: &[u8]) -> Vec<u8> {
    let length = (4 + content.len()).next_multiple_of(8);
    let mut bytes = (length as u32).to_le_bytes().to_vec();
    bytes.extend(word.to_le_bytes());
    bytes.extend(content);
    bytes.resize(4 + length, 0);
    bytes
}

/// What compilers begin each file with: the return address is below the caller's stack pointer, which is 8 above ours.
/// Addresses are absolute. `letters` are those of the augmentation.
fn common(letters: &str) -> Vec<u8> {
    let mut content = vec![1];
    content.extend(letters.bytes());
    content.extend([0, 1, 0x78, 16, 1, 0]);
    content.extend([0x0c, 7, 8, 0x90, 1]);
    record(0, &content)
}

/// Appends a function: so many bytes from an address on, and its instructions.
fn function(frames: &mut Vec<u8>, address: u64, length: u64, instructions: &[u8]) {
    let mut content = address.to_le_bytes().to_vec();
    content.extend(length.to_le_bytes());
    content.push(0);
    content.extend(instructions);
    // From the word to the common part, which is first.
    frames.extend(record(frames.len() as u32 + 4, &content));
}

fn rows(frames: &[u8]) -> Result<Vec<Row>, String> {
    let section = EhFrame::from(Bytes::new(frames, LittleEndian));
    let bases = BaseAddresses::default().set_eh_frame(0x10_0000);
    of_section(&section, &bases).map(|(rows, _)| rows)
}

/// The rules of one function's rows.
fn rules(letters: &str, instructions: &[u8]) -> Vec<Rule> {
    let mut frames = common(letters);
    function(&mut frames, 0x1000, 0x40, instructions);
    let rows = rows(&frames).unwrap();
    assert_eq!(rows.last().map(|row| row.rule), Some(Rule::UNKNOWN));
    rows.iter().filter(|row| row.place < 0x40).map(|row| row.rule).collect()
}

/// At a function's entry.
const ENTRY: Rule = Rule {
    cfa: Cfa::Register(Base::StackPointer, 8),
    frame_pointer: Saved::Same,
    return_address: Place::FromCfa(-8),
    signal: false,
};

#[test]
fn a_function_with_a_frame_pointer_has_a_row_for_each_step() {
    // push %rbp; mov %rsp,%rbp; ...; leave; ret
    let instructions = [0x41, 0x0e, 16, 0x86, 2, 0x43, 0x0d, 6, 0x60, 0xc6, 0x0c, 7, 8];
    let mut frames = common("zR");
    function(&mut frames, 0x1000, 0x30, &instructions);
    let saved = Saved::At(Place::FromCfa(-16));
    let pushed = Rule { cfa: Cfa::Register(Base::StackPointer, 16), frame_pointer: saved, ..ENTRY };
    let framed = Rule { cfa: Cfa::Register(Base::FramePointer, 16), ..pushed };
    let expected = [(0, ENTRY), (1, pushed), (4, framed), (0x24, ENTRY), (0x30, Rule::UNKNOWN)];
    assert_eq!(rows(&frames).unwrap(), expected.map(|(place, rule)| Row { place, rule }));
}

#[test]
fn what_is_between_functions_is_unknown_and_what_adjoins_with_the_same_rule_is_one_row() {
    let mut frames = common("zR");
    function(&mut frames, 0x3000, 0x10, &[]);
    function(&mut frames, 0x1000, 0x10, &[]);
    function(&mut frames, 0x1010, 0x10, &[]);
    let expected = [(0, ENTRY), (0x20, Rule::UNKNOWN), (0x2000, ENTRY), (0x2010, Rule::UNKNOWN)];
    assert_eq!(rows(&frames).unwrap(), expected.map(|(place, rule)| Row { place, rule }));
}

#[test]
fn functions_that_the_linker_threw_away_have_no_rows() {
    let mut frames = common("zR");
    function(&mut frames, 0, 0x10, &[]);
    function(&mut frames, 0x1000, 0, &[]);
    assert_eq!(rows(&frames), Err("its call frame information describes no function".into()));
}

#[test]
fn an_undefined_return_address_ends_the_stack() {
    assert_eq!(rules("zR", &[0x07, 16]), [Rule { cfa: Cfa::Outermost, ..Rule::UNKNOWN }]);
}

#[test]
fn the_linkage_table_s_expression_is_understood() {
    // breg7 8; breg16 0; lit15; and; lit11; ge; lit3; shl; plus
    let entry = [0x0f, 11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22];
    assert_eq!(rules("zR", &entry), [Rule { cfa: Cfa::Linkage(11), ..ENTRY }]);
}

#[test]
fn a_signal_s_frame_holds_the_registers_of_what_it_interrupted() {
    // As in the C library: the stack pointer at 160, the frame pointer at 120, the instruction pointer at 168.
    let cfa = [0x0f, 4, 0x77, 0xa0, 1, 0x06];
    let frame_pointer = [0x10, 6, 3, 0x77, 0xf8, 0];
    let return_address = [0x10, 16, 3, 0x77, 0xa8, 1];
    let all = [&cfa[..], &frame_pointer, &return_address].concat();
    let expected = Rule {
        cfa: Cfa::Memory(Base::StackPointer, 160, 0),
        frame_pointer: Saved::At(Place::FromStackPointer(120)),
        return_address: Place::FromStackPointer(168),
        signal: true,
    };
    assert_eq!(rules("zRS", &all), [expected]);
}

#[test]
fn a_stack_that_was_realigned_is_found_through_memory() {
    // breg6 -8; deref, as gcc writes it; breg7 16; deref; plus_uconst 8, as assembler does.
    let gcc = [0x0f, 3, 0x76, 0x78, 0x06];
    assert_eq!(rules("zR", &gcc), [Rule { cfa: Cfa::Memory(Base::FramePointer, -8, 0), ..ENTRY }]);
    let assembler = [0x0f, 5, 0x77, 16, 0x06, 0x23, 8];
    assert_eq!(rules("zR", &assembler), [Rule { cfa: Cfa::Memory(Base::StackPointer, 16, 8), ..ENTRY }]);
}

#[test]
fn frames_that_are_found_from_other_registers_are_unknown_and_a_frame_pointer_in_one_is_lost() {
    // CFA is rax and 8.
    assert_eq!(rules("zR", &[0x0c, 0, 8]), [Rule::UNKNOWN]);
    // An expression that nobody writes: breg7 8; not
    assert_eq!(rules("zR", &[0x0f, 3, 0x77, 8, 0x20]), [Rule::UNKNOWN]);
    // The frame pointer is in rbx.
    assert_eq!(rules("zR", &[0x09, 6, 3]), [Rule { frame_pointer: Saved::Lost, ..ENTRY }]);
}

#[test]
fn offsets_that_no_frame_has_are_unknown() {
    // CFA is the stack pointer and 2^35.
    assert_eq!(rules("zR", &[0x0c, 7, 0x80, 0x80, 0x80, 0x80, 0x80, 1]), [Rule::UNKNOWN]);
}

#[test]
fn a_function_whose_instructions_make_no_sense_is_unknown_and_others_are_not() {
    let mut frames = common("zR");
    function(&mut frames, 0x1000, 0x10, &[]);
    // An instruction that there is not.
    function(&mut frames, 0x1010, 0x10, &[0x3f]);
    function(&mut frames, 0x1020, 0x10, &[]);
    let expected = [(0, ENTRY), (0x10, Rule::UNKNOWN), (0x20, ENTRY), (0x30, Rule::UNKNOWN)];
    assert_eq!(rows(&frames).unwrap(), expected.map(|(place, rule)| Row { place, rule }));
}

#[test]
fn damaged_information_is_an_error_and_no_more() {
    let mut frames = common("zR");
    function(&mut frames, 0x1000, 0x40, &[0x41, 0x0e, 16, 0x86, 2]);
    for at in 0..frames.len() {
        let _ = rows(&frames[..at]);
        for wrong in [0, 0xff, frames[at] ^ 0x10] {
            let mut damaged = frames.clone();
            damaged[at] = wrong;
            let _ = rows(&damaged);
        }
    }
    assert!(rows(&frames[..frames.len() - 4]).unwrap_err().contains("damaged"));
}

#[test]
fn a_file_that_is_no_program_says_so() {
    assert_eq!(Table::of_bytes(b"#!/bin/sh\n").unwrap_err(), "it is not 64-bit ELF");
    assert_eq!(Table::of_bytes(&[]).unwrap_err(), "it is not 64-bit ELF");
}

/// gimli finds a place's row by itself, from the function that holds the place.
#[test]
fn the_table_of_this_program_says_what_its_frames_say() {
    use gimli::{CfaRule, Register, UnwindContext, UnwindSection};
    use object::{Object, ObjectSection};

    let path = std::env::current_exe().unwrap();
    let table = Table::of_file(&File::open(&path).unwrap()).unwrap();
    assert!(table.rows.is_sorted_by(|a, b| a.place < b.place));
    let bytes = std::fs::read(&path).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let section = file.section_by_name(".eh_frame").unwrap();
    let frames = EhFrame::from(Bytes::new(section.data().unwrap(), LittleEndian));
    let bases = BaseAddresses::default().set_eh_frame(section.address());
    let mut context = UnwindContext::new();
    let (mut compared, step) = (0, table.rows.len() / 40);
    for row in table.rows.iter().step_by(step.max(1)) {
        let address = table.base + u64::from(row.place);
        let found = frames.unwind_info_for_address(&bases, &mut context, address, EhFrame::cie_from_offset);
        let Ok(found) = found else {
            assert_eq!(row.rule, Rule::UNKNOWN, "{address:#x}");
            continue;
        };
        if let CfaRule::RegisterAndOffset { register: Register(7), offset } = *found.cfa() {
            let outermost = row.rule.cfa == Cfa::Outermost;
            assert!(
                outermost || row.rule.cfa == Cfa::Register(Base::StackPointer, offset as i32),
                "{address:#x}"
            );
            compared += 1;
        }
    }
    assert!(compared >= 10, "{compared} of {} rows", table.rows.len());
}

#[test]
fn the_vdso_has_a_table() {
    let vdso = crate::symbols::own_vdso().expect("every process has one");
    let table = Table::of_bytes(&vdso).unwrap();
    assert!(table.rows.len() > 3);
    assert!(table.place_of(0).is_some());
}
