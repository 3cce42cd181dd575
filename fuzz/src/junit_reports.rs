//! Reports of tests, which the commands of atoms leave.

use clusterrunner_common::junit::{Reported, SuiteOfAtom, beginning, end, read_form, suite};

/// A report is read or named as unread; what is read travels whole, and is read again out of the report that is written
/// of it.
///
/// # Panics
/// Reading it panics, or one of these is not so.
pub fn junit_reports(report: &[u8]) {
    let mut reported = Reported::default();
    reported.read("junit.xml", report.to_vec());
    let form = reported.to_form();
    if reported.warning().is_some() {
        return assert!(reported.tests.is_empty(), "half of a report was read");
    }
    let arrived = form.map(|form| read_form(&form)).unwrap_or_default();
    assert_eq!(arrived, reported.tests);
    let written = suite(SuiteOfAtom {
        name: "atom",
        time: None,
        tests: &reported.tests,
    });
    let written = [&*beginning("build"), &*written, end()].concat();
    let mut again = Reported::default();
    again.read("junit.xml", written.into_bytes());
    assert_eq!(again.warning(), None);
    let outcomes = |reported: &Reported| -> Vec<_> {
        reported.tests.iter().map(|test| test.outcome).collect()
    };
    assert_eq!(outcomes(&again), outcomes(&reported));
}
