//! The values of the secrets that builds are given, each in a file of its own, sealed under a key that is derived from the
//! farm's secret. Which secret of which project has which value is in the journal, which has no value.
//!
//! A value lies here before the journal names it, and goes after the journal has named another: so a secret has its old value
//! or its new one, whatever happens meanwhile.

mod sealing;

use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::disk::{regular_file, whole_file};
use clusterrunner_common::ids::ProjectId;
use clusterrunner_common::work::SecretValue;
use clusterrunner_core::accounts::secrets::SealedId;
use sealing::{LONGEST_SEALED, Of, Unsealed};
use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Why there is no value of a secret. The text reaches users.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// The file is gone, as where an older journal was put back.
    #[error("its value is not on the master any more")]
    Gone,
    /// It was set when the farm had another secret.
    #[error(
        "it was set under another secret of the farm: `clusterrunner secret rekey` takes that one and seals all values anew"
    )]
    OtherSecret,
    /// It is not what was written.
    #[error("its file on the master is damaged")]
    Damaged,
    /// The disk refuses.
    #[error("its file can not be read: {0}")]
    Disk(#[source] io::Error),
}

/// The sealed values.
#[derive(Clone, Debug)]
pub(crate) struct BuildSecrets {
    directory: PathBuf,
    secret: Secret,
    /// One change at a time: what nobody names is removed.
    changing: Arc<Mutex<()>>,
}

impl BuildSecrets {
    /// Those in a directory, which is made when something is put there.
    pub(crate) fn new(directory: PathBuf, secret: Secret) -> Self {
        Self {
            directory,
            secret,
            changing: Arc::default(),
        }
    }

    /// Waits for all other changes. To be held from before a value is put here until the journal names it.
    pub(crate) async fn change(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.changing).lock_owned().await
    }

    /// Puts a value here, on the disk. It counts once the journal names it. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn put(
        &self,
        project: ProjectId,
        name: &str,
        value: &SecretValue,
    ) -> io::Result<SealedId> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)?;
        let id = SealedId::from_random(random_bytes());
        let of = Of {
            project,
            name,
            id: &id,
        };
        let sealed = sealing::seal(&self.secret, &of, value.expose().as_bytes())
            .ok_or_else(|| io::Error::other("the value can not be sealed"))?;
        whole_file::replace(&self.path(&id).ok_or(io::ErrorKind::InvalidInput)?, &sealed)?;
        Ok(id)
    }

    /// A value. Blocks.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub(crate) fn get(
        &self,
        project: ProjectId,
        name: &str,
        id: &SealedId,
    ) -> Result<SecretValue, SecretError> {
        let path = self.path(id).ok_or(SecretError::Damaged)?;
        let sealed = match regular_file::read(&path, LONGEST_SEALED) {
            Ok(sealed) => sealed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(SecretError::Gone),
            Err(error) => return Err(SecretError::Disk(error)),
        };
        let value = sealing::open(&self.secret, &Of { project, name, id }, sealed);
        let value = value.map_err(|why| match why {
            Unsealed::OtherSecret => SecretError::OtherSecret,
            Unsealed::Damaged => SecretError::Damaged,
        })?;
        let value = String::from_utf8(value).map_err(|_| SecretError::Damaged)?;
        Ok(SecretValue::new(value))
    }

    /// Seals a value under the farm's secret that was sealed under a former one; says whether it was. Blocks.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub(crate) fn reseal(
        &self,
        former: &Secret,
        (project, name, id): (ProjectId, &str, &SealedId),
    ) -> Result<bool, SecretError> {
        match self.get(project, name, id) {
            Ok(_) => return Ok(false),
            Err(SecretError::OtherSecret) => {}
            Err(error) => return Err(error),
        }
        let before = Self {
            secret: former.clone(),
            ..self.clone()
        };
        let value = before.get(project, name, id)?;
        let of = Of { project, name, id };
        let sealed = sealing::seal(&self.secret, &of, value.expose().as_bytes());
        let sealed = sealed.ok_or(SecretError::Damaged)?;
        let path = self.path(id).ok_or(SecretError::Damaged)?;
        whole_file::replace(&path, &sealed).map_err(SecretError::Disk)?;
        Ok(true)
    }

    /// Removes all values but these. What can not be removed is told in the log alone: it is sealed. Blocks.
    pub(crate) fn keep_only(&self, named: &BTreeSet<SealedId>) {
        let named: BTreeSet<&str> = named.iter().filter_map(SealedId::as_file_name).collect();
        let Ok(entries) = std::fs::read_dir(&self.directory) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| named.contains(name)) {
                continue;
            }
            if let Err(error) = std::fs::remove_file(entry.path()) {
                let path = entry.path();
                tracing::warn!(path = %path.display(), %error, "could not remove a sealed secret that nobody uses");
            }
        }
    }

    fn path(&self, id: &SealedId) -> Option<PathBuf> {
        Some(self.directory.join(id.as_file_name()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROJECT: ProjectId = ProjectId(7);

    fn farm(secret: &str) -> Secret {
        Secret::new(format!("{secret} secret of some farm")).unwrap()
    }

    fn value(text: &str) -> SecretValue {
        SecretValue::new(text.to_owned())
    }

    #[test]
    fn a_value_is_sealed_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = BuildSecrets::new(folder.path().join("secrets"), farm("one"));
        let id = store
            .put(PROJECT, "TOKEN", &value("hunter2-hunter3"))
            .unwrap();
        let again = BuildSecrets::new(folder.path().join("secrets"), farm("one"));
        assert_eq!(
            again.get(PROJECT, "TOKEN", &id).unwrap(),
            value("hunter2-hunter3")
        );
        let file = folder
            .path()
            .join("secrets")
            .join(id.as_file_name().unwrap());
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(7).any(|part| part == b"hunter2"));
        // The same value is never sealed the same way.
        let other = store
            .put(PROJECT, "TOKEN", &value("hunter2-hunter3"))
            .unwrap();
        let other = folder
            .path()
            .join("secrets")
            .join(other.as_file_name().unwrap());
        assert_ne!(bytes, std::fs::read(other).unwrap());
    }

    #[test]
    fn nobody_puts_one_value_in_the_place_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let store = BuildSecrets::new(folder.path().to_owned(), farm("one"));
        let id = store
            .put(PROJECT, "TOKEN", &value("hunter2-hunter3"))
            .unwrap();
        let other = store
            .put(PROJECT, "TOKEN", &value("a later value"))
            .unwrap();
        let fails = |project, name: &str, id: &SealedId| {
            let found = store.get(project, name, id);
            assert!(matches!(found, Err(SecretError::Damaged)), "{found:?}");
        };
        fails(ProjectId(8), "TOKEN", &id);
        fails(PROJECT, "OTHER", &id);
        let [path, other_path] = [&id, &other].map(|id| store.path(id).unwrap());
        let bytes = std::fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, damaged).unwrap();
            store.get(PROJECT, "TOKEN", &id).unwrap_err();
        }
        std::fs::copy(&other_path, &path).unwrap();
        fails(PROJECT, "TOKEN", &id);
    }

    #[test]
    fn another_secret_of_the_farm_and_a_missing_file_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let store = BuildSecrets::new(folder.path().to_owned(), farm("one"));
        let id = store
            .put(PROJECT, "TOKEN", &value("hunter2-hunter3"))
            .unwrap();
        let other = BuildSecrets::new(folder.path().to_owned(), farm("other"));
        let found = other.get(PROJECT, "TOKEN", &id);
        assert!(matches!(found, Err(SecretError::OtherSecret)), "{found:?}");
        store.keep_only(&BTreeSet::from([id.clone()]));
        store.get(PROJECT, "TOKEN", &id).unwrap();
        store.keep_only(&BTreeSet::new());
        let found = store.get(PROJECT, "TOKEN", &id);
        assert!(matches!(found, Err(SecretError::Gone)), "{found:?}");
    }

    #[test]
    fn what_was_sealed_under_a_former_secret_is_sealed_anew() {
        let folder = tempfile::tempdir().unwrap();
        let former = BuildSecrets::new(folder.path().to_owned(), farm("one"));
        let id = former
            .put(PROJECT, "TOKEN", &value("hunter2-hunter3"))
            .unwrap();
        let now = BuildSecrets::new(folder.path().to_owned(), farm("other"));
        let of = (PROJECT, "TOKEN", &id);
        let guessed = now.reseal(&farm("guessed"), of);
        assert!(matches!(guessed, Err(SecretError::OtherSecret)));
        assert!(now.reseal(&farm("one"), of).unwrap());
        let found = now.get(PROJECT, "TOKEN", &id).unwrap();
        assert_eq!(found, value("hunter2-hunter3"));
        assert!(
            !now.reseal(&farm("one"), of).unwrap(),
            "nothing is to be done"
        );
        let found = former.get(PROJECT, "TOKEN", &id);
        assert!(matches!(found, Err(SecretError::OtherSecret)));
        std::fs::remove_file(now.path(&id).unwrap()).unwrap();
        let gone = now.reseal(&farm("one"), of);
        assert!(matches!(gone, Err(SecretError::Gone)));
    }
}
