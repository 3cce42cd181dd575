//! Accounts: users and their tokens, the projects that own builds, and what users mark.

mod apply;
pub mod command;
mod decide;
pub mod facts;
pub mod projects;
pub mod users;
