//! A build request as ClusterRunner's API takes and shows it: the body of `POST /v1/build`, checked field by field.

mod reading;
#[cfg(test)]
mod tests;

pub use reading::{InvalidRequest, LINK_PARAMETER, RETRY_OF};

use crate::work::{BuildRequest, ENV, INHERITED_ENV};
use serde_json::{Map, Value};

/// The field with what another API was asked for.
const SPECIFICATION: &str = "specification";
/// The field with the template that a build is to leave.
const PRODUCT: &str = "product";

impl BuildRequest {
    /// The request as ClusterRunner's API shows it: its own fields, as they were submitted, without its variables.
    #[must_use]
    pub fn to_params(&self) -> Map<String, Value> {
        let mut params = self.to_body();
        for unseen in [ENV, INHERITED_ENV, SPECIFICATION, PRODUCT] {
            params.remove(unseen);
        }
        params
    }

    /// The request as it is submitted.
    #[must_use]
    pub fn to_body(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map,
            _ => Map::new(),
        }
    }
}
