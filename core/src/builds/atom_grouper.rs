//! Which atoms go into one subjob.

/// Groups atoms to subjobs: one inner list each.
///
/// Every atom is a subjob of its own, in the atomizers' order, as in the original where nothing is
/// known about durations: no executor then waits for a batch that another one is busy with. Atoms that are to run
/// `in_order` are one subjob, since an executor runs the atoms of a subjob one after the other.
#[must_use]
pub fn group(atoms: Vec<String>, in_order: bool) -> Vec<Vec<String>> {
    match in_order && !atoms.is_empty() {
        true => vec![atoms],
        false => atoms.into_iter().map(|atom| vec![atom]).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_atom_is_in_one_subjob() {
        let atoms = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(group(atoms.clone(), false), [["a"], ["b"]]);
        assert_eq!(group(atoms, true), [["a", "b"]]);
        assert!(group(Vec::new(), false).is_empty());
        assert!(group(Vec::new(), true).is_empty());
    }
}
