//! Slaves: what one is, how it joins and is lost, and when it is taken for sick.

mod address_pattern;
mod apply;
pub(crate) mod connecting;
pub(crate) mod doubts;
pub mod facts;
pub mod health;
pub mod key_facts;
pub mod keys;
pub mod legacy;
pub(crate) mod losing;
pub(crate) mod quarantine;
pub mod record;
pub mod slave;
