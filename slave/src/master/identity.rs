//! The key of this slave and that of its master, in files of the slave's directory; and with what it joins while the two do
//! not know each other.
//!
//! ```text
//! identity/own.key      the slave's own key; without it the slave makes another, and must join again
//! identity/master.pub   the key of the master that it has joined; without it the slave must join again
//! ```

use clusterrunner_common::api::{ConnectAnswer, MasterIdentity, SlaveIdentity};
use clusterrunner_common::auth::joining::{Meeting, life_with_key};
use clusterrunner_common::auth::keys::{JoinToken, KeyRefusal, Keys, OwnKey, Verifier};
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::auth::signature::{Signed, Signer};
use clusterrunner_common::clock::{Timestamp, random_bytes};
use clusterrunner_common::disk::{regular_file, whole_file};
use clusterrunner_common::ids::{PublicKey, SessionId, TokenId};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// No key is longer.
const LONGEST: u64 = 4096;

/// How long an order waits for the answer to a slave that joins.
const ANSWER: Duration = Duration::from_secs(1);

/// Who this slave is, and whose. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Identity(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    key: OwnKey,
    ways: Vec<Way>,
    /// The master that it has joined.
    master: watch::Sender<Option<Verifier>>,
}

/// With what a slave joins that its master does not know.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// A join token.
    Token(JoinToken),
    /// The secret of the farm.
    Secret(Secret),
}

/// Why a master is not taken for this slave's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotOurs {
    /// It has another key than the master that this slave has joined.
    #[error(
        "the master at this address has the key {shown}, and this slave has joined the one with the key {pinned}: it takes \
         no orders from another. If the master was set up anew, start this slave once with --forget-master (or remove \
         {}), and with the secret or a join token", .file.display()
    )]
    OtherKey {
        shown: String,
        pinned: String,
        file: PathBuf,
    },
    /// It does not prove that it has its key, or that it knows what the slave joins with.
    #[error(
        "what answers there does not prove that it is the master: it does not know what this slave joins with, or passes on \
         what another master says"
    )]
    Unproved,
    /// There is nothing to join with.
    #[error(
        "this slave has not joined a master yet, and has nothing to join with: give it a join token (`clusterrunner token \
         create --role slave` on the master; then --join-token-file), or the farm's secret"
    )]
    NothingToJoinWith,
    /// Its key can not be kept.
    #[error("could not keep the master's key in {}: {source}", .file.display())]
    Keeping {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
}

fn invalid(file: &Path, what: &str) -> io::Error {
    let file = file.display();
    let text = format!("{file} has no key in it: remove it, and the slave {what}");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// The content of a file, if there is one.
fn read(file: &Path) -> io::Result<Option<String>> {
    match regular_file::read_to_string(file, LONGEST) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Identity {
    /// What is kept in a directory; the key is made if there is none. `forgets_master`: the one that it had joined. Blocks.
    ///
    /// # Errors
    /// A file can not be read or written, or has no key in it.
    pub(crate) fn open(
        directory: PathBuf,
        forgets_master: bool,
        ways: Vec<Way>,
    ) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)?;
        let own = directory.join("own.key");
        let key = match read(&own)? {
            Some(text) => OwnKey::from_text(&text)
                .map_err(|_| invalid(&own, "makes another and joins again"))?,
            None => {
                let key = OwnKey::from_random(random_bytes());
                whole_file::replace(&own, format!("{}\n", key.to_text()).as_bytes())?;
                if master_file(&directory).exists() {
                    tracing::warn!(
                        "this slave's key {} is gone: made another, with which it joins again",
                        own.display()
                    );
                }
                key
            }
        };
        let file = master_file(&directory);
        if forgets_master && file.exists() {
            std::fs::remove_file(&file)?;
        }
        let master = match read(&file)? {
            None => None,
            Some(text) => {
                let key = text.trim().parse::<PublicKey>().ok();
                let verifier = key.and_then(|key| Verifier::of(&key));
                Some(verifier.ok_or_else(|| invalid(&file, "joins again"))?)
            }
        };
        Ok(Self(Arc::new(Inner {
            directory,
            key,
            ways,
            master: watch::Sender::new(master),
        })))
    }

    fn master(&self) -> Option<Verifier> {
        self.0.master.borrow().clone()
    }

    /// Whether it has joined a master, whose orders alone it takes.
    pub(crate) fn has_joined(&self) -> bool {
        self.master().is_some()
    }

    /// The beginning of the key of the master that it has joined.
    pub(crate) fn joined(&self) -> Option<String> {
        self.master().map(|master| master.public().fingerprint())
    }

    /// With what it can join, in the order in which that is tried.
    pub(crate) fn ways(&self) -> &[Way] {
        &self.0.ways
    }

    /// The directory of its files.
    pub(crate) fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// The beginning of its key.
    pub(crate) fn fingerprint(&self) -> String {
        self.0.key.public().fingerprint()
    }

    /// Another secret that only this slave can make.
    pub(crate) fn derived(&self, purpose: &str) -> Secret {
        self.0.key.derived(purpose)
    }

    /// What this life of the slave is called.
    pub(crate) fn life(&self, random: &SessionId) -> SessionId {
        life_with_key(random, &self.0.key.public())
    }

    /// What it shows when it connects.
    pub(crate) fn shown(&self, address: &str, session: &SessionId) -> SlaveIdentity {
        let master = self.master().map(|master| master.public());
        SlaveIdentity::joined(&self.0.key, (address, session), random_bytes(), master)
    }

    /// Looks at the answer of a master to what was shown; it is this slave's master from then on. `way`: what the slave
    /// joined with, if it did. `session`: the life of the master that answered.
    pub(crate) async fn meet(
        &self,
        shown: &SlaveIdentity,
        way: Option<&Way>,
        (answer, session): (&ConnectAnswer, &str),
    ) -> Result<(), NotOurs> {
        let known = self.master();
        let Some(identity) = &answer.identity else {
            return match (known, way) {
                // One of an earlier version, or of the original: all goes on with the secret.
                (None, Some(Way::Secret(_))) => {
                    tracing::warn!(
                        "this master knows no keys of slaves, so this one goes on with the farm's secret: upgrade the master"
                    );
                    Ok(())
                }
                (None, _) => Err(NotOurs::Unproved),
                (Some(pinned), _) => {
                    Err(self.other_key("(none: is it an older version?)", &pinned))
                }
            };
        };
        if let Some(pinned) = &known
            && pinned.public() != identity.key
        {
            return Err(self.other_key(&identity.key.fingerprint(), pinned));
        }
        let meeting = Meeting {
            challenge: &shown.challenge,
            slave: &shown.key,
            slave_id: &answer.slave_id,
            master_session: session,
        };
        let is_proved = match way {
            None => meeting.is_answered(identity),
            Some(Way::Token(token)) => meeting.is_answered_by_farm(identity, &token.secret),
            Some(Way::Secret(secret)) => meeting.is_answered_by_farm(identity, secret),
        };
        match (is_proved, known) {
            (false, _) => Err(NotOurs::Unproved),
            (true, Some(_)) => Ok(()),
            (true, None) => self.keep(identity).await,
        }
    }

    fn other_key(&self, shown: &str, pinned: &Verifier) -> NotOurs {
        NotOurs::OtherKey {
            shown: shown.to_owned(),
            pinned: pinned.public().fingerprint(),
            file: master_file(&self.0.directory),
        }
    }

    async fn keep(&self, master: &MasterIdentity) -> Result<(), NotOurs> {
        let verifier = Verifier::of(&master.key).ok_or(NotOurs::Unproved)?;
        let file = master_file(&self.0.directory);
        let (text, place) = (format!("{}\n", master.key), file.clone());
        let directory = self.0.directory.clone();
        let kept = tokio::task::spawn_blocking(move || {
            // An atom can remove all that its slave can write.
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)?;
            whole_file::replace(&place, text.as_bytes())
        });
        let kept = kept.await.map_err(io::Error::other).flatten();
        kept.map_err(|source| NotOurs::Keeping { file, source })?;
        tracing::info!(
            key = self.fingerprint(),
            master_key = master.key.fingerprint(),
            "joined the master; from now on this slave needs neither the secret nor a join token for it"
        );
        self.0.master.send_replace(Some(verifier));
        Ok(())
    }
}

fn master_file(directory: &Path) -> PathBuf {
    directory.join("master.pub")
}

/// The slave signs with its key once it has joined.
impl Signer for Identity {
    fn sign(&self, signed: &Signed<'_>, time: Timestamp, nonce: [u8; 16]) -> Option<String> {
        let has_joined = self.has_joined();
        has_joined.then(|| signed.sign_with_key(&self.0.key, time, nonce))
    }
}

/// While it joins, it signs with what it joins with. Callers sign with the secret by themselves.
impl Signer for Way {
    fn sign(&self, signed: &Signed<'_>, time: Timestamp, nonce: [u8; 16]) -> Option<String> {
        match self {
            Self::Token(token) => Some(signed.sign_with_token(token, time, nonce)),
            Self::Secret(_) => None,
        }
    }
}

/// Its gate knows the master's key.
impl Keys for Identity {
    fn key(&self, key: &PublicKey) -> Result<Verifier, KeyRefusal> {
        match self.master() {
            None => Err(KeyRefusal::NotMet),
            Some(master) if master.public() == *key => Ok(master),
            Some(_) => Err(KeyRefusal::OtherMaster),
        }
    }

    /// The first order may overtake the answer that names the master's key.
    fn settled(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send + '_>>> {
        if self.has_joined() {
            return None;
        }
        Some(Box::pin(async {
            let mut master = self.0.master.subscribe();
            let joined = master.wait_for(Option::is_some);
            // Whether it has joined by then is looked at anew.
            tokio::time::timeout(ANSWER, joined).await.ok();
        }))
    }

    fn join_token(&self, _: TokenId, _: Timestamp) -> Result<Secret, KeyRefusal> {
        // Nobody joins a slave.
        Err(KeyRefusal::OtherMaster)
    }
}

#[cfg(test)]
mod tests;
