//! Users as this API shows them. Pure.

use crate::http::deis::times;
use clusterrunner_core::accounts::users::User;
use serde::Serialize;

/// A user that has registered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::http::deis) struct UserView {
    id: u64,
    last_login: String,
    is_superuser: bool,
    username: String,
    first_name: String,
    last_name: String,
    email: String,
    is_staff: bool,
    is_active: bool,
    date_joined: String,
    groups: [u64; 0],
    user_permissions: [u64; 0],
}

/// A superuser among others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::http::deis) struct SuperuserView {
    username: String,
    is_superuser: bool,
}

impl UserView {
    pub(in crate::http::deis) fn of(user: &User) -> Self {
        Self {
            id: user.id.0,
            last_login: times::of_user(user.last_login.unwrap_or(user.joined)),
            is_superuser: user.is_superuser,
            username: user.name.clone(),
            first_name: user.first_name.clone(),
            last_name: user.last_name.clone(),
            email: user.email.clone(),
            is_staff: user.is_superuser,
            is_active: !user.is_deactivated,
            date_joined: times::of_user(user.joined),
            groups: [],
            user_permissions: [],
        }
    }
}

impl SuperuserView {
    pub(in crate::http::deis) fn of(user: &User) -> Self {
        Self {
            username: user.name.clone(),
            is_superuser: user.is_superuser,
        }
    }
}
