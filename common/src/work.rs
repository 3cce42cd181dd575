//! Words of the farm that no API owns: the cores of master and slave speak them, and messages carry them as they are.

mod atom_usage;
mod batch_terms;
mod build_event;
mod build_request;
mod given_secrets;
mod hunt_end;
mod master_mark;
mod pool_terms;
pub mod product_build;
mod reports;
mod setup_job;
mod working_tree;

pub use crate::job::isolation::{
    Cpus, Isolation, IsolationLevel, IsolationWish, LimitHit, NoImage,
};
pub use crate::job::worker::{Worker, WorkerProgram};
pub use atom_usage::{AtomUsage, BatchInVain, InWorker, ProcessUsage};
pub use batch_terms::BatchTerms;
pub use build_event::{BuildEvent, UnknownEvent};
pub use build_request::{BuildRequest, ENV, INHERITED_ENV, ProjectSource, Repository};
pub use given_secrets::{GivenSecret, GivenSecrets, SecretValue};
pub use hunt_end::HuntEnd;
pub use master_mark::{MasterMark, Seen};
pub use pool_terms::PoolTerms;
pub use reports::{FinishedAttempt, ReportedState};
pub use setup_job::SetupJob;
pub use working_tree::WorkingTree;
