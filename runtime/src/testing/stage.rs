//! A test while it runs.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use memql_compiler::attach::AttachPoint;
use memql_compiler::diagnostic::Diagnostic;
use memql_compiler::interpret::Machine;
use memql_compiler::ir::Module;
use memql_compiler::plan::Plan;
use memql_compiler::providers;
use memql_compiler::testing::diagnostics::{self, Finding};
use memql_compiler::testing::{Conditions, Kernel, Scene};
use memql_grammar::ast::{AttachSpec, Expr, NamedValue, Span, Test, TestStepKind, TypeExpr};

use super::maps::MachineMaps;
use super::outside::TestOutside;
use crate::health;
use crate::output::{Action, KernelNames, OutputError, OutputFormat, Settings, Sink};

/// Everything of a running test.
pub(super) struct Stage<'t> {
    kernel: &'t Kernel<'t>,
    plan: &'t Plan,
    scene: Scene<'t>,
    maps: MachineMaps<'t>,
    outside: TestOutside,
    conditions: Conditions,
    /// The script's own `begin` programs, and those of conditions.
    begins: (Vec<usize>, Vec<usize>),
    json: bool,
    /// What was printed since the last expectation of lines.
    printed: Vec<u8>,
    /// Whether the test looks at lines at all.
    looked_at_lines: bool,
    exit: Option<u8>,
    ended: bool,
    /// Losses that were expected, by their texts.
    expected_losses: Vec<String>,
}

impl<'t> Stage<'t> {
    pub fn new(
        kernel: &'t Kernel<'t>,
        module: &'t Module,
        plan: &'t Plan,
        conditions: Conditions,
        pid: Option<u32>,
        json: bool,
    ) -> Stage<'t> {
        let scene = Scene::new(kernel, pid);
        let machine = Machine::new(module, scene.world.clone());
        let is_begin =
            |index: &usize| plan.programs[*index].points.iter().any(|(p, _)| *p == AttachPoint::Begin);
        let mut begins: Vec<usize> = (0..plan.programs.len()).filter(is_begin).collect();
        let of_conditions = begins.split_off(begins.len().saturating_sub(conditions.probes));
        Stage {
            kernel,
            plan,
            scene,
            maps: MachineMaps::new(module, plan, machine),
            outside: TestOutside::default(),
            conditions,
            begins: (begins, of_conditions),
            json,
            printed: Vec::new(),
            looked_at_lines: false,
            exit: None,
            ended: false,
            expected_losses: Vec::new(),
        }
    }

    /// Memory and files that the test gives before its first event are there when the run begins.
    pub fn set_up(&mut self, test: &Test) -> Result<(), Vec<Diagnostic>> {
        let before = test
            .steps
            .iter()
            .take_while(|step| !matches!(step.kind, TestStepKind::Fire { .. } | TestStepKind::Expect(_)));
        for step in before {
            match &step.kind {
                TestStepKind::Memory { address, ty, value } => {
                    self.memory(*address, ty, value).map_err(|finding| vec![*finding])?
                }
                TestStepKind::File { path, content } => self.file(&path.bytes, &content.bytes),
                TestStepKind::Kernel(_)
                | TestStepKind::Run(_)
                | TestStepKind::Fire { .. }
                | TestStepKind::Expect(_) => {}
            }
        }
        Ok(())
    }

    /// Starts the run: `begin` probes.
    pub fn begin(&mut self, span: Span) -> Result<(), Finding> {
        if let Some(offset) = self.plan.start_time {
            let now = self.scene.world.boot_ns;
            self.maps.machine.borrow_mut().write_bss(offset, &now.to_le_bytes());
        }
        self.scene.event(&AttachPoint::Begin, &[])?;
        for program in self.begins.0.clone() {
            self.run(program, 0, &[], span)?;
        }
        Ok(())
    }

    pub fn memory(&mut self, address: u64, ty: &TypeExpr, value: &Expr) -> Result<(), Finding> {
        self.scene.memory(address, ty, value)
    }

    pub fn file(&mut self, path: &[u8], content: &[u8]) {
        self.outside.files.borrow_mut().insert(path.to_vec(), content.to_vec());
    }

    /// Something happens.
    pub fn fire(&mut self, spec: &AttachSpec, values: &[NamedValue]) -> Result<(), Finding> {
        let points = providers::expand(spec, &self.kernel.target)
            .map_err(|error| diagnostics::cannot_fire(spec.span, &error.to_string()))?;
        let [point] = points.as_slice() else {
            return Err(diagnostics::cannot_fire(
                spec.span,
                &format!("it names {} attach points", points.len()),
            ));
        };
        if *point == AttachPoint::Begin {
            let (title, help) =
                ("the run has begun already", "`begin` probes run when a test starts: leave this out");
            return Err(diagnostics::step_order(spec.span, title, help));
        }
        if self.ended {
            return Err(diagnostics::run_is_over(spec.span, "`end` has been fired"));
        }
        if self.exit.is_some() && *point != AttachPoint::End {
            return Err(diagnostics::run_is_over(spec.span, "the script has called `exit()`"));
        }
        let listening: Vec<(usize, u64)> = self.listening(point).collect();
        if listening.is_empty() && *point != AttachPoint::End {
            let all = self.plan.programs.iter().flat_map(|p| &p.points).map(|(point, _)| point.to_string());
            let mut all: Vec<String> = all.filter(|point| point != "begin").collect();
            all.sort();
            all.dedup();
            return Err(diagnostics::nobody_listens(spec.span, &point.to_string(), &all));
        }
        let context = self.scene.event(point, values)?;
        for (program, cookie) in listening {
            self.run(program, cookie, &context, spec.span)?;
        }
        if *point == AttachPoint::End {
            self.ended = true;
            if self.plan.settings.print_maps_on_exit {
                self.print(spec.span, |output, maps| output.print_all_maps(maps).map(|()| Action::Continue))?;
            }
        }
        Ok(())
    }

    /// The programs of a point, in the script's order, each with its cookie.
    fn listening(&self, point: &AttachPoint) -> impl Iterator<Item = (usize, u64)> {
        let cookie_of = |(index, program): (usize, &memql_compiler::plan::ProgramPlan)| {
            let found = program.points.iter().find(|(p, _)| p == point);
            found.map(|(_, cookie)| (index, *cookie))
        };
        let found: Vec<(usize, u64)> = self.plan.programs.iter().enumerate().filter_map(cookie_of).collect();
        found.into_iter()
    }

    /// Runs a program and prints what it sends.
    fn run(&mut self, program: usize, cookie: u64, context: &[u8], span: Span) -> Result<(), Finding> {
        let events = self.run_quietly(program, cookie, context, span)?;
        for event in events {
            // `exit()` ends the run at its event; only `end` probes are heard after it.
            if self.exit.is_some() && !self.is_end(program) {
                break;
            }
            if let Action::Exit(code) = self.print(span, |output, maps| output.event(&event, maps))? {
                self.exit.get_or_insert(code as u8);
            }
        }
        Ok(())
    }

    fn is_end(&self, program: usize) -> bool {
        self.plan.programs[program].points.iter().any(|(point, _)| *point == AttachPoint::End)
    }

    /// Runs a program; what it sends.
    fn run_quietly(
        &mut self,
        program: usize,
        cookie: u64,
        context: &[u8],
        span: Span,
    ) -> Result<Vec<Vec<u8>>, Finding> {
        self.outside.now_ns.set(self.scene.world.boot_ns);
        self.outside.symbols.borrow_mut().clone_from(&self.scene.symbols);
        let mut machine = self.maps.machine.borrow_mut();
        std::mem::swap(&mut machine.world, &mut self.scene.world);
        machine.world.cookie = cookie;
        let result = machine.run(program, context);
        std::mem::swap(&mut machine.world, &mut self.scene.world);
        let events = machine.take_events();
        match result {
            Ok(_) => Ok(events.into_iter().map(|event| event.bytes).collect()),
            Err(trap) => {
                let at = (trap.span != Span::default()).then_some(trap.span);
                Err(diagnostics::trapped(span, &trap.to_string(), at))
            }
        }
    }

    /// Prints through the output of a real run, into the test's own buffer.
    fn print(
        &mut self,
        span: Span,
        act: impl FnOnce(&mut crate::output::Output<'_>, &MachineMaps<'t>) -> Result<Action, OutputError>,
    ) -> Result<Action, Finding> {
        let (bytes, action) = self.captured(span, act)?;
        self.printed.extend(bytes);
        Ok(action)
    }

    fn captured(
        &self,
        span: Span,
        act: impl FnOnce(&mut crate::output::Output<'_>, &MachineMaps<'t>) -> Result<Action, OutputError>,
    ) -> Result<(Vec<u8>, Action), Finding> {
        let shared = Shared::default();
        // What a user would see, warnings in their place.
        let sink = Sink::new(Box::new(shared.clone()), Box::new(shared.clone()), false);
        let format = if self.json { OutputFormat::Json } else { OutputFormat::Text };
        let names = KernelNames::new(&self.kernel.target, self.plan.types.clone());
        let settings = Settings { sink, format, warnings: true, names: &names, outside: &self.outside };
        let mut output = settings.open(self.plan);
        let action = act(&mut output, &self.maps)
            .and_then(|action| output.flush().map(|()| action))
            .map_err(|error| diagnostics::trapped(span, &error.to_string(), None))?;
        Ok((shared.0.take(), action))
    }

    pub fn expect_lines(&mut self, expected: &[&[u8]], span: Span) -> Result<(), Finding> {
        self.looked_at_lines = true;
        let found = lines(&std::mem::take(&mut self.printed));
        let expected: Vec<String> =
            expected.iter().flat_map(|text| lines(&[text, &b"\n"[..]].concat())).collect();
        if expected == found { Ok(()) } else { Err(diagnostics::other_lines(span, &expected, &found)) }
    }

    pub fn expect_exit(&mut self, code: Option<u64>, span: Span) -> Result<(), Finding> {
        match (self.exit, code) {
            (Some(_), None) => Ok(()),
            (Some(found), Some(code)) if u64::from(found) == code => Ok(()),
            (found, _) => Err(diagnostics::other_exit(span, code, found)),
        }
    }

    pub fn expect_lost(&mut self, text: &[u8], span: Span) -> Result<(), Finding> {
        let wanted = String::from_utf8_lossy(text);
        let losses = self.losses();
        let (found, rest): (Vec<String>, Vec<String>) =
            losses.iter().cloned().partition(|loss| loss.contains(&*wanted));
        if found.is_empty() {
            return Err(diagnostics::not_lost(span, &rest));
        }
        self.expected_losses.push(wanted.into_owned());
        Ok(())
    }

    fn losses(&self) -> Vec<String> {
        let read = |offset| Some(self.maps.word(offset));
        health::counted(self.plan, read).into_iter().map(|lost| lost.text).collect()
    }

    pub fn expect_condition(&mut self, step: usize, span: Span) -> Result<(), Finding> {
        let Some((condition, sides)) = self.conditions.of(step) else { return Ok(()) };
        if self.asked(condition, span)? == "1" {
            return Ok(());
        }
        let sides = match sides {
            Some((left, right)) => Some((self.asked(left, span)?, self.asked(right, span)?)),
            None => None,
        };
        Err(diagnostics::condition_fails(span, sides))
    }

    /// What a condition's probe prints.
    fn asked(&mut self, probe: usize, span: Span) -> Result<String, Finding> {
        let program = self.begins.1.get(probe).copied();
        let program =
            program.ok_or_else(|| diagnostics::trapped(span, "a condition without a probe", None))?;
        // In text whatever the format is.
        let json = std::mem::replace(&mut self.json, false);
        let world = self.scene.world.clone();
        let mut text = Vec::new();
        for event in self.run_quietly(program, 0, &[], span)? {
            text.extend(self.captured(span, |output, maps| output.event(&event, maps))?.0);
        }
        self.scene.world = world;
        self.json = json;
        Ok(String::from_utf8_lossy(&text).trim_end_matches('\n').to_owned())
    }

    /// What is left when the test is over.
    pub fn close(&mut self, test: &Test) -> Result<(), Finding> {
        if self.looked_at_lines && !self.printed.is_empty() {
            return Err(diagnostics::surplus_lines(test.title.span, &lines(&self.printed)));
        }
        let mut losses = self.losses();
        losses.retain(|loss| !self.expected_losses.iter().any(|expected| loss.contains(expected)));
        if losses.is_empty() { Ok(()) } else { Err(diagnostics::surplus_loss(test.title.span, &losses)) }
    }
}

/// Bytes as lines of text.
fn lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    text.strip_suffix('\n')
        .unwrap_or(&text)
        .split('\n')
        .filter(|_| !text.is_empty())
        .map(str::to_owned)
        .collect()
}

/// A buffer that is written to from elsewhere.
#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
