//! The core under command sequences: single features with every event and effect asserted, and
//! seeded walks against model slaves.

mod accounts;
mod apps;
mod builds;
mod deleting;
mod failing_fast;
mod fairness;
mod farms;
mod health;
mod history;
mod hunting;
mod incarnation;
mod instances;
mod kept_results;
mod keys;
mod legacy;
mod matrix;
mod prefetch;
mod preparing;
mod projects;
mod references;
mod retiring;
mod retries;
mod scenario;
mod scheduling;
mod secrets;
mod shutdown;
mod slaves;
mod ssh_keys;
mod statuses;
mod template_ends;
mod templates;
mod texts;
mod walk;
mod weights;
mod with_setup;
