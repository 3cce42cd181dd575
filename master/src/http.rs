//! The HTTP side: one server, and the APIs of the farm, each a family of its own.

pub(crate) mod accounts;
pub(crate) mod binder;
mod bodies;
pub(crate) mod caller;
pub(crate) mod claims;
pub(crate) mod clusterrunner;
pub(crate) mod deis;
pub(crate) mod description;
pub(crate) mod door;
pub(crate) mod git;
mod list_address;
mod openapi;
mod own_port;
pub(crate) mod page;
pub(crate) mod polyaxon;
pub(crate) mod server;
pub(crate) mod sessions;
pub(crate) mod shared_key;
pub(crate) mod sockets;
mod tidy_path;
pub(crate) mod tokens;
mod uuids;
