//! `--probe-filter`: of a script's probes only those whose name matches.

use memql_compiler::attach::AttachPoint;
use memql_compiler::plan::Plan;
use regex_lite::Regex;

use crate::error::RunError;

/// Takes the other attach points out of the plan, `begin` and `end` excepted. A program without attach
/// points is not loaded.
///
/// # Errors
/// If the pattern is no regular expression, or matches no probe.
pub fn keep_matching(plan: &mut Plan, pattern: &str) -> Result<(), RunError> {
    let regex = Regex::new(pattern).map_err(|error| {
        RunError::plain(format!("`{pattern}` is no regular expression: {error}"))
            .help("`--probe-filter` takes one, as in `--probe-filter '^uprobe:.*:malloc$'`")
    })?;
    let mut names = Vec::new();
    let mut kept = 0;
    for program in &mut plan.programs {
        program.points.retain(|(point, _)| {
            let name = point.to_string();
            let matches = regex.is_match(&name);
            kept += usize::from(matches);
            names.push(name);
            matches || matches!(point, AttachPoint::Begin | AttachPoint::End)
        });
    }
    if kept > 0 || plan.programs.iter().any(|program| !program.points.is_empty()) {
        return Ok(());
    }
    names.truncate(NAMES_SHOWN);
    Err(RunError::plain(format!("no probe's name matches `{pattern}`"))
        .help(format!("names are like `{}`", names.join("`, `"))))
}

/// How many names an error shows.
const NAMES_SHOWN: usize = 3;

#[cfg(test)]
mod tests {
    use memql_compiler::attach::ProgramKind;
    use memql_compiler::plan::ProgramPlan;

    use super::*;

    fn plan(points: &[AttachPoint]) -> Plan {
        let program = |point: &AttachPoint| ProgramPlan {
            name: "p".into(),
            kind: ProgramKind::TestRun,
            points: vec![(point.clone(), 0)],
            uses_cookie: false,
            events: 0..0,
        };
        Plan { programs: points.iter().map(program).collect(), ..Plan::default() }
    }

    fn interval(text: &str) -> AttachPoint {
        AttachPoint::Interval { text: text.into(), period_ns: 1 }
    }

    fn left(plan: &Plan) -> Vec<String> {
        plan.programs.iter().flat_map(|p| &p.points).map(|(point, _)| point.to_string()).collect()
    }

    #[test]
    fn probes_whose_name_does_not_match_are_left_out_but_begin_and_end_stay() {
        let mut plan = plan(&[AttachPoint::Begin, interval("ms:200"), interval("ms:100"), AttachPoint::End]);
        keep_matching(&mut plan, ":2..$").expect("one matches");
        assert_eq!(left(&plan), ["begin", "interval:ms:200", "end"]);
    }

    #[test]
    fn a_filter_that_leaves_nothing_is_an_error_that_shows_names() {
        let error = keep_matching(&mut plan(&[interval("ms:200")]), "uprobe").expect_err("none matches");
        assert_eq!(
            error.to_string(),
            "error: no probe's name matches `uprobe`\nhelp: names are like `interval:ms:200`"
        );
    }

    #[test]
    fn a_pattern_that_is_no_regular_expression_is_an_error() {
        let error = keep_matching(&mut plan(&[interval("ms:200")]), "(").expect_err("it is not closed");
        assert!(error.to_string().starts_with("error: `(` is no regular expression: "), "{error}");
    }
}
