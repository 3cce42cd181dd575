//! The read side: builds wherever they are, lists of them, what readers get without asking the coordinator, the feed
//! of what happens, the event log and metrics. Which shape a reader gets is for its API to say.

pub mod app_story;
pub mod app_uuids;
pub mod awaiting;
pub mod builds;
pub mod event_log;
pub mod explanation;
pub mod feed;
pub mod forecasts;
pub mod lists;
pub mod metrics;
pub mod plans;
pub mod private;
pub mod project_builds;
pub mod published;
pub mod receivers;
pub mod running;
pub mod runs;
pub mod settling;
pub mod slave_signs;
pub mod tested;
