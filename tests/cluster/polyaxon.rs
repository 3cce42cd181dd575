//! Users of Polyaxon's API: what its clients ask, and what they follow through web sockets.

use crate::farm::Farm;
use crate::wait::PATIENCE;
use futures_util::StreamExt as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::Stdio;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

const PASSWORD: &str = "correct horse battery staple";

/// A user that is logged in.
pub(crate) struct Polyaxon {
    master: String,
    token: String,
    http: reqwest::Client,
}

/// An open web socket.
pub(crate) struct Socket(WebSocketStream<TcpStream>);

impl Farm {
    /// Creates a user, and logs in.
    pub(crate) async fn polyaxon_user(&self, name: &str) -> Polyaxon {
        self.polyaxon_user_with(name, &[]).await
    }

    /// Creates a user that may do everything, and logs in.
    pub(crate) async fn polyaxon_superuser(&self, name: &str) -> Polyaxon {
        self.polyaxon_user_with(name, &["--superuser"]).await
    }

    async fn polyaxon_user_with(&self, name: &str, more: &[&str]) -> Polyaxon {
        let mut command = self.command();
        command
            .args(["user", "create", name, "--password-stdin"])
            .args(["--master-url", &self.master_address()])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        writeln!(child.stdin.take().unwrap(), "{PASSWORD}").unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut user = Polyaxon {
            master: self.master_address(),
            token: String::new(),
            http: reqwest::Client::new(),
        };
        let who = json!({"username": name, "password": PASSWORD});
        let (status, body) = user.ask(Method::POST, "users/token/", Some(who)).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body["token"].as_str().unwrap().clone_into(&mut user.token);
        user
    }
}

impl Polyaxon {
    /// The user's token.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Asks for a path below `/api/v1/`; a body that is no JSON comes back as a text.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let url = format!("http://{}/api/v1/{path}", self.master);
        let mut request = self.http.request(method, url);
        if !self.token.is_empty() {
            request = request.header("Authorization", format!("Token {}", self.token));
        }
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/json")
                .body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        (status, body)
    }

    /// What a path below `/api/v1/` says.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    /// Uploads an archive of code into a project, as the command line does.
    pub(crate) async fn upload(&self, project: &str, archive: &[u8]) -> (StatusCode, Value) {
        let head = "--b\r\nContent-Disposition: form-data; name=\"repo\"; filename=\"x.tar.gz\"\r\n\
                    Content-Type: text/plain\r\n\r\n";
        let end = "\r\n--b\r\nContent-Disposition: form-data; name=\"json\"\r\n\r\n{\"async\": false}\r\n--b--\r\n";
        let url = format!("http://{}/api/v1/{project}/repo/upload/", self.master);
        let request = self
            .http
            .put(url)
            .header("Authorization", format!("token {}", self.token))
            .header("Content-Type", "multipart/form-data; boundary=b")
            .body([head.as_bytes(), archive, end.as_bytes()].concat());
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        (status, body)
    }

    /// The bytes at a path below `/api/v1/`.
    pub(crate) async fn download(&self, path: &str) -> Vec<u8> {
        let url = format!("http://{}/api/v1/{path}", self.master);
        let request = self.http.get(url);
        let request = request.header("Authorization", format!("token {}", self.token));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let length = response.headers()["Content-Length"].clone();
        let bytes = response.bytes().await.unwrap();
        assert_eq!(length, bytes.len().to_string());
        bytes.to_vec()
    }

    /// The log of a build so far.
    pub(crate) async fn log(&self, build: &str) -> String {
        let url = format!("http://{}/api/v1/{build}/logs", self.master);
        let request = self.http.get(url);
        let request = request.header("Authorization", format!("token {}", self.token));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let length = response.headers()["Content-Length"].clone();
        let text = response.text().await.unwrap();
        assert_eq!(length, text.len().to_string());
        text
    }

    /// Opens a web socket of the API, the token in the head of the request.
    pub(crate) async fn socket(&self, path: &str) -> Socket {
        let url = format!("ws://{}/{path}", self.master);
        let mut request = url.into_client_request().unwrap();
        let token = HeaderValue::from_str(&format!("Token {}", self.token)).unwrap();
        request.headers_mut().insert("Authorization", token);
        let stream = TcpStream::connect(&self.master).await.unwrap();
        let (socket, _) = client_async(request, stream).await.unwrap();
        Socket(socket)
    }

    /// Opens a web socket with the token in the query.
    pub(crate) async fn socket_as_browsers_do(&self, path: &str) -> Socket {
        let url = format!("ws://{}/{path}?token={}", self.master, self.token);
        let stream = TcpStream::connect(&self.master).await.unwrap();
        let (socket, _) = client_async(url, stream).await.unwrap();
        Socket(socket)
    }
}

impl Socket {
    /// The next text, or the code that the socket is closed with.
    async fn heard(&mut self) -> Result<Value, CloseCode> {
        loop {
            let next = timeout(PATIENCE, self.0.next()).await;
            match next.expect("something is said").expect("it goes on") {
                Ok(Message::Text(text)) => return Ok(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(frame)) => return Err(frame.unwrap().code),
                Ok(Message::Ping(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next frame.
    pub(crate) async fn frame(&mut self) -> Value {
        self.heard().await.expect("the socket is open")
    }

    /// The next lines, whatever statuses come before them; those are added to `statuses`.
    pub(crate) async fn lines(&mut self, statuses: &mut Vec<String>) -> Vec<String> {
        loop {
            let frame = self.frame().await;
            match frame["status"].as_str() {
                Some(status) => {
                    assert_eq!(frame, json!({"status": status, "log_lines": null}));
                    statuses.push(status.to_owned());
                }
                None => {
                    assert_eq!(frame["job_uuid"].as_str().map(str::len), Some(32));
                    return serde_json::from_value(frame["log_lines"].clone()).unwrap();
                }
            }
        }
    }

    /// All that is said until the socket is closed: the lines, the status after them, and the code.
    pub(crate) async fn rest(mut self) -> (Vec<String>, Vec<String>, CloseCode) {
        let (mut lines, mut statuses) = (Vec::new(), Vec::new());
        loop {
            match self.heard().await {
                Ok(frame) if frame["status"].is_null() => {
                    let more = frame["log_lines"].clone();
                    lines.extend(serde_json::from_value::<Vec<String>>(more).unwrap());
                }
                Ok(frame) => statuses.push(frame["status"].as_str().unwrap().to_owned()),
                Err(code) => {
                    let end = self.0.next().await;
                    assert!(matches!(end, None | Some(Err(Error::ConnectionClosed))));
                    return (lines, statuses, code);
                }
            }
        }
    }

    /// That the socket says only this, and is closed in order then.
    pub(crate) async fn says_only(mut self, frame: Value) {
        assert_eq!(self.heard().await, Ok(frame));
        assert_eq!(self.heard().await, Err(CloseCode::Normal));
    }
}
