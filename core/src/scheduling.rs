//! Scheduling: which slave is set up for which build, and which subjob goes where and when.

pub(crate) mod build_queue;
pub(crate) mod dirty;
pub mod followed;
pub(crate) mod hand_outs;
pub mod kept_out;
pub(crate) mod load;
pub(crate) mod prefetch;
pub(crate) mod quick_setups;
pub(crate) mod set_ups;
pub(crate) mod shares;
pub(crate) mod slave_allocator;
pub(crate) mod standing;
pub(crate) mod with_setup;
