//! The kernel's BTF: mapped where the kernel allows it (Linux 6.16), else read.

use std::fs::File;
use std::io::{self, Read};

use memql_compiler::btf::Btf;
use memql_compiler::target::FactError;

use super::mapped::Mapped;
use super::refused;

const PATH: &str = "/sys/kernel/btf/vmlinux";

/// Reads the kernel's types.
///
/// # Errors
/// If the kernel has none or they cannot be read.
pub fn read() -> Result<Btf, FactError> {
    let parsed = open().map_err(|error| {
        let mut fact = refused(&format!("cannot read the kernel's types from `{PATH}`"), &error);
        if error.kind() == io::ErrorKind::NotFound {
            fact.help = Some("this kernel was built without BTF (CONFIG_DEBUG_INFO_BTF)".into());
        }
        fact
    })?;
    parsed.map_err(|error| FactError {
        message: format!("cannot understand the kernel's types in `{PATH}`: {error}"),
        help: Some("please report it with the output of `memql --info`".into()),
    })
}

fn open() -> io::Result<Result<Btf, memql_compiler::btf::BtfError>> {
    let mut file = File::open(PATH)?;
    let size = file.metadata()?.len() as usize;
    if let Some(mapped) = Mapped::new(&file, size) {
        return Ok(Btf::parse(mapped));
    }
    let mut bytes = Vec::with_capacity(size);
    file.read_to_end(&mut bytes)?;
    Ok(Btf::parse(bytes))
}
