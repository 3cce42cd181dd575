//! The HTTP side: one server, and the APIs of the farm, each a family of its own.

pub mod accounts;
pub mod binder;
mod bodies;
pub mod caller;
pub mod claims;
pub mod clusterrunner;
pub mod deis;
pub mod description;
pub mod git;
mod list_address;
mod openapi;
pub mod page;
pub mod polyaxon;
pub mod server;
pub mod sessions;
pub mod shared_key;
pub mod sockets;
mod tidy_path;
pub mod tokens;
mod uuids;
