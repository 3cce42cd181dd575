//! `clusterrunner.yaml`, and what atomizers print.

use clusterrunner_common::job::config::{
    Factor, JobConfig, atoms_of_product, values_from_output, variable_of,
};

/// A job file is read or refused, and each mistake is told in a line of the file.
///
/// # Panics
/// Reading it panics, or a mistake is told elsewhere.
pub fn jobs(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    // YAML ends lines as old systems did, too. The last line may be empty: something may be missing there.
    let ends = text.replace("\r\n", "\n");
    let lines = ends.matches(['\n', '\r']).count() as u64 + 1;
    let check_place = |line: Option<u64>| {
        assert!(
            line.is_none_or(|line| (1..=lines).contains(&line)),
            "line {line:?} of {lines}"
        );
    };
    match JobConfig::parse(text, "clusterrunner.yaml") {
        Ok(jobs) => {
            jobs.problems()
                .for_each(|problem| check_place(problem.line()));
            for name in jobs.names() {
                let (found, _) = match jobs.job(Some(name)) {
                    Ok(job) => job,
                    // A job with mistakes is told as such.
                    Err(error) => return assert!(!error.to_string().is_empty()),
                };
                assert_eq!(found, name);
            }
        }
        Err(error) => {
            error
                .problems()
                .iter()
                .for_each(|problem| check_place(problem.line()));
            assert!(!error.to_string().is_empty());
        }
    }
    let found = values_from_output(text, "/project");
    let some = &found.values[..found.values.len().min(30)];
    let factors = ["A", "B"].map(|name| Factor { name, values: some });
    let product = atoms_of_product(&factors, false, 1 << 20).unwrap_or_default();
    let pairs = some.iter().flat_map(|a| some.iter().map(move |b| (a, b)));
    for (atom, (a, b)) in product.iter().zip(pairs) {
        let shown = variable_of(atom, false).map(|(_, value)| value.into_owned());
        assert_eq!(shown, Some(format!("A={a} B={b}")), "{atom}");
    }
    for atom in found.atoms("NAME") {
        assert!(
            atom.starts_with("export NAME=\"") && atom.ends_with("\";"),
            "{atom}"
        );
        assert!(!atom.contains('\n'), "an atom of several lines: {atom}");
    }
}
