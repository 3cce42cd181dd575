//! Slaves on demand: for each `[pool NAME]` of the settings a provider that starts and ends slaves. What is to be started
//! and ended is decided in [`clusterrunner_core::pools`].
//!
//! [`tending`] looks at the cluster, has its plan made and carried out. A [`provider`] does three things: it starts, ends
//! and lists. Nothing is stored here: each start has a join token in the journal, which has the name that the provider
//! lists ([`names`]).

mod api_error;
mod carrying_out;
mod command;
mod joining;
mod kubernetes;
mod names;
mod provider;
mod providers;
mod removed;
mod running;
mod slurm;
mod tending;

pub(crate) use tending::{PoolsTender, Surroundings};
