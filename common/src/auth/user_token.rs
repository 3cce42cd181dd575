//! The token of a user, as a value that can not be printed.

use std::fmt;
use std::str::FromStr;

/// The most characters of a token: no master gives longer ones.
const LONGEST: usize = 512;

/// A token that stands for a user of a farm. It never shows in `Debug` and has no `Display`; only
/// [`UserToken::as_str`] gives it away.
#[derive(Clone, PartialEq, Eq)]
pub struct UserToken(String);

/// A text that can not be a token. The message does not repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token is one word of letters and digits, as `clusterrunner token create` prints it")]
pub struct NoToken;

impl UserToken {
    /// The text, for the header of a request and nothing else.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserToken {
    type Err = NoToken;

    fn from_str(text: &str) -> Result<Self, NoToken> {
        let text = text.trim();
        let is_token =
            (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_token.then(|| Self(text.to_owned())).ok_or(NoToken)
    }
}

impl fmt::Debug for UserToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserToken(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word_and_does_not_show() {
        let token: UserToken = " 0f1e2d\n".parse().unwrap();
        assert_eq!(token.as_str(), "0f1e2d");
        assert_eq!(format!("{token:?}"), "UserToken(***)");
        for wrong in [
            "",
            " ",
            "two words",
            "line\nbreak",
            "ünicode",
            &"x".repeat(513),
        ] {
            assert_eq!(wrong.parse::<UserToken>(), Err(NoToken), "{wrong}");
        }
    }
}
