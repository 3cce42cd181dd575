//! Scheduling: which slave is set up for which build, and which subjob goes where and when.

pub(in crate::core) mod build_queue;
pub(in crate::core) mod dirty;
pub(crate) mod followed;
pub(in crate::core) mod hand_outs;
pub(in crate::core) mod load;
pub(in crate::core) mod prefetch;
pub(in crate::core) mod quick_setups;
pub(in crate::core) mod set_ups;
pub(in crate::core) mod shares;
pub(in crate::core) mod slave_allocator;
pub(in crate::core) mod standing;
pub(in crate::core) mod with_setup;
