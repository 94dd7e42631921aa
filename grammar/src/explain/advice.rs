//! What to do about common mistakes: habits from C, scripting languages and other tracers.

use super::found::{is_invisible, is_keyword};
use super::{Expected, Word};
use crate::outline::Outline;

const LOOP: &str =
    "a loop runs over a range or a map: `for ($i : 0..10) { ... }`, `for ($kv : @map) { ... }`";
const OPTION: &str = "write `option name: type = default, \"-n --name VALUE\", \"what it does\";`";
const IN_A_PROBE: &str = "statements stand in the braces of a probe: `begin { ... }`";
const COMPARE: &str = "to compare, write `==`";

/// A help text for the token that was found at an offset, if the mistake is a known one.
pub(super) fn advice(
    source: &str,
    outline: &Outline,
    at: usize,
    found: &str,
    expected: &Expected,
) -> Option<String> {
    if expected.has(Word::Item) {
        return Some(instead_of_item(found)?.to_owned());
    }
    if let Some(line) = forgotten_quote(source, outline, at) {
        return Some(format!(
            "the string that begins on line {line} goes over several lines; is its closing `\"` missing?"
        ));
    }
    let place =
        Place { before: source[..at].trim_end(), found, after: &source[at + found.len()..], expected };
    place.in_no_place().or_else(|| place.by_construct()).map(str::to_owned).or_else(|| place.after_operand())
}

/// A string over several lines right before the error is one whose quote is missing.
fn forgotten_quote(source: &str, outline: &Outline, at: usize) -> Option<usize> {
    let before = outline.multiline_strings.partition_point(|string| string.end as usize <= at);
    let string = outline.multiline_strings.get(before.checked_sub(1)?)?;
    let between = &source[string.end as usize..at];
    (!between.contains('\n')).then(|| 1 + source[..string.start as usize].matches('\n').count())
}

/// Something else than a probe at the top of the script.
fn instead_of_item(found: &str) -> Option<&'static str> {
    Some(match found {
        "struct" | "union" => "write `struct name { int member; };`",
        "enum" => "write `enum name { FIRST, SECOND = 5 };`",
        "typedef" => "write `typedef type name;`",
        "static" | "extern" | "inline" | "int" | "void" => {
            "functions of C are not compiled; what is used more than once is a macro: `macro name(a) { ... }`"
        }
        "config" => "write `config = { name = value; }`",
        "macro" | "fn" | "subprog" => "write `macro name($variable, @map, expression) { ... }`",
        "import" => "write `import \"path\";`",
        "let" => "only maps are declared outside of probes: `let @name = hash(1000);`",
        "}" => "this `}` closes nothing; is one too many above?",
        ";" => "a probe needs no `;` behind its `}`",
        "{" => "say first when it happens: `begin { ... }`, `interval:1s { ... }`, `kprobe:vfs_read { ... }`",
        "/" => "the attach points stand before the predicate: `kprobe:vfs_read /pid == 1/ { ... }`",
        _ if found.starts_with(['$', '@']) || is_keyword(found) => IN_A_PROBE,
        _ => return None,
    })
}

/// Where the error is, and what is around it.
struct Place<'a> {
    before: &'a str,
    found: &'a str,
    after: &'a str,
    expected: &'a Expected,
}

impl Place<'_> {
    /// Tokens that memql has in no place.
    fn in_no_place(&self) -> Option<&'static str> {
        Some(match self.found {
            "'" => "strings have double quotes; a character is written as its number",
            "“" | "”" | "„" | "«" | "»" | "`" => "use plain double quotes: `\"`",
            "\\" => "a statement may go over several lines without a `\\`",
            "$" => "a variable is written `$name`, a positional parameter `$1`",
            found if found.starts_with(is_invisible) => "replace the invisible character with a blank",
            _ => return None,
        })
    }

    /// Mistakes within one construct of the language.
    fn by_construct(&self) -> Option<&'static str> {
        let Place { before, found, expected, .. } = *self;
        let (first, last) = (self.first_word(), self.last_word());
        Some(match found {
            "=" if before.ends_with("==") || before.ends_with("!=") => COMPARE,
            ":" if self.after.starts_with('=') => "assign with `=`",
            "if" if expected.has(Word::Expression) => "an expression chooses with `condition ? a : b`",
            "{" if first == "macro" => "a macro has parentheses: `macro name() { ... }`",
            "]" if expected.has(Word::Expression) => "a map without a key is written without brackets",
            "/" if expected.after_operand() && self.after.trim_start().starts_with('{') => {
                "to divide by a block, put it in parentheses"
            }
            _ if expected.has(Word::Predicate) => return self.after_attach_points(),
            _ if first == "option" && !self.in_braces() => OPTION,
            _ if last == "config" && expected.has_token("=") => "write `config = { name = value; }`",
            _ if expected.has_token("{") && last == "else" => "the body needs braces: `else { ... }`",
            _ if expected.has_token("{") && before.ends_with('}') => {
                "the block before this one is taken as the condition"
            }
            _ if first == "for" && (expected.has_token(":") || expected.has(Word::Kind("a `$variable`"))) => {
                LOOP
            }
            _ if expected.has(Word::Kind("a `$variable`")) && self.found_is_word() => {
                "variables begin with `$`"
            }
            _ if expected.has(Word::Kind("a `@map`")) && self.found_is_word() => "maps begin with `@`",
            _ => return None,
        })
    }

    /// Neither a predicate nor a body after the attach points.
    fn after_attach_points(&self) -> Option<&'static str> {
        let point = self.before.rsplit([',', '}']).next().unwrap_or_default().trim();
        Some(match self.found {
            "(" | "=" => IN_A_PROBE,
            "" | ";" => "say what happens then: `{ ... }`",
            _ if point.contains(':')
                || point.eq_ignore_ascii_case("begin")
                || point.eq_ignore_ascii_case("end") =>
            {
                "the body needs braces: `{ ... }`"
            }
            _ => "the parts of an attach point are joined by `:`, as in `kprobe:vfs_read`",
        })
    }

    /// An expression has ended where it could have gone on.
    fn after_operand(&self) -> Option<String> {
        let Place { found, expected, .. } = *self;
        if !expected.after_operand() {
            return None;
        }
        let first = self.first_word();
        let help = match found {
            "=" => "to compare, write `==`; a value is assigned in a statement of its own",
            "and" => "write `&&`",
            "or" => "write `||`",
            "is" => COMPARE,
            "in" => "to see whether a map has a key, write `has_key(@map, key)`",
            ":" if expected.has_token(";") => {
                "a type is given where the variable is declared: `let $x: uint64 = 1`"
            }
            "{" if matches!(first, "elif" | "elsif" | "elseif") => "write `else if`",
            "{" if expected.has_token(";") && !first.is_empty() && !is_keyword(first) => {
                return Some(format!(
                    "there is no statement `{first}`; blocks follow `if`, `else`, `for`, `while` and `unroll`"
                ));
            }
            _ if expected.has_token("/") => "a predicate ends with a `/` before the `{`",
            _ if expected.has_token("{") => "the body needs braces: `{ ... }`",
            _ if !self.found_is_operand() => return None,
            _ if expected.has_token(";") && self.is_call_without_parentheses() => {
                return Some(format!("a call needs parentheses: `{first}(...)`"));
            }
            _ if expected.has_token(";") => "put a `;` between two statements",
            _ if expected.has_token(",") => "put a `,` between two values",
            _ => return None,
        };
        Some(help.to_owned())
    }

    /// The statement or item up to here.
    fn statement(&self) -> &str {
        self.before.rsplit([';', '{', '}']).next().unwrap_or_default().trim_start()
    }

    fn first_word(&self) -> &str {
        let statement = self.statement();
        &statement[..statement.find(|c| !is_word_char(c)).unwrap_or(statement.len())]
    }

    fn last_word(&self) -> &str {
        self.before.rsplit(|c| !is_word_char(c)).next().unwrap_or_default()
    }

    /// `print @x`
    fn is_call_without_parentheses(&self) -> bool {
        let statement = self.statement();
        !statement.is_empty()
            && statement.chars().all(is_word_char)
            && !self.after.trim_start().starts_with('(')
    }

    fn in_braces(&self) -> bool {
        self.before.matches('{').count() > self.before.matches('}').count()
    }

    fn found_is_word(&self) -> bool {
        self.found.starts_with(is_word_char)
    }

    fn found_is_operand(&self) -> bool {
        self.found.starts_with(|c| is_word_char(c) || matches!(c, '$' | '@' | '"' | '('))
    }
}

fn is_word_char(c: char) -> bool {
    c == '_' || c.is_ascii_alphanumeric()
}
