//! Names and texts that would be more than text for whoever shows them.

use super::victim::Victim;
use super::wire::answers;
use crate::farm::Extra;
use crate::job::job;
use crate::repository::Repository;
use clusterrunner_common::text::printable::is_obeyed;
use serde_json::json;

/// What a terminal or a browser would obey.
const HOSTILE: &str = "<script>x</script>\u{1b}]0;t\u{7}\u{1b}[2J\u{9b}31m\u{202e}\r\u{8}";

/// Names that a web page's address does not allow.
const ORIGINS: [&str; 8] = [
    "null",
    "http://evil.example",
    "http://farm.example.evil.com",
    "http://evilfarm.example",
    "http://farm.example@evil.com",
    "http://farm.example\u{e9}",
    "file://",
    "http://farmxexample",
];

#[tokio::test]
async fn no_text_is_more_than_text() {
    let victim = Victim::with(&Extra {
        general: r"cors_allowed_origins_regex = http://farm\.example",
        ..Extra::default()
    })
    .await;
    suffer!(
        victim,
        a_badge_with_markup,
        commands_that_print_hostile_names,
        file_names_with_header_lines,
        files_that_are_pages,
        refusals_with_markup,
        endless_labels_of_metrics,
        hosts_that_poison_answers,
        pages_of_other_origins,
        frames_around_the_page,
    );
    victim.lives().await;
}

/// What the master answers, head and body as text.
async fn answered(victim: &Victim, path: &str, headers: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
    let mut answered = answers(&victim.master(), request.as_bytes()).await;
    assert_eq!(answered.len(), 1, "{answered:?}");
    answered.remove(0).text
}

/// Its text is the name of a repository, which anybody may choose who builds one.
async fn a_badge_with_markup(victim: &Victim) {
    let directory = tempfile::tempdir().unwrap();
    for name in ["<svg onload=x()>", "&amp;<!ENTITY>]]>"] {
        let repository = Repository::of(&job("true").atoms(1));
        let place = directory.path().join(name);
        repository.git(&["clone", "--quiet", ".", place.to_str().unwrap()]);
        let request = json!({"type": "git", "url": place, "branch": "main"});
        victim.runs(&request).await;
    }
    let projects = victim
        .asks_signed("GET", "/v2/projects?limit=200", b"")
        .await;
    let projects = projects.body["projects"].as_array().unwrap().clone();
    assert!(projects.len() > 2, "{projects:?}");
    for project in projects {
        let badge = answered(
            victim,
            &format!("/v2/projects/{}/badge.svg", project["id"]),
            "",
        )
        .await;
        for part in ["<script", "<svg onload", "<!ENTITY", "\u{1b}"] {
            assert!(!badge.contains(part), "{part} in {badge}");
        }
        assert_eq!(badge.matches("<svg").count(), 1, "{badge}");
        assert!(
            badge
                .to_ascii_lowercase()
                .contains("content-security-policy: default-src 'none'"),
            "{badge}"
        );
    }
}

async fn commands_that_print_hostile_names(victim: &Victim) {
    let print = format!("printf '%s\\n' '{HOSTILE}'");
    let hostile = job(format!("{print}; exit 1")).atomizer(&print);
    let mut request = Repository::of(&hostile).request();
    request["job_name"] = HOSTILE.into();
    let unknown = victim.runs(&request).await.id;
    let repository = Repository::of(&hostile);
    let failed = victim.runs(&repository.request()).await.id;
    let (unknown, failed) = (unknown.to_string(), failed.to_string());
    let master = victim.master();
    for arguments in [
        &["status"][..],
        &["status", &unknown],
        &["status", &failed],
        &["logs", &failed, "0_0"],
        &["tests", &failed],
        &["flaky"],
        &["explain", &failed],
        &["audit"],
        &["slaves"],
        &["user", "list"],
        &["status", &failed, "--json"],
    ] {
        let output = victim
            .farm
            .command()
            .args(arguments)
            .args(["--master-url", &master])
            .output()
            .unwrap();
        for text in [output.stdout, output.stderr] {
            let text = String::from_utf8(text).unwrap();
            let stray = |found: char| is_obeyed(found) && found != '\n';
            assert!(!text.contains(stray), "{arguments:?}: {text:?}");
        }
    }
}

/// A file's name stands in a header of its download.
async fn file_names_with_header_lines(victim: &Victim) {
    let names = "$'a\\r\\nX-Injected: 1' $'\";x=\"' $'b\\nSet-Cookie: a=b' $'\\xff\\xfe'";
    let make = format!("cd $ARTIFACT_DIR; for name in {names}; do echo x > \"$name\"; done");
    let job = job(make).atoms(1);
    let build = victim.runs(&Repository::of(&job).request()).await.id;
    let top = format!("/v2/builds/{build}/subjobs/0/atoms/0/artifacts");
    for name in [
        "a%0d%0aX-Injected:%201",
        "%22;x=%22",
        "b%0aSet-Cookie:%20a=b",
        "%ff%fe",
        "a%0D%0a%0d%0a<script>",
    ] {
        for end in ["", "?view"] {
            let answer = answered(victim, &format!("{top}/{name}{end}"), "").await;
            let (head, _) = answer.split_once("\r\n\r\n").unwrap();
            let head = head.to_ascii_lowercase();
            for line in head.lines() {
                assert!(
                    !line.starts_with("x-injected") && !line.starts_with("set-cookie"),
                    "{head}"
                );
            }
        }
    }
}

/// A page that an atom left has no rights of the farm's page.
async fn files_that_are_pages(victim: &Victim) {
    let make = "cd $ARTIFACT_DIR; for name in page.html page.svg page.xhtml page.xml page.pdf page.js; do echo '<script>x()</script>' > $name; done";
    let build = victim
        .passes(&Repository::of(&job(make).atoms(1)).request())
        .await;
    for name in [
        "page.html",
        "page.svg",
        "page.xhtml",
        "page.xml",
        "page.pdf",
        "page.js",
    ] {
        for end in ["", "?view"] {
            let path = format!("/v2/builds/{build}/subjobs/0/atoms/0/artifacts/{name}{end}");
            let answer = answered(victim, &path, "Accept: text/html\r\n")
                .await
                .to_ascii_lowercase();
            assert!(answer.starts_with("200"), "{answer}");
            assert!(
                answer.contains("x-content-type-options: nosniff"),
                "{answer}"
            );
            let is_page = answer.contains("content-type: text/html")
                || answer.contains("xml") && answer.contains("content-type: image");
            let is_apart =
                answer.contains("sandbox") || answer.contains("content-disposition: attachment");
            assert!(is_apart || !is_page, "{answer}");
        }
    }
}

/// What is refused is told as data, never as a page.
async fn refusals_with_markup(victim: &Victim) {
    let script = "%3Cscript%3Ex()%3C/script%3E";
    for path in [
        format!("/v1/{script}"),
        format!("/v1/build/{script}"),
        format!("/v2/builds?limit={script}"),
        format!("/v2/users/{script}"),
        format!("/api/v1/{script}/x/builds"),
        format!("/templates/{script}"),
        format!("/builds/{script}"),
        format!("/v1/apps/{script}"),
        format!("/{script}.git/info/refs"),
        format!("/user/{script}/"),
        format!("/user/{}/{script}", "a".repeat(32)),
        "/v1/<script>x()</script>".to_owned(),
    ] {
        let answer = answered(victim, &path, "Accept: text/html\r\n").await;
        let is_page = answer
            .to_ascii_lowercase()
            .contains("content-type: text/html");
        assert!(
            !(is_page && answer.contains("<script>x")),
            "{path}: {answer}"
        );
    }
}

/// Each word of a stranger would be a series for ever.
async fn endless_labels_of_metrics(victim: &Victim) {
    let series = async || {
        let metrics = answered(victim, "/v1/metrics", "").await;
        assert!(!metrics.contains("injected"), "{metrics}");
        metrics.lines().count()
    };
    let before = series().await;
    for number in 0..100 {
        for path in [
            format!("/v1/injected{number}\"}}%0ainjected"),
            format!("/v1/build/{number}injected"),
            format!("/injected{number}/"),
        ] {
            answered(victim, &path, "").await;
            let method = format!("INJECTED{number} {path} HTTP/1.1\r\nHost: a\r\n\r\n");
            answers(&victim.master(), method.as_bytes()).await;
        }
    }
    let more = series().await - before;
    assert!(more < 200, "{more} more lines");
}

/// What a caller says of the farm's name leads nobody elsewhere.
async fn hosts_that_poison_answers(victim: &Victim) {
    for headers in [
        "X-Forwarded-Host: evil.example\r\n",
        "X-Forwarded-For: 10.9.8.7\r\nForwarded: for=10.9.8.7;host=evil.example\r\n",
        "X-Original-URL: /v1/queue\r\nX-Rewrite-URL: /v1/queue\r\nX-HTTP-Method-Override: DELETE\r\n",
    ] {
        for path in ["/v1/build/1/result", "/v1", "/v2", "/ui/", "/v1/version"] {
            let answer = answered(victim, path, headers).await;
            assert!(!answer.contains("evil.example"), "{path}: {answer}");
            assert!(!answer.contains("\"queue\":["), "{path}: {answer}");
        }
    }
    let request = "GET /v1/build/1/result HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    let answered = answers(&victim.master(), request.as_bytes()).await;
    assert!(!answered[0].text.contains("//evil.example"), "{answered:?}");
}

/// Pages elsewhere read nothing through the browser of who may, and send nothing.
async fn pages_of_other_origins(victim: &Victim) {
    for origin in ORIGINS {
        let asked = format!("Origin: {origin}\r\n");
        let answer = answered(victim, "/v2/builds", &asked)
            .await
            .to_ascii_lowercase();
        assert!(
            !answer.contains("access-control-allow-origin"),
            "{origin}: {answer}"
        );
        let preflight = format!(
            "OPTIONS /v1/build HTTP/1.1\r\nHost: a\r\n{asked}Access-Control-Request-Method: POST\r\n\
             Access-Control-Request-Headers: clusterrunner-signature\r\n\r\n"
        );
        let answered = answers(&victim.master(), preflight.as_bytes()).await;
        let allowed = answered[0].text.to_ascii_lowercase();
        assert!(
            !allowed.contains("access-control-allow-origin"),
            "{origin}: {allowed}"
        );
        // What a browser sends without asking first.
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
        ] {
            let body = victim.project.request().to_string();
            let headers = [("origin", origin), ("content-type", kind)];
            let answer = victim
                .asks("POST", "/v1/build", &headers, body.as_bytes())
                .await;
            assert_eq!(answer.status, 401, "{origin} {kind}: {answer:?}");
        }
    }
    let allowed = answered(victim, "/v2/builds", "Origin: http://farm.example\r\n").await;
    let allowed = allowed.to_ascii_lowercase();
    assert!(
        allowed.contains("access-control-allow-origin: http://farm.example\r\n"),
        "{allowed}"
    );
    assert!(
        !allowed.contains("access-control-allow-credentials"),
        "{allowed}"
    );
}

async fn frames_around_the_page(victim: &Victim) {
    for path in ["/ui/", "/ui/builds/1", "/ui/assets/main.js", "/ui/%2e%2e/x"] {
        let answer = answered(victim, path, "").await;
        assert!(
            answer.contains("frame-ancestors 'none'"),
            "{path}: {answer:.600}"
        );
        assert!(!answer.contains("unsafe-inline"), "{path}: {answer:.600}");
        assert!(
            answer
                .to_ascii_lowercase()
                .contains("x-content-type-options: nosniff"),
            "{answer:.600}"
        );
    }
}
