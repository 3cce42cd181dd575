//! The routes, called without a socket, on a real cluster with a real journal.

mod bookmarks;
mod farm;
mod lists;
mod logs;
mod objects;
mod projects;
mod refusals;
mod statuses;
mod submitting;
mod users;
