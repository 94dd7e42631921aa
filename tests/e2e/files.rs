//! Files that are probed without being programs or libraries of their own: flat binaries, and what ZIP
//! archives keep.

use std::path::{Path, PathBuf};

use crate::need;
use crate::support::{machine, memql, programs::program, text, trigger::Trigger};

/// `nop; ret`, which any process can call.
fn code() -> Result<&'static [u8], String> {
    match cfg!(target_arch = "x86_64") {
        true => Ok(&[0x90, 0xc3]),
        false => Err("the code of this test is for x86-64".to_owned()),
    }
}

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).expect("the test's folder can be written");
    path
}

/// Calls the code at an offset of a file three times while a probe is there.
fn called(probed: &str, file: &Path, offset: usize) -> Result<String, String> {
    machine::uprobes()?;
    let flat = program("flat")?;
    let path = file.display().to_string();
    let mut trigger = Trigger::start(&flat, &[&path, &offset.to_string(), "3"]);
    let script = format!("uprobe:\"{probed}\":0x10 {{ @ = count(); }}");
    let tracing = memql::attached(["--unsafe", "-p", &trigger.pid(), "-e", &script]);
    trigger.work();
    Ok(tracing.stop().output())
}

/// A ZIP archive that keeps one file as it is; and where its bytes lie.
fn archive(name: &str, bytes: &[u8]) -> (Vec<u8>, usize) {
    let (length, size) = ((name.len() as u16).to_le_bytes(), (bytes.len() as u32).to_le_bytes());
    let common = [&[0; 12][..], &size, &size, &length, &[0, 0]].concat();
    let mut zip = [b"PK\x03\x04\x14\0", &common[..], name.as_bytes()].concat();
    let at = zip.len();
    zip.extend(bytes);
    let list = [b"PK\x01\x02\x14\0\x14\0", &common[..], &[0; 14], name.as_bytes()].concat();
    let (start, length) = ((zip.len() as u32).to_le_bytes(), (list.len() as u32).to_le_bytes());
    zip.extend(&list);
    zip.extend([b"PK\x05\x06\0\0\0\0\x01\0\x01\0", &length[..], &start, &[0, 0]].concat());
    (zip, at)
}

#[test]
fn a_flat_binary_is_probed_by_offset() {
    let code = need!(code());
    let flat = file("flat.bin", &[&[0; 16], code].concat());
    let out = need!(called(&flat.display().to_string(), &flat, 16));
    assert_eq!(text::lines(&out), ["@: 3"]);
}

#[test]
fn a_flat_binary_has_no_functions_and_no_places_beyond_its_end() {
    let flat = file("short.bin", &[0xc3; 8]);
    let said = |place: &str| {
        let script = format!("uprobe:{}:{place} {{ }}", flat.display());
        memql::run(["--dry-run", "-e", &script]).stderr
    };
    assert!(said("main").contains("is not a program or library (ELF)"), "{}", said("main"));
    assert!(said("0x9").contains("is in no part of"), "{}", said("0x9"));
    assert!(said("0x4").contains("cannot tell whether an instruction begins"), "{}", said("0x4"));
}

#[test]
fn code_in_an_archive_is_probed_where_the_archive_has_it() {
    let code = need!(code());
    let (zip, at) = archive("lib/code", &[&[0; 16], code].concat());
    let zip = file("code.zip", &zip);
    let out = need!(called(&format!("{}!/lib/code", zip.display()), &zip, at + 16));
    assert_eq!(text::lines(&out), ["@: 3"]);
}

#[test]
fn functions_of_a_library_in_an_archive_are_known_by_name() {
    need!(machine::uprobes());
    let program = std::fs::read(need!(program("calls"))).expect("a compiled program can be read");
    let zip = file("calls.zip", &archive("calls", &program).0).display().to_string();
    let point = format!("uprobe:{zip}!/calls:six_args");
    let listed = memql::run(["-l", &format!("uprobe:{zip}!/calls:six_*")]);
    assert_eq!(listed.stdout, format!("{point}\n"));
    let script =
        format!("uprobe:\"{zip}!/calls\":six_args {{ }} begin {{ printf(\"attached\\n\"); exit(); }}");
    assert_eq!(memql::run(["-e", &script]).stdout, "attached\n");
    let gone = memql::run(["-e", &format!("uprobe:\"{zip}!/other\":main {{ }}")]);
    assert!(gone.stderr.contains("there is no file"), "{}", gone.stderr);
}
