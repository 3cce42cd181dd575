//! The templates that this slave has: fetched from the master, checked, unpacked once, shared by all of their instances,
//! and removed when others need the space.

mod cache;
mod fetching;
mod listing;
mod places;
mod unpacking;

pub(crate) use cache::{InUse, Templates};
pub(crate) use fetching::Fetching;
pub(crate) use unpacking::unpack_snapshot;

/// The first argument of a process that unpacks a snapshot, see [`unpack_snapshot`].
pub(crate) const UNPACK_SNAPSHOT: &str = "unpack-snapshot";

/// Why a template can not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemplateError {
    /// Nobody wants it any more.
    #[error("canceled")]
    Canceled,
    /// The order or the template makes no sense here. Trying again is of no use.
    #[error("{0}")]
    Refused(String),
    /// The disk refuses.
    #[error("could not {step}: {source}")]
    Disk {
        step: &'static str,
        #[source]
        source: std::io::Error,
    },
}

fn disk(step: &'static str) -> impl FnOnce(std::io::Error) -> TemplateError {
    move |source| TemplateError::Disk { step, source }
}
