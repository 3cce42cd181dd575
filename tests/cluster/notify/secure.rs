//! A receiver that speaks HTTPS, with another program's TLS and a certificate of an authority of its own.

use crate::farm::{Extra, Farm};
use crate::https::certificate;
use crate::repository::Repository;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Says on which port it listens, and then the event of each request.
const PROGRAM: &str = r#"
import http.server, json, ssl, sys
class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        print(json.loads(body)["event"], flush=True)
        self.send_response(204)
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_port, flush=True)
server.serve_forever()
"#;

struct Running(Child);

impl Running {
    fn start((certificate, key): (&Path, &Path)) -> Self {
        let child = Command::new("python3")
            .args(["-c", PROGRAM])
            .args([certificate, key])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test]
async fn a_receiver_is_told_over_https_if_its_authority_is_trusted() {
    let place = tempfile::tempdir().unwrap();
    let (trusted, key) = certificate(place.path(), "receiver", "127.0.0.1");
    let (other, _) = certificate(place.path(), "other", "127.0.0.1");
    let mut running = Running::start((&trusted, &key));
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let port = lines.next().unwrap().unwrap();
    let section = |name: &str, more: &str| {
        format!("[notify {name}]\nurl = https://127.0.0.1:{port}/{name}\n{more}\n")
    };
    let ca_file = |file: &Path| format!("ca_file = '{}'", file.display());
    let slave = [
        section("trusted", &ca_file(&trusted)),
        section("other", &ca_file(&other)),
        section("system", ""),
    ];
    let mut farm = Farm::with(&Extra {
        slave: &slave.concat(),
        ..Extra::default()
    });
    let test = |name: &str| {
        let output = farm.command().args(["notify", "test", name]).output();
        let output = output.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), text)
    };
    assert_eq!(
        test("trusted"),
        (Some(0), "trusted: ok (status 204)\n".to_owned())
    );
    assert_eq!(lines.next().unwrap().unwrap(), "ping");
    for name in ["other", "system"] {
        let (code, text) = test(name);
        assert_eq!(code, Some(5), "{text}");
        assert!(text.contains("certificate"), "{text}");
    }

    farm.start_all(&[1]).await;
    let repository =
        Repository::with_jobs("Job:\n  commands: ['true']\n  atomizers: [{N: echo 1}]\n");
    farm.run(&repository.request()).await.passes();
    let told = tokio::task::spawn_blocking(move || [lines.next(), lines.next()]);
    let told = told.await.unwrap().map(|line| line.unwrap().unwrap());
    // Nobody else was let in.
    assert_eq!(told, ["building", "finished"]);
}
