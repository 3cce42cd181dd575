//! Commands that are kept apart from their machine. The table in `docs/security.md` is a test here ([`table`]); the others try
//! further ways, and assert what gets through as well as what is stopped.
//!
//! Where this machine does not allow it, these tests say `SKIPPED` and why.

mod cells;
mod containers;
mod kernel;
mod limits;
mod settings;
mod table;
mod verdict;
mod walls;
