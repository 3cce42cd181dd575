//! Who may change something: secrets, signatures, and the gate that each request passes.

pub mod gate;
pub mod joining;
pub mod keys;
pub mod secret;
pub mod signature;
pub mod strangers;
pub mod user_token;
