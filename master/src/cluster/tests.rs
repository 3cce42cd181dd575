//! The core under command sequences.
