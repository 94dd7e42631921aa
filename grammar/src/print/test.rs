//! Tests as text.

use super::Printer;
use crate::ast::*;

impl Printer {
    pub(super) fn kernel(&mut self, kernel: &KernelFacts) {
        let KernelFacts { facts, span } = kernel;
        self.node("kernel", *span, |p| facts.iter().for_each(|fact| p.kernel_fact(fact)));
    }

    fn kernel_fact(&mut self, fact: &KernelFact) {
        let KernelFact { kind, span } = fact;
        match kind {
            KernelFactKind::Point { spec, fields } => self.node("point", *span, |p| {
                p.attach_spec(spec);
                p.fact_fields(fields);
            }),
            KernelFactKind::Record { tag, fields } => {
                self.node(&format!("record {}", base(tag)), *span, |p| p.fact_fields(fields))
            }
            KernelFactKind::Enum { tag, values } => {
                self.node(&format!("enumeration {}", base(tag)), *span, |p| p.named_values(values))
            }
            KernelFactKind::Symbol { name, address } => {
                self.leaf(&format!("symbol {} {address:#x}", name.text), *span)
            }
        }
    }

    fn fact_fields(&mut self, fields: &[FactField]) {
        for FactField { name, ty } in fields {
            self.node(&format!("field {}", name.text), name.span, |p| p.type_expr(ty));
        }
    }

    fn named_values(&mut self, values: &[NamedValue]) {
        for NamedValue { name, value } in values {
            self.node(&format!("value {}", name.text), name.span, |p| p.expr(value));
        }
    }

    pub(super) fn test(&mut self, test: &Test) {
        let Test { title, steps, span } = test;
        self.node("test", *span, |p| {
            p.string(title);
            steps.iter().for_each(|step| p.test_step(step));
        });
    }

    fn test_step(&mut self, step: &TestStep) {
        let TestStep { kind, span } = step;
        match kind {
            TestStepKind::Kernel(facts) => self.kernel(facts),
            TestStepKind::Run(arguments) => self.node("run", *span, |p| p.string(arguments)),
            TestStepKind::Memory { address, ty, value } => {
                self.node(&format!("memory {address:#x}"), *span, |p| {
                    p.type_expr(ty);
                    p.expr(value);
                })
            }
            TestStepKind::File { path, content } => self.node("file", *span, |p| {
                p.string(path);
                p.string(content);
            }),
            TestStepKind::Fire { spec, values } => self.node("fire", *span, |p| {
                p.attach_spec(spec);
                p.named_values(values);
            }),
            TestStepKind::Expect(expectation) => self.expectation(expectation, *span),
        }
    }

    fn expectation(&mut self, expectation: &Expectation, span: Span) {
        match expectation {
            Expectation::Lines(lines) => {
                self.node("expect-lines", span, |p| lines.iter().for_each(|line| p.string(line)))
            }
            Expectation::Nothing => self.leaf("expect-nothing", span),
            Expectation::Exit(None) => self.leaf("expect-exit", span),
            Expectation::Exit(Some(code)) => self.leaf(&format!("expect-exit {code}"), span),
            Expectation::Lost(text) => self.node("expect-lost", span, |p| p.string(text)),
            Expectation::Condition(condition) => self.node("expect", span, |p| p.expr(condition)),
        }
    }
}

/// A tag as written.
fn base(tag: &TypeBase) -> String {
    match tag {
        TypeBase::Named(name) => name.text.clone(),
        TypeBase::Struct(name) => format!("struct {}", name.text),
        TypeBase::Union(name) => format!("union {}", name.text),
        TypeBase::Enum(name) => format!("enum {}", name.text),
        TypeBase::Typeof(_) | TypeBase::TypeofExpr(_) => "typeof".to_owned(),
    }
}
