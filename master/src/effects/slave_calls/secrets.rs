//! The secrets that a slave is given with a set-up: read and opened just then, so a value that was set since counts.

use super::{Callee, Order};
use crate::store::build_secrets::BuildSecrets;
use clusterrunner_common::work::{GivenSecret, GivenSecrets};
use clusterrunner_core::effect::{SlaveCall, WantedSecret};
use std::net::UdpSocket;
use tokio::net::lookup_host;
use tokio::task::spawn_blocking;

/// Where the values are, and how they travel.
#[derive(Clone, Debug)]
pub(crate) struct Giving {
    /// The sealed values.
    pub(crate) secrets: BuildSecrets,
    /// Whether slaves are called over HTTPS.
    pub(crate) is_https: bool,
}

impl Giving {
    /// What goes with an order.
    ///
    /// # Errors
    /// For the user: why the build can not be given what its job asks for.
    pub(super) async fn given_with(
        &self,
        order: &Order,
        (callee, is_legacy): (&Callee, bool),
    ) -> Result<GivenSecrets, String> {
        let Order::About(_, SlaveCall::SetUp(set_up)) = order else {
            return Ok(GivenSecrets::default());
        };
        if set_up.secrets.is_empty() {
            return Ok(GivenSecrets::default());
        }
        if is_legacy {
            return Err(
                "the job asks for secrets, and a slave of the original can be given none"
                    .to_owned(),
            );
        }
        if !self.is_https && !is_this_machine(&callee.url).await {
            return Err(
                "the job asks for secrets, and without HTTPS they are given to no slave on another machine: set \
                 https_cert_file and https_key_file (`clusterrunner tls init`)"
                    .to_owned(),
            );
        }
        let (secrets, wanted) = (self.secrets.clone(), set_up.secrets.clone());
        let opened = spawn_blocking(move || wanted.iter().map(|one| open(&secrets, one)).collect());
        let opened: Result<Vec<GivenSecret>, String> = opened
            .await
            .map_err(|error| format!("the secrets of the job could not be read: {error}"))?;
        Ok(GivenSecrets(opened?))
    }
}

fn open(secrets: &BuildSecrets, wanted: &WantedSecret) -> Result<GivenSecret, String> {
    let WantedSecret {
        project,
        name,
        sealed,
        as_file,
    } = wanted;
    let Some(sealed) = sealed else {
        return Err(format!(
            "the secret {name} was removed, or its project got another repository, after the build was prepared"
        ));
    };
    let value = secrets.get(*project, name, sealed);
    let value = value.map_err(|error| {
        // A project is also known by its number.
        format!(
            "the secret {name} can not be given: {error}; set it again (`clusterrunner secret set {project} {name}`)"
        )
    })?;
    Ok(GivenSecret {
        name: name.clone(),
        value,
        as_file: *as_file,
    })
}

/// Whether `host:port` is on this machine, whatever the host is called: what is sent there goes over no network.
async fn is_this_machine(address: &str) -> bool {
    let Ok(addresses) = lookup_host(address).await else {
        return false;
    };
    let mut addresses = addresses.peekable();
    // Only its own addresses can be bound.
    addresses.peek().is_some()
        && addresses
            .all(|found| found.ip().is_loopback() || UdpSocket::bind((found.ip(), 0)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::slave_calls::set_up::tests::set_up;
    use clusterrunner_common::auth::secret::Secret;
    use clusterrunner_common::ids::{BuildId, ProjectId, SessionId, SlaveId};
    use clusterrunner_common::work::SecretValue;
    use clusterrunner_core::effect::SetUp;
    use serde_json::json;

    #[tokio::test]
    async fn no_value_goes_in_clear_text_to_another_machine() {
        let folder = tempfile::tempdir().unwrap();
        let secret = Secret::new("a secret for tests".to_owned()).unwrap();
        let secrets = BuildSecrets::new(folder.path().to_owned(), secret);
        let (project, name) = (ProjectId(7), "TOKEN".to_owned());
        let value = SecretValue::new("hunter2-hunter3".to_owned());
        let sealed = secrets.put(project, &name, &value).unwrap();
        let mut set_up = set_up(&json!({"type": "git", "url": "u"}), None);
        set_up.secrets = vec![WantedSecret {
            project,
            name: name.clone(),
            sealed: Some(sealed),
            as_file: false,
        }];
        let order =
            |set_up: &SetUp| Order::About(BuildId(1), SlaveCall::SetUp(Box::new(set_up.clone())));
        let given = async |url: &str, is_https, is_legacy, order: &Order| {
            let callee = Callee {
                slave: SlaveId(1),
                url: url.to_owned(),
                session: SessionId("a".to_owned()),
                incarnation: None,
            };
            let giving = Giving {
                secrets: secrets.clone(),
                is_https,
            };
            giving.given_with(order, (&callee, is_legacy)).await
        };
        let with = order(&set_up);
        for (url, is_https) in [("127.0.0.1:1", false), ("192.0.2.1:1", true)] {
            let given = given(url, is_https, false, &with).await.unwrap();
            assert_eq!(given.0.len(), 1);
            assert_eq!(given.0[0].value, value);
        }
        let refused = given("192.0.2.1:1", false, false, &with).await.unwrap_err();
        assert!(refused.contains("without HTTPS"), "{refused}");
        let refused = given("127.0.0.1:1", false, true, &with).await.unwrap_err();
        assert!(refused.contains("of the original"), "{refused}");
        set_up.secrets[0].sealed = None;
        let refused = given("127.0.0.1:1", false, false, &order(&set_up))
            .await
            .unwrap_err();
        assert!(refused.contains("was removed"), "{refused}");
        // Builds without secrets go anywhere.
        set_up.secrets.clear();
        let given = given("192.0.2.1:1", false, true, &order(&set_up))
            .await
            .unwrap();
        assert!(given.is_empty());
    }

    #[tokio::test]
    async fn this_machine_is_known_by_its_addresses() {
        assert!(is_this_machine("127.0.0.1:43001").await);
        assert!(is_this_machine("localhost:43001").await);
        // For documentation only: no machine has it.
        assert!(!is_this_machine("192.0.2.1:43001").await);
        assert!(!is_this_machine("no port").await);
    }
}
