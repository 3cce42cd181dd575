//! The APIs of the farm, each a family of its own.

pub mod clusterrunner;
