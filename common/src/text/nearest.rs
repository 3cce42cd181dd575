//! The known name a user most likely meant.
//!
//! Owns the comparison only; who knows which names and what the message says is the caller's matter.

use strsim::levenshtein;

/// The one of `known` nearest to `given`, if any is near enough to be a slip of the pen.
///
/// Letter case and `-` for `_` count as nothing, so that `Max-Executors` finds `max_executors`.
/// Near enough means: at most a third of the longer name differs, and at least one letter is shared.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = plain(given);
    known
        .into_iter()
        .map(|name| {
            let name_plain = plain(name);
            let longer = name_plain.chars().count().max(given.chars().count());
            (levenshtein(&given, &name_plain), longer, name)
        })
        .filter(|(distance, longer, _)| *distance <= longer.div_ceil(3) && distance < longer)
        .min_by_key(|(distance, _, _)| *distance)
        .map(|(_, _, name)| name)
}

fn plain(name: &str) -> String {
    // A name this long is no slip of the pen, and the comparison below is quadratic.
    const LONGEST: usize = 100;
    name.chars()
        .take(LONGEST)
        .flat_map(char::to_lowercase)
        .map(|c| if c == '-' { '_' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["commands", "atomizers", "max_executors", "setup_build"];

    #[test]
    fn finds_the_slip_of_the_pen() {
        for (given, meant) in [
            ("comands", Some("commands")),
            ("command", Some("commands")),
            ("Atomizer", Some("atomizers")),
            ("max-executor", Some("max_executors")),
            ("setup", None),
            ("bogus", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, KNOWN), meant, "{given}");
        }
    }
}
