//! What atomizers found: atoms, and what is to be told of how they were printed. Pure.

use super::output::{MAX_OUTPUT, Printed};
use clusterrunner_common::job::config::{
    Atomizer, Factor, Lines, TooLarge, atoms_of_product, values_from_output,
};
use std::collections::HashSet;

/// What atomizers found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) atoms: Vec<String>,
    /// For the user.
    pub(super) warnings: Vec<String>,
}

impl Found {
    /// The values of an atomizer, and what is to be told of them.
    pub(super) fn read(&mut self, atomizer: &Atomizer, printed: &Printed, project: &str) -> Lines {
        let name = &atomizer.name;
        let lines = values_from_output(&printed.output, project);
        match lines.blank {
            0 => {}
            1 => self.warn(name, "printed a blank line, which is no atom."),
            blank => {
                let what = format!("printed {blank} blank lines, which are no atoms.");
                self.warn(name, &what);
            }
        }
        let is_damaged = |line: &&str| line.contains(char::REPLACEMENT_CHARACTER);
        if let Some(line) = printed.output.lines().find(is_damaged) {
            self.warn(
                name,
                &format!("printed what is no UTF-8 text; its atom names no such file: {line}"),
            );
        }
        if printed.is_cut {
            self.warn(
                name,
                "left something running that could still print after its end: what came too late makes no atoms.",
            );
        }
        if let Some(errors) = printed.shown_errors() {
            self.warn(name, &format!("succeeded.{errors}"));
        }
        lines
    }

    /// Adds the atoms of atomizers that belong together.
    pub(super) fn add(
        &mut self,
        group: &[Atomizer],
        mut found: Vec<Lines>,
        are_shell_text: bool,
    ) -> Result<(), TooLarge> {
        if let ([alone], 1) = (group, found.len()) {
            let lines = found.pop().unwrap_or_default();
            self.atoms.extend(lines.atoms(&alone.name));
            return Ok(());
        }
        let factors = group.iter().zip(&found);
        let factors: Vec<Factor<'_>> = factors
            .map(|(atomizer, lines)| Factor {
                name: &atomizer.name,
                values: &lines.values,
            })
            .collect();
        for factor in &factors {
            if factor.values.is_empty() {
                self.warn(
                    factor.name,
                    "printed no value, so its product has no atoms.",
                );
            }
        }
        let atoms = atoms_of_product(&factors, are_shell_text, MAX_OUTPUT as u64)?;
        self.atoms.extend(atoms);
        Ok(())
    }

    fn warn(&mut self, name: &str, what: &str) {
        self.warnings.push(format!("The atomizer of {name} {what}"));
    }
}

/// Atoms that are the same as one before them: they run as often, which is mostly a mistake.
pub(super) fn repeated(atoms: &[String]) -> Option<String> {
    let mut seen = HashSet::new();
    let mut again = atoms.iter().filter(|atom| !seen.insert(atom.as_str()));
    let first = again.next()?;
    let what = match again.count() {
        0 => "1 atom is the same as one before it".to_owned(),
        more => format!("{} atoms are the same as ones before them", more + 1),
    };
    let first: String = first.chars().take(200).collect();
    Some(format!("{what}, and run again: {first}"))
}
