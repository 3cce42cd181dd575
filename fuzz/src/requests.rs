//! The body of `POST /v1/build`.

use clusterrunner_master::round_trip::build_request;

/// A request that is accepted can be journalled, and what is read back is the same.
///
/// # Panics
/// It can not, or it is not.
pub fn requests(body: &[u8]) {
    if let Err(difference) = build_request(body) {
        panic!("accepted, but not read back: {difference}");
    }
}
