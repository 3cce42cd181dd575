//! The API, called without a socket, on a farm whose slaves the test plays.

mod applications;
mod builds;
mod farm;
mod refusals;
mod templates;
