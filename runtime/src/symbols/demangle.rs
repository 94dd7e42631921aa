//! C++ and Rust names as they were written.
//!
//! Only names that have a mangled name's prefix are looked at: without one, the parsers would take
//! ordinary C names for types (`a` is `signed char`, `b` is `bool`).

/// The name as written in C++ or Rust; any other name as it is.
pub fn demangle(name: &str) -> String {
    if !name.starts_with("_Z") && !name.starts_with("_R") {
        return name.to_owned();
    }
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        // Without the hash that the compiler adds.
        return format!("{rust:#}");
    }
    let cpp = cpp_demangle::Symbol::new(name).ok().and_then(|symbol| symbol.demangle().ok());
    cpp.unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::demangle;

    #[test]
    fn mangled_names_are_demangled_and_others_stay() {
        assert_eq!(demangle("_ZN2v88Function4CallEPi"), "v8::Function::Call(int*)");
        assert_eq!(demangle("_ZN4core3fmt5write17h0123456789abcdefE"), "core::fmt::write");
        assert_eq!(demangle("_RNvC7mycrate3foo"), "mycrate::foo");
        for plain in ["a", "b", "malloc", "_Z", "_Reset", "_ZN", "", "i"] {
            assert_eq!(demangle(plain), plain);
        }
    }
}
