//! Symbols that are given instead of read: those of a script's tests.

use std::rc::Rc;

use super::frame::{Frame, Symbol, Unresolved};

/// A symbol's name, where it begins, and the file it is in, if it is not the kernel's own.
pub type GivenSymbol = (String, u64, Option<String>);

/// Symbols by address.
#[derive(Clone, Debug, Default)]
pub(super) struct Given {
    /// Sorted by address.
    symbols: Vec<GivenSymbol>,
}

impl Given {
    pub fn new(mut symbols: Vec<GivenSymbol>) -> Given {
        symbols.sort_by_key(|(_, address, _)| *address);
        Given { symbols }
    }

    /// The last symbol that begins at an address or before it, of the kernel or of a process.
    pub fn frame(&self, address: u64, user: bool) -> Rc<Frame> {
        let before = self.symbols.iter().take_while(|(_, start, _)| *start <= address);
        let found = before.filter(|(_, _, file)| file.is_some() == user).last();
        let Some((name, start, file)) = found else {
            return Rc::new(Frame {
                address,
                module: None,
                symbol: Err(Unresolved::NoSymbol),
                code_at: None,
            });
        };
        let module = match file {
            Some(file) => format!("/{file}"),
            None => "kernel".to_owned(),
        };
        let symbol = Symbol { name: name.clone(), offset: address - start, code: None, inlined: Vec::new() };
        Rc::new(Frame { address, module: Some(module.into()), symbol: Ok(Rc::new(symbol)), code_at: None })
    }
}
