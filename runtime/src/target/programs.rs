//! Loaded eBPF programs: their functions, and the types that they were loaded with.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libbpf_sys as sys;
use memql_compiler::btf::Btf;
use memql_compiler::target::{BpfFunction, FactError};

use super::refused;

/// The functions of all programs that have types, sorted.
///
/// # Errors
/// If programs cannot be looked at.
pub fn functions() -> Result<Vec<BpfFunction>, FactError> {
    let failed = |error: io::Error| refused("cannot look at loaded eBPF programs", &error);
    let mut all = Vec::new();
    let mut id = 0;
    // SAFETY: the place for the next id outlives the call.
    while unsafe { sys::bpf_prog_get_next_id(id, &mut id) } == 0 {
        let Some(program) = open(id).map_err(failed)? else { continue };
        let (btf_id, type_ids) = described(&program).map_err(failed)?;
        let Some(types) = types_by_id(btf_id).map_err(failed)? else { continue };
        let types = parse(types, id)?;
        all.extend(
            type_ids
                .into_iter()
                .map(|function| BpfFunction { program: id, name: types.name(function).to_owned() }),
        );
    }
    match io::Error::last_os_error() {
        // There is no next one.
        end if end.raw_os_error() == Some(libc::ENOENT) => {
            all.sort();
            Ok(all)
        }
        error => Err(failed(error)),
    }
}

/// The types of a program; `None` if it has gone or has none.
///
/// # Errors
/// If they cannot be read.
pub fn types(id: u32) -> Result<Option<Btf>, FactError> {
    let failed = |error: io::Error| refused(&format!("cannot look at eBPF program {id}"), &error);
    let Some(program) = open(id).map_err(failed)? else { return Ok(None) };
    let (btf_id, _) = described(&program).map_err(failed)?;
    types_by_id(btf_id).map_err(failed)?.map(|bytes| parse(bytes, id)).transpose()
}

/// A program by its id; `None` if it has gone.
///
/// # Errors
/// If the kernel does not let it be opened.
pub fn open(id: u32) -> io::Result<Option<OwnedFd>> {
    // SAFETY: the call takes a number.
    or_gone(unsafe { sys::bpf_prog_get_fd_by_id(id) })
}

fn parse(bytes: Vec<u8>, program: u32) -> Result<Btf, FactError> {
    Btf::parse(bytes).map_err(|error| FactError {
        message: format!("cannot understand the types of eBPF program {program}: {error}"),
        help: None,
    })
}

/// The id of a program's types, and those of its functions among them.
fn described(program: &OwnedFd) -> io::Result<(u32, Vec<u32>)> {
    let mut info = sys::bpf_prog_info::default();
    fill(program, &mut info)?;
    let mut functions = vec![sys::bpf_func_info::default(); info.nr_func_info as usize];
    let mut wanted = sys::bpf_prog_info {
        nr_func_info: info.nr_func_info,
        func_info_rec_size: mem::size_of::<sys::bpf_func_info>() as u32,
        func_info: functions.as_mut_ptr() as u64,
        ..Default::default()
    };
    fill(program, &mut wanted)?;
    Ok((info.btf_id, functions.into_iter().map(|function| function.type_id).collect()))
}

/// The bytes of some types; `None` for id 0 and for types that have gone.
fn types_by_id(id: u32) -> io::Result<Option<Vec<u8>>> {
    if id == 0 {
        return Ok(None);
    }
    // SAFETY: the call takes a number.
    let Some(btf) = or_gone(unsafe { sys::bpf_btf_get_fd_by_id(id) })? else { return Ok(None) };
    let mut info = sys::bpf_btf_info::default();
    fill(&btf, &mut info)?;
    let mut bytes = vec![0u8; info.btf_size as usize];
    let size = info.btf_size;
    let mut wanted =
        sys::bpf_btf_info { btf: bytes.as_mut_ptr() as u64, btf_size: size, ..Default::default() };
    fill(&btf, &mut wanted)?;
    Ok(Some(bytes))
}

/// Has the kernel fill a description of what a descriptor stands for.
fn fill<T>(of: &OwnedFd, info: &mut T) -> io::Result<()> {
    let mut size = mem::size_of::<T>() as u32;
    // SAFETY: the description and the arrays that it names outlive the call and are as long as it says.
    match unsafe { sys::bpf_obj_get_info_by_fd(of.as_raw_fd(), std::ptr::from_mut(info).cast(), &mut size) } {
        0 => Ok(()),
        negative => Err(io::Error::from_raw_os_error(-negative)),
    }
}

fn or_gone(fd: i32) -> io::Result<Option<OwnedFd>> {
    match fd {
        // SAFETY: the kernel has just made it, nobody else owns it.
        0.. => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) })),
        gone if -gone == libc::ENOENT => Ok(None),
        negative => Err(io::Error::from_raw_os_error(-negative)),
    }
}
