//! Turns a failed parse into words: what was expected, what stands there, what to do.
//!
//! pest reports the furthest place it came to and the rules it tried there. Each rule is mapped to
//! something the language's users have a name for; `advice` knows the common mistakes.

mod advice;
mod found;

use crate::error::SyntaxError;
use crate::outline::{Outline, span};
use crate::parser::Rule;

/// Where the grammar gave up.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Offset into the source.
    pub(crate) at: usize,
    /// The rules that could have continued.
    pub(crate) rules: Vec<Rule>,
    /// The error itself, where the grammar did not fail but was stopped.
    pub(crate) stopped: Option<SyntaxError>,
}

/// The error to report for a failure.
pub(crate) fn explain(source: &str, outline: &Outline, failure: &Failure) -> SyntaxError {
    if let Some(stopped) = &failure.stopped {
        return stopped.clone();
    }
    let found = found::token_at(source, failure.at);
    let expected = Expected::of(&failure.rules);
    if found.text.is_empty()
        && let Some(&open) = outline.unclosed.last()
    {
        return unclosed_bracket(source, open, &expected);
    }
    let words = expected.words();
    let help = advice::advice(source, outline, failure.at, found.text, &expected);
    // The end of the script is where its text ends, not behind the blanks that follow.
    let start = if found.text.is_empty() { source.trim_end().len() } else { failure.at };
    SyntaxError {
        span: span(start, start + found.text.len()),
        message: format!("expected {}{}, found {}", one_of(&words), expected.place(), found.description),
        expected: words,
        help,
    }
}

fn unclosed_bracket(source: &str, open: usize, expected: &Expected) -> SyntaxError {
    let bracket = &source[open..=open];
    let closing = match bracket {
        "(" => ")",
        "[" => "]",
        _ => "}",
    };
    SyntaxError {
        span: span(open, open + 1),
        message: format!("this `{bracket}` is never closed"),
        expected: expected.words(),
        help: Some(format!("a `{closing}` is missing before the end of the script")),
    }
}

/// "`a`", "`a` or `b`", "`a`, `b` or `c`".
fn one_of(words: &[String]) -> String {
    match words {
        [] => "something else".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// What could have stood at a place, in the words of the language; in the order in which it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Word {
    Item,
    Statement,
    Expression,
    AttachPoint,
    /// A kind of thing, with its article.
    Kind(&'static str),
    /// One exact token; the text is what the user types.
    Token(&'static str),
    Predicate,
    /// A place where an operator could continue the expression.
    Operator,
    /// Not worth mentioning.
    Nothing,
}

/// Everything that could have stood at a place.
#[derive(Debug)]
pub(crate) struct Expected {
    words: Vec<Word>,
}

impl Expected {
    fn of(rules: &[Rule]) -> Expected {
        let mut words: Vec<Word> =
            rules.iter().map(|&rule| word(rule)).filter(|&word| word != Word::Nothing).collect();
        words.sort_unstable();
        words.dedup();
        let mut expected = Expected { words };
        expected.leave_out_the_obvious();
        expected
    }

    pub(crate) fn has(&self, word: Word) -> bool {
        self.words.contains(&word)
    }

    pub(crate) fn has_token(&self, text: &'static str) -> bool {
        self.has(Word::Token(text))
    }

    /// Whether an operand has just ended, so that the expression may end here.
    pub(crate) fn after_operand(&self) -> bool {
        self.has(Word::Operator)
    }

    /// Keeps what says most: where a statement may begin, an expression may, and so on.
    fn leave_out_the_obvious(&mut self) {
        let (statement, item, predicate) =
            (self.has(Word::Statement), self.has(Word::Item), self.has(Word::Predicate));
        let (expression, operator) = (self.has(Word::Expression), self.after_operand());
        let body = expression && self.has_token("{");
        self.words.retain(|&word| {
            if item {
                word == Word::Item
            } else if statement {
                matches!(word, Word::Statement | Word::Token("}"))
            } else if predicate {
                matches!(word, Word::Predicate | Word::Token("{"))
            } else if operator {
                // A call's `(` and a record's `=` could follow any name.
                !matches!(word, Word::Token("(" | "="))
            } else if body {
                // The slash before was meant to end the predicate, and could have been a division.
                word == Word::Token("{")
            } else {
                // The `(` of a cast, and the `)` of an empty list of arguments.
                !(expression && matches!(word, Word::Token("(" | ")")))
            }
        });
    }

    fn words(&self) -> Vec<String> {
        // An operator could nearly always follow; it is mentioned only if nothing else could.
        let only_operators = self.words.iter().all(|&word| word == Word::Operator);
        self.words
            .iter()
            .filter(|&&word| only_operators || word != Word::Operator)
            .map(|word| match word {
                Word::Token(text) => format!("`{text}`"),
                Word::Kind(text) => (*text).to_owned(),
                Word::Operator => "an operator".to_owned(),
                Word::Expression => "an expression".to_owned(),
                Word::Statement => "a statement".to_owned(),
                Word::Item => "a probe".to_owned(),
                Word::AttachPoint => "an attach point".to_owned(),
                Word::Predicate => "a `/predicate/`".to_owned(),
                Word::Nothing => String::new(),
            })
            .collect()
    }

    /// Where that would have been, if it is not plain to see.
    fn place(&self) -> &'static str {
        if self.has(Word::Predicate) {
            " after the attach points"
        } else if self.has(Word::Token("/")) {
            " at the end of the predicate"
        } else if self.has(Word::Item) {
            ", like `begin { ... }` or `kprobe:vfs_read { ... }`"
        } else {
            ""
        }
    }
}

/// The word for a rule. A rule whose first token does not fit is reported under either name.
fn word(rule: Rule) -> Word {
    use Word::*;
    match rule {
        Rule::script
        | Rule::macro_def
        | Rule::import
        | Rule::c_typedef
        | Rule::probe
        | Rule::config
        | Rule::config_word
        | Rule::option
        | Rule::map_decl
        | Rule::test
        | Rule::test_word
        | Rule::tested_script
        | Rule::script_word
        | Rule::EOI => Item,
        Rule::attach_point
        | Rule::point_name
        | Rule::attach_spec
        | Rule::attach_spec_only
        | Rule::provider
        | Rule::binary_provider => AttachPoint,
        Rule::predicate | Rule::open_slash => Predicate,

        Rule::if_stmt
        | Rule::while_stmt
        | Rule::for_stmt
        | Rule::unroll_stmt
        | Rule::let_stmt
        | Rule::return_stmt
        | Rule::break_stmt
        | Rule::continue_stmt
        | Rule::report_stmt
        | Rule::expr_stmt
        | Rule::while_word
        | Rule::for_word
        | Rule::unroll_word
        | Rule::return_word
        | Rule::break_word
        | Rule::continue_word => Statement,

        Rule::expr
        | Rule::operation
        | Rule::operand
        | Rule::primary
        | Rule::element
        | Rule::parenthesized
        | Rule::type_call
        | Rule::type_call_word
        | Rule::typeof_type
        | Rule::typeof_word
        | Rule::cast
        | Rule::increment
        | Rule::decrement
        | Rule::negate
        | Rule::not
        | Rule::bit_not
        | Rule::dereference
        | Rule::address_of
        | Rule::comptime
        | Rule::if_expr
        | Rule::positional
        | Rule::positional_count => Expression,

        Rule::field
        | Rule::field_op
        | Rule::subscript
        | Rule::increment_after
        | Rule::decrement_after
        | Rule::question
        | Rule::assign_op
        | Rule::or
        | Rule::and
        | Rule::eq
        | Rule::ne
        | Rule::le
        | Rule::ge
        | Rule::lt
        | Rule::gt
        | Rule::shl
        | Rule::shr
        | Rule::bit_or
        | Rule::bit_xor
        | Rule::bit_and
        | Rule::add
        | Rule::sub
        | Rule::mul
        | Rule::rem
        | Rule::div => Operator,

        Rule::type_expr | Rule::type_argument | Rule::record_type | Rule::record_word => Kind("a type"),
        Rule::type_name => Kind("the name of a type"),
        Rule::name | Rule::config_entry | Rule::report_column => Kind("a name"),
        Rule::attach_end => Kind("the end of the attach point"),
        Rule::c_record | Rule::c_enum | Rule::c_enum_word | Rule::c_record_word => Kind("a type"),
        Rule::c_member => Kind("a member such as `int x;`"),
        Rule::c_declarator | Rule::c_nested | Rule::c_name => Kind("a name"),
        Rule::c_tag => Kind("a tag"),
        Rule::c_value => Kind("an enumerator"),
        Rule::map_kind => Kind("a kind of map such as `hash(1000)`"),
        Rule::field_name => Kind("a field's name"),
        Rule::string => Kind("a string in double quotes"),
        Rule::number => Kind("a number"),
        Rule::variable => Kind("a `$variable`"),
        Rule::map => Kind("a `@map`"),

        Rule::test_run | Rule::run_word => Token("run"),
        Rule::test_memory | Rule::memory_word => Token("memory"),
        Rule::test_file | Rule::file_word => Token("file"),
        Rule::test_fire | Rule::fire_word => Token("fire"),
        Rule::test_expect | Rule::expect_word => Token("expect"),
        Rule::kernel_fact => Kind("an attach point, a `struct`, an `enum` or a `symbol`"),
        Rule::fact_field => Kind("a field such as `pid: int32`"),
        Rule::test_value => Kind("a value such as `pid = 1`"),
        Rule::expect_lines => Kind("a line in double quotes"),

        Rule::if_word => Token("if"),
        Rule::as_word => Token("as"),
        Rule::asc_word => Token("asc"),
        Rule::by_word => Token("by"),
        Rule::desc_word => Token("desc"),
        Rule::limit_word => Token("limit"),
        Rule::order_word => Token("order"),
        Rule::print_word => Token("print"),
        Rule::select_word => Token("select"),
        Rule::where_word => Token("where"),
        Rule::block | Rule::open_brace => Token("{"),
        Rule::close_brace => Token("}"),
        Rule::open_paren => Token("("),
        Rule::close_paren => Token(")"),
        Rule::close_bracket => Token("]"),
        Rule::close_slash => Token("/"),
        Rule::semicolon => Token(";"),
        Rule::comma => Token(","),
        Rule::colon => Token(":"),
        Rule::dots => Token(".."),
        Rule::assign => Token("="),

        // What could always stand there too, or only begins something that is mentioned.
        Rule::let_word
        | Rule::report_word
        | Rule::option_word
        | Rule::else_word
        | Rule::or_else
        | Rule::open_bracket
        | Rule::arguments
        | Rule::pointer
        | Rule::array
        | Rule::shebang
        | Rule::kernel
        | Rule::kernel_word
        | Rule::kernel_symbol
        | Rule::kernel_record
        | Rule::kernel_point
        | Rule::symbol_word
        | Rule::fact_fields
        | Rule::test_values
        | Rule::expect_nothing
        | Rule::expect_exit
        | Rule::expect_lost
        | Rule::nothing_word
        | Rule::exit_word
        | Rule::lost_word
        | Rule::import_word
        | Rule::macro_word
        | Rule::typedef_word
        | Rule::c_pointer
        | Rule::c_array
        | Rule::c_params
        | Rule::c_qualifier
        | Rule::c_attribute
        | Rule::c_attribute_item
        | Rule::define_value => Nothing,
        Rule::c_body | Rule::c_values => Token("{"),
        // Tried only to tell a cast from a value, a keyword from a name.
        Rule::certain_type
        | Rule::likely_type
        | Rule::c_type
        | Rule::basic_type
        | Rule::builtin_value
        | Rule::operand_start
        | Rule::prefix_start
        | Rule::infix_start
        | Rule::keyword
        | Rule::keyword_only
        | Rule::reserved_item => Nothing,
        // Parts of attach points, which are text without blanks.
        Rule::attach_part
        | Rule::attach_binary
        | Rule::attach_path
        | Rule::attach_path_rest
        | Rule::attach_path_char
        | Rule::provider_char
        | Rule::attach_quoted
        | Rule::attach_word => Nothing,
        // Silent rules: pest never reports them.
        Rule::item
        | Rule::test_step
        | Rule::block_statement
        | Rule::c_definition
        | Rule::c_base
        | Rule::c_param_text
        | Rule::macro_param
        | Rule::simple_statement
        | Rule::for_head
        | Rule::prefix
        | Rule::postfix
        | Rule::infix
        | Rule::modifier
        | Rule::c_type_word
        | Rule::word_start
        | Rule::word_char
        | Rule::blank
        | Rule::WHITESPACE
        | Rule::COMMENT => Nothing,
    }
}
