//! The address that a request came from, for the audit log. It goes along with the task that answers the request, since only
//! the two ends have to do with it: whoever listens, and the coordinator.

use std::net::IpAddr;

tokio::task_local! {
    static ADDRESS: Option<IpAddr>;
}

/// Does something for a request from this address.
pub async fn asked_from<F: Future>(address: Option<IpAddr>, answering: F) -> F::Output {
    ADDRESS.scope(address, answering).await
}

/// The address of the request that this task answers; `None` if it answers none.
#[must_use]
pub fn asking_address() -> Option<IpAddr> {
    ADDRESS.try_with(|address| *address).ok().flatten()
}
