//! Tests: the kernel they run on, their steps.

use pest::iterators::Pair;

use super::Builder;
use super::children::Children;
use crate::ast::{
    Expectation, FactField, KernelFact, KernelFactKind, KernelFacts, NamedValue, Span, StrLit, Test,
    TestStep, TestStepKind, TestedScript, TypeBase,
};
use crate::parser::Rule;

impl Builder {
    pub(super) fn tested_script(&self, pair: Pair<'_, Rule>) -> TestedScript {
        let mut children = Children::of(pair);
        let start = self.span_of(&children.need(Rule::script_word));
        let path = self.string(&children.need(Rule::string));
        TestedScript { path, span: start.to(self.span_of(&children.need(Rule::semicolon))) }
    }

    pub(super) fn kernel(&self, pair: Pair<'_, Rule>) -> KernelFacts {
        let mut children = Children::of(pair);
        let start = self.span_of(&children.need(Rule::kernel_word));
        children.need(Rule::open_brace);
        let mut facts = Vec::new();
        while let Some(fact) = children.accept(Rule::kernel_fact) {
            facts.extend(Children::of(fact).next().map(|fact| self.kernel_fact(fact)));
        }
        KernelFacts { facts, span: start.to(self.span_of(&children.need(Rule::close_brace))) }
    }

    fn kernel_fact(&self, pair: Pair<'_, Rule>) -> KernelFact {
        let rule = pair.as_rule();
        let mut children = Children::of(pair);
        match rule {
            Rule::kernel_symbol => {
                let start = self.span_of(&children.need(Rule::symbol_word));
                let name = self.name_of(&children.need(Rule::name));
                children.need(Rule::assign);
                let address = children.need(Rule::number);
                let span = start.to(self.span_of(&address));
                let address = self.integer(&address);
                KernelFact { kind: KernelFactKind::Symbol { name, address }, span }
            }
            Rule::kernel_record => {
                let tag = children.need(Rule::record_type);
                let (start, tag) = (self.span_of(&tag), self.type_base(tag));
                let (kind, end) = match children.accept(Rule::test_values) {
                    Some(values) => {
                        let (values, end) = self.test_values(values);
                        (KernelFactKind::Enum { tag, values }, end)
                    }
                    None => {
                        let (fields, end) = self.fact_fields(children.need(Rule::fact_fields));
                        // `enum x ()` has neither members nor enumerators.
                        let kind = match tag {
                            TypeBase::Enum(_) if fields.is_empty() => {
                                KernelFactKind::Enum { tag, values: Vec::new() }
                            }
                            tag => KernelFactKind::Record { tag, fields },
                        };
                        (kind, end)
                    }
                };
                KernelFact { kind, span: start.to(end) }
            }
            Rule::kernel_point => {
                let spec = self.attach_spec(children.need(Rule::attach_spec));
                let fields = children.accept(Rule::fact_fields).map(|fields| self.fact_fields(fields));
                let span = fields.as_ref().map_or(spec.span, |(_, end)| spec.span.to(*end));
                let fields = fields.map(|(fields, _)| fields).unwrap_or_default();
                KernelFact { kind: KernelFactKind::Point { spec, fields }, span }
            }
            rule => unreachable!("memql.pest has no {rule:?} among a kernel's facts"),
        }
    }

    /// The fields, and where they end.
    fn fact_fields(&self, pair: Pair<'_, Rule>) -> (Vec<FactField>, Span) {
        let span = self.span_of(&pair);
        let field = |pair| {
            let mut children = Children::of(pair);
            let name = self.name_of(&children.need(Rule::field_name));
            children.need(Rule::colon);
            FactField { name, ty: self.type_expr(children.need(Rule::type_expr)) }
        };
        (Children::of(pair).all(Rule::fact_field).map(field).collect(), span)
    }

    fn test_values(&self, pair: Pair<'_, Rule>) -> (Vec<NamedValue>, Span) {
        let span = self.span_of(&pair);
        let value = |pair| {
            let mut children = Children::of(pair);
            let name = self.name_of(&children.need(Rule::field_name));
            children.need(Rule::assign);
            NamedValue { name, value: self.expr(children.need(Rule::expr)) }
        };
        (Children::of(pair).all(Rule::test_value).map(value).collect(), span)
    }

    pub(super) fn test(&self, pair: Pair<'_, Rule>) -> Test {
        let mut children = Children::of(pair);
        let start = self.span_of(&children.need(Rule::test_word));
        let title = self.string(&children.need(Rule::string));
        children.need(Rule::open_brace);
        let (mut steps, mut span) = (Vec::new(), start);
        for child in children {
            match child.as_rule() {
                Rule::close_brace => span = start.to(self.span_of(&child)),
                _ => steps.push(self.test_step(child)),
            }
        }
        Test { title, steps, span }
    }

    fn test_step(&self, pair: Pair<'_, Rule>) -> TestStep {
        let (rule, span) = (pair.as_rule(), self.span_of(&pair));
        if rule == Rule::kernel {
            return TestStep { kind: TestStepKind::Kernel(self.kernel(pair)), span };
        }
        let mut children = Children::of(pair);
        let kind = match rule {
            Rule::test_run => {
                children.need(Rule::run_word);
                TestStepKind::Run(self.string(&children.need(Rule::string)))
            }
            Rule::test_memory => {
                children.need(Rule::memory_word);
                let address = self.integer(&children.need(Rule::number));
                children.need(Rule::colon);
                let ty = self.type_expr(children.need(Rule::type_expr));
                children.need(Rule::assign);
                TestStepKind::Memory { address, ty, value: self.expr(children.need(Rule::expr)) }
            }
            Rule::test_file => {
                children.need(Rule::file_word);
                let path = self.string(&children.need(Rule::string));
                children.need(Rule::assign);
                TestStepKind::File { path, content: self.string(&children.need(Rule::string)) }
            }
            Rule::test_fire => {
                children.need(Rule::fire_word);
                let spec = self.attach_spec(children.need(Rule::attach_spec));
                let values = children.accept(Rule::test_values).map(|values| self.test_values(values).0);
                TestStepKind::Fire { spec, values: values.unwrap_or_default() }
            }
            Rule::test_expect => {
                children.need(Rule::expect_word);
                TestStepKind::Expect(self.expectation(&mut children))
            }
            rule => unreachable!("memql.pest has no {rule:?} among a test's steps"),
        };
        let end = self.span_of(&children.need(Rule::semicolon)).start;
        TestStep { kind, span: Span { start: span.start, end } }
    }

    fn expectation(&self, children: &mut Children<'_>) -> Expectation {
        if let Some(lines) = children.accept(Rule::expect_lines) {
            let lines: Vec<StrLit> =
                Children::of(lines).all(Rule::string).map(|line| self.string(&line)).collect();
            return Expectation::Lines(lines);
        }
        if children.accept(Rule::expect_nothing).is_some() {
            return Expectation::Nothing;
        }
        if let Some(exit) = children.accept(Rule::expect_exit) {
            return Expectation::Exit(
                Children::of(exit).all(Rule::number).next().map(|code| self.integer(&code)),
            );
        }
        if let Some(lost) = children.accept(Rule::expect_lost) {
            let mut children = Children::of(lost);
            children.need(Rule::lost_word);
            return Expectation::Lost(self.string(&children.need(Rule::string)));
        }
        Expectation::Condition(self.expr(children.need(Rule::expr)))
    }
}
