//! What a template is based on: other templates of the farm, which the slave has brought here.
//!
//! An image is the base where a container runtime builds. A workspace is the base where steps are plain processes: its
//! files lie below those of the repository, and what is installed for it is installed for the new template, too. Its
//! paths are as long as the new ones, so that one can stand in the place of the other in any file.

use super::copying::copy_entry;
use super::error::{BuildError, at};
use super::place::TemplateDirectory;
use super::tree::{Into, walk};
use super::{Made, say};
use clusterrunner_common::disk::beneath::Beneath;
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::templates::{Form, TemplateDescription};
use clusterrunner_common::text::printable::plain;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{File, FileTimes, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The variable with the path of the file that says which bases there are.
pub(super) const BASES: &str = "CLUSTERRUNNER_BASES";

/// The most bytes of that file.
const LONGEST: u64 = 4 << 20;

/// How much of a file is looked at in one go.
const PIECE: usize = 1 << 20;

/// A template of the farm that is here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GivenBase {
    /// As the recipe names it.
    pub(crate) reference: String,
    /// What the template says of itself.
    pub(crate) description: TemplateDescription,
    /// The directory of a workspace; the name that the container runtime knows an image by.
    pub(crate) place: String,
}

/// Writes them down for [`read`]. Blocks.
pub(super) fn write(bases: &[GivenBase], path: &Path) -> io::Result<()> {
    let mut file = regular_file::create(path)?;
    let text = serde_json::to_vec(bases).map_err(io::Error::other)?;
    io::Write::write_all(&mut file, &text)
}

/// Those that the slave has brought here for this build.
pub(super) fn read() -> Result<Vec<GivenBase>, BuildError> {
    let Some(path) = std::env::var_os(BASES).map(PathBuf::from) else {
        return Ok(Vec::new());
    };
    let text = regular_file::read(&path, LONGEST).map_err(at("read", &path))?;
    let read = serde_json::from_slice(&text).map_err(io::Error::other);
    read.map_err(at("read", &path))
}

/// The bases of one recipe, of those that are here.
#[derive(Debug, Default)]
pub(super) struct Bases<'b> {
    /// The names of images, by what names them.
    pub(super) images: BTreeMap<&'b str, &'b str>,
    /// The one workspace.
    pub(super) workspace: Option<&'b GivenBase>,
    /// All that name it.
    pub(super) names: Vec<String>,
}

impl<'b> Bases<'b> {
    /// Those that these words name.
    pub(super) fn named(words: &[String], given: &'b [GivenBase]) -> Result<Self, BuildError> {
        let mut bases = Self::default();
        for base in given.iter().filter(|base| words.contains(&base.reference)) {
            match (base.description.form, bases.workspace) {
                (Form::Image, _) => {
                    bases.images.insert(&base.reference, &base.place);
                }
                (Form::Workspace, None) => {
                    bases.workspace = Some(base);
                    bases.names.push(base.reference.clone());
                }
                (Form::Workspace, Some(other)) if other.place == base.place => {
                    bases.names.push(base.reference.clone());
                }
                (Form::Workspace, Some(other)) => {
                    return Err(BuildError::Said(format!(
                        "The templates {} and {} are no images, and only one such template can be a base.",
                        plain(&other.reference),
                        plain(&base.reference)
                    )));
                }
            }
        }
        match (bases.workspace, bases.images.keys().next()) {
            (Some(workspace), Some(image)) => Err(BuildError::Said(format!(
                "The template {} is an image and {} is none: they can not be bases together.",
                plain(image),
                plain(&workspace.reference)
            ))),
            _ => Ok(bases),
        }
    }

    /// Why they can not be the bases of plain processes.
    pub(super) fn check_processes(&self) -> Result<(), BuildError> {
        match self.images.keys().next() {
            None => Ok(()),
            Some(image) => Err(BuildError::Said(format!(
                "The template {} is an image: only a slave with podman or docker can build on it.",
                plain(image)
            ))),
        }
    }
}

/// A base whose files lie in the place of the new template.
#[derive(Clone, Debug)]
pub(super) struct LaidBase {
    /// All that name it.
    pub(super) names: Vec<String>,
    /// What the new template has of it unless its own recipe says otherwise.
    pub(super) made: Made,
    pub(super) processes: BTreeMap<String, String>,
    /// Where programs are looked for, if something is installed for it.
    pub(super) path: Option<String>,
}

impl LaidBase {
    /// What commands find in their environment because of it.
    pub(super) fn give(&self, command: &mut Command) {
        command.envs(&self.made.environment);
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
    }
}

/// Lays the files of a base below those that are in `directory`, and installs what is installed for it.
pub(super) fn lay(
    (base, names): (&GivenBase, Vec<String>),
    directory: &Path,
    place: &TemplateDirectory,
) -> Result<LaidBase, BuildError> {
    say(&format!(
        "The template {} is the base: its files lie below those of the repository.",
        base.reference
    ));
    let from = Path::new(&base.place);
    let old = base.description.root.as_deref().unwrap_or_default();
    let new = place.root().display().to_string();
    let moved = Moved {
        old: old.as_bytes(),
        new: new.as_bytes(),
    };
    if moved.old.len() != moved.new.len() {
        return Err(BuildError::Said(format!(
            "The template {} was made in {}, and this slave makes templates in {}: all slaves of a farm need the \
             same setting templates_path.",
            plain(&base.reference),
            plain(old),
            plain(&new)
        )));
    }
    moved.lay(&from.join("source"), directory)?;
    let (installed, environment) = (from.join("environment"), place.environment());
    let mut path = None;
    if installed.is_dir() {
        std::fs::create_dir_all(&environment).map_err(at("make", &environment))?;
        moved.lay(&installed, &environment)?;
        let usual = std::env::var("PATH").unwrap_or_default();
        path = Some(format!("{}:{usual}", environment.join("bin").display()));
    }
    let description = &base.description;
    let text = |text: &String| text.replace(old, &new);
    let variables = description.environment.iter();
    Ok(LaidBase {
        names,
        made: Made {
            port: description.port,
            command: description.command.iter().map(text).collect(),
            environment: variables
                .map(|(name, value)| (name.clone(), text(value)))
                .collect(),
            directory: description.directory.clone(),
        },
        processes: description.processes.clone(),
        path,
    })
}

/// A path that takes the place of another one of the same length.
struct Moved<'m> {
    old: &'m [u8],
    new: &'m [u8],
}

impl Moved<'_> {
    /// Copies a tree to where others may lie already, which stay.
    fn lay(&self, from: &Path, to: &Path) -> Result<(), BuildError> {
        let root = Beneath::open(to).map_err(at("open", to))?;
        walk(from, |relative, metadata| {
            let source = from.join(relative);
            let above = root.make(relative.parent().unwrap_or(Path::new("")));
            let above = above.map_err(at("make", relative))?;
            let name = relative.file_name().unwrap_or(OsStr::new(""));
            let found = above.stat(name).ok();
            if metadata.is_dir() {
                let is_directory = found.as_ref().is_none_or(|found| {
                    let kind = rustix::fs::FileType::from_raw_mode(found.st_mode);
                    kind == rustix::fs::FileType::Directory
                });
                if !is_directory {
                    return Ok(Into::No);
                }
                root.make(relative).map_err(at("make", relative))?;
                return Ok(Into::Yes);
            }
            if found.is_some() {
                return Ok(Into::Yes);
            }
            if metadata.is_symlink() {
                let target = std::fs::read_link(&source).map_err(at("read", &source))?;
                let target = self.in_bytes(target.as_os_str().as_bytes());
                let target = Path::new(OsStr::from_bytes(&target));
                let made = above.symlink(name, target);
                made.map_err(at("link", relative))?;
                return Ok(Into::Yes);
            }
            copy_entry(&source, metadata, &root, relative)?;
            let copy = to.join(relative);
            if metadata.is_file() {
                self.in_file(&copy).map_err(at("change", &copy))?;
            }
            Ok(Into::Yes)
        })
    }

    fn in_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut changed = bytes.to_vec();
        for at in self.places(bytes) {
            if let Some(part) = changed.get_mut(at..at + self.new.len()) {
                part.copy_from_slice(self.new);
            }
        }
        changed
    }

    /// Changes the path wherever it stands in a file, whose time stays: what was compiled from it goes by that.
    fn in_file(&self, path: &Path) -> io::Result<()> {
        let mut file = regular_file::open_itself(path)?;
        let mut piece = Vec::new();
        let (mut begin, mut places) = (0_u64, Vec::new());
        loop {
            let read = (&mut file).take(PIECE as u64).read_to_end(&mut piece)?;
            let found = self.places(&piece);
            places.extend(found.into_iter().map(|at| begin + at as u64));
            if read == 0 {
                break;
            }
            // What begins here may end in the next piece.
            let kept = piece.len().min(self.old.len().saturating_sub(1));
            begin += (piece.len() - kept) as u64;
            piece.drain(..piece.len() - kept);
        }
        if places.is_empty() {
            return Ok(());
        }
        let metadata = file.metadata()?;
        let changed = writable(path)?;
        places.dedup();
        for place in places {
            changed.write_all_at(self.new, place)?;
        }
        changed.set_times(FileTimes::new().set_modified(metadata.modified()?))
    }

    fn places(&self, bytes: &[u8]) -> Vec<usize> {
        let Some(first) = self.old.first() else {
            return Vec::new();
        };
        let mut found = Vec::new();
        let mut at = 0;
        while let Some(next) = bytes
            .get(at..)
            .and_then(|rest| rest.iter().position(|byte| byte == first))
        {
            at += next;
            match bytes
                .get(at..)
                .is_some_and(|rest| rest.starts_with(self.old))
            {
                true => {
                    found.push(at);
                    at += self.old.len();
                }
                false => at += 1,
            }
        }
        found
    }
}

/// A file of ours, whatever its mode is.
fn writable(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let opened = options.write(true).custom_flags(no_follow).open(path);
    match opened {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::symlink_metadata(path)?.permissions();
            let writable = std::fs::Permissions::from_mode(mode.mode() | 0o200);
            std::fs::set_permissions(path, writable)?;
            let file = options.open(path)?;
            file.set_permissions(mode)?;
            Ok(file)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn base(reference: &str, form: Form, place: &str) -> GivenBase {
        GivenBase {
            reference: reference.to_owned(),
            description: TemplateDescription {
                form,
                root: None,
                image: None,
                recipe: None,
                port: None,
                command: Vec::new(),
                processes: BTreeMap::new(),
                environment: BTreeMap::new(),
                directory: String::new(),
            },
            place: place.to_owned(),
        }
    }

    #[test]
    fn one_workspace_or_images_can_be_bases() {
        let given = [
            base("a", Form::Image, "image-a"),
            base("b", Form::Workspace, "/b"),
            base("b:latest", Form::Workspace, "/b"),
            base("c", Form::Workspace, "/c"),
        ];
        let named = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            Bases::named(&words, &given).map_err(|error| error.to_string())
        };
        let bases = named(&["a", "debian:12"]).unwrap();
        assert_eq!(bases.images, BTreeMap::from([("a", "image-a")]));
        assert!(bases.workspace.is_none() && bases.check_processes().is_err());
        let bases = named(&["b", "b:latest"]).unwrap();
        assert_eq!(bases.workspace, Some(&given[1]));
        assert_eq!(bases.names, ["b", "b:latest"]);
        bases.check_processes().unwrap();
        assert!(named(&["b", "c"]).unwrap_err().contains("only one"));
        assert!(
            named(&["a", "c"])
                .unwrap_err()
                .contains("can not be bases together")
        );
    }

    #[test]
    fn a_base_lies_below_the_repository_with_paths_of_the_new_place() {
        let folder = tempfile::tempdir().unwrap();
        let templates = folder.path().join("templates");
        let place = TemplateDirectory::make(&templates).unwrap();
        let cached = folder.path().join("cached");
        let old = templates.join("0123456789abcdef");
        let old = old.display().to_string();
        for directory in ["source/lib", "source/over", "environment/bin"] {
            fs::create_dir_all(cached.join(directory)).unwrap();
        }
        let script = cached.join("environment/bin/tool");
        let long = "x".repeat(PIECE - 10);
        fs::write(
            &script,
            format!("#!{old}/environment/bin/python\n{long}{old}/source"),
        )
        .unwrap();
        fs::set_permissions(&script, PermissionsExt::from_mode(0o555)).unwrap();
        symlink(
            format!("{old}/environment"),
            cached.join("environment/self"),
        )
        .unwrap();
        fs::write(cached.join("source/lib/base"), "of the base").unwrap();
        fs::write(cached.join("source/both"), "of the base").unwrap();
        fs::write(cached.join("source/over/file"), "of the base").unwrap();
        let source = place.source();
        fs::write(source.join("both"), "of the repository").unwrap();
        // A link of the repository is not followed.
        fs::create_dir(folder.path().join("outside")).unwrap();
        symlink(folder.path().join("outside"), source.join("over")).unwrap();
        let mut given = base("app", Form::Workspace, &cached.display().to_string());
        given.description.root = Some(old.clone());
        given.description.port = Some(80);
        let variable = ("VIRTUAL_ENV".to_owned(), format!("{old}/environment"));
        given.description.environment = BTreeMap::from([variable]);
        let times = fs::metadata(&script).unwrap().modified().unwrap();
        let laid = lay((&given, Vec::new()), &source, &place).unwrap();
        let new = place.root().display().to_string();
        let read = |path: &str| fs::read_to_string(place.root().join(path)).unwrap();
        assert_eq!(
            read("environment/bin/tool"),
            format!("#!{new}/environment/bin/python\n{long}{new}/source")
        );
        let tool = fs::metadata(place.environment().join("bin/tool")).unwrap();
        assert_eq!(tool.permissions().mode() & 0o777, 0o555);
        assert_eq!(tool.modified().unwrap(), times);
        let link = fs::read_link(place.environment().join("self")).unwrap();
        assert_eq!(link, place.environment());
        assert_eq!(read("source/lib/base"), "of the base");
        assert_eq!(read("source/both"), "of the repository");
        assert_eq!(
            fs::read_dir(folder.path().join("outside")).unwrap().count(),
            0
        );
        let expected = BTreeMap::from([("VIRTUAL_ENV".to_owned(), format!("{new}/environment"))]);
        assert_eq!(
            (laid.made.port, laid.made.environment),
            (Some(80), expected)
        );
        assert!(
            laid.path
                .unwrap()
                .starts_with(&format!("{new}/environment/bin:"))
        );
        given.description.root = Some("/other".to_owned());
        lay((&given, Vec::new()), &source, &place).unwrap_err();
    }
}
