//! The routes, called without a socket. The test plays the slaves.

mod apps;
mod farm;
mod golden;
mod hooks;
mod refusals;
mod run;
mod slaves;
mod transcript;
mod users;
