//! A slave in this process, from its first connect to its end, against a master that only plays one.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "clippy takes only functions marked as tests for tests, and these have functions beside them"
)]

mod apps;
mod batches;
mod connection;
mod fake_master;
mod git;
mod golden;
mod instance_book;
mod instances;
mod orders;
mod test_slave;
mod wild;
mod work;
