//! Who may change something: secrets, signatures, and the gate that each request passes.

pub mod gate;
pub mod secret;
pub mod signature;
pub mod user_token;
