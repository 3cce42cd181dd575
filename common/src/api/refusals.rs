//! Bodies of refusals.

use serde::{Deserialize, Serialize};

/// Body of every refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// `FAILURE` where the original sends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// What is wrong and what to do.
    pub error: String,
    /// Ours: which refusal it is, where programs tell it apart from others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<ErrorCode>,
}

/// Refusals that programs tell apart, whatever words they come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// There is no such route.
    NoRoute,
    /// There is no such build, or it was removed.
    UnknownBuild,
    /// No such slave is listed.
    UnknownSlave,
    /// There is no such template.
    UnknownTemplate,
    /// There is no such instance.
    UnknownInstance,
    /// There is no such user.
    UnknownUser,
    /// A build has no archive, and will have none.
    NoArchive,
    /// A proof is needed, and there is none: no signature and no token.
    NoProof,
    /// The token opens nothing.
    InvalidToken,
    /// The master does not know the key of a slave, which must join again.
    UnknownSlaveKey,
    /// An operator has revoked the key of a slave.
    RevokedSlaveKey,
    /// Slaves can not join with this token any more.
    InvalidJoinToken,
    /// A slave may not be at this address by its key alone: it must join again.
    AddressOfOtherKey,
    /// A slave has joined a master with another key, and takes orders from that one only.
    OtherMaster,
    /// One that only newer masters know.
    #[serde(other)]
    Other,
}

/// What the original says of builds and slaves that it does not know, before the id.
pub const ORIGINALS_UNKNOWN_BUILD: &str = "Invalid build id: ";
/// See [`ORIGINALS_UNKNOWN_BUILD`].
pub const ORIGINALS_UNKNOWN_SLAVE: &str = "Requested slave (slave_id=";

impl ErrorCode {
    /// What a refusal of the original is, which has no code: its words have not changed for years and will not.
    #[must_use]
    pub fn of_original(error: &str) -> Option<Self> {
        if error.starts_with(ORIGINALS_UNKNOWN_BUILD) {
            return Some(Self::UnknownBuild);
        }
        let is_slave = error.starts_with(ORIGINALS_UNKNOWN_SLAVE);
        is_slave.then_some(Self::UnknownSlave)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_words_and_unknown_ones_do_no_harm() {
        let read = |text: &str| serde_json::from_str::<ErrorBody>(text).unwrap();
        let body = read(r#"{"error": "There is no such route.", "code": "no_route"}"#);
        assert_eq!(body.code, Some(ErrorCode::NoRoute));
        assert_eq!(
            serde_json::to_string(&body).unwrap(),
            r#"{"error":"There is no such route.","code":"no_route"}"#
        );
        assert_eq!(read(r#"{"error": "x"}"#).code, None);
        assert_eq!(
            read(r#"{"error": "x", "code": "new"}"#).code,
            Some(ErrorCode::Other)
        );
    }

    #[test]
    fn the_original_is_known_by_its_words() {
        let code = ErrorCode::of_original;
        assert_eq!(code("Invalid build id: 7."), Some(ErrorCode::UnknownBuild));
        assert_eq!(
            code("Requested slave (slave_id=7) does not exist."),
            Some(ErrorCode::UnknownSlave)
        );
        assert_eq!(code("Invalid subjob id: 7."), None);
    }
}
