//! Servers for tests: an http server in this process, and daemons that are killed when the test ends.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

use crate::repository::package_of;

/// Far more than anything here takes on a slow machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `condition` gives something.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A port that was free a moment ago, for daemons that can not choose one themselves.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// A program in the background, in its own process group, killed with all it started when dropped.
pub(crate) struct Daemon {
    child: Child,
}

impl Daemon {
    /// Starts it and waits until it listens on `port`. `None` if it ended before, maybe because the port was taken
    /// meanwhile; its last words are printed then.
    pub(crate) fn start(
        program: &str,
        arguments: &[&str],
        directory: &Path,
        port: u16,
    ) -> Option<Self> {
        let child = Command::new(program)
            .args(arguments)
            .current_dir(directory)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "could not start {program} (Debian: {}): {error}",
                    package_of(program)
                )
            });
        let mut daemon = Self { child };
        let listens = wait_for(program, || {
            if daemon.child.try_wait().unwrap().is_some() {
                Some(false)
            } else {
                TcpStream::connect(("127.0.0.1", port))
                    .is_ok()
                    .then_some(true)
            }
        });
        if listens {
            return Some(daemon);
        }
        let mut words = String::new();
        daemon
            .child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut words)
            .unwrap();
        eprintln!("{program} ended: {words}");
        None
    }

    /// Like [`start`](Self::start), with other ports until one was really free.
    pub(crate) fn start_on_free_port(start: impl Fn(u16) -> Option<Self>) -> (Self, u16) {
        for _ in 0..10 {
            let port = free_port();
            if let Some(daemon) = start(port) {
                return (daemon, port);
            }
        }
        panic!("the daemon could not be started, see above");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
        self.child.wait().ok();
    }
}

/// One request as the server saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
}

/// An http server on the loopback address that serves the repositories of a folder below `/git/` through
/// `git http-backend`, and beside that the special behaviours of [`answer`].
pub(crate) struct HttpServer {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// What the server needs to know; `elsewhere` is where `/elsewhere/` redirects to.
#[derive(Clone)]
struct Service {
    root: PathBuf,
    elsewhere: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl HttpServer {
    pub(crate) fn start(root: &Path) -> Self {
        Self::start_with_elsewhere(root, "")
    }

    pub(crate) fn start_with_elsewhere(root: &Path, elsewhere: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let service = Service {
            root: root.to_owned(),
            elsewhere: elsewhere.to_owned(),
            seen: seen.clone(),
        };
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let router = Router::new()
                    .fallback(move |request: Request| answer(service.clone(), request));
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    served = axum::serve(listener, router) => served.unwrap(),
                    () = stopped.cancelled() => {}
                }
            });
        });
        Self {
            address,
            seen,
            stop,
            thread: Some(thread),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// `/git/` serves; `/auth/` too, with user `me` and password `p@ss`; the others misbehave as their names say.
async fn answer(service: Service, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    service.seen.lock().unwrap().push(Seen {
        method: request.method().to_string(),
        path: path.clone(),
        headers: request.headers().clone(),
    });
    let (_, rest) = path.split_at(1);
    let (behaviour, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let redirect = |to: String| (StatusCode::FOUND, [(header::LOCATION, to)]).into_response();
    match behaviour {
        "git" => backend(&service.root, rest, &query, request).await,
        "auth" => {
            // "me:p@ss" in base64.
            let expected = "Basic bWU6cEBzcw==";
            if request
                .headers()
                .get(header::AUTHORIZATION)
                .is_some_and(|value| value == expected)
            {
                return backend(&service.root, rest, &query, request).await;
            }
            (
                StatusCode::UNAUTHORIZED,
                [(header::WWW_AUTHENTICATE, "Basic realm=\"test\"")],
            )
                .into_response()
        }
        "moved" => redirect(format!("/git/{rest}?{query}")),
        "moved-auth" => redirect(format!("/auth/{rest}?{query}")),
        "elsewhere" => redirect(format!("{}{rest}?{query}", service.elsewhere)),
        "login" => redirect("/page?next=x".to_owned()),
        "loop" => redirect(format!("/loop/{rest}?{query}")),
        "page" => ([(header::CONTENT_TYPE, "text/html")], "<html>").into_response(),
        "file" => "content of the file".into_response(),
        "broken" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        "hang" => std::future::pending().await,
        // Begins an answer and then falls silent.
        "stall" => {
            let beginning = bytes::Bytes::from_static(b"001e# service=git-upload-pack\n0000");
            let stream = futures_util::stream::StreamExt::chain(
                futures_util::stream::iter([Ok::<_, std::io::Error>(beginning)]),
                futures_util::stream::pending(),
            );
            let kind = "application/x-git-upload-pack-advertisement";
            ([(header::CONTENT_TYPE, kind)], Body::from_stream(stream)).into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The common gateway interface (RFC 3875), as far as `git http-backend` needs it.
async fn backend(root: &Path, path: &str, query: &str, request: Request) -> Response {
    let method = request.method().to_string();
    let content_type = request.headers().get(header::CONTENT_TYPE).cloned();
    let body = axum::body::to_bytes(request.into_body(), 1 << 24)
        .await
        .unwrap();
    let mut child = tokio::process::Command::new("git")
        .arg("http-backend")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", format!("/{path}"))
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", method)
        .env(
            "CONTENT_TYPE",
            content_type
                .as_ref()
                .map_or("", |value| value.to_str().unwrap()),
        )
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("could not start git (Debian: git)");
    let mut stdin = child.stdin.take().unwrap();
    let write = async move { stdin.write_all(&body).await };
    let (_, output) = tokio::join!(write, child.wait_with_output());
    let output = output.unwrap().stdout;
    let end = output
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("the backend sent no header");
    let mut response = Response::builder();
    for line in std::str::from_utf8(&output[..end]).unwrap().lines() {
        let (name, value) = line.split_once(": ").unwrap();
        response = if name == "Status" {
            response.status(value[..3].parse::<u16>().unwrap())
        } else {
            response.header(name, value)
        };
    }
    response
        .body(Body::from(output[end + 4..].to_vec()))
        .unwrap()
}
