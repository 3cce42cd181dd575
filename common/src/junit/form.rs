//! The form in which the tests of an atom travel and are kept: lines of JSON, each a test.

use super::ReportedTest;
use super::bounds::{FORM_WITH_MESSAGES, MAX_FORM, MAX_TESTS};

/// The form of some tests, and how many had no room in it.
pub(super) fn write_form(tests: &[ReportedTest]) -> (Vec<u8>, u64) {
    let mut form = Vec::new();
    for (number, test) in tests.iter().enumerate() {
        let is_full = form.len() > FORM_WITH_MESSAGES && test.message.is_some();
        let line = match is_full {
            true => serde_json::to_vec(&ReportedTest {
                message: Some(
                    "(left out: the messages of this atom's tests are too long)".to_owned(),
                ),
                ..test.clone()
            }),
            false => serde_json::to_vec(test),
        };
        // A test is text and numbers, which always are JSON.
        let line = line.unwrap_or_default();
        if form.len() + line.len() >= MAX_FORM {
            return (form, (tests.len() - number) as u64);
        }
        form.extend(line);
        form.push(b'\n');
    }
    (form, 0)
}

/// The tests of a form. It comes from a peer: a line that is no test is none.
#[must_use]
pub fn read_form(form: &[u8]) -> Vec<ReportedTest> {
    let lines = form.split(|byte| *byte == b'\n');
    let tests = lines.filter_map(|line| serde_json::from_slice(line).ok());
    tests.take(MAX_TESTS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::junit::TestOutcome;

    fn test(message: Option<String>) -> ReportedTest {
        ReportedTest {
            name: "adds".to_owned(),
            class: None,
            file: Some("a.py".to_owned()),
            time: Some(0.25),
            outcome: TestOutcome::Failed,
            message,
        }
    }

    #[test]
    fn tests_are_read_as_they_were_written() {
        let tests = [test(None), test(Some("line\n\u{1b}[1m\"ü\"".to_owned()))];
        let (form, left_out) = write_form(&tests);
        assert_eq!((read_form(&form), left_out), (tests.to_vec(), 0));
        let damaged = [b"{}\n\xff\n[1]\nnull\n", &form[..], b"{\"name\":\"cut"].concat();
        assert_eq!(read_form(&damaged), tests);
        assert_eq!(read_form(b""), []);
    }

    #[test]
    fn it_has_a_largest_size_and_says_what_is_not_in_it() {
        let long = vec![test(Some("m".repeat(16 << 10))); 1_000];
        let (form, left_out) = write_form(&long);
        let kept = read_form(&form);
        assert_eq!((kept.len(), left_out), (1_000, 0));
        assert!(form.len() < MAX_FORM && kept[0] == long[0] && kept[999] != long[999]);
        let many = vec![test(None); 200_000];
        let (form, left_out) = write_form(&many);
        assert!(form.len() <= MAX_FORM && left_out > 0);
        let kept = form.iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(kept + left_out, 200_000);
    }
}
