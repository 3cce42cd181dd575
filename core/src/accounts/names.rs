//! What users may be called, and what may be said of them.

use super::users::{NewUser, UserChange, key};
use crate::accounts::refusal::AccountRefusal;

/// The most characters of a user's name.
const LONGEST_NAME: usize = 156;

/// Names that are no user's: places in the paths of APIs, owners that are built in, and what the audit log calls those
/// who are no users.
const RESERVED: [&str; 13] = [
    "users",
    "projects",
    "bookmarks",
    "versions",
    "superusers",
    "log_handler",
    "cluster",
    "nodes",
    "clusterrunner",
    "binder",
    "deis",
    "polyaxon",
    "nobody",
];

/// The most characters of an e-mail address, as mail itself has it.
const LONGEST_EMAIL: usize = 254;

/// The most characters of first and last names.
const LONGEST_PERSONAL: usize = 150;

/// The most characters of a token's name.
const LONGEST_TOKEN: usize = 100;

pub(super) fn check_user(user: &NewUser) -> Result<(), AccountRefusal> {
    let fits =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+' | b'@');
    let name = &user.name;
    if !(1..=LONGEST_NAME).contains(&name.len()) || !name.bytes().all(fits) || is_dots(name) {
        return Err(invalid(
            "name",
            "1 to 156 letters (a-z, A-Z), digits, -, _, ., + and @, and not only dots",
        ));
    }
    if RESERVED.contains(&key(name).as_str()) {
        return Err(AccountRefusal::ReservedUserName(name.clone()));
    }
    check_email(&user.email)?;
    check_personal("first_name", &user.first_name)?;
    check_personal("last_name", &user.last_name)
}

/// Clients take such a part of a path for a step up.
fn is_dots(name: &str) -> bool {
    name.bytes().all(|byte| byte == b'.')
}

pub(super) fn check_change(change: &UserChange) -> Result<(), AccountRefusal> {
    let UserChange {
        email,
        first_name,
        last_name,
    } = change;
    email.as_deref().map_or(Ok(()), check_email)?;
    let first = first_name.as_deref();
    first.map_or(Ok(()), |name| check_personal("first_name", name))?;
    let last = last_name.as_deref();
    last.map_or(Ok(()), |name| check_personal("last_name", name))
}

/// Only that it can be one: whether mail arrives there nobody knows.
fn check_email(email: &str) -> Result<(), AccountRefusal> {
    let is_one = email.split_once('@').is_some_and(|(before, host)| {
        !before.is_empty() && !host.is_empty() && !host.contains('@')
    });
    let has_odd = email.contains(|c: char| c.is_whitespace() || c.is_control());
    match email.is_empty() || (is_one && !has_odd && email.chars().count() <= LONGEST_EMAIL) {
        true => Ok(()),
        false => Err(invalid("email", "an e-mail address, or nothing")),
    }
}

fn check_personal(field: &'static str, name: &str) -> Result<(), AccountRefusal> {
    match is_line(name) && name.chars().count() <= LONGEST_PERSONAL {
        true => Ok(()),
        false => Err(invalid(field, "at most 150 characters on one line")),
    }
}

pub(super) fn check_token(name: &str) -> Result<(), AccountRefusal> {
    let length = name.chars().count();
    match is_line(name) && (1..=LONGEST_TOKEN).contains(&length) && !name.trim().is_empty() {
        true => Ok(()),
        false => Err(invalid("name", "1 to 100 characters on one line")),
    }
}

fn is_line(text: &str) -> bool {
    !text.contains(char::is_control)
}

fn invalid(field: &'static str, expected: &'static str) -> AccountRefusal {
    AccountRefusal::InvalidField { field, expected }
}
