//! Slaves: what one is, how it joins and is lost, and when it is taken for sick.

mod apply;
pub(in crate::core) mod connecting;
pub(in crate::core) mod doubts;
pub mod facts;
pub mod health;
pub(in crate::core) mod legacy;
pub(in crate::core) mod losing;
pub(in crate::core) mod quarantine;
pub mod record;
pub mod slave;
