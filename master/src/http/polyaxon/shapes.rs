//! The JSON of this API. Pure.

pub(super) mod builds;
pub(super) mod projects;
pub(super) mod statuses;
