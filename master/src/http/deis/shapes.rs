//! What the API answers. Pure.

pub(super) mod keys;
pub(super) mod users;
