//! `clusterrunner.yaml`, and what atomizers print.

use clusterrunner_common::job::config::{JobConfig, atoms_from_output};

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
    for atom in atoms_from_output("NAME", text, "/project").atoms {
        assert!(
            atom.starts_with("export NAME=\"") && atom.ends_with("\";"),
            "{atom}"
        );
        assert!(!atom.contains('\n'), "an atom of several lines: {atom}");
    }
}
