//! What tools that were made for the original count on.

use crate::farm::{Extra, Farm};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// The head of an answer, byte for byte.
fn raw_head(server: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(server).unwrap();
    let request = format!("{request}\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    answer.split_once("\r\n\r\n").unwrap().0.to_owned()
}

/// The Dashboard's monitor is in PHP, and looks for these exact letters.
#[tokio::test]
async fn header_names_have_capital_letters_on_both_daemons() {
    let mut farm = Farm::with(&Extra {
        general: "cors_allowed_origins_regex = 'http://dash\\.example'",
        ..Extra::default()
    });
    farm.start_all(&[1]).await;
    for server in [farm.master_address(), farm.slave_address(0)] {
        let asked = "GET /v1 HTTP/1.1\r\nOrigin: http://dash.example";
        let head = raw_head(&server, asked);
        for line in [
            "Access-Control-Allow-Origin: http://dash.example",
            "Content-Type: application/json; charset=UTF-8",
        ] {
            assert!(head.lines().any(|found| found == line), "{server}: {head}");
        }
        let lower = |line: &&str| line.starts_with(|first: char| first.is_ascii_lowercase());
        assert_eq!(head.lines().find(lower), None, "{server}: {head}");
        let refused = raw_head(&server, "POST /v1/kill HTTP/1.1\r\nContent-Length: 0");
        assert!(refused.contains("\r\nContent-Length: "), "{refused}");
    }
}
