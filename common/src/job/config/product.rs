//! Atoms that set several variables: the product of what several atomizers print.
//!
//! Such an atom is shell text that is quoted already, since of values that are not nobody could tell where one ends:
//! `A="1" B="x y"; export A B;`. So no atom of one variable, whatever its value, is taken for one of several.

use super::quoting::{PROJECT, SPECIAL, continues_a_name, quoted};
use crate::process::variables::is_name;
use std::borrow::Cow;

/// What one atomizer of a product gives.
#[derive(Clone, Copy, Debug)]
pub struct Factor<'a> {
    /// The variable that it sets.
    pub name: &'a str,
    /// The values that the variable takes, one after the other.
    pub values: &'a [String],
}

/// A product that is not made, since it is too large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// How many values each variable has.
    pub factors: Vec<(String, usize)>,
    /// How many atoms it would have.
    pub atoms: u128,
    /// How many bytes these would have.
    pub bytes: u128,
}

/// The atoms of a product: one for each combination of the values, the last variable changing fastest. The values are
/// quoted for the shell unless they are shell text.
///
/// # Errors
/// All of them together would have more than `most_bytes`.
pub fn atoms_of_product(
    factors: &[Factor<'_>],
    are_shell_text: bool,
    most_bytes: u64,
) -> Result<Vec<String>, TooLarge> {
    let written = |factor: &Factor<'_>| -> Vec<String> {
        let values = factor.values.iter();
        let values = values.map(|value| match are_shell_text {
            true => Cow::Borrowed(value.as_str()),
            false => quoted(value),
        });
        let name = factor.name;
        values.map(|value| format!("{name}=\"{value}\"")).collect()
    };
    let written: Vec<Vec<String>> = factors.iter().map(written).collect();
    let names: Vec<&str> = factors.iter().map(|factor| factor.name).collect();
    let end = format!("; export {};", names.join(" "));
    let (atoms, bytes) = size(&written, end.len());
    if bytes > u128::from(most_bytes) {
        let factors = factors.iter();
        let factors = factors.map(|factor| (factor.name.to_owned(), factor.values.len()));
        return Err(TooLarge {
            factors: factors.collect(),
            atoms,
            bytes,
        });
    }
    let mut found = vec![String::new()];
    for (index, assignments) in written.iter().enumerate() {
        let gap = if index > 0 { " " } else { "" };
        found = found
            .iter()
            .flat_map(|before| {
                assignments
                    .iter()
                    .map(move |next| format!("{before}{gap}{next}"))
            })
            .collect();
    }
    for atom in &mut found {
        atom.push_str(&end);
    }
    Ok(found)
}

/// How many atoms there will be, and how many bytes of them.
fn size(written: &[Vec<String>], end: usize) -> (u128, u128) {
    let number = |values: &Vec<String>| values.len() as u128;
    let atoms = written.iter().map(number).fold(1, u128::saturating_mul);
    let gaps = written.len().saturating_sub(1);
    let mut bytes = atoms.saturating_mul((gaps + end) as u128);
    for values in written {
        let own: u128 = values.iter().map(|value| value.len() as u128).sum();
        // Each of its values is in as many atoms as the others have combinations.
        let times = atoms.checked_div(number(values)).unwrap_or(0);
        bytes = bytes.saturating_add(own.saturating_mul(times));
    }
    (atoms, bytes)
}

/// The variables that an atom of a product sets, and what to. `None` for all other atoms, and where only a shell can tell.
pub(super) fn variables_of(atom: &str) -> Option<Vec<(&str, String)>> {
    let (found, after) = assigned(atom)?;
    after.is_empty().then_some(found)
}

/// A text that begins with an atom of a product, with one `export` for all its variables, which means the same. Other texts as
/// they are.
#[must_use]
pub fn with_one_export(text: &str) -> Cow<'_, str> {
    let one_export = || {
        let (found, after) = assigned(text)?;
        // It would be used by those behind it.
        let has_directory = found.iter().any(|(name, _)| *name == "PROJECT_DIR");
        let (assignments, _) = text.strip_suffix(after)?.rsplit_once("; export ")?;
        (!has_directory).then(|| Cow::Owned(format!("export {assignments};{after}")))
    };
    one_export().unwrap_or(Cow::Borrowed(text))
}

/// The variables that an atom of a product at the beginning of a text sets, and what comes after the atom.
fn assigned(text: &str) -> Option<(Vec<(&str, String)>, &str)> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let (name, after) = rest.split_once("=\"")?;
        if !is_name(name) {
            return None;
        }
        let (value, after) = unquoted(after)?;
        found.push((name, value));
        match after.strip_prefix(' ') {
            Some(next) => rest = next,
            None => {
                rest = after;
                break;
            }
        }
    }
    let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
    let after = rest.strip_prefix(&format!("; export {};", names.join(" ")))?;
    (found.len() > 1).then_some((found, after))
}

/// A value that is written in double quotes, from behind the first one, and what comes after the last one. Of variables
/// it may have only the project's directory.
fn unquoted(text: &str) -> Option<(String, &str)> {
    const IN_BRACES: &str = "${PROJECT_DIR}";
    let mut value = String::new();
    let mut rest = text;
    loop {
        let (plain, special) = rest.split_at(rest.find(SPECIAL)?);
        value.push_str(plain);
        let mut next = special.chars();
        rest = match next.next()? {
            '"' => return Some((value, next.as_str())),
            '\\' => {
                let escaped = next.next()?;
                if !SPECIAL.contains(&escaped) {
                    value.push('\\');
                }
                value.push(escaped);
                next.as_str()
            }
            _ => {
                value.push_str(PROJECT);
                match special.strip_prefix(IN_BRACES) {
                    Some(after) => after,
                    None => special
                        .strip_prefix(PROJECT)
                        .filter(|after| !continues_a_name(after))?,
                }
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::{quoted_atom, variable_of};
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn product(first: &[&str], second: &[&str], are_shell_text: bool) -> Vec<String> {
        let (first, second) = (texts(first), texts(second));
        let factors = [("PY", &first), ("TEST", &second)];
        let factors = factors.map(|(name, values)| Factor { name, values });
        atoms_of_product(&factors, are_shell_text, 10_000).unwrap()
    }

    #[test]
    fn each_value_meets_each_other() {
        assert_eq!(
            product(&["3.11", "3.12"], &["a", "b"], false),
            [
                r#"PY="3.11" TEST="a"; export PY TEST;"#,
                r#"PY="3.11" TEST="b"; export PY TEST;"#,
                r#"PY="3.12" TEST="a"; export PY TEST;"#,
                r#"PY="3.12" TEST="b"; export PY TEST;"#,
            ]
        );
        assert!(product(&["3.11"], &[], false).is_empty());
        assert_eq!(
            product(&["$(id)"], &["`a`"], true),
            [r#"PY="$(id)" TEST="`a`"; export PY TEST;"#]
        );
    }

    /// What a shell makes of an atom, and what is shown of it, is what was printed, whatever that was.
    #[test]
    fn hostile_values_stay_what_they_are() {
        let hostile = [
            "plain",
            "two words",
            "a\" TEST=\"b",
            "\"; export PY TEST;",
            "x\"; touch /nowhere; \"",
            "$(id)",
            "`id`",
            "back\\slash\\",
            "$HOME ${A}",
            "'",
            "!",
            "é\u{2028}",
            "\\\"",
            "$$",
            "",
        ];
        for first in hostile {
            for second in hostile {
                let atoms = product(&[first], &[second], false);
                let [atom] = atoms.as_slice() else {
                    panic!("{atoms:?}");
                };
                let expected = vec![("PY", first.to_owned()), ("TEST", second.to_owned())];
                assert_eq!(variables_of(atom), Some(expected), "{atom}");
                assert_eq!(quoted_atom(atom), *atom, "is quoted already");
                let said = std::process::Command::new("sh")
                    .args(["-c", &format!("{atom} env -0")])
                    .env_clear()
                    .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                    .output()
                    .unwrap();
                let said = String::from_utf8(said.stdout).unwrap();
                for variable in [format!("PY={first}"), format!("TEST={second}")] {
                    assert!(
                        said.split('\0').any(|one| one == variable),
                        "{atom}: {said}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_directory_of_the_project_stays_a_variable() {
        let atoms = product(&["$PROJECT_DIR/a"], &["$PROJECT_DIRS"], false);
        assert_eq!(
            atoms,
            [r#"PY="$PROJECT_DIR/a" TEST="\$PROJECT_DIRS"; export PY TEST;"#]
        );
        let (names, pairs) = variable_of(&atoms[0], false).unwrap();
        assert_eq!(names, "PY TEST");
        assert_eq!(pairs, "PY=$PROJECT_DIR/a TEST=$PROJECT_DIRS");
    }

    #[test]
    fn no_other_atom_is_taken_for_a_product() {
        for other in [
            r#"export A="1";"#,
            r#"export A="1" B="2"; export A B;"#,
            r#"A="1"; export A;"#,
            r#"A="1" B="2"; export A;"#,
            r#"A="1" B="2"; export B A;"#,
            r#"A="1" B="2"; export A B; more"#,
            r#"A="$HOME" B="2"; export A B;"#,
            r#"A="$PROJECT_DIRS" B="2"; export A B;"#,
            r#"A="`id`" B="2"; export A B;"#,
            r#"A B="1" C="2"; export A B C;"#,
            r#"A="1\"#,
            "",
        ] {
            assert_eq!(variables_of(other), None, "{other}");
        }
        // A value of one variable that is written as a product.
        let one = r#"export A="1" B="2"; export A B;"#;
        assert_eq!(
            variable_of(r#"export A="1" B="2"; export A B";"#, false),
            Some(("A".into(), r#"1" B="2"; export A B"#.into()))
        );
        assert_eq!(variable_of(one, false), None);
    }

    #[test]
    fn the_variables_of_a_product_are_exported_at_once() {
        for (text, expected) in [
            (
                r#"A="; export x" B="$PROJECT_DIR/\"b"; export A B; run | x"#,
                r#"export A="; export x" B="$PROJECT_DIR/\"b"; run | x"#,
            ),
            (r#"A="1" B="2"; export A B;"#, r#"export A="1" B="2";"#),
        ] {
            assert_eq!(with_one_export(text), expected);
        }
        for other in [
            r#"export A="1"; run"#,
            r#"A="1" B="$X"; export A B; run"#,
            r#"PROJECT_DIR="1" B="$PROJECT_DIR"; export PROJECT_DIR B; run"#,
            "run",
        ] {
            assert_eq!(with_one_export(other), other);
        }
    }

    #[test]
    fn a_product_that_is_too_large_is_not_made() {
        let values: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let factors = ["A", "B", "C", "D"].map(|name| Factor {
            name,
            values: &values,
        });
        let few = atoms_of_product(&factors[..2], false, 1 << 20).unwrap();
        assert_eq!(few.len(), 10_000);
        let bytes: usize = few.iter().map(String::len).sum();
        // The bound is exact.
        assert_eq!(
            atoms_of_product(&factors[..2], false, bytes as u64),
            Ok(few)
        );
        let error = atoms_of_product(&factors[..2], false, bytes as u64 - 1).unwrap_err();
        assert_eq!((error.atoms, error.bytes), (10_000, bytes as u128));
        let error = atoms_of_product(&factors, false, 1 << 20).unwrap_err();
        assert_eq!(error.atoms, 100_000_000);
        assert_eq!(error.factors[3], ("D".to_owned(), 100));
    }
}
