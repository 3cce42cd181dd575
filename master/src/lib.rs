//! The ClusterRunner master.

pub mod archiver;
pub mod cluster;
pub mod coordinator;
pub mod journal;
pub mod liveness;
pub mod results;
pub mod views;
