//! The sessions of those who are called: a signature names for whom it is.

use super::shown;
use crate::ids::SessionId;
use crate::lock::lock;
use reqwest::{Response, Url};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// How many peers are remembered. Few programs call more than one; a master knows its slaves' sessions from their
/// registration.
const MOST: usize = 1000;

/// Whom a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiver<'a> {
    /// Whatever life answers at the address.
    Address,
    /// The one with this session and no other.
    Life(&'a str),
}

impl<'a> From<Option<&'a SessionId>> for Receiver<'a> {
    fn from(session: Option<&'a SessionId>) -> Self {
        session.map_or(Self::Address, |session| Self::Life(&session.0))
    }
}

/// What peers said last in the header `Session-Id`, by address. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions(Arc<Mutex<HashMap<String, String>>>);

impl Sessions {
    pub(super) fn of(&self, url: &Url) -> Option<String> {
        let known = lock(&self.0);
        known.get(&key(url)).cloned()
    }

    /// Remembers what the peer says in this answer, if it does.
    pub(super) fn learn(&self, url: &Url, answer: &Response) {
        let Some(session) = in_answer(answer) else {
            return;
        };
        let mut known = lock(&self.0);
        match known.get_mut(&key(url)) {
            Some(old) if old == session => {}
            Some(old) => session.clone_into(old),
            None => {
                if known.len() >= MOST {
                    known.clear();
                }
                known.insert(key(url), session.to_owned());
            }
        }
    }

    /// A daemon that did not answer may be another one the next time.
    pub(super) fn forget(&self, url: &Url) {
        let mut known = lock(&self.0);
        known.remove(&key(url));
    }
}

/// The session that an answer names.
pub(super) fn in_answer(answer: &Response) -> Option<&str> {
    let session = answer.headers().get("session-id")?.to_str().ok()?;
    crate::auth::signature::is_session(session).then_some(session)
}

fn key(url: &Url) -> String {
    format!("{}://{}", url.scheme(), shown(url))
}
