//! Which atoms go into one subjob.

/// Groups atoms to subjobs: one inner list each.
///
/// Every atom is a subjob of its own, in the atomizers' order, as in the original where nothing is
/// known about durations: no executor then waits for a batch that another one is busy with.
#[must_use]
pub fn group(atoms: Vec<String>) -> Vec<Vec<String>> {
    atoms.into_iter().map(|atom| vec![atom]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_atom_is_in_one_subjob_in_order() {
        let atoms = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(group(atoms), [["a"], ["b"]]);
        assert!(group(Vec::new()).is_empty());
    }
}
