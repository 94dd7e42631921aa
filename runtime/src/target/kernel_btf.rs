//! The kernel's BTF: mapped where the kernel allows it (Linux 6.16), else read.

use std::fs::File;
use std::io::Read;

use memql_compiler::btf::Btf;
use memql_compiler::target::FactError;

use super::refused;

const PATH: &str = "/sys/kernel/btf/vmlinux";

/// Reads the kernel's types.
///
/// # Errors
/// If the kernel has none or they cannot be read.
pub fn read() -> Result<Btf, FactError> {
    let mut bytes = Vec::new();
    File::open(PATH).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(|error| {
        let mut fact = refused(&format!("cannot read the kernel's types from `{PATH}`"), &error);
        if error.kind() == std::io::ErrorKind::NotFound {
            fact.help = Some("this kernel was built without BTF (CONFIG_DEBUG_INFO_BTF)".into());
        }
        fact
    })?;
    Btf::parse(bytes).map_err(|error| FactError {
        message: format!("cannot understand the kernel's types in `{PATH}`: {error}"),
        help: None,
    })
}
