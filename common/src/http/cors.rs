//! Web pages of which origins may read the API.

use axum::http::{HeaderMap, HeaderValue, header};
use regex_lite::Regex;

/// The origins that a setting allows; by default none.
#[derive(Clone, Debug, Default)]
pub struct AllowedOrigins(Option<Regex>);

/// The pattern is no regular expression, or one of a kind that is not supported, such as one with
/// look-ahead.
#[derive(Debug, thiserror::Error)]
#[error("setting \"cors_allowed_origins_regex\": expected a regular expression: {0}")]
pub struct InvalidPattern(String);

impl From<regex_lite::Error> for InvalidPattern {
    fn from(error: regex_lite::Error) -> Self {
        Self(error.to_string())
    }
}

impl AllowedOrigins {
    /// The origins that match `pattern` from their beginning to the end of their host, or of their port; none
    /// without a pattern. The original also lets in what has a longer host name.
    ///
    /// # Errors
    /// See [`InvalidPattern`].
    pub fn new(pattern: Option<&str>) -> Result<Self, InvalidPattern> {
        let Some(pattern) = pattern else {
            return Ok(Self(None));
        };
        // Compiled as it stands first: in the frame a stray parenthesis could mean something else.
        Regex::new(pattern)?;
        let framed = Regex::new(&format!(r"\A(?:{pattern})(?::[0-9]{{1,5}})?\z"))?;
        Ok(Self(Some(framed)))
    }

    /// Says in an answer whether the page that asked may read it.
    pub(super) fn answer(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        let Some(regex) = &self.0 else { return };
        answer.append(header::VARY, HeaderValue::from_static("Origin"));
        let allowed =
            origin.filter(|origin| origin.to_str().is_ok_and(|text| regex.is_match(text)));
        let Some(origin) = allowed else { return };
        // What an answer allows to everybody stays allowed to everybody.
        if !answer.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
        let headers = "Content-Type, Accept, X-Requested-With, Session, Session-Id";
        answer.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static(headers),
        );
        answer.insert(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(pattern: Option<&str>, origin: &str) -> bool {
        let mut answer = HeaderMap::new();
        let origin = HeaderValue::from_str(origin).unwrap();
        let origins = AllowedOrigins::new(pattern).unwrap();
        origins.answer(Some(&origin), &mut answer);
        match answer.get(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            Some(value) => value == origin,
            None => false,
        }
    }

    #[test]
    fn an_origin_must_match_to_the_end_of_its_host_or_port() {
        let pattern = Some(r"https?://(dash|www)\.example\.com");
        assert!(allowed(pattern, "http://dash.example.com"));
        assert!(!allowed(pattern, "http://dash.example.com.evil.org"));
        assert!(!allowed(pattern, "http://evil.org/http://dash.example.com"));
        assert!(!allowed(Some("http://a|http://b"), "http://a.evil.org"));
        assert!(!allowed(None, "http://dash.example.com"));
        // The example of the Dashboard, and the page that it is for.
        let pattern = Some(r"^http://[^.]*\.my-org\.net");
        assert!(allowed(pattern, "http://unicorn.my-org.net:6174"));
        assert!(allowed(pattern, "http://unicorn.my-org.net"));
        for other in [
            "http://unicorn.my-org.net.evil.org",
            "http://unicorn.my-org.net.evil.org:6174",
            "http://unicorn.my-org.network:6174",
            "http://unicorn.my-org.net:6174.evil.org",
            "http://unicorn.my-org.net:",
            "http://unicorn.my-org.net:617400",
            "http://unicorn.my-org.net:80@evil.org",
            "http://evil.org/http://unicorn.my-org.net:6174",
            "https://unicorn.my-org.net:6174",
        ] {
            assert!(!allowed(pattern, other), "{other}");
        }
        let with_port = Some(r"http://dash:80$");
        assert!(allowed(with_port, "http://dash:80"));
        assert!(!allowed(with_port, "http://dash:8080"));
        assert!(!allowed(with_port, "http://dash"));
        assert!(AllowedOrigins::new(Some("a)(?:b")).is_err());
    }
}
