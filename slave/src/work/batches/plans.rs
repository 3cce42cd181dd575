//! Whether the results came that a console plans: TAP's plans (`1..9`), each with results of its own. Pure.
//!
//! A batch may run many programs. Each has its plan before its results or behind them, and its numbers begin with 1. Between
//! them stand lines of others: `ok <atom>` of the loop that runs them, say. None of these stands in for a result that is missing,
//! so each result counts for one plan at most:
//!
//! * Numbered results count in their order, up to the next 1.
//! * Results without a number count for a plan that has no numbered ones. Those that name atoms count only for a plan of at
//!   least as many as the batch has atoms.

/// The plans of a console and their results, line by line.
#[derive(Debug)]
pub(super) struct Plans<N> {
    /// Whether a word names an atom of the batch.
    names_atom: N,
    /// How many atoms the batch has.
    atoms: u64,
    /// How many results are planned and have not all come yet.
    open: Option<u64>,
    /// The results since then; without an open plan those that a plan behind them may be for.
    results: Results,
    /// Whether anything was planned.
    pub(super) are_some: bool,
    is_unmet: bool,
}

/// Results that may be of one plan.
#[derive(Clone, Copy, Debug, Default)]
struct Results {
    numbered: u64,
    of_atoms: u64,
    others: u64,
}

impl<N: Fn(&str) -> bool> Plans<N> {
    pub(super) fn new(atoms: usize, names_atom: N) -> Self {
        Self {
            names_atom,
            atoms: atoms as u64,
            open: None,
            results: Results::default(),
            are_some: false,
            is_unmet: false,
        }
    }

    pub(super) fn see(&mut self, line: &str) {
        if let Some(planned) = plan(line) {
            self.plan(planned);
        } else if let Some((number, name)) = result(line) {
            self.result(number, name);
        }
    }

    /// Whether results are missing, at the end of the console.
    pub(super) fn are_unmet(mut self) -> bool {
        self.close();
        self.is_unmet
    }

    fn plan(&mut self, planned: u64) {
        self.close();
        let before = std::mem::take(&mut self.results);
        if planned == 0 {
            return;
        }
        self.are_some = true;
        if before.numbered > 0 {
            // It stands behind its results.
            self.is_unmet |= before.numbered != planned;
        } else if !self.is_met(planned, before) {
            self.open = Some(planned);
        }
    }

    fn result(&mut self, number: Option<u64>, name: &str) {
        match number {
            // Another program has begun.
            Some(1) if self.results.numbered > 0 => {
                self.close();
                self.results = Results {
                    numbered: 1,
                    ..Results::default()
                };
            }
            Some(number) if number == self.results.numbered + 1 => self.results.numbered = number,
            Some(_) => {}
            None if (self.names_atom)(name) => self.results.of_atoms += 1,
            None => self.results.others += 1,
        }
        // What comes later is of others.
        if self.open == Some(self.results.numbered) {
            self.open = None;
            self.results = Results::default();
        }
    }

    fn close(&mut self) {
        if let Some(planned) = self.open.take() {
            self.is_unmet |= !self.is_met(planned, self.results);
            self.results = Results::default();
        }
    }

    fn is_met(&self, planned: u64, results: Results) -> bool {
        let Results {
            numbered,
            of_atoms,
            others,
        } = results;
        match numbered {
            0 if others == planned => true,
            0 => planned >= self.atoms && of_atoms + others == planned,
            numbered => numbered == planned,
        }
    }
}

/// How many tests a plan of TAP announces.
fn plan(line: &str) -> Option<u64> {
    let number = line.strip_prefix("1..")?;
    let number = number.split('#').next().unwrap_or(number);
    number.trim_end().parse().ok()
}

/// The number and the name of a result of TAP, whatever it says. Lines of `go test` are none.
fn result(line: &str) -> Option<(Option<u64>, &str)> {
    let rest = line.strip_prefix("not ").unwrap_or(line);
    let rest = rest.strip_prefix("ok")?;
    if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
        return None;
    }
    if rest.trim_start_matches(' ').starts_with('\t') {
        return None;
    }
    let rest = rest.split(" # ").next().unwrap_or(rest).trim();
    let number = rest.split(char::is_whitespace).next().unwrap_or(rest);
    Some((number.parse().ok(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn are_unmet(atoms: &[&str], console: &str) -> bool {
        let mut plans = Plans::new(atoms.len(), |word: &str| atoms.contains(&word));
        console.lines().for_each(|line| plans.see(line));
        plans.are_unmet()
    }

    #[test]
    fn a_plan_for_more_results_than_there_are() {
        for (console, expected) in [
            ("1..3\nok a\nok b\n", true),
            ("ok a\nok b\n1..3 # all\n", true),
            ("1..3\nok a\nnot ok b # TODO later\nok\n", false),
            ("1..2\nok 1\nok 2\nok a\n1..1\nok 1\nok b\n", false),
            ("ok 1\nok 2\n1..2\nok a\nok 1 - x\n1..1\nok b\n", false),
            ("1..2\nok 1\n1..3\nok 1\nok 2\n", true),
            ("1..2\nok 1\nnot ok 2\n1..2\nok 1\nok 2 # SKIP\n", false),
            ("1..0 # SKIP\n    1..9\n1..x\n", false),
            ("ok 1\nok 3\n1..3\n", true),
            ("okay\nok7\n1..2\nok 1\nok 2\n", false),
        ] {
            assert_eq!(are_unmet(&["t/a", "t/b"], console), expected, "{console}");
        }
    }

    #[test]
    fn results_of_others_stand_in_for_none() {
        let atoms = ["t/a", "t/b", "t/c", "t/d"];
        for (console, expected) in [
            (
                "1..3\nok 1\nok 2 - died\nok t/a\nok t/b\nok t/c\nok t/d\n",
                true,
            ),
            (
                "1..3\nok 1\nok 2 - died\nok 1 - t/a\nok 2 - t/b\nok 3 - t/c\n",
                true,
            ),
            ("1..2\nok - one\nok t/a\nok t/b\n", true),
            ("1..2\nok t/a\nok t/b\n", true),
            ("1..2\nok 1\nok  \tt/a\t0.1s\nok  \tt/b\t0.1s\n", true),
            ("ok t/a\nok 1\n1..2\nok t/b\nok t/c\n", true),
            ("ok 1\nok 2\nok 3\n1..2\nok t/a\n", true),
            ("1..4\nok t/a\nok t/b\nok t/c\nok t/d\n", false),
            ("ok t/a\nok t/b\nok t/c\nok t/d\n1..4\n", false),
            ("ok t/a\nok t/b\nok t/c\nok t/d\n1..9\n", true),
            (
                "1..4\nok 1 - t/a\nok 2 - t/b\nok 3 - t/c\nok 4 - t/d\n",
                false,
            ),
            ("ok t/a\n1..2\nok 1\nok 2\nok t/b\n", false),
            ("1..2\nok - one\nok t/a\nok - two\nok t/b\n", false),
        ] {
            assert_eq!(are_unmet(&atoms, console), expected, "{console}");
        }
    }

    proptest! {
        /// Programs one after the other, each with its plan at one end and a line for its atom behind it.
        #[test]
        fn one_missing_result_shows_whatever_is_around_it(
            programs in prop::collection::vec((1_u64..5, any::<bool>()), 1..6),
            missing in any::<prop::sample::Index>(),
        ) {
            let mut lines = Vec::new();
            let mut results = Vec::new();
            for (number, (planned, is_first)) in programs.iter().enumerate() {
                let plan = format!("1..{planned}");
                lines.extend(is_first.then(|| plan.clone()));
                for result in 1..=*planned {
                    results.push(lines.len());
                    lines.push(format!("ok {result} - part"));
                }
                lines.extend((!is_first).then_some(plan));
                lines.push(format!("ok t/{number}"));
            }
            let atoms = ["t/0", "t/1", "t/2", "t/3", "t/4", "t/5"];
            prop_assert!(!are_unmet(&atoms, &lines.join("\n")));
            lines.remove(*missing.get(&results));
            prop_assert!(are_unmet(&atoms, &lines.join("\n")));
        }
    }
}
