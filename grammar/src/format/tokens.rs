//! The tokens of a script, each with its part in the grammar.

use pest::iterators::{Pair, Pairs};

use crate::parser::Rule;

/// A token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    /// Where it begins.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    pub part: Part,
}

/// What a token does, as far as its surroundings are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A name, a literal, an attach point.
    Word,
    /// An operator between blanks: `+`, `=`, `? :`, the colon of a loop.
    Infix,
    /// An operator before its operand.
    Prefix,
    /// An operator behind its operand.
    Postfix,
    /// `.`, `->`, `..`
    Tight,
    /// The star of a pointer's type.
    Pointer,
    /// The colon before a type.
    TypeColon,
    Comma,
    /// Between the values of an enumeration.
    EntryComma,
    /// Between attach points.
    PointComma,
    Semicolon,
    OpenBrace,
    CloseBrace,
    /// The end of a record's members, which a name may follow.
    CloseBody,
    /// A parenthesis that groups.
    OpenParen,
    /// A parenthesis behind a function's name.
    OpenCall,
    CloseParen,
    /// The end of a cast.
    CloseCast,
    OpenBracket,
    CloseBracket,
    /// The slash that opens a predicate.
    OpenSlash,
    CloseSlash,
    Else,
}

/// All tokens, in order.
pub(super) fn tokens(pairs: Pairs<'_, Rule>) -> Vec<Token> {
    let mut tokens = Vec::new();
    for pair in pairs {
        collect(pair, Rule::script, &mut tokens);
    }
    tokens
}

/// The tokens of a part of the grammar that stands in another.
fn collect(pair: Pair<'_, Rule>, within: Rule, tokens: &mut Vec<Token>) {
    let rule = pair.as_rule();
    let span = pair.as_span();
    let mut inner = pair.into_inner().peekable();
    // What is written in one piece stays so.
    let whole = matches!(rule, Rule::attach_spec | Rule::c_attribute | Rule::c_params);
    if whole || inner.peek().is_none() {
        if span.start() < span.end() {
            tokens.push(Token { start: span.start(), end: span.end(), part: part(rule, within) });
        }
        return;
    }
    for pair in inner {
        collect(pair, rule, tokens);
    }
}

fn part(rule: Rule, within: Rule) -> Part {
    match (rule, within) {
        (Rule::open_brace, _) => Part::OpenBrace,
        (Rule::close_brace, Rule::c_body) => Part::CloseBody,
        (Rule::close_brace, _) => Part::CloseBrace,
        (
            Rule::open_paren,
            Rule::arguments | Rule::type_call | Rule::map_decl | Rule::typeof_type | Rule::macro_def,
        ) => Part::OpenCall,
        (Rule::open_paren, _) => Part::OpenParen,
        (Rule::close_paren, Rule::cast) => Part::CloseCast,
        (Rule::close_paren, _) => Part::CloseParen,
        (Rule::open_bracket, _) => Part::OpenBracket,
        (Rule::close_bracket, _) => Part::CloseBracket,
        (Rule::open_slash, _) => Part::OpenSlash,
        (Rule::close_slash, _) => Part::CloseSlash,
        (Rule::semicolon, _) => Part::Semicolon,
        (Rule::comma, Rule::probe) => Part::PointComma,
        (Rule::comma, Rule::c_values) => Part::EntryComma,
        (Rule::c_params, _) => Part::Postfix,
        (Rule::comma, _) => Part::Comma,
        (Rule::colon, Rule::let_stmt | Rule::option | Rule::fact_field | Rule::test_memory) => {
            Part::TypeColon
        }
        (Rule::field_op | Rule::dots, _) => Part::Tight,
        (Rule::pointer, _) => Part::Pointer,
        (Rule::increment_after | Rule::decrement_after, _) => Part::Postfix,
        (
            Rule::increment
            | Rule::decrement
            | Rule::negate
            | Rule::not
            | Rule::bit_not
            | Rule::dereference
            | Rule::address_of,
            _,
        ) => Part::Prefix,
        (
            Rule::assign
            | Rule::assign_op
            | Rule::question
            | Rule::colon
            | Rule::or_else
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
            | Rule::div
            | Rule::rem,
            _,
        ) => Part::Infix,
        (Rule::else_word, _) => Part::Else,
        // Everything else is a word: names, keywords, literals.
        _ => Part::Word,
    }
}
