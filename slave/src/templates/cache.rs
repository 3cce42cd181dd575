//! Which templates are here, who uses them, and which go when there are too many.
//!
//! ```text
//! templates/<digest>/           a workspace, unpacked
//! templates/<digest>.image      an image archive
//! templates/<digest>.whole      what belongs to it; there when all of it is. Its time is that of the last use
//! templates/<digest>.part       what was fetched so far
//! templates/<digest>.unpacking/ what was unpacked so far
//! ```

use super::fetching::Fetching;
use super::listing::{Listing, first_damage, listed_size};
use super::unpacking::{Order, Unpacked};
use super::{TemplateError, disk, places};
use crate::containers::Availability;
use clusterrunner_common::child::{ChildError, Children};
use clusterrunner_common::disk::beneath::remove_all;
use clusterrunner_common::disk::kept_projects::touch;
use clusterrunner_common::disk::space::{DiskSpace, ShortOfSpace};
use clusterrunner_common::lock::lock;
use clusterrunner_common::templates::{Form, TemplateContent};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;
use tokio_util::sync::CancellationToken;

/// How often a template that turns out to be damaged is fetched again at once.
const TRIES: usize = 3;

/// The templates of this slave.
#[derive(Debug)]
pub(crate) struct Templates {
    directory: PathBuf,
    templates_path: PathBuf,
    /// How much all of them may have; no bound if there is none.
    max_bytes: Option<u64>,
    children: Children,
    fetching: Fetching,
    space: DiskSpace,
    containers: Availability,
    used: Mutex<BTreeMap<String, Used>>,
}

/// Who uses a template.
#[derive(Debug, Default)]
struct Used {
    users: usize,
    /// Held by the one who fetches it.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// A template that stays as long as this value.
#[derive(Debug)]
pub(crate) struct InUse {
    templates: Arc<Templates>,
    digest: String,
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut used = lock(&self.templates.used);
        if let Some(entry) = used.get_mut(&self.digest) {
            entry.users -= 1;
            if entry.users == 0 {
                used.remove(&self.digest);
            }
        }
    }
}

impl InUse {
    /// Where it is: a directory, or the archive of an image.
    pub(crate) fn path(&self, form: Form) -> PathBuf {
        self.templates.place_of(&self.digest, form)
    }

    /// Sees to it that it is found where it was built. Another slave on this machine may have taken the link there away.
    pub(crate) fn lead(&self, root: Option<&str>) -> Result<(), TemplateError> {
        let templates = &self.templates;
        let place = places::place(&templates.templates_path, root)?;
        places::make_directory(&templates.templates_path)?;
        let led = places::lead(&place, &templates.place_of(&self.digest, Form::Workspace));
        led.map_err(disk("link the template to where it was built"))
    }
}

impl Templates {
    /// Those below `directory`, which is made.
    pub(crate) fn open(
        directory: PathBuf,
        (templates_path, max_bytes): (PathBuf, Option<u64>),
        (children, fetching): (Children, Fetching),
        (space, containers): (DiskSpace, Availability),
    ) -> io::Result<Arc<Self>> {
        std::fs::create_dir_all(&directory)?;
        let templates = Arc::new(Self {
            directory,
            templates_path,
            max_bytes,
            children,
            fetching,
            space,
            containers,
            used: Mutex::default(),
        });
        templates.forget_images_later();
        Ok(templates)
    }

    /// Removes the images of templates that went while no container runtime was there.
    fn forget_images_later(self: &Arc<Self>) {
        let templates = Arc::clone(self);
        tokio::spawn(async move {
            let Ok(runtime) = templates.containers.runtime().await else {
                return;
            };
            let forgotten = blocking(move || {
                let dropped = runtime.drop_templates_but(|| templates.whole());
                dropped.map_err(io::Error::other)
            });
            if let Err(error) = forgotten.await {
                tracing::warn!(%error, "could not remove images of templates that are gone");
            }
        });
    }

    /// The digests of those that are here whole. Blocks.
    pub(crate) fn whole(&self) -> Vec<String> {
        let mut found: Vec<String> = self.kept().into_iter().map(|kept| kept.digest).collect();
        found.sort();
        found
    }

    /// Keeps one from being removed. It may not be here yet.
    pub(crate) fn hold(self: &Arc<Self>, digest: &str) -> InUse {
        let mut used = lock(&self.used);
        used.entry(digest.to_owned()).or_default().users += 1;
        InUse {
            templates: Arc::clone(self),
            digest: digest.to_owned(),
        }
    }

    /// Whether a template is here or there is room for it; what is not needed goes for it.
    ///
    /// # Errors
    /// How little room there is.
    pub(crate) async fn check_room(
        self: &Arc<Self>,
        snapshot: &TemplateContent,
    ) -> Result<(), ShortOfSpace> {
        if !is_digest(&snapshot.digest) || self.listing(&snapshot.digest).exists() {
            return Ok(());
        }
        self.make_room(snapshot.bytes).await;
        self.space.check(snapshot.bytes)
    }

    /// Whether it is for want of room that a template can not be had.
    pub(crate) fn is_full(&self, error: &TemplateError) -> bool {
        let is_said = match error {
            TemplateError::Disk { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ),
            TemplateError::Canceled | TemplateError::Refused(_) => false,
        };
        is_said || self.space.check(0).is_err()
    }

    /// Brings a template here if it is not, and sees to it that it is whole and found where it has to be.
    pub(crate) async fn get(
        self: &Arc<Self>,
        snapshot: &TemplateContent,
        stop: &CancellationToken,
    ) -> Result<InUse, TemplateError> {
        if !is_digest(&snapshot.digest) {
            let reason = "the snapshot has no digest of 64 hexadecimal digits";
            return Err(TemplateError::Refused(reason.to_owned()));
        }
        let form = snapshot.description.form;
        let root = snapshot.description.root.as_deref();
        if form == Form::Workspace {
            places::place(&self.templates_path, root)?;
        }
        let held = self.hold(&snapshot.digest);
        let turn = {
            let used = lock(&self.used);
            used.get(&snapshot.digest)
                .map(|entry| Arc::clone(&entry.turn))
        };
        let _turn = match turn {
            Some(turn) => Some(tokio::select! {
                turn = turn.lock_owned() => turn,
                () = stop.cancelled() => return Err(TemplateError::Canceled),
            }),
            None => None,
        };
        for _ in 0..TRIES {
            if self.is_whole(snapshot).await? {
                if form == Form::Workspace {
                    held.lead(root)?;
                }
                return Ok(held);
            }
            self.fetch(snapshot, stop).await?;
        }
        let reason =
            "the template is damaged again as soon as it is unpacked: look at this slave's disk";
        Err(TemplateError::Refused(reason.to_owned()))
    }

    /// Whether it is here as it was unpacked. If anything is missing, all of it goes.
    async fn is_whole(self: &Arc<Self>, snapshot: &TemplateContent) -> Result<bool, TemplateError> {
        let (listing, form) = (self.listing(&snapshot.digest), snapshot.description.form);
        let place = self.place_of(&snapshot.digest, form);
        let (templates, digest) = (Arc::clone(self), snapshot.digest.clone());
        let look = move || {
            if !listing.exists() {
                return Ok(false);
            }
            let damage = match form {
                Form::Workspace => first_damage(&place, &listing),
                // Its listing names the one file, beside itself.
                Form::Image => first_damage(&templates.directory, &listing),
            };
            let damage = match damage {
                Ok(None) => {
                    touch(&listing).ok();
                    return Ok(true);
                }
                Ok(Some(path)) => path.display().to_string(),
                Err(error) => error.to_string(),
            };
            tracing::warn!(
                snapshot = digest,
                damage,
                "a template is damaged and is fetched again"
            );
            templates.remove(&digest)?;
            Ok(false)
        };
        blocking(look).await.map_err(disk("look at a template"))
    }

    async fn fetch(
        self: &Arc<Self>,
        snapshot: &TemplateContent,
        stop: &CancellationToken,
    ) -> Result<(), TemplateError> {
        self.make_room(snapshot.bytes).await;
        let waited = self
            .space
            .wait_for(snapshot.bytes, "fetching a template", stop);
        if !waited.await {
            return Err(TemplateError::Canceled);
        }
        let part = self.file(&snapshot.digest, "part");
        self.fetching.bring(snapshot, &part, stop).await?;
        match snapshot.description.form {
            Form::Workspace => self.unpack(&snapshot.digest, &part, stop).await?,
            Form::Image => {
                let (templates, digest) = (Arc::clone(self), snapshot.digest.clone());
                let store = move || {
                    let image = templates.place_of(&digest, Form::Image);
                    std::fs::rename(&part, &image)?;
                    let mut listing = Listing::default();
                    let name = image.file_name().map(Path::new).unwrap_or(Path::new(""));
                    listing.add(&templates.directory, name)?;
                    listing.write(&templates.listing(&digest))
                };
                blocking(store).await.map_err(disk("store an image"))?;
            }
        }
        tracing::info!(snapshot = snapshot.digest, "fetched a template");
        self.make_room(0).await;
        Ok(())
    }

    async fn unpack(
        self: &Arc<Self>,
        digest: &str,
        part: &Path,
        stop: &CancellationToken,
    ) -> Result<(), TemplateError> {
        let unpacking = self.file(digest, "unpacking");
        let listing = self.file(digest, "listing");
        let of_before = (unpacking.clone(), self.place_of(digest, Form::Workspace));
        let clean = move || remove_all(&of_before.0).and_then(|()| remove_all(&of_before.1));
        blocking(clean)
            .await
            .map_err(disk("remove an older template"))?;
        let order = Order {
            archive: part.to_owned(),
            directory: unpacking.clone(),
            listing: listing.clone(),
            max_bytes: self.max_bytes.unwrap_or(u64::MAX),
        };
        let answered = self.children.run::<Unpacked>(&order, stop).await;
        let refused = match answered.answer {
            Ok(Unpacked::Done(_)) => None,
            Ok(Unpacked::Refused(reason)) => Some(TemplateError::Refused(reason)),
            Ok(Unpacked::Failed(reason)) => {
                let reason = format!("could not unpack the template: {reason}");
                Some(TemplateError::Refused(reason))
            }
            Err(ChildError::Canceled) => Some(TemplateError::Canceled),
            Err(error) => Some(TemplateError::Refused(format!(
                "could not unpack the template: {error}"
            ))),
        };
        let place = self.place_of(digest, Form::Workspace);
        let (part, whole) = (part.to_owned(), self.listing(digest));
        let is_done = refused.is_none();
        let settle = move || match is_done {
            true => {
                std::fs::rename(&unpacking, &place)?;
                std::fs::rename(&listing, &whole)?;
                std::fs::remove_file(&part)
            }
            false => remove_all(&unpacking),
        };
        blocking(settle).await.map_err(disk("store a template"))?;
        match refused {
            None => Ok(()),
            Some(refused) => Err(refused),
        }
    }

    /// Removes what was used longest ago, until `more` bytes fit in. What is in use stays.
    async fn make_room(self: &Arc<Self>, more: u64) {
        let Some(most) = self.max_bytes else {
            return;
        };
        let templates = Arc::clone(self);
        let removed = blocking(move || {
            let kept = templates.kept();
            let mut total = kept.iter().map(|kept| kept.bytes).sum::<u64>();
            for kept in kept {
                if total.saturating_add(more) <= most {
                    break;
                }
                if templates.remove_unused(&kept.digest)? {
                    tracing::info!(snapshot = kept.digest, "removed a template for others");
                    total -= kept.bytes;
                }
            }
            Ok(())
        });
        if let Err(error) = removed.await {
            tracing::warn!(%error, "could not remove templates that are not needed");
        }
    }

    /// Removes one if nobody uses it.
    fn remove_unused(&self, digest: &str) -> io::Result<bool> {
        {
            // Nobody begins to use it meanwhile as something that is whole.
            let used = lock(&self.used);
            if used.contains_key(digest) {
                return Ok(false);
            }
            std::fs::remove_file(self.listing(digest))?;
        }
        self.remove(digest)?;
        Ok(true)
    }

    fn remove(&self, digest: &str) -> io::Result<()> {
        remove_all(&self.listing(digest))?;
        let place = self.place_of(digest, Form::Workspace);
        if self.templates_path.is_dir() {
            places::leave(&self.templates_path, &place)?;
        }
        remove_all(&place)?;
        let image = self.place_of(digest, Form::Image);
        if image.exists()
            && let Some(runtime) = self.containers.known()
            && let Err(error) = runtime.drop_template(digest)
        {
            tracing::warn!(snapshot = digest, %error, "the container runtime keeps the image of a template");
        }
        remove_all(&image)
    }

    /// Those that are whole, the one that was used longest ago first.
    fn kept(&self) -> Vec<Kept> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten()
        {
            let path = entry.path();
            let digest = path.file_stem().and_then(|stem| stem.to_str());
            let is_listing = path
                .extension()
                .is_some_and(|extension| extension == "whole");
            let (true, Some(digest)) = (is_listing, digest) else {
                continue;
            };
            let used = entry.metadata().and_then(|metadata| metadata.modified());
            found.push(Kept {
                digest: digest.to_owned(),
                bytes: listed_size(&path).unwrap_or(0),
                used: used.unwrap_or(SystemTime::UNIX_EPOCH),
            });
        }
        found.sort_by_key(|kept| kept.used);
        found
    }

    fn file(&self, digest: &str, kind: &str) -> PathBuf {
        self.directory.join(format!("{digest}.{kind}"))
    }

    fn listing(&self, digest: &str) -> PathBuf {
        self.file(digest, "whole")
    }

    fn place_of(&self, digest: &str, form: Form) -> PathBuf {
        match form {
            Form::Workspace => self.directory.join(digest),
            Form::Image => self.file(digest, "image"),
        }
    }

    /// Ends the processes that unpack.
    pub(crate) async fn rest(&self) {
        self.children.rest().await;
    }
}

/// A template that is here.
struct Kept {
    digest: String,
    bytes: u64,
    used: SystemTime,
}

fn is_digest(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(io::Error::other).and_then(|done| done)
}
