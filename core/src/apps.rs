//! Apps: projects that are deployed. An app has releases; the newest one, and how many of each process type are wanted,
//! say which instances there are to be.

pub mod all_apps;
pub mod app;
mod apply;
mod check;
pub mod command;
mod config;
mod decide;
pub mod facts;
mod follow_up;
mod images;
mod names;
mod starts;
mod summary;

pub use starts::SETTLES_AFTER_MS;
