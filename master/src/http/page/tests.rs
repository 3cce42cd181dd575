//! What a browser gets of the page.

use super::*;
use std::path::Path;
use tower::ServiceExt as _;

/// Status, headers and body.
async fn ask(method: Method, path: &str, known: Option<&str>) -> (u16, HeaderMap, Bytes) {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(etag) = known {
        request = request.header(IF_NONE_MATCH, etag);
    }
    let request = request.body(Body::empty()).unwrap();
    let response = Page::default().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    (parts.status.as_u16(), parts.headers, body)
}

#[tokio::test]
async fn each_address_of_the_page_is_answered_with_the_page() {
    for path in ["/ui/", "/ui/builds/12/atoms/3/0", "/ui/assetsx", "/ui/../x"] {
        let (status, headers, body) = ask(Method::GET, path, None).await;
        assert_eq!((status, &body[..]), (200, INDEX.bytes), "{path}");
        assert_eq!(headers[CONTENT_TYPE], INDEX.kind, "{path}");
    }
    for path in ["/", "/ui"] {
        let (status, headers, _) = ask(Method::GET, path, None).await;
        assert_eq!(
            (status, &headers[LOCATION]),
            (303, &"/ui/".parse().unwrap())
        );
    }
    for path in [
        "/ui/assets",
        "/ui/assets/",
        "/ui/assets/x.js",
        "/ui/assets/style.css/x",
        "/ui/assets/../style.css",
    ] {
        assert_eq!(ask(Method::GET, path, None).await.0, 404, "{path}");
    }
    let (status, headers, _) = ask(Method::POST, "/ui/", None).await;
    assert_eq!(
        (status, &headers[ALLOW]),
        (405, &"GET, HEAD".parse().unwrap())
    );
}

#[tokio::test]
async fn a_file_that_the_browser_has_is_not_sent_again() {
    for (name, file) in ASSETS {
        let path = format!("/ui/assets/{name}");
        let (status, headers, body) = ask(Method::GET, &path, None).await;
        assert_eq!((status, &body[..]), (200, file.bytes), "{name}");
        assert_eq!(headers[CACHE_CONTROL], "no-cache");
        let etag = headers[ETAG].to_str().unwrap();
        let (status, headers, body) = ask(Method::GET, &path, Some(etag)).await;
        assert_eq!(
            (status, &headers[ETAG], body.len()),
            (304, &headers[ETAG], 0)
        );
        assert_eq!(ask(Method::GET, &path, Some("\"other\"")).await.0, 200);
        let (status, _, body) = ask(Method::HEAD, &path, None).await;
        assert_eq!((status, body.len()), (200, 0));
    }
}

#[tokio::test]
async fn each_answer_says_what_a_browser_may_do_with_it() {
    for path in ["/", "/ui/", "/ui/assets/main.js", "/ui/assets/none"] {
        let (_, headers, _) = ask(Method::GET, path, None).await;
        let policy = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        assert!(
            !policy.contains("unsafe") && !policy.contains("http"),
            "{policy}"
        );
        assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers[REFERRER_POLICY], "same-origin");
    }
}

/// A file that is forgotten in the table would be missing in every browser.
#[test]
fn every_file_is_sent() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/page/assets");
    let mut sent: Vec<&str> = ASSETS.iter().map(|(name, _)| *name).collect();
    sent.push("index.html");
    let mut waiting = vec![folder.clone()];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(path).unwrap();
            waiting.extend(entries.map(|entry| entry.unwrap().path()));
            continue;
        }
        let name = path.strip_prefix(&folder).unwrap().to_str().unwrap();
        assert!(sent.contains(&name), "{name} is not in files.rs");
    }
}
