//! What a user sees where no program answers.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

/// After how many seconds the page of an instance that starts asks again.
const AGAIN: &str = "1";

/// The instance is on its way: the page asks again by itself.
pub(super) fn wait(title: &str, text: &str) -> Response {
    let reload = format!("<meta http-equiv=\"refresh\" content=\"{AGAIN}\">");
    let mut answer = page(StatusCode::SERVICE_UNAVAILABLE, &reload, title, text);
    let again = HeaderValue::from_static(AGAIN);
    answer.headers_mut().insert(RETRY_AFTER, again);
    answer
}

/// No program will answer here.
pub(super) fn nothing(status: StatusCode, title: &str, text: &str) -> Response {
    page(status, "", title, text)
}

fn page(status: StatusCode, head: &str, title: &str, text: &str) -> Response {
    let (title, text) = (escaped(title), escaped(text));
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n{head}\n<title>{title}</title>\n\
         <style>body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 15vh auto; padding: 0 1rem; }}\
         </style>\n</head>\n<body>\n<h1>{title}</h1>\n<p>{text}</p>\n</body>\n</html>\n"
    );
    let headers = HeaderMap::from_iter([
        (
            CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        ),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ]);
    (status, headers, html).into_response()
}

/// Reasons may hold what programs have printed.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;

    async fn html(response: Response) -> String {
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn only_a_page_that_waits_reloads_itself_and_no_reason_is_markup() {
        let waiting = wait("Starting", "soon");
        assert_eq!(waiting.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(waiting.headers()[RETRY_AFTER], "1");
        assert!(html(waiting).await.contains("http-equiv=\"refresh\""));
        let over = nothing(StatusCode::NOT_FOUND, "Over", "<script>&");
        let over = html(over).await;
        assert!(!over.contains("refresh") && over.contains("<p>&lt;script&gt;&amp;</p>"));
    }
}
