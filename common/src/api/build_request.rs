//! A build request as ClusterRunner's API takes and shows it: the body of `POST /v1/build`, checked field by field.

mod reading;
#[cfg(test)]
mod tests;

pub use reading::{HASH, InvalidRequest, LINK_PARAMETER, RETRY_OF, WORKING_TREE};

use crate::job::matrix::Combination;
use crate::work::{BuildRequest, ENV, INHERITED_ENV};
use reading::MATRIX;
use serde_json::{Map, Value, json};

/// The field with what another API was asked for.
const SPECIFICATION: &str = "specification";
/// The field with the template that a build is to leave.
const PRODUCT: &str = "product";
/// The field with which build of a matrix a build is.
const PART: &str = "part";
const IS_COMMIT_FOUND: &str = "is_commit_found";
const IS_BROUGHT_BY_OTHERS: &str = "is_brought_by_others";

impl BuildRequest {
    /// The request as ClusterRunner's API shows it: its own fields, as they were submitted, without its variables.
    #[must_use]
    pub fn to_params(&self) -> Map<String, Value> {
        let mut params = self.to_body();
        for unseen in [ENV, INHERITED_ENV, SPECIFICATION, PRODUCT, PART] {
            params.remove(unseen);
        }
        params
    }

    /// The request as it is submitted.
    #[must_use]
    pub fn to_body(&self) -> Map<String, Value> {
        let mut body = match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map,
            _ => Map::new(),
        };
        // No request says it.
        body.remove(IS_COMMIT_FOUND);
        body.remove(IS_BROUGHT_BY_OTHERS);
        if !self.matrix.is_empty() {
            // It is stored with what no request says.
            let chosen = self.matrix.iter().map(|chosen| &chosen.variables);
            let chosen: Vec<&Combination> = chosen.collect();
            body.insert(MATRIX.to_owned(), json!(chosen));
        }
        body
    }
}
