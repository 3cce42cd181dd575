//! A read-only view of a directory for browsers: what an instance shows whose template names nothing to start.

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use clusterrunner_common::disk::beneath::Beneath;
use rustix::fs::FileType;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::io::ReaderStream;

/// The first argument of a process that shows files, see [`browse_files`].
pub(crate) const BROWSE_FILES: &str = "browse-files";

/// The most entries of a directory that are shown.
const MOST_SHOWN: usize = 10_000;

/// What browsers may show as it is; all else is offered as plain text or as a download.
const KINDS: [(&str, &str); 7] = [
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("pdf", "application/pdf"),
    ("json", "application/json"),
];

/// What is shown, and under which name.
#[derive(Debug)]
struct Shown {
    directory: PathBuf,
    name: String,
}

/// Is a process that shows files: its arguments are the directory, the port and the name. To be called from `main`,
/// before anything else.
#[must_use]
pub(crate) fn browse_files() -> ExitCode {
    let mut arguments = std::env::args_os().skip(2);
    let (directory, port, name) = (arguments.next(), arguments.next(), arguments.next());
    let port = port.and_then(|port| port.to_str()?.parse::<u16>().ok());
    let (Some(directory), Some(port)) = (directory, port) else {
        eprintln!("expected a directory, a port and a name");
        return ExitCode::FAILURE;
    };
    let shown = Shown {
        directory: directory.into(),
        name: name.unwrap_or_default().to_string_lossy().into_owned(),
    };
    match serve(shown, port) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("could not show files: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(shown: Shown, port: u16) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let listener = TcpListener::bind(address).await?;
        axum::serve(listener, routes(shown)).await
    })
}

fn routes(shown: Shown) -> Router {
    Router::new().fallback(answer).with_state(Arc::new(shown))
}

async fn answer(State(shown): State<Arc<Shown>>, request: Request) -> Response {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let asked = request.uri().path().to_owned();
    let found = tokio::task::spawn_blocking(move || look(&shown, &asked)).await;
    match found {
        Ok(Ok(Found::Page(page))) => (
            [
                (header::CONTENT_TYPE, "text/html; charset=utf-8"),
                (
                    header::CONTENT_SECURITY_POLICY,
                    "default-src 'none'; style-src 'unsafe-inline'",
                ),
            ],
            page,
        )
            .into_response(),
        Ok(Ok(Found::Directory(last))) => Redirect::temporary(&format!("{last}/")).into_response(),
        Ok(Ok(Found::File { file, length, kind })) => {
            let body = Body::from_stream(ReaderStream::new(tokio::fs::File::from_std(file)));
            let headers = [
                (header::CONTENT_TYPE, kind.to_owned()),
                (header::CONTENT_LENGTH, length.to_string()),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
            ];
            (headers, body).into_response()
        }
        Ok(Err(_)) => (StatusCode::NOT_FOUND, "There is no such file.\n").into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

enum Found {
    Page(String),
    /// Its links are relative: its path ends with a slash. The last name of it.
    Directory(String),
    File {
        file: std::fs::File,
        length: u64,
        kind: &'static str,
    },
}

fn look(shown: &Shown, asked: &str) -> io::Result<Found> {
    let decoded = decode(asked.trim_start_matches('/'))?;
    let relative = Path::new(OsStr::from_bytes(&decoded));
    let top = Beneath::open(&shown.directory)?;
    if asked.ends_with('/') || relative.as_os_str().is_empty() {
        let entries = top.directory(relative)?.entries()?;
        return Ok(Found::Page(page(&shown.name, relative, entries)));
    }
    let name = relative.file_name().ok_or(io::ErrorKind::NotFound)?;
    let above = top.directory(relative.parent().unwrap_or(Path::new("")))?;
    match FileType::from_raw_mode(above.stat(name)?.st_mode) {
        FileType::Directory => Ok(Found::Directory(encode(name))),
        FileType::RegularFile => {
            let file =
                clusterrunner_common::disk::regular_file::open_itself(&above.path().join(name))?;
            Ok(Found::File {
                length: file.metadata()?.len(),
                file,
                kind: kind(name),
            })
        }
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn kind(name: &OsStr) -> &'static str {
    let extension = Path::new(name).extension().and_then(OsStr::to_str);
    let extension = extension.unwrap_or("").to_ascii_lowercase();
    let known = KINDS.iter().find(|(known, _)| *known == extension);
    known.map_or("text/plain; charset=utf-8", |(_, kind)| kind)
}

fn page(name: &str, relative: &Path, mut entries: Vec<(OsString, bool)>) -> String {
    entries.sort_by(|(one, is_one), (other, is_other)| is_other.cmp(is_one).then(one.cmp(other)));
    let place = Path::new(name).join(relative);
    let place = escape(&place.to_string_lossy());
    let mut page = format!(
        "<!doctype html><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{place}</title><style>body{{font:16px/1.6 system-ui;margin:2rem}}ul{{list-style:none;padding:0}}</style>\
         <h1>{place}</h1><ul>"
    );
    if !relative.as_os_str().is_empty() {
        page.push_str("<li><a href=\"../\">..</a>");
    }
    let number = entries.len();
    for (entry, is_directory) in entries.into_iter().take(MOST_SHOWN) {
        let slash = if is_directory { "/" } else { "" };
        let (link, text) = (encode(&entry), escape(&entry.to_string_lossy()));
        // Writing to a text does not fail.
        write!(page, "<li><a href=\"./{link}{slash}\">{text}{slash}</a>").unwrap_or_default();
    }
    page.push_str("</ul>");
    if number > MOST_SHOWN {
        let more = number - MOST_SHOWN;
        write!(page, "<p>and {more} more").unwrap_or_default();
    }
    page
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A name as a part of a URL.
fn encode(name: &OsStr) -> String {
    let mut encoded = String::new();
    for &byte in name.as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => write!(encoded, "%{byte:02X}").unwrap_or_default(),
        }
    }
    encoded
}

fn decode(text: &str) -> io::Result<Vec<u8>> {
    let wrong = || io::Error::from(io::ErrorKind::InvalidInput);
    let mut decoded = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || {
            let digit = char::from(bytes.next()?).to_digit(16)?;
            u8::try_from(digit).ok()
        };
        let (high, low) = (digit().ok_or_else(wrong)?, digit().ok_or_else(wrong)?);
        decoded.push(high << 4 | low);
    }
    match decoded.contains(&0) {
        true => Err(wrong()),
        false => Ok(OsString::from_vec(decoded).into_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    async fn get(directory: &Path, path: &str) -> (u16, String) {
        let shown = Shown {
            directory: directory.to_owned(),
            name: "mine".to_owned(),
        };
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = routes(shown).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn files_and_directories_are_shown_and_nothing_outside() {
        let place = tempfile::tempdir().unwrap();
        let top = place.path().join("top");
        std::fs::create_dir_all(top.join("a b")).unwrap();
        std::fs::write(place.path().join("secret"), "s").unwrap();
        std::fs::write(top.join("a b/<x>"), "text").unwrap();
        std::os::unix::fs::symlink(place.path(), top.join("out")).unwrap();
        std::os::unix::fs::symlink("../secret", top.join("link")).unwrap();
        let (status, page) = get(&top, "/").await;
        assert_eq!(status, 200);
        assert!(page.contains("<a href=\"./a%20b/\">a b/</a>"), "{page}");
        let (_, page) = get(&top, "/a%20b/").await;
        assert!(
            page.contains("<a href=\"./%3Cx%3E\">&lt;x&gt;</a>"),
            "{page}"
        );
        assert_eq!(get(&top, "/a%20b/%3Cx%3E").await, (200, "text".to_owned()));
        assert_eq!(get(&top, "/a%20b").await.0, 307);
        for wrong in [
            "/out/",
            "/out/secret",
            "/link",
            "/../secret",
            "/%2e%2e/secret",
            "/..%2fsecret",
            "/none",
            "/none/",
            "/%zz",
            "/a%00b",
            "//etc/passwd",
        ] {
            assert_eq!(get(&top, wrong).await.0, 404, "{wrong}");
        }
    }
}
