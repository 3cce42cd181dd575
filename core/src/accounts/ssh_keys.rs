//! SSH keys of users: the public keys by which users are known who push to repositories. A key is the same key whatever
//! comment stands behind it.

use crate::accounts::refusal::AccountRefusal;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::UserId;
use serde::{Deserialize, Serialize};

/// The most characters of an SSH key's id.
const LONGEST_ID: usize = 128;

/// The most bytes of a public key's line: RSA keys of 16384 bits have 3 KiB.
const LONGEST_PUBLIC: usize = 16 << 10;

/// People copy keys from terminals that lose the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What is said of an SSH key that is added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewSshKey {
    /// What its owner calls it, unique among the owner's keys.
    pub id: String,
    /// A line as OpenSSH writes it: type, base64, comment.
    pub public: String,
}

/// An SSH key of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshKey {
    /// What its owner calls it, unique among the owner's keys.
    pub id: String,
    /// The line as the owner gave it: type, base64, comment.
    pub public: String,
    /// The owner.
    pub owner: UserId,
    /// When it was added.
    pub created: Timestamp,
}

impl SshKey {
    pub(super) fn made(owner: UserId, new: NewSshKey, at: Timestamp) -> Self {
        Self {
            id: new.id,
            public: new.public,
            owner,
            created: at,
        }
    }
}

/// Checks what is said of an SSH key. Returns the key itself, by which it is found.
///
/// # Errors
/// The id is none, or the line is not that of a public key.
pub(super) fn check(new: &NewSshKey) -> Result<String, AccountRefusal> {
    let length = new.id.chars().count();
    if !(1..=LONGEST_ID).contains(&length) || new.id.contains(char::is_control) {
        return Err(AccountRefusal::InvalidField {
            field: "id",
            expected: "1 to 128 characters on one line",
        });
    }
    let is_line = new.public.len() <= LONGEST_PUBLIC && !new.public.contains(char::is_control);
    let key = is_line.then(|| key_in(&new.public)).flatten();
    key.ok_or(AccountRefusal::InvalidField {
        field: "public",
        expected: "the line of an OpenSSH public key, such as ssh-ed25519 AAAA... name@host",
    })
}

/// The key in a public key's line, as base64 with padding; none where the line is not of this form.
pub(super) fn key_in(line: &str) -> Option<String> {
    let mut words = line.split_ascii_whitespace();
    let (kind, key) = (words.next()?, words.next()?);
    let bytes = BASE64.decode(key).ok()?;
    // A key begins with the length and the name of its type.
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let is_of_kind = rest.get(..length)? == kind.as_bytes() && rest.len() > length;
    is_of_kind.then(|| BASE64.encode(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ED25519: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIFhSFLbrc0LmtYIBStx6PExvvp0vZ9y1Xk4TUbdwqQlR";

    #[track_caller]
    fn check_refused(id: &str, public: &str, wrong: &str) {
        let new = NewSshKey {
            id: id.to_owned(),
            public: public.to_owned(),
        };
        match check(&new) {
            Err(AccountRefusal::InvalidField { field, .. }) => assert_eq!(field, wrong),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_key_is_the_same_whatever_its_comment() {
        for line in [
            format!("ssh-ed25519 {ED25519}"),
            format!("ssh-ed25519 {ED25519} ann@box"),
            format!("  ssh-ed25519   {ED25519} a comment of words "),
        ] {
            assert_eq!(key_in(&line).as_deref(), Some(ED25519), "{line}");
        }
        let rsa = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC";
        assert_eq!(
            key_in(rsa),
            key_in(&format!("{rsa}= x")),
            "with and without padding"
        );
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let good = format!("ssh-ed25519 {ED25519} ann@box");
        for id in ["", "a\nb", &"x".repeat(129)] {
            check_refused(id, &good, "id");
        }
        let long = format!("{good} {}", "x".repeat(16 << 10));
        for public in [
            "",
            "not a key",
            "ssh-ed25519",
            &format!("ssh-rsa {ED25519} of another type"),
            &format!("{ED25519} ssh-ed25519"),
            "ssh-rsa !!!!",
            "ssh-rsa AAAAB3NzaC1yc2E=",
            "ssh-rsa //////////8=",
            &format!("{good}\n{good}"),
            &long,
        ] {
            check_refused("box", public, "public");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_a_key_or_not(line in ".{0,80}", bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            key_in(&line);
            key_in(&format!("ssh-rsa {}", BASE64.encode(&bytes)));
        }
    }
}
