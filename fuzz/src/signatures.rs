//! The header `ClusterRunner-Signature`.

use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::auth::signature::{ClaimedSignature, Signed};

/// A signature is malformed, or read in its one spelling; who does not have the secret makes none that is right.
///
/// # Panics
/// Reading it panics, or it is right.
pub fn signatures(header: &[u8]) {
    let Ok(header) = std::str::from_utf8(header) else {
        return;
    };
    let Ok(claimed) = ClaimedSignature::parse(header) else {
        return;
    };
    assert!(
        header.contains(&format!(";s={};", claimed.receiver())),
        "{header}"
    );
    for other in [
        header.to_uppercase(),
        format!("{header};"),
        format!(" {header}"),
    ] {
        let read = ClaimedSignature::parse(&other);
        assert!(
            other == header || read.is_err(),
            "another spelling: {other}"
        );
    }
    let secret = Secret::new("nobody knows this secret".to_owned()).expect("it is long enough");
    let signed = Signed {
        method: "POST",
        path_and_query: "/v1/slave",
        receiver: claimed.receiver(),
        content_digest: "",
    };
    assert!(claimed.verify(&secret, signed).is_err(), "{header}");
}
