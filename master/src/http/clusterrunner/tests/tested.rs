//! The tests of a build, as its atoms' reports name them.

use super::results::{BUILD_ID, body, report, working};
use super::*;
use clusterrunner_common::ids::{AtomId, Attempt, BuildId, SubjobId};
use clusterrunner_common::junit::{Reported, TestOutcome};
use clusterrunner_common::results::block::{AtomResult, BlockWriter, Console};

const TESTS: &str = "/v2/builds/1/tests";

const REPORT: &str = "<testsuite name='s' file='s.py'><testcase name='adds' time='0.5'/><testcase name='breaks' \
                      classname='Sums' time='2'><failure message='1 &lt; 2'/></testcase><testcase name='later'>\
                      <skipped/></testcase><testcase name='flakes' time='1'><flakyFailure message='once'/></testcase>\
                      </testsuite>";

/// A result of an atom that left a report, or none.
fn block(subjob: u32, exit_code: i32, report: Option<&str>) -> Vec<u8> {
    let mut block = BlockWriter::new(Vec::new(), CancellationToken::new());
    block.begin(SubjobId(subjob), Attempt(1));
    let result = AtomResult {
        command: "true",
        exit_code,
        seconds: 1.25,
        ended_at: 0,
        console: Console::Memory(b""),
        artifacts: None,
    };
    let mut reported = Reported::default();
    if let Some(report) = report {
        reported.read("junit.xml", report.as_bytes().to_vec());
    }
    let tests = reported.to_form();
    block
        .add_with_tests(AtomId(0), &result, tests.as_deref())
        .unwrap();
    block.finish().unwrap().0
}

impl Master {
    async fn ends(&self, subjob: u32, exit_code: i32, junit: Option<&str>) {
        let report = report(&[(subjob, 1)]).to_string();
        let body = body(&report, &block(subjob, exit_code, junit));
        let (status, answer) = self.upload_to("/v1/build/1/results", body).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// The names of the tests that a query finds, and how many there are.
    async fn names(&self, query: &str) -> (String, u64) {
        let (status, body) = self.get(&format!("{TESTS}?{query}")).await;
        assert_eq!(status, 200, "{body}");
        let tests = body["tests"].as_array().unwrap().iter();
        let names: Vec<&str> = tests.map(|test| test["name"].as_str().unwrap()).collect();
        (names.join(" "), body["total"].as_u64().unwrap())
    }
}

/// The blocks have the tests too; a list of them is not worth a result.
#[tokio::test]
async fn a_result_counts_where_its_tests_can_not_be_kept() {
    let master = working().await;
    let build = master.directory.path().join("results/1");
    std::fs::create_dir_all(build.join("tests")).unwrap();
    master.ends(1, 1, Some(REPORT)).await;
    master.ends(0, 0, None).await;
    let (_, body) = master.get("/v2/builds/1").await;
    assert_eq!(body["build"]["num_atoms_completed"], 2);
}

#[tokio::test]
async fn tests_are_listed_while_the_build_runs() {
    let master = working().await;
    let nothing = json!({"passed": 0, "failed": 0, "skipped": 0, "flaky": 0});
    let expected = json!({"tests": [], "total": 0, "counts": nothing, "child_routes": {}});
    assert_eq!(master.get(TESTS).await, (200, expected));
    master.ends(1, 1, Some(REPORT)).await;
    master.ends(0, 0, None).await;
    let (status, body) = master.get(TESTS).await;
    assert_eq!(status, 200, "{body}");
    let counts = json!({"passed": 2, "failed": 1, "skipped": 1, "flaky": 1});
    assert_eq!((&body["counts"], &body["total"]), (&counts, &json!(5)));
    let of_atom = json!({
        "name": "a", "class": null, "file": null, "time": 1.25, "outcome": "passed", "atom": "a", "message": null,
        "subjob_id": 0, "atom_id": 0,
    });
    let of_report = json!({
        "name": "breaks", "class": "Sums", "file": "s.py", "time": 2.0, "outcome": "failed", "atom": "b",
        "message": "1 < 2", "subjob_id": 1, "atom_id": 0,
    });
    assert_eq!(
        (&body["tests"][0], &body["tests"][2]),
        (&of_atom, &of_report)
    );
    // One that failed, and no test of it did.
    master
        .ends(2, 3, Some("<testsuite><testcase name='fine'/></testsuite>"))
        .await;
    let failed = master.get(&format!("{TESTS}?q=c&outcome=failed")).await.1;
    let failed: Vec<_> = failed["tests"].as_array().unwrap().iter().collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(
        (&failed[0]["name"], &failed[0]["message"]),
        (&json!("c"), &json!("exit code 3"))
    );
}

#[tokio::test]
async fn a_list_has_pages_filters_and_an_order() {
    let master = working().await;
    master.ends(0, 0, None).await;
    master.ends(1, 1, Some(REPORT)).await;
    for (query, names, total) in [
        ("", "a adds breaks later flakes", 5),
        ("limit=2", "a adds", 5),
        ("offset=2&limit=2", "breaks later", 5),
        ("offset=9", "", 5),
        ("limit=0", "", 5),
        ("outcome=failed", "breaks", 1),
        ("outcome=failed,flaky&limit=1", "breaks", 2),
        ("outcome=failed,%20flaky&offset=1", "flakes", 2),
        ("outcome=", "a adds breaks later flakes", 5),
        ("q=SUMS", "breaks", 1),
        ("q=s.PY&outcome=passed", "adds", 1),
        ("q=b", "adds breaks later flakes", 4),
        ("sort=slowest", "breaks a flakes adds later", 5),
        ("sort=slowest&offset=1&limit=2", "a flakes", 5),
        ("sort=slowest&outcome=passed&limit=1", "a", 2),
    ] {
        let expected = (names.to_owned(), total);
        assert_eq!(master.names(query).await, expected, "{query}");
    }
    for (query, said) in [
        (
            "outcome=green",
            "'outcome' must be of passed, failed, skipped, flaky, not 'green'.",
        ),
        ("sort=name", "'sort' must be slowest, not 'name'."),
        ("limit=x", "'limit' must be a whole number, not 'x'."),
    ] {
        let (status, body) = master.get(&format!("{TESTS}?{query}")).await;
        assert_eq!((status, &body["error"]), (400, &json!(said)));
    }
    assert_eq!(master.get("/v2/builds/9/tests").await.0, 404);
    assert_eq!(master.get("/v2/builds/9/junit.xml").await.0, 404);
}

#[tokio::test]
async fn one_report_has_all_tests() {
    let master = working().await;
    master.ends(0, 0, None).await;
    master.ends(1, 1, Some(REPORT)).await;
    let request = Request::get("/v2/builds/1/junit.xml");
    let request = request.body(Body::empty()).unwrap();
    let response = master.routes.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/xml");
    let report = axum::body::to_bytes(response.into_body(), 1 << 20).await;
    let report = String::from_utf8(report.unwrap().to_vec()).unwrap();
    assert!(report.contains("<testsuites name=\"build 1\">"), "{report}");
    let suite = "<testsuite name=\"b\" tests=\"4\" failures=\"1\" errors=\"0\" skipped=\"1\" time=\"1.250\">";
    assert!(report.contains(suite), "{report}");
    let mut read = Reported::default();
    read.read("junit.xml", report.into_bytes());
    assert_eq!(read.warning(), None);
    let outcomes: Vec<TestOutcome> = read.tests.iter().map(|test| test.outcome).collect();
    use TestOutcome::{Failed, Flaky, Passed, Skipped};
    assert_eq!(outcomes, [Passed, Passed, Failed, Skipped, Flaky]);
}

#[tokio::test]
async fn tests_lie_beside_the_results() {
    let master = working().await;
    master.ends(1, 1, Some(REPORT)).await;
    // Nothing of it is held in memory, so a restart changes nothing.
    let stored = master.results.tests(BUILD_ID).unwrap();
    let tests = stored.of(SubjobId(1), Attempt(1), AtomId(0)).unwrap();
    assert_eq!(tests.len(), 4);
    assert!(master.results.tests(BuildId(9)).unwrap().is_empty());
}
