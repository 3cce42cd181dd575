//! Commands that are kept apart from their machine. Each row of the table in `docs/security.md` is a test here, which asserts
//! what gets through as well as what is stopped.
//!
//! Where this machine does not allow it, these tests say `SKIPPED` and why.

mod cells;
mod containers;
mod kernel;
mod limits;
mod settings;
mod verdict;
mod walls;
