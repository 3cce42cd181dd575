//! SSH keys as this API shows them. Pure.

use crate::http::deis::{times, uuids};
use clusterrunner_core::Cluster;
use clusterrunner_core::accounts::owner::Owner;
use clusterrunner_core::accounts::ssh_keys::SshKey;
use serde::Serialize;

/// An SSH key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::http::deis) struct KeyView {
    owner: String,
    created: String,
    updated: String,
    uuid: String,
    id: String,
    public: String,
}

impl KeyView {
    pub(in crate::http::deis) fn of(cluster: &Cluster, key: &SshKey) -> Self {
        let owner = cluster.owner_name(Owner::User(key.owner));
        let created = times::shown(key.created);
        Self {
            owner: owner.unwrap_or_default().to_owned(),
            updated: created.clone(),
            created,
            uuid: uuids::of_key(key.owner, &key.id, key.created),
            id: key.id.clone(),
            public: key.public.clone(),
        }
    }
}
