//! What `init` knows of a project: the names of its files, and the texts of the few that tell how it is tested.

use clusterrunner_common::disk::regular_file;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

/// The most files that are listed. A project with more is judged by these.
const MAX_FILES: usize = 50_000;

/// How many directories deep is looked.
const MAX_DEPTH: usize = 12;

/// The longest text that is read, in bytes.
const MAX_TEXT: u64 = 1 << 20;

/// Directories whose files are no tests of the project.
const FOREIGN: [&str; 9] = [
    "__pycache__",
    "bower_components",
    "build",
    "build_results",
    "dist",
    "env",
    "node_modules",
    "target",
    "vendor",
];

/// The files of a project, with `/` between the parts of a path.
#[derive(Debug, Default)]
pub(super) struct Project {
    files: BTreeSet<String>,
    texts: BTreeMap<String, String>,
}

impl Project {
    /// Looks at a directory. Hidden files, links, and directories of packages and products are left out.
    pub(super) fn read(root: &Path) -> io::Result<Self> {
        let mut project = Self::default();
        project.list(root, "", 0)?;
        let told: Vec<String> = project
            .files
            .iter()
            .filter(|file| tells(file))
            .cloned()
            .collect();
        for file in told {
            // What can not be read as text tells nothing.
            if let Ok(text) = regular_file::read_to_string(&root.join(&file), MAX_TEXT) {
                project.texts.insert(file, text);
            }
        }
        Ok(project)
    }

    fn list(&mut self, directory: &Path, above: &str, depth: usize) -> io::Result<()> {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if self.files.len() >= MAX_FILES || name.starts_with('.') {
                continue;
            }
            let kind = entry.file_type()?;
            let path = format!("{above}{name}");
            let is_own = !FOREIGN.contains(&name.as_str())
                && !entry.path().join("pyvenv.cfg").exists()
                && depth < MAX_DEPTH;
            if kind.is_file() {
                self.files.insert(path);
            } else if kind.is_dir() && is_own {
                // A directory that may not be read has no tests for its user.
                self.list(&entry.path(), &format!("{path}/"), depth + 1)
                    .ok();
            }
        }
        Ok(())
    }

    /// Whether the project has this file.
    pub(super) fn has(&self, file: &str) -> bool {
        self.files.contains(file)
    }

    /// The paths of all files, in their order.
    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(String::as_str)
    }

    /// The text of a file that was read, empty for another one.
    pub(super) fn text(&self, file: &str) -> &str {
        self.texts.get(file).map_or("", String::as_str)
    }

    /// Why the manifest of a Node project tells nothing, if it is there and tells nothing.
    pub(super) fn broken_package(&self) -> Option<serde_json::Error> {
        let text = self.texts.get("package.json")?;
        serde_json::from_str::<serde_json::Value>(text).err()
    }

    /// A project of these files and texts.
    #[cfg(test)]
    pub(super) fn of<const N: usize>(files: [(&str, &str); N]) -> Self {
        let files = files.map(|(file, text)| (file.to_owned(), text.to_owned()));
        Self {
            files: files.iter().map(|(file, _)| file.clone()).collect(),
            texts: files.into(),
        }
    }
}

/// Whether the text of a file tells how a project is tested: manifests at the top, and Python's test files.
fn tells(file: &str) -> bool {
    let name = name(file);
    let is_manifest = !file.contains('/')
        && (name.ends_with(".toml")
            || name.ends_with(".cfg")
            || name.ends_with(".ini")
            || name == "package.json"
            || name.starts_with("requirements")
            || MAKEFILES.contains(&name));
    is_manifest || (name.ends_with(".py") && name.contains("test"))
}

/// The names that make looks for.
pub(super) const MAKEFILES: [&str; 3] = ["GNUmakefile", "makefile", "Makefile"];

/// The last part of a path.
pub(super) fn name(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use super::Project;

    #[test]
    fn a_broken_manifest_of_node_is_told() {
        let broken = Project::of([("package.json", "{bad")]).broken_package();
        assert!(broken.is_some_and(|error| error.line() == 1));
        assert!(
            Project::of([("package.json", "{}")])
                .broken_package()
                .is_none()
        );
        assert!(Project::of([]).broken_package().is_none());
    }
}
