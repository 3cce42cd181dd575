//! Images: built from a directory, saved, loaded, removed.

use super::client::{self, Call, LONG, SHORT};
use super::{ContainerError, ContainerRuntime, Kind, OWNER, Role};
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::text::printable::plain;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use tar::EntryType;

/// Where images of templates are among the images of the machine, before the digits of the slave.
const TEMPLATES: &str = "localhost/clusterrunner-template";

/// How many digits tell the slaves of one machine apart.
const OWNER_DIGITS: usize = 12;

/// The most bytes of the file that says what an archive holds.
const MOST_MANIFEST: u64 = 1 << 20;

/// The most bytes of an archive, unpacked.
const MOST_IMAGE: u64 = 64 << 30;

/// What a runtime makes in each container.
const RUNTIMES_OWN: [&str; 14] = [
    "/dev",
    "/dev/console",
    "/dev/pts",
    "/dev/shm",
    "/etc",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/mtab",
    "/etc/resolv.conf",
    "/proc",
    "/run",
    "/run/.containerenv",
    "/run/secrets",
    "/sys",
];

/// Where images are that the set-ups of builds leave.
const BUILDS: &str = "localhost/clusterrunner-build";

/// Says what an archive holds.
const MANIFEST: &str = "manifest.json";

/// Say so too, and would be believed instead.
const OTHER_MANIFESTS: [&str; 3] = ["index.json", "oci-layout", "repositories"];

/// An image that is to be built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ImageBuild<'a> {
    /// The directory that COPY takes from.
    pub(crate) context: &'a Path,
    /// The Dockerfile.
    pub(crate) dockerfile: &'a Path,
    /// What the image is to be called.
    pub(crate) name: &'a str,
}

impl ContainerRuntime {
    /// What the image of a template is called on this slave. `digest` is that of the snapshot. Slaves of one machine have
    /// the same images under names of their own, so that none takes away what another one needs.
    pub(crate) fn template_image(&self, digest: &str) -> String {
        format!("{}:{digest}", self.own_templates())
    }

    fn own_templates(&self) -> String {
        let owner = hex::encode(Sha256::digest(&self.owner));
        let digits = owner.get(..OWNER_DIGITS).unwrap_or_default();
        format!("{TEMPLATES}-{digits}")
    }

    /// Loads the image of a template, if it is not there. Says what it is called.
    ///
    /// # Errors
    /// When the archive is none, or the runtime can not load it.
    pub(crate) fn have_template(
        &self,
        digest: &str,
        archive: &Path,
    ) -> Result<String, ContainerError> {
        let image = self.template_image(digest);
        if !self.has_image(&image) {
            self.load(archive, &image)?;
        }
        Ok(image)
    }

    /// Removes the image of a template that this slave has no longer. Blocks.
    ///
    /// # Errors
    /// When the runtime can not, since a container has the image.
    pub(crate) fn drop_template(&self, digest: &str) -> Result<(), ContainerError> {
        self.untag(&self.template_image(digest))
    }

    /// Removes the images of templates that this slave has no longer. `kept` says which it has; it is asked after the look
    /// at the images, so that none goes which came meanwhile. Blocks.
    ///
    /// # Errors
    /// When the runtime can not.
    pub(crate) fn drop_templates_but(
        &self,
        kept: impl FnOnce() -> Vec<String>,
    ) -> Result<(), ContainerError> {
        let mut command = self.command(&["images", "--format", "{{.Repository}} {{.Tag}}"]);
        let printed = client::output(&mut command, SHORT)?;
        let own = self.own_templates();
        let images = printed.lines().filter_map(|line| line.split_once(' '));
        let digests = images.filter_map(|(name, digest)| (name == own).then_some(digest));
        let kept = kept();
        for digest in digests {
            if !kept.iter().any(|kept| kept == digest) {
                self.drop_template(digest)?;
            }
        }
        Ok(())
    }

    /// Removes a name of an image, and the image with its last name, unless a container has it.
    fn untag(&self, name: &str) -> Result<(), ContainerError> {
        if !self.has_image(name) {
            return Ok(());
        }
        client::output(self.command(&["rmi"]).arg(name), SHORT).map(drop)
    }

    /// The command that builds an image. It prints what the steps print.
    pub(crate) fn build_command(&self, build: &ImageBuild<'_>) -> Command {
        let mut command = self.command(&["build"]);
        if self.kind == Kind::Podman {
            // Else each step of it stays behind as an image.
            command.args(["--layers=false", "--force-rm"]);
        }
        self.label(&mut command);
        command
            .args(&self.settings.build_flags)
            .arg("--file")
            .arg(build.dockerfile)
            .args(["--tag", build.name])
            .arg(build.context)
            .env("BUILDKIT_PROGRESS", "plain");
        command
    }

    /// Writes an image to a file: an archive, compressed with gzip.
    pub(crate) fn save(&self, image: &str, to: &mut File) -> Result<(), ContainerError> {
        let mut command = self.command(&["save"]);
        if self.kind == Kind::Podman {
            command.args(["--quiet", "--format", "docker-archive"]);
        }
        command
            .arg(image)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut call = Call::start(&mut command)?;
        let mut copied = Ok(0);
        if let (_, Some(mut archive)) = call.pipes() {
            let mut packed = GzEncoder::new(BufWriter::new(to), Compression::fast());
            copied = io::copy(&mut archive, &mut packed);
            let flushed = packed.finish().and_then(|mut file| file.flush());
            copied = copied.and_then(|bytes| flushed.map(|()| bytes));
        }
        // What the runtime says is the cause, if it says something.
        call.finish(LONG)?;
        copied.map_err(ContainerError::io("write an image archive"))?;
        Ok(())
    }

    /// Loads the one image of an archive that [`Self::save`] of some slave may have written, as `name`. Whatever the archive
    /// says its image is called, no other image of this machine is changed.
    pub(crate) fn load(&self, archive: &Path, name: &str) -> Result<(), ContainerError> {
        let file = File::open(archive).map_err(ContainerError::io("open an image archive"))?;
        let mut command = self.command(&["load"]);
        command
            .arg("--quiet")
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        let mut call = Call::start(&mut command)?;
        let renamed = match call.pipes() {
            (Some(input), _) => rename(BufReader::new(file), BufWriter::new(input), name),
            (None, _) => Ok(()),
        };
        match renamed {
            // It stopped reading: what it says is the cause.
            Err(ContainerError::Io { .. }) => {
                call.finish(SHORT)?;
                renamed
            }
            // What it has read is half an archive.
            Err(_) => renamed,
            Ok(()) => call.finish(LONG),
        }
    }

    /// Whether the machine has an image.
    pub(crate) fn has_image(&self, name: &str) -> bool {
        self.image_id(name).is_ok()
    }

    /// What an image is, whatever it is called.
    pub(crate) fn image_id(&self, name: &str) -> Result<String, ContainerError> {
        let mut command = self.command(&["image", "inspect", "--format", "{{.Id}}"]);
        client::output(command.arg(name), SHORT)
    }

    /// Makes an image of a container, without what is mounted in it. Says what the image is called.
    pub(super) fn commit(&self, container: &str) -> Result<String, ContainerError> {
        let image = format!("{BUILDS}:{:016x}", u64::from_be_bytes(random_bytes()));
        let mut command = self.command(&["commit"]);
        if self.kind == Kind::Podman {
            command.arg("--quiet");
        }
        let label = format!("--change=LABEL {:?}={:?}", OWNER, self.owner);
        client::output(command.args([&label, container, &image]), LONG)?;
        Ok(image)
    }

    /// The paths that differ between a container and its image, but for those that the runtime itself makes.
    pub(super) fn changes(&self, container: &str) -> Result<Vec<PathBuf>, ContainerError> {
        let printed = client::output(self.command(&["diff"]).arg(container), LONG)?;
        let paths = printed.lines().filter_map(|line| line.split_once(' '));
        let paths = paths.map(|(_, path)| PathBuf::from(path));
        let is_other = |path: &PathBuf| !RUNTIMES_OWN.iter().any(|own| path == Path::new(own));
        Ok(paths.filter(is_other).collect())
    }

    /// Removes the containers and images that builds of earlier lives of this slave left.
    pub(super) fn remove_left_by_builds(&self) -> Result<(), ContainerError> {
        self.remove_all(Role::Build)?;
        let mut command = self.command(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        let filter = format!("label={}", self.owner_label());
        let printed = client::output(command.args(["--filter", &filter]), SHORT)?;
        let is_of_build = |line: &&str| {
            line.strip_prefix(BUILDS)
                .is_some_and(|tag| tag.starts_with(':'))
        };
        for image in printed.lines().filter(is_of_build) {
            self.remove_image(image)?;
        }
        Ok(())
    }

    /// Fetches an image from its registry, if the machine has it not. Blocks, until `stop` says so at the latest.
    pub(crate) fn pull(&self, image: &str, stop: &dyn Fn() -> bool) -> Result<(), ContainerError> {
        if self.has_image(image) {
            return Ok(());
        }
        let mut command = self.command(&["pull", "--quiet", image]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Call::start(&mut command)?.finish_unless(LONG, stop)
    }

    /// The first port that an image exposes.
    pub(crate) fn exposed_port(&self, name: &str) -> Result<Option<u16>, ContainerError> {
        let format = "{{json .Config.ExposedPorts}}";
        let mut command = self.command(&["image", "inspect", "--format", format]);
        let printed = client::output(command.arg(name), SHORT)?;
        let ports = serde_json::from_str::<Value>(printed.trim()).unwrap_or_default();
        let ports = ports.as_object().into_iter().flatten();
        let numbers = ports.filter_map(|(port, _)| port.split('/').next()?.parse().ok());
        Ok(numbers.min())
    }

    /// Removes a name of an image, and the image with its last name. One that is not there is as good.
    pub(crate) fn remove_image(&self, name: &str) -> Result<(), ContainerError> {
        if !self.has_image(name) {
            return Ok(());
        }
        let mut command = self.command(&["rmi", "--force"]);
        client::output(command.arg(name), SHORT).map(drop)
    }
}

/// Copies an archive with one image, which gets another name.
fn rename(archive: impl Read, to: impl Write, name: &str) -> Result<(), ContainerError> {
    let broken = |error: io::Error| ContainerError::Archive(error.to_string());
    let write = |source| ContainerError::Io {
        step: "give an image to the container runtime",
        source,
    };
    let mut written = tar::Builder::new(to);
    let unpacked = MultiGzDecoder::new(archive).take(MOST_IMAGE);
    let mut archive = tar::Archive::new(unpacked);
    let mut has_manifest = false;
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.into_owned();
        check_path(&path)?;
        let is_manifest = path.file_name().is_some_and(|name| name == MANIFEST);
        let is_other = |name| OTHER_MANIFESTS.iter().any(|other| name == *other);
        if path.file_name().is_some_and(is_other) {
            continue;
        }
        let appended = if is_manifest {
            if std::mem::replace(&mut has_manifest, true) || path != Path::new(MANIFEST) {
                return Err(ContainerError::Archive(format!(
                    "it has more than one {MANIFEST}"
                )));
            }
            let mut manifest = Vec::new();
            let read = (&mut entry).take(MOST_MANIFEST).read_to_end(&mut manifest);
            read.map_err(broken)?;
            let manifest = renamed_manifest(&manifest, name)?;
            let mut header = tar::Header::new_gnu();
            header.set_size(manifest.len() as u64);
            header.set_mode(0o644);
            written.append_data(&mut header, MANIFEST, &*manifest)
        } else {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o755);
            header.set_entry_type(entry.header().entry_type());
            match (
                entry.header().entry_type(),
                entry.link_name().map_err(broken)?,
            ) {
                (EntryType::Regular | EntryType::Continuous, _) => {
                    header.set_size(entry.size());
                    header.set_entry_type(EntryType::Regular);
                    written.append_data(&mut header, &path, &mut entry)
                }
                (EntryType::Directory, _) => {
                    header.set_size(0);
                    written.append_data(&mut header, &path, io::empty())
                }
                (EntryType::Symlink | EntryType::Link, Some(target)) => {
                    header.set_size(0);
                    written.append_link(&mut header, &path, target)
                }
                _ => {
                    return Err(ContainerError::Archive(
                        "it has an entry that is no file".to_owned(),
                    ));
                }
            }
        };
        appended.map_err(write)?;
    }
    if !has_manifest {
        return Err(ContainerError::Archive(format!("it has no {MANIFEST}")));
    }
    let flushed = written.into_inner().and_then(|mut to| to.flush());
    flushed.map_err(write)
}

/// A path that leads out of the archive is no runtime's.
fn check_path(path: &Path) -> Result<(), ContainerError> {
    let is_plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if path.components().all(is_plain) {
        return Ok(());
    }
    let path = path.to_string_lossy();
    let path = plain(&path);
    Err(ContainerError::Archive(format!("it has an entry {path}")))
}

fn renamed_manifest(manifest: &[u8], name: &str) -> Result<Vec<u8>, ContainerError> {
    let wrong = |why: String| ContainerError::Archive(format!("its {MANIFEST} {why}"));
    let mut images: Vec<Value> = serde_json::from_slice(manifest)
        .map_err(|error| wrong(format!("can not be read: {error}")))?;
    let [image] = images.as_mut_slice() else {
        return Err(wrong(format!(
            "names {} images instead of one",
            images.len()
        )));
    };
    let Some(image) = image.as_object_mut() else {
        return Err(wrong("is no list of objects".to_owned()));
    };
    image.insert("RepoTags".to_owned(), json!([name]));
    serde_json::to_vec(&images).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            archive
                .append_data(&mut header, path, content.as_bytes())
                .unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap()
    }

    fn renamed(entries: &[(&str, &str)]) -> Result<Vec<(String, String)>, ContainerError> {
        let mut written = Vec::new();
        rename(&*archive(entries), &mut written, "ours:1")?;
        let mut read = tar::Archive::new(&*written);
        let entries = read.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        });
        Ok(entries.collect())
    }

    #[test]
    fn an_archive_can_not_name_other_images() {
        let manifest = r#"[{"Config":"c.json","Layers":["l.tar"],"RepoTags":["docker.io/library/debian:12"]}]"#;
        let entries = [
            ("l.tar", "layer"),
            ("repositories", "{}"),
            ("index.json", "{}"),
            ("oci-layout", "{}"),
            ("x/index.json", "{}"),
            ("manifest.json", manifest),
        ];
        let found = renamed(&entries).unwrap();
        let manifest = r#"[{"Config":"c.json","Layers":["l.tar"],"RepoTags":["ours:1"]}]"#;
        let expected = [("l.tar", "layer"), ("manifest.json", manifest)];
        assert_eq!(
            found,
            expected.map(|(path, content)| (path.to_owned(), content.to_owned()))
        );
    }

    #[test]
    fn what_is_no_archive_of_one_image_is_refused() {
        let one = r#"[{"Layers":[]}]"#;
        for (entries, why) in [
            (vec![("a", "b")], "no manifest.json"),
            (vec![("manifest.json", "[{},{}]")], "2 images"),
            (vec![("manifest.json", "{")], "can not be read"),
            (vec![("manifest.json", "[1]")], "list of objects"),
            (
                vec![("manifest.json", one), ("manifest.json", one)],
                "more than one",
            ),
            (vec![("d/manifest.json", one)], "more than one"),
        ] {
            let error = renamed(&entries).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let mut written = Vec::new();
        rename(&b"no gzip"[..], &mut written, "ours:1").unwrap_err();
    }
}
