//! Marks on names: a variable of a macro's body is not one of the same name where the macro is called.
//!
//! Each expansion has a number, and the names that its body declares carry it behind their text as one
//! character of a plane that no script's name can contain. Marks never reach a user: [`plain`] takes them off.

/// The first mark: the start of a private-use plane.
const FIRST: u32 = 0xF_0000;
/// How many expansions there can be: the plane's characters.
pub(crate) const MAX_EXPANSIONS: usize = 0xFFFD;

/// A name as it is in the body of an expansion.
pub(crate) fn marked(name: &str, expansion: usize) -> String {
    let mut marked = name.to_owned();
    marked.extend(char::from_u32(FIRST + expansion as u32));
    marked
}

/// The mark that a name carries.
pub(crate) fn mark_of(name: &str) -> Option<char> {
    name.chars().next_back().filter(|c| is_mark(*c))
}

/// A text without marks.
pub(crate) fn plain(text: &str) -> String {
    text.chars().filter(|c| !is_mark(*c)).collect()
}

fn is_mark(c: char) -> bool {
    (FIRST..FIRST + MAX_EXPANSIONS as u32).contains(&u32::from(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_tell_expansions_apart_and_come_off() {
        let (first, second) = (marked("x", 0), marked("x", MAX_EXPANSIONS - 1));
        assert_ne!(first, second);
        assert_ne!(mark_of(&first), mark_of(&second));
        assert_eq!(mark_of("x"), None);
        assert_eq!(plain(&format!("`${first}` and `${second}`")), "`$x` and `$x`");
    }
}
