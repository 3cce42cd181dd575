//! How operations of the farm's APIs are described, for programs that read descriptions in the form of OpenAPI 3.1. Each
//! API describes its own; [`super::description`] makes them one text.

mod described;
pub(in crate::http) mod types;

pub(in crate::http) use described::{Answer, Body, Described, Row, rows};
