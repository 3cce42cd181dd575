//! Users and their tokens, as `/v2/users` and `/v2/tokens` show and take them. All of it is ours.

use crate::ids::TokenId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserView {
    /// The name.
    pub name: String,
    /// May be empty.
    pub email: String,
    /// May be empty.
    pub first_name: String,
    /// May be empty.
    pub last_name: String,
    /// Whether the user may do everything.
    pub is_superuser: bool,
    /// Whether the user can log in and its tokens work.
    pub is_active: bool,
    /// When the user was created, in seconds since 1970.
    pub joined: f64,
    /// When the user logged in last, in seconds since 1970.
    pub last_login: Option<f64>,
}

/// `{"users": ...}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UsersBody {
    /// All users, or those that the caller may see, by name.
    pub users: Vec<UserView>,
    /// The name of the user that asks; absent where the holder of the secret does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
}

/// `{"user": ...}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserBody {
    /// The user as it is now.
    pub user: UserView,
}

/// Who is signed in to the page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionUser {
    /// The name; `clusterrunner` for a holder of the farm's secret.
    pub name: String,
    /// Whether the user may do everything with everybody's projects.
    pub is_superuser: bool,
    /// What the session lets the user do.
    pub role: TokenRole,
    /// Whether it drains and ends slaves, too: it has the rights of the farm's secret, or is a superuser's of the role admin.
    pub is_operator: bool,
}

/// `GET /v2/session`, and the answer to a sign-in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SessionBody {
    /// Null where nobody is signed in.
    pub user: Option<SessionUser>,
    /// What requests that change something have in the header `X-CSRF-Token`.
    pub csrf_token: Option<String>,
    /// When the session ends, in seconds since 1970.
    pub expires: Option<f64>,
}

/// `POST /v2/session`: a name and a password, or one of the others.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SignIn {
    /// The name of a user.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// A token of a user.
    pub token: Option<String>,
    /// What `POST /v2/session/link` has made.
    pub link: Option<String>,
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignIn(..)")
    }
}

/// The answer to `POST /v2/session/link`. The link does not show.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionLink {
    /// What signs in once, in the part of the page's address after `#link=`.
    pub link: String,
    /// For how many seconds.
    pub expires_in: u64,
}

impl fmt::Debug for SessionLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionLink(..)")
    }
}

/// `POST /v2/users`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateUser {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
    /// May be left out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub email: String,
    /// May be left out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub first_name: String,
    /// May be left out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_name: String,
    /// Whether the user may do everything.
    #[serde(default)]
    pub is_superuser: bool,
}

/// `PUT /v2/users/NAME`: what is left out stays as it is.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeUser {
    /// The new e-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The new first name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    /// The new last name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    /// Whether the user may do everything from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_superuser: Option<bool>,
    /// Whether the user can log in from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_active: Option<bool>,
    /// The new password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The present password, which users must name who change their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_password: Option<String>,
}

/// What a token lets its user do; each role includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenRole {
    /// See what the user sees.
    Read,
    /// Start builds, too, and cancel those.
    Submit,
    /// Everything that the user may do.
    Admin,
}

impl fmt::Display for TokenRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Read => "read",
            Self::Submit => "submit",
            Self::Admin => "admin",
        })
    }
}

/// A named token. Its text is shown once, when it is created.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenView {
    /// The token's number.
    pub id: TokenId,
    /// The user that it stands for.
    pub user: String,
    /// What it is for.
    pub name: String,
    /// What it lets its user do.
    pub role: TokenRole,
    /// When it was created, in seconds since 1970.
    pub created: f64,
    /// When it ends, in seconds since 1970.
    pub expires: Option<f64>,
    /// Whether it has ended.
    pub is_expired: bool,
}

/// `{"tokens": ...}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokensBody {
    /// All named tokens, or those that the caller may see, by number.
    pub tokens: Vec<TokenView>,
}

/// `POST /v2/tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// The user that it is to stand for; without it, the user that asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What it is for, unique among the tokens of the user.
    pub name: String,
    /// What it lets its user do.
    pub role: TokenRole,
    /// In how many seconds it ends; without it, never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
}

/// Answer to `POST /v2/tokens`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct CreatedToken {
    /// The token as it is listed.
    pub token: TokenView,
    /// The token itself, which nothing shows again.
    pub text: String,
}

/// Answer to `POST /v2/users/NAME/token`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewedToken {
    /// The user's new API token, which each log-in shows.
    pub token: String,
}

macro_rules! shows_nothing {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}

// They have passwords or tokens.
shows_nothing! { CreateUser ChangeUser CreatedToken RenewedToken }
