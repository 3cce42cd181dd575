//! The read side: builds wherever they are, lists of them, what readers get without asking the coordinator, the feed
//! of what happens, the event log and metrics. Which shape a reader gets is for its API to say.

pub(crate) mod app_story;
pub(crate) mod app_uuids;
pub(crate) mod awaiting;
pub(crate) mod builds;
pub(crate) mod event_log;
pub(crate) mod explanation;
pub(crate) mod feed;
pub(crate) mod forecasts;
pub(crate) mod lists;
pub(crate) mod metrics;
pub(crate) mod plans;
pub(crate) mod pools;
pub(crate) mod private;
pub(crate) mod project_builds;
pub(crate) mod published;
pub(crate) mod receivers;
pub(crate) mod running;
pub(crate) mod runs;
pub(crate) mod settling;
pub(crate) mod slave_keys;
pub(crate) mod slave_signs;
pub(crate) mod tested;
