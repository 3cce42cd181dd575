//! Users and tokens.

use clusterrunner_common::api::accounts::{TokenRole, TokenView, UserView};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::TokenId;
use clusterrunner_core::accounts::users::{Role, Token, User};

/// A user.
#[must_use]
pub(crate) fn user(user: &User) -> UserView {
    UserView {
        name: user.name.clone(),
        email: user.email.clone(),
        first_name: user.first_name.clone(),
        last_name: user.last_name.clone(),
        is_superuser: user.is_superuser,
        is_active: !user.is_deactivated,
        joined: user.joined.as_unix_seconds(),
        last_login: user.last_login.map(Timestamp::as_unix_seconds),
    }
}

/// What a token or a session lets its user do.
#[must_use]
pub(crate) fn role(role: Role) -> TokenRole {
    match role {
        Role::Read => TokenRole::Read,
        Role::Submit => TokenRole::Submit,
        Role::Admin => TokenRole::Admin,
    }
}

/// A named token, without the token itself, which nobody has here.
#[must_use]
pub(crate) fn token(id: TokenId, of: &User, token: &Token, now: Timestamp) -> TokenView {
    TokenView {
        id,
        user: of.name.clone(),
        name: token.said.name.clone(),
        role: role(token.said.role),
        created: token.created.as_unix_seconds(),
        expires: token.said.expires.map(Timestamp::as_unix_seconds),
        is_expired: token.is_expired(now),
    }
}
