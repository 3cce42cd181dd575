//! The ClusterRunner master.

pub mod cluster;
