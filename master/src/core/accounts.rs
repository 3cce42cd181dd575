//! Accounts: users and their tokens, the projects that own builds, and what users mark.

pub(in crate::core) mod all_projects;
mod apply;
pub mod bookmarks;
pub mod command;
mod decide;
pub mod facts;
mod project_names;
pub mod projects;
pub mod users;
