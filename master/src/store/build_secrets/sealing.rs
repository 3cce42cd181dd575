//! The form of a sealed value: ChaCha20-Poly1305 under a key of its own, by HKDF-SHA-512 from the farm's secret and a random
//! salt. Project, name and id are authenticated with it, so that no value stands in for another.
//!
//! `form | salt | check | nonce | sealed value with its tag`. The check is derived as the key is: it tells whether the farm's
//! secret is the one that opens the value.

use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::ids::ProjectId;
use clusterrunner_core::accounts::secrets::SealedId;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA512, KeyType, Prk, Salt};

const FORM: &[u8; 4] = b"CRS1";
const SALT: usize = 32;
const CHECK: usize = 16;

const KEY_OF: &[u8] = b"ClusterRunner secrets of builds 1: key";
const CHECK_OF: &[u8] = b"ClusterRunner secrets of builds 1: check";

/// No sealed value is longer.
pub(super) const LONGEST_SEALED: u64 = 1 << 20;

/// What a value is of.
pub(super) struct Of<'a> {
    pub(super) project: ProjectId,
    pub(super) name: &'a str,
    pub(super) id: &'a SealedId,
}

impl Of<'_> {
    /// Neither ids nor names have line feeds.
    fn authenticated(&self) -> String {
        format!("{}\n{}\n{}", self.project, self.name, self.id)
    }
}

/// Why a value can not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsealed {
    OtherSecret,
    Damaged,
}

struct Check;

impl KeyType for Check {
    fn len(&self) -> usize {
        CHECK
    }
}

fn derived(secret: &Secret, salt: &[u8]) -> Prk {
    Salt::new(HKDF_SHA512, salt).extract(secret.as_bytes())
}

fn key(from: &Prk) -> Option<LessSafeKey> {
    let key = from.expand(&[KEY_OF], &CHACHA20_POLY1305).ok()?;
    Some(LessSafeKey::new(UnboundKey::from(key)))
}

fn check(from: &Prk) -> Option<[u8; CHECK]> {
    let mut check = [0; CHECK];
    from.expand(&[CHECK_OF], Check)
        .ok()?
        .fill(&mut check)
        .ok()?;
    Some(check)
}

/// Seals a value; none where it is far too long.
pub(super) fn seal(secret: &Secret, of: &Of<'_>, value: &[u8]) -> Option<Vec<u8>> {
    let salt: [u8; SALT] = random_bytes();
    let nonce: [u8; NONCE_LEN] = random_bytes();
    let derived = derived(secret, &salt);
    let mut sealed = value.to_vec();
    let nonce_once = Nonce::assume_unique_for_key(nonce);
    let authenticated = Aad::from(of.authenticated());
    key(&derived)?
        .seal_in_place_append_tag(nonce_once, authenticated, &mut sealed)
        .ok()?;
    let check = check(&derived)?;
    Some([&FORM[..], &salt, &check, &nonce, &sealed].concat())
}

/// Opens a value.
pub(super) fn open(secret: &Secret, of: &Of<'_>, file: Vec<u8>) -> Result<Vec<u8>, Unsealed> {
    let rest = file.strip_prefix(FORM).ok_or(Unsealed::Damaged)?;
    let (salt, rest) = rest.split_first_chunk::<SALT>().ok_or(Unsealed::Damaged)?;
    let (known, rest) = rest.split_first_chunk::<CHECK>().ok_or(Unsealed::Damaged)?;
    let (nonce, sealed) = rest
        .split_first_chunk::<NONCE_LEN>()
        .ok_or(Unsealed::Damaged)?;
    let derived = derived(secret, salt);
    if check(&derived) != Some(*known) {
        return Err(Unsealed::OtherSecret);
    }
    let key = key(&derived).ok_or(Unsealed::Damaged)?;
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let mut sealed = sealed.to_vec();
    let opened = key.open_in_place(nonce, Aad::from(of.authenticated()), &mut sealed);
    let length = opened.map_err(|_| Unsealed::Damaged)?.len();
    sealed.truncate(length);
    Ok(sealed)
}
