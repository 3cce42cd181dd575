//! The routes, called without a socket. The test plays the slaves.

mod farm;
mod refusals;
mod users;
