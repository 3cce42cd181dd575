//! Reads that anybody may make, of what nobody may see, or of more than there is.

use super::victim::Victim;
use super::wire::answers;

/// Above what any answer to these reads has.
const LONGEST: usize = 1 << 20;

#[tokio::test]
async fn reads_show_only_what_is_to_be_read() {
    let victim = Victim::new().await;
    suffer!(
        victim,
        paths_out_of_the_artifacts,
        paths_out_of_the_page,
        paths_in_odd_spellings,
        ranges_without_end,
        offsets_beyond_the_end,
        lists_of_everything,
        conditions_without_sense,
        streams_from_nowhere,
    );
    victim.lives().await;
}

/// What the master answers; whatever it is, it is one answer of a bounded length.
async fn answered(victim: &Victim, path: &str, headers: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
    let mut answered = answers(&victim.master(), request.as_bytes()).await;
    assert_eq!(answered.len(), 1, "{path:.200}: {answered:?}");
    let answer = answered.remove(0);
    assert!(
        answer.text.len() < LONGEST,
        "{path:.200}: {}",
        answer.text.len()
    );
    assert!(answer.status < 500, "{path:.200}: {}", answer.text);
    (answer.status, answer.text)
}

const OUT: [&str; 14] = [
    "../../../../../../../../../../etc/passwd",
    "..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "%252e%252e/%252e%252e/etc/passwd",
    "..%c0%af..%c0%afetc/passwd",
    "..\\..\\..\\etc\\passwd",
    "%2fetc%2fpasswd",
    "/etc/passwd",
    "//etc/passwd",
    "file/../../../../../../etc/passwd",
    "file%00.txt",
    "./file/.",
    "%2e",
    "",
];

async fn paths_out_of_the_artifacts(victim: &Victim) {
    for path in OUT.into_iter().filter(|path| !path.is_empty()) {
        for end in ["", "?view"] {
            let path = format!("/v2/builds/1/subjobs/0/atoms/0/artifacts/{path}{end}");
            let (status, text) = answered(victim, &path, "").await;
            assert!(!text.contains("root:"), "{path}: {text}");
            assert!((400..500).contains(&status), "{path}: {text}");
        }
    }
}

async fn paths_out_of_the_page(victim: &Victim) {
    for path in OUT {
        for top in ["/ui/assets/", "/ui/", "/ui/assets/../"] {
            let path = format!("{top}{path}");
            let (_, text) = answered(victim, &path, "").await;
            assert!(!text.contains("root:"), "{path}: {text}");
        }
    }
}

/// Other spellings of a path that is closed do not open it.
async fn paths_in_odd_spellings(victim: &Victim) {
    for path in [
        "/v2/users",
        "//v2//users//",
        "/V2/users",
        "/v2/./users",
        "/v2/x/../users",
        "/v2%2fusers",
        "/%76%32/users",
        "/v2/users;x",
        "/v2/users/.",
        "/v2/users%20",
        "/v2/users%00",
        "/v2/users?x=/v1/version",
        "/v2/users#/v1/version",
        "/v2/tokens",
        "/v2/audit",
        "/v2/instances",
        "/v2/templates",
        "/v1/admin/perms",
        "/api/v1/users",
        "/v1/eventlog/../../v2/users",
        "/ui/../v2/users",
        "/.git/config",
        "/server-status",
    ] {
        let (status, text) = answered(victim, path, "").await;
        // The page answers all that is below it.
        let is_page = path.starts_with("/ui/") && text.contains("<!doctype html>");
        assert!(
            is_page || (400..500).contains(&status),
            "{path}: {text:.300}"
        );
    }
}

async fn ranges_without_end(victim: &Victim) {
    let many = vec!["0-0"; 5_000].join(",");
    let huge = u64::MAX;
    for range in [
        format!("bytes={many}"),
        format!("bytes=0-{huge}"),
        format!("bytes={huge}-{huge}"),
        format!("bytes=-{huge}"),
        format!("bytes={huge}-0"),
        format!("bytes=0-{huge}0"),
        "bytes=5-1".to_owned(),
        "bytes=-0".to_owned(),
        "bytes=".to_owned(),
        "bytes=a-b".to_owned(),
        "bytes=0-0,5-5,3-9".to_owned(),
        "lines=0-1".to_owned(),
    ] {
        for path in [
            "/v1/build/1/artifacts.tar.gz",
            "/v1/build/1/artifacts.zip",
            "/v2/builds/1/subjobs/0/atoms/0/artifacts/file",
        ] {
            answered(victim, path, &format!("Range: {range}\r\n")).await;
        }
    }
}

async fn offsets_beyond_the_end(victim: &Victim) {
    let (huge, most) = (u64::MAX, i64::MAX);
    for console in [
        "/v2/builds/1/subjobs/0/atoms/0/console",
        "/v1/build/1/subjob/0/atom/0/console",
        "/v2/builds/1/steps/0/console",
        "/v2/builds/1/setup",
    ] {
        for query in [
            format!("offset_line={huge}"),
            format!("offset_line=-{huge}"),
            format!("offset_line=-{most}"),
            format!("offset_byte={huge}"),
            format!("offset_byte={most}"),
            "offset_byte=-1".to_owned(),
            format!("max_lines={huge}"),
            format!("max_lines={huge}&offset_line={most}"),
            "max_lines=0".to_owned(),
            "max_lines=-1".to_owned(),
            format!("wait_s={huge}&offset_line={huge}"),
            format!("slave={huge}"),
            format!("attempt={huge}"),
        ] {
            // Nobody is to wait for as long as that.
            if !query.starts_with("wait_s") {
                answered(victim, &format!("{console}?{query}"), "").await;
            }
        }
    }
}

async fn lists_of_everything(victim: &Victim) {
    let huge = u64::MAX;
    for path in [
        format!("/v2/builds?limit={huge}"),
        "/v2/builds?limit=0".to_owned(),
        format!("/v2/builds?offset={huge}"),
        format!("/v2/builds?newest_first=true&before={huge}"),
        format!("/v2/builds/{huge}"),
        format!("/v2/builds/1/subjobs/{huge}"),
        format!("/v2/builds/1/subjobs?offset={huge}&limit={huge}"),
        format!("/v2/builds/1/plan?slaves={huge}"),
        "/v2/builds/1/plan?under=1e999".to_owned(),
        "/v2/builds/1/plan?under=NaN".to_owned(),
        format!("/v2/projects?limit={huge}&offset={huge}"),
        format!("/v2/projects/{huge}/builds?before={huge}"),
        format!("/v1/eventlog?since_id={huge}"),
        "/v1/eventlog?since_timestamp=1e999".to_owned(),
        "/v1/eventlog?since_timestamp=-1e308".to_owned(),
        format!("/v2/history?name={}", "x".repeat(20_000)),
        "/v2/flaky?limit=18446744073709551616".to_owned(),
        format!("/v2/builds?{}", "a=b&".repeat(5_000)),
    ] {
        answered(victim, &path, "").await;
    }
}

async fn conditions_without_sense(victim: &Victim) {
    let many = vec!["\"x\""; 3_000].join(", ");
    for header in [
        "If-None-Match: *".to_owned(),
        format!("If-None-Match: {many}"),
        "If-None-Match: \"".to_owned(),
        "If-Match: \"x\"".to_owned(),
        "If-Modified-Since: Mon, 99 Foo 9999 99:99:99 GMT".to_owned(),
        "If-Range: \"x\"\r\nRange: bytes=0-0".to_owned(),
        "Accept-Encoding: gzip;q=1e999, *;q=-1".to_owned(),
        format!("Accept: {}", "text/html;q=0.1,".repeat(1_500)),
        "Cookie: clusterrunner_session=".to_owned(),
        format!("Cookie: {}", "a=b; ".repeat(5_000)),
        "Authorization: Basic \u{ff}".to_owned(),
        "Authorization: Bearer".to_owned(),
        "Expected-Session-Id: x".to_owned(),
    ] {
        for path in [
            "/v2/builds",
            "/v1/build/1/artifacts.tar.gz",
            "/ui/assets/main.js",
        ] {
            answered(victim, path, &format!("{header}\r\n")).await;
        }
    }
}

/// Readers of events that come back with an id that nobody gave them: they read anew, and the master looks nothing up.
async fn streams_from_nowhere(victim: &Victim) {
    for id in [
        "0",
        "-1",
        "18446744073709551616",
        "x",
        "1.1.1.1",
        "\u{e9}",
        &"9".repeat(10_000),
    ] {
        let request = format!("GET /v2/events HTTP/1.1\r\nHost: a\r\nLast-Event-ID: {id}\r\n\r\n");
        let mut stream = super::wire::held(&victim.master(), request.as_bytes()).await;
        let first = super::wire::first_of(&mut stream, "\r\n\r\n").await;
        assert!(
            first.starts_with("HTTP/1.1 200") || first.starts_with("HTTP/1.1 4"),
            "{first}"
        );
    }
}
