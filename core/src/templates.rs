//! Templates: what builds leave to be started, and the names that point at them.

pub mod all_templates;
mod apply;
pub mod bounds;
pub(crate) mod decide;
mod deletion;
pub mod facts;
mod names;
mod references;
pub mod refusal;
pub mod template;
