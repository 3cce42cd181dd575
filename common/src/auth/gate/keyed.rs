//! Keys of daemons: a gate lets those in that sign with one that it knows.

use super::Gate;
use crate::auth::keys::Keys;
use crate::auth::signature::{ClaimedSignature, SignedBy};
use std::sync::Arc;

impl Gate {
    /// The same gate; what is signed with one of these keys, or under one of these join tokens, passes. Handlers must ask
    /// which proof there was. For a gate that guards nothing yet.
    ///
    /// # Panics
    /// When the gate is in use already.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "whoever sets a gate up is its only owner so far"
    )]
    pub fn with_keys(mut self: Arc<Self>, keys: Arc<dyn Keys>) -> Arc<Self> {
        let gate = Arc::get_mut(&mut self).expect("a gate is set up before it is used");
        gate.keys = Some(keys);
        self
    }

    /// Where the key of a signature is about to be learned, waits for that.
    pub(super) async fn wait_for_key(&self, claimed: &ClaimedSignature) {
        if let (SignedBy::Key(_), Some(keys)) = (claimed.by(), &self.keys)
            && let Some(settled) = keys.settled()
        {
            settled.await;
        }
    }
}
