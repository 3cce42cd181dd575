//! Who asks: git sends a user name and a password, of which the password is the user's token.

use super::error::GitHttpError;
use crate::coordinator::ClusterHandle;
use crate::http::tokens;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_core::access::UserCaller;

/// The most characters of a header that is decoded: tokens are shorter.
const LONGEST: usize = 1024;

/// The user whose token a request brings.
pub(super) async fn caller(
    cluster: &ClusterHandle,
    headers: &HeaderMap,
) -> Result<UserCaller, GitHttpError> {
    let token = token(headers).ok_or(GitHttpError::NoToken)?;
    let holder = tokens::holder(&token, cluster, Timestamp::now()).await?;
    holder.ok_or(GitHttpError::InvalidToken)
}

/// The token in the head of a request: as a password, or by itself.
fn token(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.trim().split_once(' ')?;
    let rest = rest.trim();
    let is = |known: &str| scheme.eq_ignore_ascii_case(known);
    if is("token") || is("bearer") {
        return Some(rest.to_owned());
    }
    if !is("basic") || rest.len() > LONGEST {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(rest).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    // A token may also stand where the name is, as in https://<token>@host/.
    let token = if password.is_empty() { name } else { password };
    (!token.is_empty()).then(|| token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_as_a_password_or_by_itself() {
        let basic = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        for (value, expected) in [
            (basic("ann:abc"), Some("abc")),
            (basic("ann:a:c"), Some("a:c")),
            (basic("abc:"), Some("abc")),
            (basic(":"), None),
            (basic("abc"), None),
            ("basic ???".to_owned(), None),
            ("token abc".to_owned(), Some("abc")),
            ("Bearer abc".to_owned(), Some("abc")),
            ("abc".to_owned(), None),
            (basic(&"x".repeat(2000)), None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            assert_eq!(token(&headers).as_deref(), expected, "{value}");
        }
        assert_eq!(token(&HeaderMap::new()), None);
    }
}
