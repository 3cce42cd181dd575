//! Keys of machines in the walk: each has one, and another after it was revoked.

use super::master::url;
use super::world::World;
use crate::actor::Actor;
use crate::command::Command;
use crate::slaves::key_facts::Joining;
use crate::slaves::keys::{KeyCommand, OfferedKey};
use clusterrunner_common::ids::PublicKey;

impl World {
    /// The key that a machine shows when it connects. It joins with the secret where the journal does not know the key:
    /// the first time, after a revocation, and when the journal is older than that.
    pub(super) fn offered_key(&self, machine: usize) -> OfferedKey {
        let (address, keys) = (url(machine), self.master.farm.cluster.slave_keys());
        let revoked = keys.keys().filter(|(_, known)| known.revoked.is_some());
        let revoked = revoked.filter(|(_, known)| known.address == address);
        let mut bytes = [0; 32];
        bytes[0] = u8::try_from(machine).unwrap();
        bytes[1] = u8::try_from(revoked.count()).unwrap();
        let key = PublicKey(bytes);
        let joins = keys.key(&key).is_none().then_some(Joining::Secret);
        OfferedKey { key, joins }
    }

    pub(super) fn user_revokes(&mut self, machine: usize) {
        if !self.master.is_up {
            return;
        }
        let OfferedKey { key, joins } = self.offered_key(machine);
        if joins.is_none() {
            let command = KeyCommand::Revoke(key);
            let by = Actor::SecretHolder;
            self.tell(Command::SlaveKey { by, command });
        }
    }
}
