use super::samples::{self, GO, GOOGLETEST, JEST, NEXTEST, NODE, PYTEST, SUREFIRE, UNITTEST};
use super::*;
use proptest::prelude::*;

fn read(report: impl Into<Vec<u8>>) -> Reported {
    let mut reported = Reported::default();
    reported.read("junit.xml", report.into());
    reported
}

/// The tests, each on a line.
fn told(report: &str) -> Vec<String> {
    let read = read(report);
    assert_eq!(read.warning(), None);
    let line = |test: &ReportedTest| {
        let ReportedTest {
            name,
            class,
            file,
            time,
            outcome,
            message,
        } = test;
        let class = class.as_deref().unwrap_or("-");
        let file = file.as_deref().unwrap_or("-");
        let time = time.map_or("-".to_owned(), |time| time.to_string());
        let message = message.as_deref().unwrap_or("-").replace('\n', "|");
        format!("{name}, {class}, {file}, {time}, {outcome:?}, {message}")
    };
    read.tests.iter().map(line).collect()
}

#[test]
fn dialects_of_python() {
    assert_eq!(
        told(PYTEST),
        [
            "test_ok, test_a, -, 0, Passed, -",
            "test_bad, test_a.TestB, -, 0.005, Failed, >   def test_bad(): assert 1 == 2|E   assert 1 == 2||test_a.py:3: \
             AssertionError",
            "test_skipped, test_a, -, 0, Skipped, /t/test_a.py:4: no net",
            "test_error, test_a, -, 0, Failed, failed on setup with \"RuntimeError: fixture\"|E   RuntimeError: fixture",
            "test_x, test_a, -, 0, Skipped, pytest.xfail",
            "test_p[b\\x00], test_a, -, 0, Passed, -",
        ]
    );
    assert_eq!(
        told(UNITTEST),
        [
            "test_one, tests.test_a.Sums, tests/test_a.py, 0, Passed, -",
            "test_two, tests.test_a.Sums, tests/test_a.py, 0.001, Failed, Traceback (most recent call \
             last):|AssertionError: 1 != 2",
        ]
    );
}

#[test]
fn failures_that_are_of_no_test_are_told() {
    let all = [
        PYTEST, UNITTEST, NODE, JEST, GO, NEXTEST, GOOGLETEST, SUREFIRE,
    ];
    for dialect in all {
        assert!(!read(dialect).failed_beside, "{dialect}");
    }
    let good = "<testcase name='a'/>";
    let bad = "<testcase name='b'><failure/></testcase>";
    for (suite, expected) in [
        (format!("<testsuite>{good}{bad}</testsuite>"), false),
        (
            format!("<testsuite failures='1' errors='0'>{good}{bad}</testsuite>"),
            false,
        ),
        (
            format!(
                "<testsuites failures='1'><testsuite failures='1'>{bad}</testsuite></testsuites>"
            ),
            false,
        ),
        (
            format!("<testsuite failures='x' errors='-1'>{good}</testsuite>"),
            false,
        ),
        (
            format!("<testsuite><error message='broke'/>{good}</testsuite>"),
            true,
        ),
        (
            format!("<testsuites><failure/><testsuite>{good}</testsuite></testsuites>"),
            true,
        ),
        (format!("<testsuite errors='1'>{good}</testsuite>"), true),
        (
            format!("<testsuite failures='1' errors='1'>{good}{bad}</testsuite>"),
            true,
        ),
        (
            format!(
                "<testsuites><testsuite>{bad}</testsuite><testsuite failures='1'>{good}</testsuite></testsuites>"
            ),
            true,
        ),
        (
            format!("<testsuite><system-out><error/></system-out>{good}</testsuite>"),
            false,
        ),
        (
            format!("<testsuite><testcase name='out'>{bad}</testcase></testsuite>"),
            true,
        ),
        (
            format!("<testsuite failures='1'><testcase name='out'>{bad}</testcase></testsuite>"),
            true,
        ),
        (
            "<testsuite><testcase name='out'><testcase name='in' status='failed'/></testcase></testsuite>".to_owned(),
            true,
        ),
        (
            format!("<testsuite><testcase name='out'>{good}</testcase></testsuite>"),
            false,
        ),
        // Its own failure, with something in it.
        (
            "<testsuite failures='1'><testcase name='a'><failure><error/></failure></testcase></testsuite>".to_owned(),
            false,
        ),
    ] {
        assert_eq!(read(suite.as_str()).failed_beside, expected, "{suite}");
    }
}

#[test]
fn an_empty_class_is_not_that_of_the_suite() {
    let class = |attributes: &str| {
        let report = format!("<testsuite name='s'><testcase name='t.a' {attributes}/></testsuite>");
        read(report).tests[0].class.clone()
    };
    assert_eq!(class("classname=''"), None);
    assert_eq!(class(""), Some("s".to_owned()));
    assert_eq!(class("classname='c'"), Some("c".to_owned()));
}

#[test]
fn a_word_may_say_that_a_test_failed() {
    let outcome = |attributes: &str| {
        let report = format!("<testsuite><testcase name='a' {attributes}/></testsuite>");
        read(report).tests[0].outcome
    };
    assert_eq!(outcome("status='failed'"), TestOutcome::Failed);
    assert_eq!(
        outcome("status='run' result='Failure'"),
        TestOutcome::Failed
    );
    assert_eq!(
        outcome("status='run' result='completed'"),
        TestOutcome::Passed
    );
    assert_eq!(outcome("status='skipped'"), TestOutcome::Skipped);
}

#[test]
fn dialects_of_node_and_jest() {
    assert_eq!(
        told(NODE),
        [
            "adds, test, -, 0.000975, Passed, -",
            "breaks, test, -, 0.000728, Failed, [Error [ERR_TEST_FAILURE]: 2 == 3] { at TestContext.<anonymous> \
             (file:///t/a.test.mjs:4:29) }",
            "later, test, -, 0.000147, Skipped, not yet",
            "inner & <b>, test, -, 0.000105, Passed, -",
            "todo one, test, -, 0.000069, Skipped, Error: x",
        ]
    );
    assert_eq!(
        told(JEST),
        [
            "sum adds, sum adds, src/sum.test.js, 0.002, Passed, -",
            "sum breaks, sum breaks, src/sum.test.js, 0.003, Failed, Error: expect(received).toBe(expected) // Object.is \
             equality||Expected: 4|Received: 3",
        ]
    );
}

#[test]
fn dialects_of_compiled_languages() {
    assert_eq!(
        told(NEXTEST),
        [
            "tests::adds, sums, -, 0.004, Passed, -",
            "tests::flakes, sums, -, 0.002, Flaky, thread panicked at src/lib.rs:9|thread 'tests::flakes' panicked at \
             src/lib.rs:9",
            "tests::breaks, sums, -, 0.002, Failed, thread panicked at src/lib.rs:14|left: 2, right: 3",
        ]
    );
    assert_eq!(
        told(GO),
        [
            "TestAdds, example.org/sums, -, 0.06, Passed, -",
            "TestBreaks/sub_one, example.org/sums, -, 0.1, Failed, Failed|sums_test.go:11: Error message",
            "TestLater, example.org/sums, -, 0, Skipped, sums_test.go:15: not here",
        ]
    );
    assert_eq!(
        told(SUREFIRE),
        [
            "adds, org.example.SumsTest, -, 1234.5, Passed, -",
            "flakes, org.example.SumsTest, -, 0.012, Flaky, org.opentest4j.AssertionFailedError: expected: <1> but was: \
             <2>|\tat org.example.SumsTest.flakes(SumsTest.java:17)",
            "breaks, org.example.SumsTest, -, 0.001, Failed, java.lang.IllegalStateException: boom",
            "later, org.example.SumsTest, -, 0, Skipped, -",
        ]
    );
    assert_eq!(
        told(GOOGLETEST),
        [
            "Adds, Sums, sums.cc, 0.01, Passed, -",
            "DISABLED_Later, Sums, sums.cc, 0, Skipped, -",
        ]
    );
}

#[test]
fn what_runners_leave_out_or_write_twice() {
    let report = "<testsuites><testsuite name='outer' file='a.rb'><testsuite><testcase name='same'/><testcase \
                  name='same' time='fast'><failure/><error message='second'/></testcase></testsuite></testsuite>\
                  <testcase/><testcase name='both'><skipped message='why'/><failure type='t'/></testcase>\
                  <testcase name='text'><failure>a & b &nbsp; &#65;&lt;</failure></testcase>\
                  <testcase name='deep'><properties><failure/></properties><system-out><error/></system-out></testcase>\
                  </testsuites>";
    assert_eq!(
        told(report),
        [
            "same, outer, a.rb, -, Passed, -",
            "same, outer, a.rb, -, Failed, second",
            "(no name), -, -, -, Passed, -",
            "both, -, -, -, Failed, t",
            "text, -, -, -, Failed, a & b &nbsp; A<",
            "deep, -, -, -, Passed, -",
        ]
    );
}

#[test]
fn a_report_that_is_none_is_named_and_adds_nothing() {
    let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;\"><!ENTITY c \
                \"&b;&b;&b;&b;&b;&b;\">]><testsuite><testcase name=\"&c;\"/></testsuite>";
    let outside = "<?xml version=\"1.0\"?><!DOCTYPE t [<!ENTITY f SYSTEM \"file:///etc/passwd\">]><testsuite><testcase \
                   name=\"a\"><failure>&f;</failure></testcase></testsuite>";
    let deep = format!("<testsuites>{}", "<testsuite>".repeat(100_000));
    let deep_in_test = format!("<testsuite><testcase>{}", "<a>".repeat(100_000));
    let large = vec![b' '; bounds::MAX_REPORT + 1];
    for (report, why) in [
        (bomb.as_bytes(), "it has a document type, which is not read"),
        (
            outside.as_bytes(),
            "it has a document type, which is not read",
        ),
        (deep.as_bytes(), "more than 64 deep"),
        (deep_in_test.as_bytes(), "more than 64 deep"),
        (&large, "it has more than 32 MiB"),
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"<coverage/>", "its first element is <coverage>"),
        (b"<testsuite><testcase name='a'/>", "it ends before"),
        (
            b"<testsuite><testcase name='a'/></testsuites>",
            "it is no XML",
        ),
        (b"<testsuite><testcase name='a", "it is no XML"),
        (b"PASS: test_a\n", "it is empty"),
        (&[0; 1000], "it is empty"),
    ] {
        let mut reported = read(PYTEST);
        reported.read("artifact_0_0/other.xml", report.to_vec());
        assert_eq!(reported.tests.len(), 6);
        let warning = reported.warning().unwrap();
        let begins = "a JUnit report was not read: artifact_0_0/other.xml (";
        assert!(
            warning.starts_with(begins) && warning.contains(why),
            "{warning} lacks {why}"
        );
    }
}

#[test]
fn entities_that_nothing_declares_stay_as_they_are_written() {
    let report = "<testsuite><testcase name='&a;&b;'><failure message='&file;'>&c;</failure></testcase></testsuite>";
    assert_eq!(told(report), ["&a;&b;, -, -, -, Failed, &file;|&c;"]);
}

#[test]
fn large_texts_and_many_attributes_are_cut() {
    let ten_million = "x".repeat(10 << 20);
    let attributes: String = (0..500_000)
        .map(|number| format!(" a{number}='1'"))
        .collect();
    let report = format!(
        "<testsuite><testcase name='{ten_million}' classname='{ten_million}'><failure message='{ten_million}'/>\
         </testcase><testcase{attributes} name='late'/></testsuite>"
    );
    assert!(report.len() > bounds::MAX_REPORT);
    let report = report.replacen(&ten_million, "short", 1);
    let reported = read(report);
    assert_eq!(reported.warning(), None);
    let [first, second] = &reported.tests[..] else {
        panic!("{} tests", reported.tests.len());
    };
    assert_eq!(first.name, "short");
    assert_eq!(first.class.as_deref().unwrap().chars().count(), 1_001);
    assert!(first.message.as_deref().unwrap().len() < 17_000);
    assert_eq!(second.name, "(no name)");
}

#[test]
fn tests_beyond_the_last_are_counted() {
    let cases = "<testcase name='a'/>".repeat(bounds::MAX_TESTS + 5);
    let mut reported = read(format!("<testsuite>{cases}</testsuite>"));
    assert_eq!(reported.tests.len(), bounds::MAX_TESTS);
    let warning = "5 tests of JUnit reports were left out: there were too many";
    assert_eq!(reported.warning().unwrap(), warning);
    assert!(reported.to_form().unwrap().len() <= bounds::MAX_FORM);
}

#[test]
fn of_many_broken_reports_some_are_named() {
    let mut reported = Reported::default();
    for number in 0..5 {
        reported.read(&format!("{number}.xml"), Vec::new());
    }
    let warning = "5 JUnit reports were not read: 0.xml (it is empty), 1.xml (it is empty), 2.xml (it is empty) and others";
    assert_eq!(reported.warning().unwrap(), warning);
    assert_eq!(reported.to_form(), None);
}

/// Names that are said once for very many tests take no more memory than other texts.
#[test]
fn long_names_of_suites_do_not_multiply() {
    let name = "\u{1f600}".repeat(1_000);
    let cases = "<testcase/>".repeat(20_000);
    let report = format!("<testsuite name='{name}' file='{name}'>{cases}</testsuite>");
    let reported = read(report);
    let sizes = reported.tests.iter().map(ReportedTest::size);
    assert!(sizes.sum::<usize>() <= bounds::MAX_TEXTS + 10_000);
    assert!(reported.warning().is_some());
    let value = "v".repeat(100_000);
    let tests = &read("<testsuite><testcase name='a'/><testcase name='b'/></testsuite>").tests;
    let suite = suite(SuiteOfAtom {
        name: &value,
        time: None,
        tests,
    });
    assert!(suite.len() < 2_000, "{}", suite.len());
}

#[test]
fn a_report_cut_anywhere_is_left_out_or_whole() {
    for sample in samples::ALL {
        let whole = read(sample).tests.len();
        for length in 0..sample.len() {
            let cut = read(&sample.as_bytes()[..length]);
            let is_whole = cut.warning().is_none();
            assert_eq!(cut.tests.len(), if is_whole { whole } else { 0 });
        }
    }
}

#[test]
fn control_characters_and_nul_bytes_are_text() {
    let report = "<testsuite><testcase name='a\0b'><failure><![CDATA[\u{1b}[1m\0]]></failure></testcase></testsuite>";
    assert_eq!(told(report), ["a\0b, -, -, -, Failed, \u{1b}[1m\0"]);
}

proptest! {
    #[test]
    fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let mut reported = read(bytes);
        reported.to_form();
    }

    #[test]
    fn nor_do_samples_with_some_bytes_changed(
        sample in 0..samples::ALL.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = samples::ALL[sample].as_bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let mut reported = read(bytes);
        let form = reported.to_form();
        let again = form.map(|form| read_form(&form)).unwrap_or_default();
        prop_assert_eq!(again.len(), reported.tests.len());
    }

    #[test]
    fn nor_do_pieces_of_reports_in_any_order(
        pieces in prop::collection::vec(prop_oneof![
            Just("<testsuite>"), Just("</testsuite>"), Just("<testcase name='a'>"), Just("</testcase>"),
            Just("<failure message='m'>"), Just("</failure>"), Just("<skipped/>"), Just("<![CDATA[x]]>"), Just("&lt;"),
            Just("<flakyFailure>"), Just("</flakyFailure>"), Just("<!-- -->"), Just("<?pi?>"), Just("text"), Just("<"),
        ], 0..40),
    ) {
        read(pieces.concat());
    }
}
