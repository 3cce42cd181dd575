//! The master as this slave sees it: which one it is, and the calls to it.

pub(crate) mod api;
pub(crate) mod clock;
pub(crate) mod dialect;
pub(crate) mod identity;
pub(crate) mod lineage;
pub(crate) mod registration;
pub(crate) mod retrying;
pub(crate) mod upload;
