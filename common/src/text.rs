//! Texts: what strangers may put into them, and how they are shown.

pub mod host_name;
pub mod json;
pub mod labels;
pub(crate) mod nearest;
pub mod printable;
