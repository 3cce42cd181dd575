//! Where instances have a port of their own, the port of the APIs sends who asks for one there: a page of a program that a
//! user launched then never has the origin of the farm's page, whatever link leads to it.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

/// The answer that leads a request to another port of the host that it names; none where it names no host, or goes on in
/// another protocol: no browser makes a page of that.
pub(super) fn sent_to(port: u16, request: &Request) -> Option<Response> {
    let headers = request.headers();
    if headers.contains_key(header::UPGRADE) {
        return None;
    }
    let named = request
        .uri()
        .authority()
        .map(|authority| authority.as_str());
    let named = named.or_else(|| headers.get(header::HOST)?.to_str().ok())?;
    let authority = named.parse::<axum::http::uri::Authority>().ok()?;
    let path = request.uri().path_and_query()?;
    // Of the scheme that the request came by.
    let place = format!("//{}:{port}{path}", authority.host());
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    let place = HeaderValue::try_from(place).ok()?;
    answer.headers_mut().insert(header::LOCATION, place);
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(uri: &str, headers: &[(&'static str, &'static str)]) -> Option<String> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = uri.parse().unwrap();
        for (name, value) in headers {
            request
                .headers_mut()
                .insert(*name, HeaderValue::from_static(value));
        }
        let answer = sent_to(8100, &request)?;
        assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
        let place = answer.headers()[header::LOCATION].to_str().unwrap();
        Some(place.to_owned())
    }

    #[test]
    fn who_asks_for_an_instance_is_led_to_the_port_for_them() {
        for (host, expected) in [
            ("farm:43000", "//farm:8100/user/ab/lab?x=1"),
            ("farm", "//farm:8100/user/ab/lab?x=1"),
            ("[::1]:43000", "//[::1]:8100/user/ab/lab?x=1"),
        ] {
            let place = asked("/user/ab/lab?x=1", &[("host", host)]);
            assert_eq!(place.as_deref(), Some(expected));
        }
        assert_eq!(asked("/user/ab", &[]), None);
        assert_eq!(asked("/user/ab", &[("host", "no host")]), None);
        let socket = [("host", "farm"), ("upgrade", "websocket")];
        assert_eq!(asked("/user/ab", &socket), None);
    }
}
