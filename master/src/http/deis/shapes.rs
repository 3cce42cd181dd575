//! What the API answers. Pure.

pub(super) mod apps;
pub(super) mod keys;
pub(super) mod users;
