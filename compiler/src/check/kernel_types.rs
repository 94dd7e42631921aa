//! The kernel's types and the script's own, asked for only when a script names one: reading BTF costs
//! start-up time.

use memql_grammar::ast::{Name, Span};

use super::Checker;
use super::diagnostics::{names, points};
use crate::btf::{Btf, Field};
use crate::target::FactError;
use crate::types::{AddrSpace, StructRef, Type};

impl Checker<'_> {
    /// All types, by their ids: the kernel's, those that the script defines, and those of programs.
    pub(crate) fn types(&self) -> Result<&Btf, FactError> {
        match &self.debug.all {
            Some(types) => Ok(types),
            None => self.named_types(),
        }
    }

    /// Types by name: those that the script defines go before those of the kernel. What programs define is
    /// looked for by [`Checker::debug_type`].
    pub(crate) fn named_types(&self) -> Result<&Btf, FactError> {
        match &self.types {
            Some(types) => Ok(types),
            None => self.target.btf(),
        }
    }

    /// All types by id, or a finding at the place that needs them.
    pub(crate) fn btf(&mut self, span: Span, what: &str) -> Option<&Btf> {
        match self.types().err() {
            None => self.types().ok(),
            Some(error) => self.fail(|| points::needs_btf(span, what, &error)),
        }
    }

    /// Types by name, or a finding at the place that needs them.
    fn names(&mut self, span: Span, what: &str) -> Option<&Btf> {
        match self.named_types().err() {
            None => self.named_types().ok(),
            Some(error) => self.fail(|| points::needs_btf(span, what, &error)),
        }
    }

    /// A type of the program that the probe is on, unless the script defines one of that name.
    fn of_program(
        &mut self,
        keyword: &'static str,
        name: &Name,
        find: impl Fn(&Btf) -> Option<u32>,
    ) -> Option<Type> {
        let kernel = self.target.btf().map_or(0, Btf::type_count);
        let own = self.types.as_ref().and_then(find).is_some_and(|id| id >= kernel);
        if own { None } else { self.debug_type(keyword, name) }
    }

    /// `struct name` or `union name`.
    pub(crate) fn kernel_struct(&mut self, name: &Name, is_union: bool) -> Option<Type> {
        let keyword = if is_union { "union" } else { "struct" };
        let what = format!("{keyword} {}", name.text);
        let find =
            |btf: &Btf| if is_union { btf.union_named(&name.text) } else { btf.struct_named(&name.text) };
        if let Some(found) = self.of_program(keyword, name, find) {
            return Some(found);
        }
        let btf = self.names(name.span, &what)?;
        let id = find(btf);
        match id {
            Some(id) => Some(btf.lang_type(id, AddrSpace::Kernel)),
            None => {
                let close = btf.similar_types(&name.text);
                self.fail(|| names::unknown_kernel_type(&what, name.span, &close))
            }
        }
    }

    /// `enum name`
    pub(crate) fn kernel_enum(&mut self, name: &Name) -> Option<Type> {
        let what = format!("enum {}", name.text);
        if let Some(found) = self.of_program("enum", name, |btf| btf.enum_named(&name.text)) {
            return Some(found);
        }
        let btf = self.names(name.span, &what)?;
        match btf.enum_named(&name.text) {
            Some(id) => Some(btf.lang_type(id, AddrSpace::Kernel)),
            None => {
                let close = btf.similar_types(&name.text);
                self.fail(|| names::unknown_kernel_type(&what, name.span, &close))
            }
        }
    }

    /// A typedef of the kernel; quiet where there is none.
    pub(crate) fn kernel_typedef(&self, name: &str) -> Option<Type> {
        let btf = self.named_types().ok()?;
        let id = btf.typedef_named(name)?;
        Some(btf.lang_type(id, AddrSpace::Kernel))
    }

    /// An enumerator of the kernel: its value and its enum.
    pub(crate) fn enumerator(&mut self, name: &str) -> Option<(i128, Type)> {
        let btf = self.named_types().ok()?;
        let (value, id) = btf.enumerator(name)?;
        Some((i128::from(value), btf.lang_type(id, AddrSpace::Kernel)))
    }

    /// A struct's field, or a finding that lists those there are.
    pub(crate) fn struct_field(&mut self, of: &StructRef, name: &Name) -> Option<Field> {
        let shown = Type::Struct(of.clone()).to_string();
        let btf = self.btf(name.span, &shown)?;
        match btf.field(of.id, &name.text) {
            Some(field) => Some(field),
            None => {
                let fields: Vec<String> = btf.fields(of.id).into_iter().map(|f| f.name).collect();
                self.fail(|| names::unknown_struct_field(&shown, name, &fields))
            }
        }
    }
}
