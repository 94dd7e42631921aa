//! One attach point alone, as `-l` takes it.

use memql_grammar::parse_attach_spec;

/// The parts of an attach point, or the first error.
fn check(source: &str) -> Result<Vec<String>, String> {
    match parse_attach_spec(source) {
        Ok(spec) => Ok(spec.parts.into_iter().map(|part| part.text).collect()),
        Err(errors) => Err(errors[0].message.clone()),
    }
}

fn parts(parts: &[&str]) -> Result<Vec<String>, String> {
    Ok(parts.iter().map(|&part| part.to_owned()).collect())
}

#[test]
fn an_attach_point_is_cut_at_its_colons() {
    assert_eq!(check("tracepoint:oom:*"), parts(&["tracepoint", "oom", "*"]));
    assert_eq!(check("uprobe:/bin/sh:main"), parts(&["uprobe", "/bin/sh", "main"]));
    assert_eq!(check("usdt:./a::b"), parts(&["usdt", "./a", "", "b"]));
    assert_eq!(check("*:*alloc*"), parts(&["*", "*alloc*"]));
    assert_eq!(check(" begin "), parts(&["begin"]));
}

#[test]
fn what_is_not_one_attach_point_is_an_error() {
    assert_eq!(check(""), Err("expected an attach point, found the end of the script".to_owned()));
    assert_eq!(check("a:b, c:d"), Err("expected the end of the attach point, found `,`".to_owned()));
    assert_eq!(check("\"x\""), Err("expected an attach point, found a string".to_owned()));
}
