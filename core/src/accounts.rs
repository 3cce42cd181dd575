//! Accounts: users and their tokens, the projects that own builds, and what users mark.

pub(crate) mod all_projects;
mod apply;
pub mod bookmarks;
pub mod command;
mod decide;
mod decide_secrets;
mod decide_users;
pub mod facts;
mod names;
pub mod owner;
mod project_names;
pub mod projects;
pub mod pushed_refs;
pub mod refusal;
pub mod secrets;
pub mod sign_ins;
pub mod ssh_keys;
pub mod tokens;
pub mod users;
