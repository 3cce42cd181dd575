//! Reports in the dialects of several runners, as they write them.

pub(super) const PYTEST: &str = r#"<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests"><testsuite name="pytest" errors="1" failures="1" skipped="2" tests="6" time="0.083" timestamp="2026-01-02T03:04:05.034480+00:00" hostname="h"><testcase classname="test_a" name="test_ok" time="0.000" /><testcase classname="test_a.TestB" name="test_bad" time="0.005"><failure message="assert 1 == 2">&gt;   def test_bad(): assert 1 == 2
E   assert 1 == 2

test_a.py:3: AssertionError</failure><system-out>printed #x1B[1m</system-out></testcase><testcase classname="test_a" name="test_skipped" time="0.000"><skipped type="pytest.skip" message="no net">/t/test_a.py:4: no net</skipped></testcase><testcase classname="test_a" name="test_error" time="0.000"><error message="failed on setup with &quot;RuntimeError: fixture&quot;">E   RuntimeError: fixture</error></testcase><testcase classname="test_a" name="test_x" time="0.000"><skipped type="pytest.xfail" message="" /></testcase><testcase classname="test_a" name="test_p[b\x00]" time="0.000" /></testsuite></testsuites>"#;

pub(super) const UNITTEST: &str = r#"<?xml version="1.0" ?>
<testsuite name="tests.test_a.Sums-20260102030405" tests="2" file="tests/test_a.py" time="0.001" failures="1" errors="0" skipped="0">
	<testcase classname="tests.test_a.Sums" name="test_one" time="0.000" file="tests/test_a.py" line="5"/>
	<testcase classname="tests.test_a.Sums" name="test_two" time="0.001" file="tests/test_a.py" line="8">
		<failure type="AssertionError" message="1 != 2"><![CDATA[Traceback (most recent call last):
AssertionError: 1 != 2
]]></failure>
	</testcase>
</testsuite>"#;

pub(super) const NEXTEST: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="3" failures="1" errors="0" uuid="0c5e" timestamp="2026-01-02T03:04:05.600+00:00" time="0.012">
    <testsuite name="sums" tests="3" disabled="0" errors="0" failures="1">
        <testcase name="tests::adds" classname="sums" timestamp="2026-01-02T03:04:05.601+00:00" time="0.004">
        </testcase>
        <testcase name="tests::flakes" classname="sums" timestamp="2026-01-02T03:04:05.605+00:00" time="0.002">
            <flakyFailure timestamp="2026-01-02T03:04:05.601+00:00" time="0.003" message="thread panicked at src/lib.rs:9" type="test failure with exit code 101">thread 'tests::flakes' panicked at src/lib.rs:9
                <system-out>
running 1 test</system-out>
            </flakyFailure>
        </testcase>
        <testcase name="tests::breaks" classname="sums" timestamp="2026-01-02T03:04:05.607+00:00" time="0.002">
            <failure message="thread panicked at src/lib.rs:14" type="test failure with exit code 101">left: 2, right: 3</failure>
            <rerunFailure timestamp="2026-01-02T03:04:05.610+00:00" time="0.001" type="test failure with exit code 101">again</rerunFailure>
            <system-err>thread 'tests::breaks' panicked</system-err>
        </testcase>
    </testsuite>
</testsuites>"#;

pub(super) const NODE: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<testsuites>
	<testcase name="adds" time="0.000975" classname="test"/>
	<testcase name="breaks" time="0.000728" classname="test" failure="2 == 3">
		<failure type="testCodeFailure" message="2 == 3">
[Error [ERR_TEST_FAILURE]: 2 == 3] { at TestContext.&lt;anonymous> (file:///t/a.test.mjs:4:29) }
		</failure>
	</testcase>
	<testcase name="later" time="0.000147" classname="test">
		<skipped type="skipped" message="not yet"/>
	</testcase>
	<testsuite name="outer" time="0.000354" disabled="0" errors="0" tests="2" failures="1" skipped="1" hostname="h">
		<testcase name="inner &amp; &lt;b>" time="0.000105" classname="test"/>
		<testcase name="todo one" time="0.000069" classname="test" failure="x">
			<skipped type="todo" message="true"/>
			<failure type="testCodeFailure" message="x">Error: x</failure>
		</testcase>
	</testsuite>
	<!-- tests 5 -->
</testsuites>"#;

pub(super) const JEST: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="jest tests" tests="2" failures="1" errors="0" time="1.234">
  <testsuite name="sum" errors="0" failures="1" skipped="0" timestamp="2026-01-02T03:04:05" time="0.5" tests="2">
    <testcase classname="sum adds" name="sum adds" time="0.002" file="src/sum.test.js">
    </testcase>
    <testcase classname="sum breaks" name="sum breaks" time="0.003" file="src/sum.test.js">
      <failure>Error: expect(received).toBe(expected) // Object.is equality

Expected: 4
Received: 3</failure>
    </testcase>
  </testsuite>
</testsuites>"#;

pub(super) const GO: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="3" failures="1" skipped="1">
	<testsuite name="example.org/sums" tests="3" failures="1" errors="0" id="0" hostname="h" skipped="1" time="0.160" timestamp="2026-01-02T03:04:05Z">
		<testcase name="TestAdds" classname="example.org/sums" time="0.060"></testcase>
		<testcase name="TestBreaks/sub_one" classname="example.org/sums" time="0.100">
			<failure message="Failed"><![CDATA[    sums_test.go:11: Error message]]></failure>
		</testcase>
		<testcase name="TestLater" classname="example.org/sums" time="0.000">
			<skipped message="    sums_test.go:15: not here"></skipped>
		</testcase>
	</testsuite>
</testsuites>"#;

pub(super) const SUREFIRE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuite xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="https://maven.apache.org/surefire/maven-surefire-plugin/xsd/surefire-test-report.xsd" version="3.0" name="org.example.SumsTest" time="1,234.567" tests="4" errors="1" skipped="1" failures="0">
  <properties><property name="java.version" value="21"/></properties>
  <testcase name="adds" classname="org.example.SumsTest" time="1,234.5"/>
  <testcase name="flakes" classname="org.example.SumsTest" time="0,012">
    <flakyFailure message="expected: &lt;1&gt; but was: &lt;2&gt;" type="org.opentest4j.AssertionFailedError">
      <stackTrace><![CDATA[org.opentest4j.AssertionFailedError: expected: <1> but was: <2>
	at org.example.SumsTest.flakes(SumsTest.java:17)]]></stackTrace>
      <system-out><![CDATA[printed]]></system-out>
    </flakyFailure>
  </testcase>
  <testcase name="breaks" classname="org.example.SumsTest" time="0.001">
    <error message="boom" type="java.lang.IllegalStateException"><![CDATA[java.lang.IllegalStateException: boom]]></error>
    <rerunError message="boom again" type="java.lang.IllegalStateException"><stackTrace>again</stackTrace></rerunError>
  </testcase>
  <testcase name="later" classname="org.example.SumsTest" time="0"><skipped/></testcase>
</testsuite>"#;

pub(super) const GOOGLETEST: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="2" failures="0" disabled="1" errors="0" time="0.01" name="AllTests">
  <testsuite name="Sums" tests="2" failures="0" disabled="1" skipped="0" errors="0" time="0.01">
    <testcase name="Adds" file="sums.cc" line="4" status="run" result="completed" time="0.01" classname="Sums" />
    <testcase name="DISABLED_Later" file="sums.cc" line="9" status="notrun" result="suppressed" time="0" classname="Sums" />
  </testsuite>
</testsuites>"#;

/// All of them.
pub(super) const ALL: [&str; 8] = [
    PYTEST, UNITTEST, NEXTEST, NODE, JEST, GO, SUREFIRE, GOOGLETEST,
];
