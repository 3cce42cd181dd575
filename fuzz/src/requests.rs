//! The body of `POST /v1/build`.

use clusterrunner_common::build_request::BuildRequest;
use clusterrunner_common::json;
use serde_json::Value;

/// A request that is accepted can be stored, and what is read back is the same request.
///
/// # Panics
/// It can not, or it is not.
pub fn requests(body: &[u8]) {
    let Ok(body) = json::from_slice::<Value>(body) else {
        return;
    };
    let Ok(request) = BuildRequest::from_json(&body) else {
        return;
    };
    let stored = serde_json::to_vec(&request).expect("an accepted request can be stored");
    let read: BuildRequest = serde_json::from_slice(&stored).expect("a stored request can be read");
    assert_eq!(
        read, request,
        "the request that is read back is another one"
    );
    let shown = Value::Object(request.to_params());
    assert_eq!(
        BuildRequest::from_json(&shown).ok().as_ref(),
        Some(&request),
        "the shown parameters are not those of the request"
    );
}
