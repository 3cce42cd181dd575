//! Which shell texts mean the same in a worker as in a new shell: decided by reading them, with care. What is not understood
//! is left to a new shell.

pub mod bash;
pub mod plain;
pub mod python;
