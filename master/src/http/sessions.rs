//! Sessions of the page: what a browser has in place of a token. A session is derived and stored nowhere: its cookie names a
//! token of the farm by its digest, or the farm's secret, and an end, under a code that only the farm can make. So it
//! survives a restart of the master, and ends with what it was derived from.

mod ended;
mod links;

use crate::coordinator::ClusterHandle;
use axum::http::{Extensions, Method};
use clusterrunner_common::auth::gate::{self, SESSION_COOKIE, UnknownSession};
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::clock::{Timestamp, random_bytes};
use clusterrunner_core::Cluster;
use clusterrunner_core::access::{Caller, SecretProof, UserCaller};
use clusterrunner_core::accounts::users::{Role, TokenDigest, User};
use ended::Ended;
use hmac::{Hmac, KeyInit as _, Mac as _};
use links::Links;
use sha2::Sha256;
use std::pin::Pin;

/// How long a session lasts.
const LASTS_MS: u64 = 12 * 60 * 60 * 1000;

/// How long a link waits to be followed.
pub(crate) use links::LASTS as LINK_LASTS;

/// How many hexadecimal digits the token for changes has.
const CSRF_DIGITS: usize = 40;

/// What a session stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A caller that has proved that it knows the farm's secret.
    Secret,
    /// The user that has this token, as far as the token goes.
    Token(TokenDigest),
    /// The same, signed in with the password: the session ends when the password changes.
    Password(TokenDigest),
}

/// Makes sessions and knows them again. Clones share what has ended.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    cluster: ClusterHandle,
    secret: Secret,
    /// Whether the cookie is for HTTPS only.
    is_tls: bool,
    /// Which requests that change something a caller may send by a session.
    opens: fn(Caller, &Method, &str) -> bool,
    ended: Ended,
    links: Links,
}

/// A session that is valid; an extension of requests.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// Who asks by it.
    pub caller: Caller,
    /// The name of its user; none for a holder of the secret.
    pub user_name: Option<String>,
    /// What proves that a change comes from the page.
    pub csrf_token: String,
    /// When it ends.
    pub expires: Timestamp,
    cookie: Cookie,
}

/// What the cookie says, true or not.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cookie {
    expires: Timestamp,
    holder: Holder,
    /// Tells sessions apart.
    nonce: String,
}

impl Cookie {
    /// `1.<end>.<holder>.<nonce>`, without the code behind it.
    fn text(&self) -> String {
        let holder = match &self.holder {
            Holder::Secret => "s".to_owned(),
            Holder::Token(digest) => format!("t{}", digest.0),
            Holder::Password(digest) => format!("p{}", digest.0),
        };
        format!("1.{}.{holder}.{}", self.expires.0, self.nonce)
    }

    /// What a cookie says, and its code.
    fn parse(value: &str) -> Option<(Self, Vec<u8>)> {
        let parts: Vec<&str> = value.split('.').collect();
        let ["1", expires, holder, nonce, code] = parts[..] else {
            return None;
        };
        let digest = |text: &str| TokenDigest(text.to_owned());
        let holder = match (holder.get(..1)?, &holder[1..]) {
            ("s", "") => Holder::Secret,
            ("t", text) => Holder::Token(digest(text)),
            ("p", text) => Holder::Password(digest(text)),
            _ => return None,
        };
        let cookie = Self {
            expires: Timestamp(expires.parse().ok()?),
            holder,
            nonce: nonce.to_owned(),
        };
        // One text for each cookie: others are none.
        let code = hex::decode(code).ok()?;
        (value.strip_prefix(&cookie.text())?.len() == 2 * code.len() + 1).then_some((cookie, code))
    }
}

/// What must be known of a user to check a session.
struct Known {
    name: String,
    caller: UserCaller,
    password: String,
}

impl Sessions {
    /// The sessions of a farm with this secret; `is_tls`: browsers come by HTTPS. `opens` says which requests that change
    /// something a caller may send by a session.
    #[must_use]
    pub(crate) fn new(
        cluster: ClusterHandle,
        secret: Secret,
        is_tls: bool,
        opens: fn(Caller, &Method, &str) -> bool,
    ) -> Self {
        Self {
            cluster,
            secret,
            is_tls,
            opens,
            ended: Ended::default(),
            links: Links::default(),
        }
    }

    /// Begins a session: the header that sets its cookie, and the session.
    ///
    /// # Errors
    /// The token is nobody's any more, or the master is going down.
    pub(crate) async fn begin(&self, holder: Holder) -> Result<(String, Session), UnknownSession> {
        let cookie = Cookie {
            expires: Timestamp(Timestamp::now().0 + LASTS_MS),
            holder,
            nonce: hex::encode(random_bytes::<16>()),
        };
        let known = self.known(&cookie.holder).await?;
        let code = hex::encode(self.code(&cookie, known.as_ref()).finalize().into_bytes());
        let value = format!("{}.{code}", cookie.text());
        let header = self.header(&value, LASTS_MS / 1000);
        Ok((header, self.session(cookie, known)))
    }

    /// Ends a session, as long as this master runs. The header that takes the cookie away.
    pub(crate) fn end(&self, session: Option<&Session>) -> String {
        if let Some(session) = session {
            let cookie = &session.cookie;
            self.ended
                .add(&cookie.nonce, cookie.expires, Timestamp::now());
        }
        self.header("", 0)
    }

    /// Makes a link that begins a session once, within [`LINK_LASTS`].
    #[must_use]
    pub(crate) fn link(&self, holder: Holder) -> String {
        self.links.make(holder, std::time::Instant::now())
    }

    /// What a link is for, which opens nothing from then on.
    #[must_use]
    pub(crate) fn follow(&self, link: &str) -> Option<Holder> {
        self.links.take(link, std::time::Instant::now())
    }

    fn header(&self, value: &str, seconds: u64) -> String {
        let secure = if self.is_tls { "; Secure" } else { "" };
        format!(
            "{SESSION_COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
        )
    }

    /// The session of a cookie.
    async fn find(&self, value: &str) -> Result<Session, UnknownSession> {
        let (cookie, code) = Cookie::parse(value).ok_or(UnknownSession::Ended)?;
        if cookie.expires <= Timestamp::now() || self.ended.has(&cookie.nonce) {
            return Err(UnknownSession::Ended);
        }
        let known = self.known(&cookie.holder).await?;
        let is_right = self.code(&cookie, known.as_ref()).verify_slice(&code);
        is_right.map_err(|_| UnknownSession::Ended)?;
        Ok(self.session(cookie, known))
    }

    /// The user that has the token; none where there is no token.
    async fn known(&self, holder: &Holder) -> Result<Option<Known>, UnknownSession> {
        let (Holder::Token(digest) | Holder::Password(digest)) = holder else {
            return Ok(None);
        };
        let (digest, now) = (digest.clone(), Timestamp::now());
        let look = move |cluster: &Cluster| {
            let (user, role) = cluster.accounts().holder(&digest, now)?;
            Some(known(user, role))
        };
        let found = self.cluster.read(look).await;
        let found = found.map_err(|gone| UnknownSession::Unavailable(gone.to_string()))?;
        found.map(Some).ok_or(UnknownSession::Ended)
    }

    /// The code that only the farm can make of a cookie. One of a password changes with it.
    fn code(&self, cookie: &Cookie, known: Option<&Known>) -> Hmac<Sha256> {
        let code = self.keyed(b"session\0").chain_update(cookie.text());
        match (&cookie.holder, known) {
            (Holder::Password(_), Some(known)) => {
                code.chain_update(b"\0").chain_update(&known.password)
            }
            _ => code,
        }
    }

    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    fn keyed(&self, purpose: &[u8]) -> Hmac<Sha256> {
        let key = <Hmac<Sha256>>::new_from_slice(self.secret.as_bytes());
        let key = key.expect("a key may have any length");
        key.chain_update(purpose)
    }

    fn session(&self, cookie: Cookie, known: Option<Known>) -> Session {
        let csrf = self.keyed(b"csrf\0").chain_update(cookie.text()).finalize();
        let mut csrf_token = hex::encode(csrf.into_bytes());
        csrf_token.truncate(CSRF_DIGITS);
        let caller = match &known {
            Some(known) => Caller::User(known.caller),
            None => Caller::Secret(SecretProof::BoundSignature),
        };
        Session {
            caller,
            user_name: known.map(|known| known.name),
            csrf_token,
            expires: cookie.expires,
            cookie,
        }
    }
}

fn known(user: &User, role: Role) -> Known {
    Known {
        name: user.name.clone(),
        caller: UserCaller {
            id: user.id,
            is_superuser: user.is_superuser,
            role,
        },
        password: user.password.0.clone(),
    }
}

impl gate::Sessions for Sessions {
    fn note_holder<'a>(
        &'a self,
        cookie: &'a str,
        extensions: &'a mut Extensions,
    ) -> Pin<Box<dyn Future<Output = Result<String, UnknownSession>> + Send + 'a>> {
        Box::pin(async move {
            let session = self.find(cookie).await?;
            let token = session.csrf_token.clone();
            extensions.insert(session);
            Ok(token)
        })
    }

    fn opens(&self, extensions: &Extensions, method: &Method, path: &str) -> bool {
        let session = extensions.get::<Session>();
        session.is_some_and(|session| (self.opens)(session.caller, method, path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_says_what_it_was_made_of() {
        let digest = TokenDigest("ab".repeat(32));
        for holder in [
            Holder::Secret,
            Holder::Token(digest.clone()),
            Holder::Password(digest),
        ] {
            let cookie = Cookie {
                expires: Timestamp(17),
                holder,
                nonce: "00ff".to_owned(),
            };
            let value = format!("{}.0102", cookie.text());
            assert_eq!(Cookie::parse(&value), Some((cookie, vec![1, 2])));
        }
    }

    #[test]
    fn what_is_no_cookie_is_none() {
        for value in [
            "",
            "1.17.s.00ff",
            "2.17.s.00ff.0102",
            "1.+17.s.00ff.0102",
            "1.017.s.00ff.0102",
            "1.17.sx.00ff.0102",
            "1.17.x.00ff.0102",
            "1.17..00ff.0102",
            "1.17.ü.00ff.0102",
            "1.17.s.00ff.01020",
            "1.17.s.00ff.zz",
            "1.17.s.00ff.01.02",
        ] {
            assert_eq!(Cookie::parse(value), None, "{value}");
        }
    }
}
