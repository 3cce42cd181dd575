//! Small inputs that stand for large ones, or lead a reader deep down.

use super::victim::{Victim, with_config};
use crate::job::job;
use crate::repository::Repository;
use clusterrunner_common::auth::signature::{BODY_DIGEST_HEADER, body_digest};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::io::Write as _;
use std::iter::successors;

/// More than any stack holds of a reader that calls itself.
const DEEP: usize = 100_000;

/// What the master may need at most after all bombs.
const MOST_MEMORY_MIB: u64 = 400;

#[tokio::test]
async fn no_small_input_becomes_a_large_one() {
    let victim = Victim::new().await;
    suffer!(
        victim,
        nested_json,
        json_of_megabytes,
        numbers_beyond_all_bounds,
        fields_of_other_kinds,
        texts_that_are_none,
        a_body_that_is_compressed,
        yaml_whose_aliases_multiply,
        nested_yaml,
        a_matrix_of_millions,
        xml_whose_entities_multiply,
        nested_xml,
        patterns_of_many_stars,
    );
    let memory = peak_memory_mib(victim.farm.master_process());
    assert!(memory < MOST_MEMORY_MIB, "{memory} MiB");
    victim.lives().await;
}

/// The most memory that a process has had.
fn peak_memory_mib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.unwrap().split_whitespace().next().unwrap();
    peak.parse::<u64>().unwrap() / 1024
}

/// Has each API that takes JSON refuse a body: the sender has every right.
async fn refused_everywhere(victim: &Victim, body: &[u8]) {
    let key = victim.binder_key();
    let digest = body_digest(&victim.farm.secret(), body);
    for (method, path) in [
        ("POST", "/v1/build"),
        ("PUT", "/v1/build/1"),
        ("POST", "/v2/users"),
        ("POST", "/v2/tokens"),
        ("POST", "/v2/templates"),
        ("POST", "/v2/instances"),
        ("POST", "/v1/slave"),
        ("POST", "/v1/slave/shutdown"),
        ("POST", "/v1/working_trees/missing"),
    ] {
        let answer = victim.asks_signed(method, path, body).await;
        assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
    }
    let by_digest = [(BODY_DIGEST_HEADER, digest.as_str())];
    let answer = victim.asks("POST", "/v1/build", &by_digest, body).await;
    assert!((400..500).contains(&answer.status), "{answer:?}");
    for (path, key) in [
        ("/builds/", key.trim()),
        ("/applications/", key.trim()),
        ("/v1/auth/login", "token x"),
        ("/api/v1/users/token", "token x"),
    ] {
        let headers = [("authorization", key), ("content-type", "application/json")];
        let answer = victim.asks("POST", path, &headers, body).await;
        assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
    }
}

async fn nested_json(victim: &Victim) {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let whole = format!("{}1{}", open.repeat(DEEP), close.repeat(DEEP));
        for text in [whole, open.repeat(DEEP)] {
            refused_everywhere(victim, text.as_bytes()).await;
            let field = format!("{{\"type\": \"git\", \"config\": {text}}}");
            refused_everywhere(victim, field.as_bytes()).await;
        }
    }
}

async fn json_of_megabytes(victim: &Victim) {
    let long = "x".repeat(2 << 20);
    refused_everywhere(victim, format!("{{\"type\": \"{long}\"}}").as_bytes()).await;
    let many = "1,".repeat(1 << 20);
    refused_everywhere(victim, format!("[{many}1]").as_bytes()).await;
}

async fn numbers_beyond_all_bounds(victim: &Victim) {
    for number in [
        "1e999999",
        "-1",
        "18446744073709551616",
        "1.5",
        "NaN",
        "9".repeat(10_000).as_str(),
    ] {
        let mut request = victim.project.request();
        request["max_executors"] = "NUMBER".into();
        let config =
            json!({"commands": ["true"], "atomizers": [{"N": "echo 1"}], "timeout": "NUMBER"});
        for request in [request, with_config(&victim.project, config)] {
            let body = request.to_string().replace("\"NUMBER\"", number);
            let answer = victim
                .asks_signed("POST", "/v1/build", body.as_bytes())
                .await;
            assert!(
                answer.status == 400 || victim.is_harmless(&answer),
                "{number}: {answer:?}"
            );
        }
        for path in [
            "/v1/build/NUMBER",
            "/v2/builds?limit=NUMBER",
            "/v2/builds?offset=NUMBER",
            "/v2/history?limit=NUMBER",
        ] {
            let path = path.replace("NUMBER", number);
            // Parameters of lists are bounded, whatever they say.
            let answer = victim.asks("GET", &path, &[], b"").await;
            assert!(answer.status < 500, "{path:.100}: {answer:?}");
        }
    }
}

async fn fields_of_other_kinds(victim: &Victim) {
    let kinds = [
        json!(null),
        json!(true),
        json!(7),
        json!("x"),
        json!([]),
        json!({"a": []}),
        json!([[["x"]]]),
    ];
    for field in [
        "type",
        "url",
        "branch",
        "hash",
        "config",
        "job_name",
        "remote_files",
        "env",
        "atoms_override",
    ] {
        for kind in &kinds {
            let mut request = victim.project.request();
            request[field] = kind.clone();
            let answer = victim
                .asks_signed("POST", "/v1/build", request.to_string().as_bytes())
                .await;
            assert!(
                answer.status == 400 || victim.is_harmless(&answer),
                "{field} {kind}: {answer:?}"
            );
        }
    }
    for body in [
        "",
        "null",
        "[]",
        "7",
        "\"x\"",
        "{",
        "{}",
        "{\"type\": \"git\"} {}",
        "{'type': 'git'}",
    ] {
        refused_everywhere(victim, body.as_bytes()).await;
    }
}

async fn texts_that_are_none(victim: &Victim) {
    for text in [
        &b"\xff\xfe"[..],
        b"\\ud800",
        b"\\u0000",
        b"a\0b",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
    ] {
        for field in ["url", "branch", "job_name"] {
            let start = format!("{{\"type\": \"git\", \"url\": \"/nowhere\", \"{field}\": \"");
            let body = [start.as_bytes(), text, b"\"}"].concat();
            let answer = victim.asks_signed("POST", "/v1/build", &body).await;
            assert_eq!(answer.status, 400, "{field} {text:?}: {answer:?}");
        }
    }
}

/// A few kilobytes that stand for a gigabyte: nobody unpacks a body, whatever its sender says of it.
async fn a_body_that_is_compressed(victim: &Victim) {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..64 {
        packed.write_all(&[b' '; 1 << 20]).unwrap();
    }
    packed
        .write_all(victim.project.request().to_string().as_bytes())
        .unwrap();
    let packed = packed.finish().unwrap();
    let digest = body_digest(&victim.farm.secret(), &packed);
    for encoding in ["gzip", "x-gzip", "deflate", "br", "gzip, gzip"] {
        let headers = [
            (BODY_DIGEST_HEADER, digest.as_str()),
            ("content-encoding", encoding),
        ];
        let answer = victim.asks("POST", "/v1/build", &headers, &packed).await;
        assert!(
            (400..500).contains(&answer.status),
            "{encoding}: {answer:?}"
        );
    }
}

/// Ten aliases of ten aliases of ten …
async fn yaml_whose_aliases_multiply(victim: &Victim) {
    let level = |(number, _): &(u32, String)| {
        let last = number - 1;
        let aliases = vec![format!("*a{last}"); 10].join(", ");
        Some((number + 1, format!("a{number}: &a{number} [{aliases}]\n")))
    };
    let levels = successors(Some((1, "a0: &a0 [x, x]\n".to_owned())), level);
    let levels: String = levels.take(12).map(|(_, line)| line).collect();
    let job = "Job:\n  commands: *a9\n  atomizers: [{N: echo 1}]\n";
    for text in [
        format!("{levels}{job}"),
        format!("{levels}Job:\n  commands: [echo]\n  atomizers: [{{N: *a9}}]\n"),
        "a: &a [*a]\nJob: *a\n".to_owned(),
        "Job: &j\n  commands: [echo]\n  <<: *j\n  atomizers: [{N: echo 1}]\n".to_owned(),
    ] {
        let message = victim.fails(&Repository::with_jobs(&text).request()).await;
        assert!(message.contains("yaml"), "{message}");
    }
}

async fn nested_yaml(victim: &Victim) {
    let indented: String = (0..2_000)
        .map(|depth| format!("{}a:\n", " ".repeat(depth)))
        .collect();
    for text in [
        format!("Job: {}{}", "[".repeat(DEEP), "]".repeat(DEEP)),
        format!("Job: {}", "{a: ".repeat(DEEP)),
        format!("Job: {}", "- ".repeat(DEEP)),
        format!("Job:\n{indented}"),
        format!("Job: {}x", "!a ".repeat(DEEP)),
        format!("? {}", "? ".repeat(DEEP)),
    ] {
        let message = victim.fails(&Repository::with_jobs(&text).request()).await;
        assert!(message.contains("yaml"), "{message}");
    }
}

async fn a_matrix_of_millions(victim: &Victim) {
    let values: Vec<u32> = (0..100).collect();
    let matrix = json!({"A": values, "B": values, "C": values, "D": values});
    let config = json!({"commands": ["true"], "atomizers": [{"N": "echo 1"}], "matrix": matrix});
    let text = json!({"Job": config}).to_string();
    victim.fails(&Repository::with_jobs(&text).request()).await;
    // As many atoms as combinations.
    let product = json!([{"product": {"A": "seq 1 10000", "B": "seq 1 10000"}}]);
    let job = job("true").with("atomizers", product);
    victim.fails(&Repository::of(&job).request()).await;
}

/// A report of tests, which any atom can leave.
async fn reported(victim: &Victim, make: &str) {
    let job = job(format!("cd $ARTIFACT_DIR; python3 -c '{make}' > junit.xml")).atoms(1);
    let build = victim.passes(&Repository::of(&job).request()).await;
    let path = format!("/v2/builds/{build}/tests");
    let answer = victim.asks_signed("GET", &path, b"").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let tests = answer.body["tests"].as_array().cloned().unwrap_or_default();
    assert!(tests.len() <= 1, "{} tests", tests.len());
    let junit = format!("/v2/builds/{build}/junit.xml");
    assert_eq!(victim.asks_signed("GET", &junit, b"").await.status, 200);
}

async fn xml_whose_entities_multiply(victim: &Victim) {
    for make in [
        r#"
many = lambda n: (chr(38) + "a" + str(n - 1) + ";") * 10
print("<!DOCTYPE a [<!ENTITY a0 \"xxxxxxxxxx\">")
for n in range(1, 12):
    print("<!ENTITY a" + str(n) + " \"" + many(n) + "\">")
print("]><testsuite name=\"" + many(12) + "\"><testcase name=\"" + many(12) + "\"/></testsuite>")"#,
        r#"print("<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><testsuite><testcase name=\"&x;\"/></testsuite>")"#,
        r#"print("<!DOCTYPE a SYSTEM \"http://127.0.0.1:1/x.dtd\"><testsuite><testcase name=\"t\"/></testsuite>")"#,
    ] {
        reported(victim, make).await;
    }
}

async fn nested_xml(victim: &Victim) {
    for make in [
        r#"print("<testsuite>" * 300000)"#,
        r#"print("<testsuite " + " ".join("a" + str(n) + "=\"b\"" for n in range(300000)) + "/>")"#,
        r#"print("<testsuite name=\"" + "x" * 30000000)"#,
    ] {
        reported(victim, make).await;
    }
}

/// Matching takes no longer than the product of both lengths.
async fn patterns_of_many_stars(victim: &Victim) {
    // As long as a pattern may be.
    let stars = "**/".repeat(30) + &"*a".repeat(50) + "b.xml";
    let command = "cd $ARTIFACT_DIR; mkdir -p $(printf 'a/%.0s' $(seq 1 200)); touch $(printf 'a/%.0s' $(seq 1 200))$(printf 'a%.0s' $(seq 1 200)).xml";
    let job = job(command)
        .atoms(1)
        .with("junit", Value::from(vec![stars]));
    victim.passes(&Repository::of(&job).request()).await;
}
