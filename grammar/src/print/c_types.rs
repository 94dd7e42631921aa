//! C definitions as text.

use super::Printer;
use crate::ast::{CAttribute, CBase, CDeclarator, CEnum, CMember, CModifier, CRecord};

impl Printer {
    pub(super) fn c_record(&mut self, record: &CRecord) {
        let CRecord { is_union, name, members, attributes, span } = record;
        let word = if *is_union { "union" } else { "struct" };
        let tag = name.as_ref().map(|n| format!(" {}", n.text)).unwrap_or_default();
        self.node(&format!("c-{word}{tag}"), *span, |p| {
            attributes.iter().for_each(|a| p.c_attribute(a));
            members.iter().flatten().for_each(|member| p.c_member(member));
        });
    }

    pub(super) fn c_enum(&mut self, named: &CEnum) {
        let CEnum { name, values, span } = named;
        let tag = name.as_ref().map(|n| format!(" {}", n.text)).unwrap_or_default();
        self.node(&format!("c-enum{tag}"), *span, |p| {
            for (name, value) in values.iter().flatten() {
                p.node(&format!("enumerator {}", name.text), name.span, |p| {
                    value.iter().for_each(|value| p.expr(value));
                });
            }
        });
    }

    pub(super) fn c_member(&mut self, member: &CMember) {
        let CMember { base, declarators, span } = member;
        self.node("member", *span, |p| {
            match base {
                CBase::Named(name) => p.name("c-type ", name),
                CBase::Record(record) => p.c_record(record),
                CBase::Enum(named) => p.c_enum(named),
            }
            declarators.iter().for_each(|declarator| p.c_declarator(declarator));
        });
    }

    fn c_declarator(&mut self, declarator: &CDeclarator) {
        let CDeclarator { name, modifiers, bits, attributes, span } = declarator;
        let name = name.as_ref().map_or("", |n| n.text.as_str());
        self.node(&format!("declare {name}"), *span, |p| {
            for modifier in modifiers {
                match modifier {
                    CModifier::Pointer => p.labelled("pointer", |_| {}),
                    CModifier::Array(size) => {
                        p.labelled("array", |p| size.iter().for_each(|size| p.expr(size)))
                    }
                    CModifier::Function => p.labelled("function", |_| {}),
                }
            }
            if let Some(bits) = bits {
                p.labelled("bits", |p| p.expr(bits));
            }
            attributes.iter().for_each(|a| p.c_attribute(a));
        });
    }

    fn c_attribute(&mut self, attribute: &CAttribute) {
        let CAttribute { name, argument } = attribute;
        self.node(&format!("attribute {}", name.text), name.span, |p| {
            argument.iter().for_each(|argument| p.expr(argument));
        });
    }
}
