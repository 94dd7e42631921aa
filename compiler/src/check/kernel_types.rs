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

    /// A type of the program or module that the probe is on, unless the script defines one of that name.
    fn of_traced_code(
        &mut self,
        keyword: &'static str,
        name: &Name,
        find: impl Fn(&Btf) -> Option<u32>,
    ) -> Option<Type> {
        let kernel = self.target.btf().map_or(0, Btf::type_count);
        let own = self.types.as_ref().and_then(&find).is_some_and(|id| id >= kernel);
        if own {
            return None;
        }
        self.debug_type(keyword, name).or_else(|| self.type_of_own_module(name.span, find))
    }

    /// A type by name: of the program or module that the probe is on, the script, the kernel, any module.
    fn tagged_type(
        &mut self,
        keyword: &'static str,
        name: &Name,
        find: impl Fn(&Btf) -> Option<u32>,
    ) -> Option<Type> {
        let what = format!("{keyword} {}", name.text);
        if let Some(found) = self.of_traced_code(keyword, name, &find) {
            return Some(found);
        }
        let btf = self.names(name.span, &format!("`{what}`"))?;
        if let Some(id) = find(btf) {
            return Some(btf.lang_type(id, AddrSpace::Kernel));
        }
        let close = btf.similar_types(&name.text);
        match self.find_in_modules(name.span, find)? {
            Some(id) => Some(self.types().ok()?.lang_type(id, AddrSpace::Kernel)),
            None => self.fail(|| names::unknown_kernel_type(&what, name.span, &close)),
        }
    }

    /// `struct name` or `union name`.
    pub(crate) fn kernel_struct(&mut self, name: &Name, is_union: bool) -> Option<Type> {
        match is_union {
            true => self.tagged_type("union", name, |btf| btf.union_named(&name.text)),
            false => self.tagged_type("struct", name, |btf| btf.struct_named(&name.text)),
        }
    }

    /// `enum name`
    pub(crate) fn kernel_enum(&mut self, name: &Name) -> Option<Type> {
        self.tagged_type("enum", name, |btf| btf.enum_named(&name.text))
    }

    /// A typedef of the kernel or of a module; quiet where there is none.
    pub(crate) fn kernel_typedef(&mut self, name: &Name) -> Option<Type> {
        let btf = self.named_types().ok()?;
        let id = match btf.typedef_named(&name.text) {
            Some(id) => id,
            None => self.find_in_modules(name.span, |btf| btf.typedef_named(&name.text))??,
        };
        Some(self.types().ok()?.lang_type(id, AddrSpace::Kernel))
    }

    /// An enumerator of the kernel or of a module: its value and its enum.
    pub(crate) fn enumerator(&mut self, name: &Name) -> Option<(i128, Type)> {
        let btf = self.named_types().ok()?;
        let id = match btf.enumerator(&name.text) {
            Some((_, id)) => id,
            None => self.find_in_modules(name.span, |btf| btf.enumerator(&name.text).map(|(_, id)| id))??,
        };
        let all = self.types().ok()?;
        let value = all.enum_values_of(id).into_iter().find(|(of, _)| *of == name.text)?.1;
        Some((i128::from(value), all.lang_type(id, AddrSpace::Kernel)))
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
