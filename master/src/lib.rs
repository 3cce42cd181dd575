//! The ClusterRunner master.

pub mod archiver;
pub mod cluster;
pub mod coordinator;
pub mod dispatcher;
pub mod journal;
pub mod liveness;
pub mod preparer;
pub mod results;
pub mod slave_api;
pub mod views;
