//! The published command line `deis` 1.0.2, byte for byte: requests as its library sends them, and what it makes of the
//! answers. It needs Python 2, so it cannot be run itself.

use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(150);

/// What its library says of itself with each request.
const LIBRARY: &str = "Accept-Encoding: gzip, deflate\r\nAccept: */*\r\nUser-Agent: python-requests/2.3.0 CPython/2.7.9\r\n";

/// The command line of a user.
#[derive(Clone, Debug)]
pub(crate) struct Deis {
    /// `address:port` of the controller.
    controller: String,
    /// The name by which it is called.
    host: String,
    token: String,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }
}

impl Deis {
    /// `deis register`: registers, and logs in.
    pub(crate) async fn register(controller: &str, host: &str, name: &str) -> Self {
        let mut deis = Self {
            controller: controller.to_owned(),
            host: host.to_owned(),
            token: String::new(),
        };
        let email = format!("email={name}%40example.com");
        let form = format!("username={name}&password=opensesame&{email}");
        let registered = deis.post_form("/v1/auth/register", &form).await;
        assert_eq!(registered.status, 201, "{registered:?}");
        assert_eq!(registered.json()["username"], name);
        deis.log_in(name, "opensesame").await;
        deis
    }

    /// `deis login`.
    pub(crate) async fn log_in(&mut self, name: &str, password: &str) {
        let form = format!("username={name}&password={password}");
        let answer = self.post_form("/v1/auth/login/", &form).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["token"]
            .as_str()
            .unwrap()
            .clone_into(&mut self.token);
    }

    /// Logging in and registering send a form, and neither a version nor a token.
    async fn post_form(&self, path: &str, form: &str) -> Answer {
        let (host, length) = (&self.host, form.len());
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n{LIBRARY}Content-Type: \
             application/x-www-form-urlencoded\r\n\r\n"
        );
        self.exchange(head + form).await
    }

    /// Every other command.
    pub(crate) async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let (host, token) = (&self.host, &self.token);
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
        if !body.is_empty() || method == "POST" {
            write!(request, "Content-Length: {}\r\n", body.len()).unwrap();
        }
        write!(
            request,
            "{LIBRARY}content-type: application/json\r\nX-Deis-Version: 1.0\r\nAuthorization: token {token}\r\n\r\n\
             {body}"
        )
        .unwrap();
        self.exchange(request).await
    }

    async fn exchange(&self, request: String) -> Answer {
        let exchanged = timeout(PATIENCE, async {
            let mut stream = TcpStream::connect(&self.controller).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            read(&mut stream).await
        });
        exchanged
            .await
            .unwrap_or_else(|_| panic!("no answer: {request}"))
    }

    /// What a command reads, which must be there.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.send("GET", path, None).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    /// A command that makes something.
    pub(crate) async fn post(&self, path: &str, body: Value, status: u16) -> Answer {
        let answer = self.send("POST", path, Some(&body)).await;
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, status, "{path} {body}: {text}");
        answer
    }

    /// `deis config:set` and the commands for limits and tags: a map comes as a string. The release that was made.
    pub(crate) async fn set(&self, app: &str, map: &str, entries: Value) -> u64 {
        let body = json!({map: entries.to_string()});
        let made = self
            .post(&format!("/v1/apps/{app}/config"), body, 201)
            .await;
        made.header("x-deis-release").unwrap().parse().unwrap()
    }

    /// `deis run`: the exit code and the output.
    pub(crate) async fn run(&self, app: &str, command: &str) -> (i64, String) {
        let body = json!({"command": command});
        let answer = self.post(&format!("/v1/apps/{app}/run"), body, 200).await;
        assert_eq!(answer.header("content-type"), Some("text/plain"));
        match answer.json() {
            Value::Array(pair) if pair.len() == 2 => {
                let output = pair[1].as_str().unwrap();
                (pair[0].as_i64().unwrap(), output.to_owned())
            }
            other => panic!("{other}"),
        }
    }

    /// `deis logs`: the lines.
    pub(crate) async fn logs(&self, app: &str) -> Vec<String> {
        let text = self.get(&format!("/v1/apps/{app}/logs")).await;
        let lines = text.as_str().unwrap().lines();
        lines.map(str::to_owned).collect()
    }

    /// `deis ps`: the containers as it lists them: `web.1 up (v2)`.
    pub(crate) async fn ps(&self, app: &str) -> Vec<String> {
        let list = self.get(&format!("/v1/apps/{app}/containers")).await;
        let containers = list["results"].as_array().unwrap().iter();
        let shown = containers.map(|one| {
            let text = |name: &str| one[name].as_str().unwrap().to_owned();
            let (kind, state, release) = (text("type"), text("state"), text("release"));
            format!("{kind}.{} {state} ({release})", one["num"])
        });
        shown.collect()
    }
}

/// Reads an answer to its end.
async fn read(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        let mut part = [0; 4096];
        let length = stream.read(&mut part).await.unwrap();
        assert!(length > 0, "the answer broke off");
        bytes.extend_from_slice(&part[..length]);
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut answer = Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head,
        body: bytes.split_off(end + 4),
    };
    if let Some(length) = answer.header("content-length") {
        let length: usize = length.parse().unwrap();
        let missing = length - answer.body.len();
        let mut rest = vec![0; missing];
        stream.read_exact(&mut rest).await.unwrap();
        answer.body.extend_from_slice(&rest);
    } else if answer.header("transfer-encoding") == Some("chunked") {
        let begun = std::mem::take(&mut answer.body);
        answer.body = chunks(begun, stream).await;
    }
    answer
}

/// Reads the chunks of a body.
async fn chunks(mut bytes: Vec<u8>, stream: &mut TcpStream) -> Vec<u8> {
    let (mut whole, mut at) = (Vec::new(), 0);
    loop {
        let line = bytes[at..].windows(2).position(|two| two == b"\r\n");
        let Some(line) = line else {
            fill(&mut bytes, stream).await;
            continue;
        };
        let digits = std::str::from_utf8(&bytes[at..at + line]).unwrap();
        let length = usize::from_str_radix(digits, 16).unwrap();
        let begin = at + line + 2;
        while bytes.len() < begin + length + 2 {
            fill(&mut bytes, stream).await;
        }
        if length == 0 {
            return whole;
        }
        whole.extend_from_slice(&bytes[begin..begin + length]);
        at = begin + length + 2;
    }
}

async fn fill(bytes: &mut Vec<u8>, stream: &mut TcpStream) {
    let mut part = vec![0; 1 << 16];
    let length = stream.read(&mut part).await.unwrap();
    assert!(length > 0, "the answer broke off");
    bytes.extend_from_slice(&part[..length]);
}
