//! Packing the directory of a template: a tar archive, compressed with gzip.

use super::error::{BuildError, at};
use super::place::TemplateDirectory;
use super::say;
use super::tree::{Into, walk};
use clusterrunner_common::disk::regular_file;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::{File, Metadata};
use std::io::{self, BufWriter};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use tar::{Builder, EntryType, Header};

/// What a repository is kept in leads to the slave's own copy of it.
const GIT: &str = ".git";

type Archive = Builder<GzEncoder<BufWriter<File>>>;

/// Packs the workspace and what is installed for it into a file; how many bytes that has.
pub(super) fn pack(place: &TemplateDirectory, file: &Path) -> Result<u64, BuildError> {
    let made = regular_file::create(file).map_err(at("make", file))?;
    let packed = GzEncoder::new(BufWriter::new(made), Compression::fast());
    let mut archive = Builder::new(packed);
    let written = at("write", file);
    for part in ["source", "environment"] {
        let root = place.root().join(part);
        let Ok(metadata) = std::fs::symlink_metadata(&root) else {
            continue;
        };
        append(&mut archive, &root, Path::new(part), &metadata).map_err(at("pack", &root))?;
        walk(&root, |relative, metadata| {
            if part == "source" && relative.file_name().is_some_and(|name| name == GIT) {
                return Ok(Into::No);
            }
            let path = root.join(relative);
            let added = append(
                &mut archive,
                &path,
                &Path::new(part).join(relative),
                metadata,
            );
            added.map_err(at("pack", &path))?;
            Ok(Into::Yes)
        })?;
    }
    let finish = |archive: Archive| {
        let file = archive.into_inner()?.finish()?.into_inner()?;
        file.sync_all()?;
        Ok::<_, io::Error>(file.metadata()?.len())
    };
    finish(archive).map_err(written)
}

fn append(archive: &mut Archive, path: &Path, name: &Path, metadata: &Metadata) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(metadata.permissions().mode() & 0o777);
    header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    let kind = metadata.file_type();
    if kind.is_dir() {
        header.set_entry_type(EntryType::Directory);
        return archive.append_data(&mut header, name, io::empty());
    }
    if kind.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        return archive.append_link(&mut header, name, std::fs::read_link(path)?);
    }
    if !kind.is_file() {
        say(&format!(
            "{} is no file and no link, and is left out.",
            name.display()
        ));
        return Ok(());
    }
    let file = regular_file::open_itself(path)?;
    let size = file.metadata()?.len();
    header.set_entry_type(EntryType::Regular);
    header.set_size(size);
    // What a process that was left running changes meanwhile does not break the archive.
    let content = io::Read::chain(file, io::repeat(0));
    archive.append_data(&mut header, name, io::Read::take(content, size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::fs;
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_snapshot_has_workspace_and_environment_and_nothing_of_git() {
        let folder = tempfile::tempdir().unwrap();
        let place = TemplateDirectory::make(&folder.path().join("templates")).unwrap();
        let source = place.source();
        let long = "x".repeat(200);
        fs::create_dir_all(source.join("sub").join(&long).join(&long)).unwrap();
        fs::create_dir_all(place.environment().join("bin")).unwrap();
        fs::write(
            source.join("sub").join(&long).join(&long).join("file"),
            "text",
        )
        .unwrap();
        fs::write(source.join(".git"), "gitdir: x").unwrap();
        fs::create_dir(source.join("sub/.git")).unwrap();
        fs::write(source.join("sub/.git/config"), "").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(source.join("socket")).unwrap();
        symlink("/usr/bin/python3", place.environment().join("bin/python")).unwrap();
        let file = folder.path().join("snapshot.tar.gz");
        let bytes = pack(&place, &file).unwrap();
        assert_eq!(bytes, fs::metadata(&file).unwrap().len());
        let packed = flate2::read::GzDecoder::new(File::open(&file).unwrap());
        let mut archive = tar::Archive::new(packed);
        let mut found = BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            if let Some(link) = entry.link_name().unwrap() {
                content = format!("-> {}", link.display());
            }
            found.insert(name.trim_end_matches('/').to_owned(), content);
        }
        let expected = [
            ("environment".to_owned(), ""),
            ("environment/bin".to_owned(), ""),
            ("environment/bin/python".to_owned(), "-> /usr/bin/python3"),
            ("source".to_owned(), ""),
            ("source/sub".to_owned(), ""),
            (format!("source/sub/{long}"), ""),
            (format!("source/sub/{long}/{long}"), ""),
            (format!("source/sub/{long}/{long}/file"), "text"),
        ];
        let expected = expected.map(|(name, content)| (name, content.to_owned()));
        assert_eq!(found, BTreeMap::from(expected));
    }
}
