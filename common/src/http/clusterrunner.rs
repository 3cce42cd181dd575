//! What all answers of the ClusterRunner API have in common, on master and slave: versions, child routes,
//! ETags, the session check. No other API has them.

pub mod page;
pub mod routes;
pub mod rules;
pub mod sent_tree;
pub mod version;
pub mod wanted_audit;
pub mod wanted_history;
pub mod wanted_plan;
