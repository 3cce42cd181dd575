//! What this API shows. Pure.

pub(super) mod applications;
pub(super) mod builds;
pub(super) mod templates;
