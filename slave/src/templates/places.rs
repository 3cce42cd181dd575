//! The places at which templates are found, whichever slave they were built on: symbolic links into the cache.
//!
//! The directory of the links may be shared by slaves of one machine, whose links lead into different caches with the
//! same content. Whoever needs one sees to it that it leads somewhere.

use super::{TemplateError, disk};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

/// How many hexadecimal digits the name of a place has.
const DIGITS: usize = 16;

/// The place that a template names, if it is one of those that this slave has.
pub(super) fn place(templates_path: &Path, root: Option<&str>) -> Result<PathBuf, TemplateError> {
    let root = root.ok_or_else(|| {
        TemplateError::Refused("the template does not say where it has to be found".to_owned())
    })?;
    let place = Path::new(root);
    let name = place.file_name().and_then(|name| name.to_str());
    let is_name = name.is_some_and(|name| {
        name.len() == DIGITS
            && name
                .bytes()
                .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    });
    match is_name && place.parent() == Some(templates_path) {
        true => Ok(place.to_owned()),
        false => Err(TemplateError::Refused(format!(
            "the template was built to be found in {}, and this slave has its templates in {}: all slaves of a \
             farm need the same setting templates_path",
            place.parent().unwrap_or(place).display(),
            templates_path.display()
        ))),
    }
}

/// Makes the directory of the places, and looks that nobody else can change it. Blocks.
pub(super) fn make_directory(templates_path: &Path) -> Result<(), TemplateError> {
    let mut builder = std::fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o755).create(templates_path);
    made.map_err(disk(
        "make the directory of templates (setting templates_path)",
    ))?;
    let found = std::fs::metadata(templates_path).map_err(disk("look at templates_path"))?;
    let own = rustix::process::geteuid().as_raw();
    if (found.uid() == own || found.uid() == 0) && found.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(TemplateError::Refused(format!(
        "others than this slave's user can change {}: they could change what instances run. Make it with \
         mode 755 as that user, or name another directory (setting templates_path)",
        templates_path.display()
    )))
}

/// Sees to it that a place leads to the template at `target`. Blocks.
pub(super) fn lead(place: &Path, target: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(place) {
        Ok(found) if !found.is_symlink() => {
            let busy =
                "something that is no link lies there, such as a template that is being built";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, busy));
        }
        // It may be another slave's, which has the same.
        Ok(_) if std::fs::metadata(place).is_ok_and(|found| found.is_dir()) => return Ok(()),
        _ => {}
    }
    let random = u64::from_be_bytes(clusterrunner_common::clock::random_bytes());
    let new = place.with_extension(format!("{random:016x}"));
    symlink(target, &new)?;
    std::fs::rename(&new, place).inspect_err(|_| {
        std::fs::remove_file(&new).ok();
    })
}

/// Removes a place that leads to this template. Blocks.
pub(super) fn leave(templates_path: &Path, target: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(templates_path)? {
        let path = entry?.path();
        if std::fs::read_link(&path).is_ok_and(|leads| leads == target) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_places_of_ours_are_taken() {
        let path = Path::new("/var/tmp/clusterrunner");
        let good = "/var/tmp/clusterrunner/0123456789abcdef";
        assert_eq!(place(path, Some(good)).unwrap(), Path::new(good));
        for wrong in [
            "/var/tmp/clusterrunner/0123456789ABCDEF",
            "/var/tmp/clusterrunner/..",
            "/var/tmp/0123456789abcdef",
            "/var/tmp/clusterrunner/x/../0123456789abcdef",
            "",
        ] {
            place(path, Some(wrong)).unwrap_err();
        }
        place(path, None).unwrap_err();
    }

    #[test]
    fn a_place_leads_to_a_template_that_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let path = at("places");
        make_directory(&path).unwrap();
        let place = path.join("0123456789abcdef");
        std::fs::create_dir(at("one")).unwrap();
        std::fs::create_dir(at("two")).unwrap();
        lead(&place, &at("one")).unwrap();
        lead(&place, &at("two")).unwrap();
        assert_eq!(std::fs::read_link(&place).unwrap(), at("one"));
        leave(&path, &at("two")).unwrap();
        std::fs::remove_dir(at("one")).unwrap();
        lead(&place, &at("two")).unwrap();
        assert_eq!(std::fs::read_link(&place).unwrap(), at("two"));
        leave(&path, &at("two")).unwrap();
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
        std::fs::create_dir(&place).unwrap();
        lead(&place, &at("two")).unwrap_err();
    }

    #[test]
    fn a_directory_that_others_can_change_is_not_used() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let mode = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(directory.path(), mode).unwrap();
        let error = make_directory(directory.path()).unwrap_err();
        assert!(error.to_string().contains("templates_path"), "{error}");
    }
}
