//! `clusterrunner slaves keys`, `clusterrunner slaves revoke` and `clusterrunner slaves forget`.

use crate::options::SlavesTask;
use crate::output::again::command;
use crate::output::table::{Cell, Table};
use crate::output::text::ago;
use crate::output::{self, BAD};
use crate::trouble::{Trouble, of_accounts};
use clusterrunner_client::Client;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::api::slave_keys::{JoinTokenView, SlaveKeyView, SlaveKeysBody};
use clusterrunner_common::text::slave_address::host_and_port;

/// The fewest digits by which a key is named.
const FEWEST_DIGITS: usize = 4;

/// Does what is to be done about keys of slaves.
pub(super) async fn run(
    client: &Client,
    task: SlavesTask,
    json: bool,
) -> Result<ExitCode, Trouble> {
    let keys = client.slave_keys().await.map_err(of_accounts)?;
    let (names, undo) = match task {
        SlavesTask::Keys { json: wanted } => {
            match json || wanted {
                true => output::say_versioned(&SlaveKeysBody { keys }),
                false => list(&keys),
            }
            return Ok(ExitCode::Success);
        }
        SlavesTask::Revoke { slaves, undo } => (slaves, undo),
        SlavesTask::Forget { slaves } => {
            for key in chosen(&keys, &slaves)? {
                let forgotten = client.forget_slave_key(key.key).await;
                forgotten.map_err(of_accounts)?;
                let (fingerprint, address) = (&key.fingerprint, &key.address);
                output::tell(format!("Key {fingerprint} ({address}) is forgotten."));
            }
            return Ok(ExitCode::Success);
        }
    };
    let tokens = match undo {
        true => Vec::new(),
        false => client.join_tokens().await.map_err(of_accounts)?.tokens,
    };
    for key in chosen(&keys, &names)? {
        if let Some(already) = already(key, undo) {
            output::tell(already);
            continue;
        }
        let revoked = client.revoke_slave_key(key.key, !undo).await;
        let key = revoked.map_err(of_accounts)?;
        let (fingerprint, address) = (&key.fingerprint, &key.address);
        if undo {
            output::tell(format!("Key {fingerprint} ({address}) is good again."));
            continue;
        }
        output::tell(format!(
            "Key {fingerprint} ({address}) is revoked: its slave ends, and what it ran is run again elsewhere."
        ));
        if let Some(way_back) = way_back(&key, &tokens) {
            output::note(way_back);
        }
    }
    Ok(ExitCode::Success)
}

/// What is said of a key with which all is as it should be.
fn already(key: &SlaveKeyView, undo: bool) -> Option<String> {
    let state = match (key.revoked, undo) {
        (Some(_), false) => "is revoked already",
        (None, true) => "was not revoked",
        (Some(_), true) | (None, false) => return None,
    };
    let (fingerprint, address) = (&key.fingerprint, &key.address);
    Some(format!("Key {fingerprint} ({address}) {state}."))
}

/// How the slave of a revoked key can come back; it can not with a join token that is gone.
fn way_back(key: &SlaveKeyView, tokens: &[JoinTokenView]) -> Option<String> {
    let Some(token) = key.join_token else {
        return Some(
            "it joined with the farm's secret: whoever still has that can join anew, so change it if the machine is not trusted \
             any more"
                .to_owned(),
        );
    };
    let is_good = |known: &JoinTokenView| known.id == token && !known.is_expired;
    let revoke = command(format_args!("token revoke {token}"));
    tokens.iter().any(is_good).then(|| {
        format!(
            "it joined with join token {token}, with which it can join anew: `{revoke}` ends that"
        )
    })
}

fn list(keys: &[SlaveKeyView]) {
    if keys.is_empty() {
        output::note("no slave has joined with a key of its own yet");
        return;
    }
    let mut table = Table::new(&["Key", "Address", "Slave", "Joined", "With", "State"]);
    for key in keys {
        let state = match (key.revoked, key.slave_id) {
            (Some(at), _) => Cell::styled(BAD, format!("revoked {}", ago(at))),
            (None, Some(_)) => Cell::from("in use"),
            (None, None) => Cell::from("away"),
        };
        table.add([
            Cell::from(key.fingerprint.as_str()),
            Cell::from(key.address.as_str()),
            Cell::from(
                key.slave_id
                    .map_or_else(|| "-".to_owned(), |id| id.to_string()),
            ),
            Cell::from(ago(key.joined)),
            Cell::from(match key.join_token {
                Some(token) => format!("join token {token}"),
                None => "the secret".to_owned(),
            }),
            state,
        ]);
    }
    table.print();
}

/// The keys that are meant; an error if a name means none, so that nothing is done by halves.
fn chosen<'k>(
    keys: &'k [SlaveKeyView],
    names: &[String],
) -> Result<Vec<&'k SlaveKeyView>, Trouble> {
    let mut chosen = Vec::new();
    for name in names {
        let mut found: Vec<_> = keys.iter().filter(|key| is_meant(key, name)).collect();
        if found.is_empty() && name.len() >= FEWEST_DIGITS {
            let begins = |key: &&SlaveKeyView| key.key.to_string().starts_with(name.as_str());
            found = keys.iter().filter(begins).collect();
            if found.len() > 1 {
                let trouble = Trouble::usage(format!("more than one key begins with '{name}'"));
                return Err(trouble.hint("name more of its digits"));
            }
        }
        if found.is_empty() {
            let trouble = Trouble::usage(format!("no slave '{name}' has a key"));
            return Err(trouble.hint(format!(
                "name it by its number, its HOST:PORT, its host or the beginning of its key: `{}` lists them",
                command("slaves keys")
            )));
        }
        chosen.extend(found);
    }
    Ok(chosen)
}

/// Whether a slave is named in full. Numbers of slaves look like beginnings of keys, and come first.
fn is_meant(key: &SlaveKeyView, name: &str) -> bool {
    let address = host_and_port(&key.address);
    let host = address.rsplit_once(':').map(|(host, _)| host);
    let is_number = key.slave_id.is_some_and(|id| id.to_string() == name);
    is_number || key.address == name || address == name || host == Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::ids::{PublicKey, SlaveId, TokenId};
    use serde_json::json;

    fn joined(join_token: Option<u64>, revoked: Option<f64>) -> SlaveKeyView {
        SlaveKeyView {
            key: PublicKey([1; 32]),
            fingerprint: "0101".to_owned(),
            address: "a:1".to_owned(),
            joined: 0.0,
            join_token: join_token.map(TokenId),
            revoked,
            slave_id: None,
        }
    }

    #[test]
    fn only_a_join_token_that_counts_is_a_way_back() {
        let token = |id: u64, is_expired: bool| {
            let token = json!({"id": id, "name": "t", "created": 0.0, "expires": null, "is_expired": is_expired});
            serde_json::from_value::<JoinTokenView>(token).unwrap()
        };
        let tokens = [token(1, false), token(2, true)];
        let said = |join_token| way_back(&joined(join_token, Some(1.0)), &tokens);
        assert!(said(Some(1)).unwrap().contains("token revoke 1"));
        assert_eq!(said(Some(2)), None, "it has expired");
        assert_eq!(said(Some(3)), None, "it was revoked");
        assert!(said(None).unwrap().contains("secret"));
    }

    #[test]
    fn what_is_so_already_is_said_to_be() {
        let said = |revoked, undo| already(&joined(None, revoked), undo);
        assert_eq!(said(None, false), None);
        assert_eq!(said(Some(1.0), true), None);
        let revoked = said(Some(1.0), false).unwrap();
        assert_eq!(revoked, "Key 0101 (a:1) is revoked already.");
        let good = said(None, true).unwrap();
        assert_eq!(good, "Key 0101 (a:1) was not revoked.");
    }

    #[test]
    fn a_key_is_named_by_its_slave_or_by_itself() {
        let key = |byte: u8, address: &str, slave: Option<u64>| SlaveKeyView {
            key: PublicKey([byte; 32]),
            fingerprint: PublicKey([byte; 32]).fingerprint(),
            address: address.to_owned(),
            joined: 0.0,
            join_token: None,
            revoked: None,
            slave_id: slave.map(SlaveId),
        };
        let mut twin = key(0xee, "z:1", None);
        twin.key.0[31] = 0;
        let keys = [
            key(0xaa, "a:1", Some(7)),
            key(0xbb, "a:2", None),
            key(0xcc, "b:1", None),
            key(0x12, "w:1", Some(1213)),
            key(0x34, "x:1", Some(1212)),
            key(0xee, "y:1", None),
            twin,
        ];
        for (name, expected) in [
            ("7", vec!["a:1"]),
            ("a:2", vec!["a:2"]),
            ("a", vec!["a:1", "a:2"]),
            ("cccc", vec!["b:1"]),
            ("1212", vec!["x:1"]),
            ("12121", vec!["w:1"]),
        ] {
            let found = chosen(&keys, &[name.to_owned()]).unwrap();
            let found: Vec<&str> = found.iter().map(|key| key.address.as_str()).collect();
            assert_eq!(found, expected, "{name}");
        }
        for wrong in ["aaa", "8", "c", "b:2", "eeee"] {
            assert!(chosen(&keys, &[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }
}
