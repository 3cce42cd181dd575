//! Requests that two programs could read in two ways: one in front that passes them on, and the farm.

use super::victim::Victim;
use super::wire::answers;
use crate::raw::session_of;
use clusterrunner_common::auth::signature::{SIGNATURE_HEADER, Signed, content_digest};
use clusterrunner_common::clock::{Timestamp, random_bytes};

/// What is hidden behind or in another request. Its answer would be 200.
const HIDDEN: &str = "GET /v1/queue HTTP/1.1\r\nHost: a\r\n\r\n";

/// A request with these headers and this behind its head.
fn post(headers: &str, rest: &str) -> String {
    format!("POST /v1/build HTTP/1.1\r\nHost: a\r\n{headers}\r\n{rest}")
}

#[tokio::test]
async fn no_request_hides_another() {
    let victim = Victim::new().await;
    suffer!(
        victim,
        length_and_chunks,
        two_lengths,
        lengths_that_are_no_numbers,
        odd_transfer_encodings,
        folded_headers,
        odd_names_of_headers,
        bare_line_ends,
        a_request_behind_a_request,
        broken_chunks,
        trailers,
        odd_request_lines,
        another_host_in_the_request_line,
        huge_heads,
        other_protocols,
        a_body_that_nobody_asked_for,
    );
    victim.lives().await;
}

/// Content-Length for one, Transfer-Encoding for the other.
async fn length_and_chunks(victim: &Victim) {
    for (length, chunked) in [
        (6, "Transfer-Encoding: chunked"),
        (HIDDEN.len() + 5, "Transfer-Encoding: chunked"),
        (6, "transfer-encoding:chunked"),
    ] {
        let behind = format!("0\r\n\r\n{HIDDEN}");
        for order in [
            format!("Content-Length: {length}\r\n{chunked}\r\n"),
            format!("{chunked}\r\nContent-Length: {length}\r\n"),
        ] {
            victim.refuse_bytes(post(&order, &behind).as_bytes()).await;
        }
    }
}

async fn two_lengths(victim: &Victim) {
    let long = HIDDEN.len();
    for lengths in [
        format!("Content-Length: 0\r\nContent-Length: {long}\r\n"),
        format!("Content-Length: {long}\r\nContent-Length: 0\r\n"),
        format!("Content-Length: 0, {long}\r\n"),
        format!("Content-Length: {long}, 0\r\n"),
    ] {
        victim.refuse_bytes(post(&lengths, HIDDEN).as_bytes()).await;
    }
}

async fn lengths_that_are_no_numbers(victim: &Victim) {
    for length in [
        "+5",
        "-1",
        "0x5",
        "5 5",
        "5;",
        "1e1",
        "99999999999999999999999",
        "\u{665}",
        "",
    ] {
        let headers = format!("Content-Length: {length}\r\n");
        victim.refuse_bytes(post(&headers, HIDDEN).as_bytes()).await;
    }
}

async fn odd_transfer_encodings(victim: &Victim) {
    for encoding in [
        "xchunked",
        "chunked, identity",
        "identity, chunked, x",
        "gzip",
        "chunked\r\nTransfer-Encoding: x",
        "\u{b}chunked",
        "\"chunked\"",
        "chunked;q=1",
    ] {
        let headers = format!("Transfer-Encoding: {encoding}\r\n");
        let behind = format!("0\r\n\r\n{HIDDEN}");
        victim
            .refuse_bytes(post(&headers, &behind).as_bytes())
            .await;
    }
    // HTTP/1.0 knows no chunks.
    let old =
        format!("POST /v1/build HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}");
    victim.refuse_bytes(old.as_bytes()).await;
}

/// A line that goes on in the next one.
async fn folded_headers(victim: &Victim) {
    for headers in [
        "X: a\r\n Content-Length: 5\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Transfer-Encoding: chunked\r\n\t, identity\r\n",
        " Host: b\r\n",
    ] {
        let behind = format!("0\r\n\r\n{HIDDEN}");
        victim.refuse_bytes(post(headers, &behind).as_bytes()).await;
    }
}

async fn odd_names_of_headers(victim: &Victim) {
    for name in [
        "Transfer-Encoding ",
        "Transfer-Encoding\t",
        " Transfer-Encoding",
        "Transfer\u{0}-Encoding",
        "Transfer-Encoding\u{b}",
        "Transfer Encoding",
        "",
        "Content-Length\u{e9}",
    ] {
        let headers = format!("{name}: chunked\r\n");
        let behind = format!("0\r\n\r\n{HIDDEN}");
        victim
            .refuse_bytes(post(&headers, &behind).as_bytes())
            .await;
    }
}

async fn bare_line_ends(victim: &Victim) {
    for request in [
        format!("POST /v1/build HTTP/1.1\nHost: a\n\n{HIDDEN}"),
        post("X: a\nContent-Length: 5\r\n", HIDDEN),
        post("X: a\rContent-Length: 5\r\n", HIDDEN),
        post("X: a\u{0}b\r\n", HIDDEN),
        format!("GET /v1/version HTTP/1.1\r\nHost: a\r\n\n{HIDDEN}"),
    ] {
        victim.refuse_bytes(request.as_bytes()).await;
    }
}

/// It was sent before the answer, so nobody can say whose it is: the connection ends after the first answer.
async fn a_request_behind_a_request(victim: &Victim) {
    for door in victim.doors() {
        let both = format!("GET /v1/version HTTP/1.1\r\nHost: a\r\n\r\n{HIDDEN}");
        let answered = answers(&door, both.as_bytes()).await;
        assert_eq!(answered.len(), 1, "{answered:?}");
        assert!(answered[0].text.contains("\"api_version\""), "{answered:?}");
    }
    let unsigned = post("Content-Length: 2\r\n", "{}");
    victim
        .refuse_bytes(format!("{unsigned}{HIDDEN}").as_bytes())
        .await;
}

async fn broken_chunks(victim: &Victim) {
    let chunked = "Transfer-Encoding: chunked\r\n";
    for body in [
        "FFFFFFFFFFFFFFFFF\r\n".to_owned(),
        "-1\r\n".to_owned(),
        "0x5\r\nhello\r\n0\r\n\r\n".to_owned(),
        format!("5\r\nhelloX\r\n0\r\n\r\n{HIDDEN}"),
        format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(100_000)),
        format!("5\nhello\n0\n\n{HIDDEN}"),
    ] {
        victim.refuse_bytes(post(chunked, &body).as_bytes()).await;
    }
}

/// What comes behind a body is no head: a proof there proves nothing.
async fn trailers(victim: &Victim) {
    let server = victim.master();
    let body = victim.project.request().to_string();
    let session = session_of(&server);
    let signed = Signed {
        method: "POST",
        path_and_query: "/v1/build",
        receiver: &session,
        content_digest: &content_digest(body.as_bytes()),
    };
    let signature = signed.sign(&victim.farm.secret(), Timestamp::now(), random_bytes());
    let chunk = format!("{:x}\r\n{body}\r\n0\r\n", body.len());
    let trailers = format!("{SIGNATURE_HEADER}: {signature}\r\nContent-Length: 5\r\n\r\n");
    let headers = format!("Transfer-Encoding: chunked\r\nTrailer: {SIGNATURE_HEADER}\r\n");
    let request = post(&headers, &format!("{chunk}{trailers}{HIDDEN}"));
    victim.refuse_bytes(request.as_bytes()).await;
}

async fn odd_request_lines(victim: &Victim) {
    for line in [
        "GET /v1/version",
        "GET  /v1/version HTTP/1.1",
        "GET /v1/version HTTP/1.1 x",
        "GET /v1/version HTTP/9.9",
        "GET /v1/ver sion HTTP/1.1",
        "GET v1/version HTTP/1.1",
        "GET /v1/\u{0}version HTTP/1.1",
        "G\u{0}T /v1/version HTTP/1.1",
        "\u{1}\u{2}\u{3}",
    ] {
        let request = format!("{line}\r\nHost: a\r\n\r\n");
        victim.refuse_bytes(request.as_bytes()).await;
    }
    for method in ["get", "TRACE", "CONNECT", "PRI", "PROPFIND", "x"] {
        let request = format!("{method} /v1/version HTTP/1.1\r\nHost: a\r\n\r\n");
        victim.refuse_bytes(request.as_bytes()).await;
    }
}

/// A proxy may look at one of the two, the farm at the other.
async fn another_host_in_the_request_line(victim: &Victim) {
    for door in victim.doors() {
        for target in ["http://elsewhere/v1/version", "http://a:b@a/v1/version"] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            let answered = answers(&door, request.as_bytes()).await;
            assert!(answered.len() <= 1, "{answered:?}");
            assert!(
                answered
                    .iter()
                    .all(|answer| (400..500).contains(&answer.status)),
                "{target}: {answered:?}"
            );
        }
    }
    for hosts in ["Host: a\r\nHost: b\r\n", "Host: a\r\nhost: a\r\n"] {
        let request = format!("GET /v1/version HTTP/1.1\r\n{hosts}\r\n");
        victim.refuse_bytes(request.as_bytes()).await;
    }
}

async fn huge_heads(victim: &Victim) {
    let one = format!("X: {}\r\n", "x".repeat(1 << 20));
    let many: String = (0..5_000).map(|n| format!("X-{n}: y\r\n")).collect();
    let path = "x".repeat(1 << 20);
    for request in [
        post(&one, ""),
        post(&many, ""),
        format!("GET /v1/{path} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET /v1/version?{path} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("{path} /v1/version HTTP/1.1\r\nHost: a\r\n\r\n"),
    ] {
        victim.refuse_bytes(request.as_bytes()).await;
    }
}

/// HTTP/2 with and without asking, TLS, and a protocol that nobody speaks.
async fn other_protocols(victim: &Victim) {
    victim
        .refuse_bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        .await;
    victim
        .refuse_bytes(&[&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 600]].concat())
        .await;
    for upgrade in ["h2c", "websocket", "x"] {
        let headers = format!(
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        );
        for door in victim.doors() {
            let request = format!("GET /v1/version HTTP/1.1\r\nHost: a\r\n{headers}\r\n{HIDDEN}");
            let answered = answers(&door, request.as_bytes()).await;
            assert!(answered.len() <= 1, "{answered:?}");
            assert!(
                answered.iter().all(|answer| answer.status != 101),
                "{answered:?}"
            );
        }
    }
}

/// A request that is refused by its head; the body that follows all the same is no request.
async fn a_body_that_nobody_asked_for(victim: &Victim) {
    let long = HIDDEN.len();
    for headers in [
        format!("Expect: 100-continue\r\nContent-Length: {long}\r\n"),
        format!("Expect: 200-ok\r\nContent-Length: {long}\r\n"),
        format!("Content-Length: {long}\r\n"),
    ] {
        victim.refuse_bytes(post(&headers, HIDDEN).as_bytes()).await;
    }
    for door in victim.doors() {
        let request = format!(
            "GET /v1/version HTTP/1.1\r\nHost: a\r\nContent-Length: {long}\r\n\r\n{HIDDEN}"
        );
        let answered = answers(&door, request.as_bytes()).await;
        assert_eq!(answered.len(), 1, "{answered:?}");
        assert!(!answered[0].text.contains("\"queue\""), "{answered:?}");
    }
}
