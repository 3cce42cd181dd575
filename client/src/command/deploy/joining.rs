//! What slaves join with that are deployed: a token for each machine, good for one slave at one address. So no machine of a slave
//! gets the farm's secret, unless the master runs there, too.

use super::host::address;
use super::plan::Machine;
use super::remote::{Step, StepError};
use super::settings_text::{begins, place, section, sets};
use super::{Failure, Load};
use crate::trouble::Trouble;
use clusterrunner_client::Client;
use clusterrunner_common::api::slave_keys::{CreateJoinToken, SlaveKeyView};
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::ids::TokenId;
use std::path::{Path, PathBuf};

/// The file with the token, in the directory of all files.
const TOKEN_FILE: &str = "join-token";

/// The setting that names it.
const TOKEN_KEY: &str = "join_token_file";

/// Settings that are a secret of the farm, or of its master.
const SECRETS: [&str; 3] = ["secret", "binder_api_key", "builder_key"];

/// The sections that slaves read.
const SECTIONS: [&str; 2] = ["general", "slave"];

/// For how long after the deadline a slave may still join, in seconds.
const GRACE: u64 = 600;

/// The status of a step that finds that a directory is another than the deployer's own.
const NOT_OWN: i32 = 3;

/// A settings file as a machine needs it that runs a slave and no master.
pub(super) fn slave_settings(text: &str, directory: &str, is_first: bool) -> String {
    let (mut lines, mut is_read) = (Vec::new(), true);
    let set = format!("{TOKEN_KEY} = {}", place(directory, TOKEN_FILE));
    let mut is_set = !is_first;
    for line in text.lines() {
        if let Some(name) = section(line) {
            is_read = SECTIONS.contains(&name);
        }
        let keys = SECRETS.iter().chain([&TOKEN_KEY]);
        if !is_read || keys.copied().any(|key| sets(line, key)) {
            continue;
        }
        lines.push(line.to_owned());
        if begins(line, "slave") && !is_set {
            lines.push(set.clone());
            is_set = true;
        }
    }
    if !is_set {
        lines.extend(["[slave]".to_owned(), set]);
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Looks whether the secret is gone from settings for slaves, in whatever way it was written.
///
/// # Errors
/// It is not.
pub(super) fn check_without(texts: [&str; 2], secret: &Secret) -> Result<(), Trouble> {
    let secret = String::from_utf8_lossy(secret.as_bytes()).into_owned();
    match texts.iter().any(|text| text.contains(&secret)) {
        false => Ok(()),
        true => Err(Trouble::usage(
            "the settings file has the farm's secret in another place than the line `secret = ...`, and machines of slaves are \
             not to get it",
        )
        .hint("remove it there, or let slaves have it: --secret-to-slaves")),
    }
}

/// Shows on a machine whether a directory there is the one of this command's own settings, which must keep their secret.
pub(super) struct Mark {
    file: Option<PathBuf>,
    name: String,
}

impl Mark {
    /// Beside these settings, as long as this lives.
    pub(super) fn beside(settings: &Path) -> Self {
        let name = format!(
            ".clusterrunner-deploys-{:016x}",
            u64::from_be_bytes(random_bytes())
        );
        let file = settings.parent().map(|directory| directory.join(&name));
        // Where nothing can be written, no machine can either.
        let file = file.filter(|file| std::fs::write(file, "").is_ok());
        Self { file, name }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            std::fs::remove_file(file).ok();
        }
    }
}

impl Load {
    /// Whether the settings for a machine have the secret.
    pub(super) async fn gives_secret(&self, machine: &Machine) -> Result<bool, StepError> {
        if machine.is_master || self.for_slaves.is_none() {
            return Ok(true);
        }
        let arguments = [self.directory.as_str(), &self.mark.name];
        let step = Step::FindOwnSettings;
        match self.remote.run(&machine.host, step, &arguments, &[]).await {
            Ok(()) => Ok(true),
            Err(StepError::Failed { status, .. }) if status.code() == Some(NOT_OWN) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Brings a token to a machine that is to have one.
    pub(super) async fn bring_token(
        &self,
        machine: &Machine,
        client: &Client,
        (slave_port, deadline): (u16, u64),
    ) -> Result<(), Failure> {
        if machine.is_master || self.for_slaves.is_none() {
            return Ok(());
        }
        let at = address(&machine.name, slave_port);
        let token = CreateJoinToken {
            name: format!("deploy {at}").chars().take(100).collect(),
            expires_in: Some(deadline.saturating_add(GRACE)),
            // A slave of this machine alone says so with an address.
            address: (machine.name != "localhost").then(|| at.clone()),
            uses: Some(1),
        };
        let created = client.create_join_token(&token).await;
        let created = created.map_err(|error| Failure::NoToken(error.to_string()))?;
        free(client, &at, created.token.id).await;
        let text = format!("{}\n", created.text);
        let length = text.len().to_string();
        let arguments = [self.directory.as_str(), &length, ".", TOKEN_FILE];
        let step = Step::WriteJoinToken;
        let remote = &self.remote;
        remote
            .run(&machine.host, step, &arguments, text.as_bytes())
            .await?;
        Ok(())
    }
}

/// Lets go of the key that the slave of an earlier deployment had at an address, so that one that has lost it can join. What was
/// revoked stays so, and a slave that is still connected keeps its key: it is the same machine's, or the next try finds it gone.
pub(super) async fn free(client: &Client, at: &str, token: TokenId) {
    let keys = client.slave_keys().await.unwrap_or_default();
    for key in keys.iter().filter(|key| is_left(key, at, token)) {
        client.forget_slave_key(key.key).await.ok();
    }
}

fn is_left(key: &SlaveKeyView, at: &str, token: TokenId) -> bool {
    key.address.eq_ignore_ascii_case(at)
        && key.revoked.is_none()
        && key.slave_id.is_none()
        && key.join_token != Some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_of_a_slave_gets_what_slaves_read_and_no_secret() {
        let text = "# a comment\n[general]\nsecret = one\nread_token = two\n'secret' : one\n[master]\nport = 1\n\
                    binder_api_key = three\n[slave]\nlabels = a\njoin_token_file = /mine\n[notify \"chat\"]\nsecret = four\n\
                    [ \"slave\" ]\nnum_executors = 2\n";
        let expected = "# a comment\n[general]\nread_token = two\n[slave]\njoin_token_file = ~/.farm/join-token\nlabels = a\n\
                        [ \"slave\" ]\nnum_executors = 2\n";
        assert_eq!(slave_settings(text, ".farm", true), expected);
        assert_eq!(
            slave_settings("[general]\nsecret = one\n", "/srv/farm/", true),
            "[general]\n[slave]\njoin_token_file = /srv/farm/join-token\n"
        );
        assert_eq!(
            slave_settings("secret = one\nport = 1\n", "x", false),
            "port = 1\n"
        );
        assert_eq!(slave_settings("", "x", false), "");
    }

    #[test]
    fn a_secret_that_stands_elsewhere_is_found() {
        let secret = Secret::new("a secret of these tests".to_owned()).unwrap();
        check_without(["[general]\n", ""], &secret).unwrap();
        check_without(["", "# was: a secret of these tests\n"], &secret).unwrap_err();
    }
}
