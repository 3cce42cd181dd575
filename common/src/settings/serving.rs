//! What strangers may have of a daemon.

use super::error::SettingsError;
use super::layers::Layers;
use super::values::Bound;
use crate::http::limits::ServingLimits;

impl ServingLimits {
    pub(super) fn read(layers: &Layers<'_>) -> Result<Self, SettingsError> {
        let bound = |key| layers.get::<Bound>(key).map(|bound| bound.0);
        let count = |key| {
            let count = bound(key)?;
            Ok(count.map(|count| usize::try_from(count).unwrap_or(usize::MAX)))
        };
        Ok(Self {
            connections: count("max_connections")?,
            connections_of_address: count("max_connections_of_address")?,
            unproved_requests: bound("max_unproved_requests")?,
        })
    }
}
