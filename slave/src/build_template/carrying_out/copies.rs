//! COPY and ADD: from the workspace, or from an earlier stage, to the directory that stands for the image.

use super::super::copying::{copy_entry, copy_tree};
use super::globs::{fits, is_pattern};
use super::{
    Beneath, BuildError, Command, Instruction, Kind, Path, PathBuf, Roots, Stage, plain, resolved,
    run, say,
};
use clusterrunner_common::templates::dockerfile::{Copying, WrongDockerfile, copying, variables};
use std::io::Write as _;

/// How names of archives end that ADD unpacks.
const ARCHIVES: [&str; 7] = [
    ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz",
];

/// Where it is copied from.
struct From<'a> {
    /// Without links in its path.
    directory: &'a Path,
    /// What it is called.
    name: &'static str,
}

/// Carries out COPY or ADD.
pub(super) fn copy(
    instruction: &Instruction,
    stage: &Stage,
    (roots, root): (&Roots<'_>, &Beneath),
    is_stage: &dyn Fn(&str) -> bool,
) -> Result<(), BuildError> {
    let lookup = |name: &str| stage.value(name);
    let Copying { sources, target } = copying(instruction, &lookup)?;
    let own_root = roots.root.canonicalize();
    let own_root = own_root.map_err(super::at("find", roots.root))?;
    let from = match instruction.flag("from") {
        None => From {
            directory: roots.context,
            name: "the repository",
        },
        Some(name) if is_stage(name) => From {
            directory: &own_root,
            name: "the stage",
        },
        Some(name) => {
            let name = plain(name);
            let sentence =
                format!("{name} is no earlier stage: its image needs a container runtime.");
            return Err(instruction.wrong(sentence).into());
        }
    };
    for flag in instruction
        .flags
        .iter()
        .filter(|flag| !flag.starts_with("from="))
    {
        say(&format!(
            "--{flag} has no effect without a container runtime."
        ));
    }
    let is_directory = target.ends_with('/') || matches!(target.as_str(), "." | "..");
    let to = resolved(&stage.directory, &target);
    let found = found(instruction, &from, &sources)?;
    let is_several = found.len() + instruction.documents.len() > 1;
    if is_several && !is_directory && root.directory(&to).is_err() {
        let sentence = "a destination of several sources must end with `/`.";
        return Err(instruction.wrong(sentence).into());
    }
    let takes_names = is_directory || is_several || root.directory(&to).is_ok();
    for source in found {
        let target = Target {
            path: &to,
            takes_names,
            own_root: &own_root,
        };
        copy_one(instruction, &source, root, &target)?;
    }
    for document in &instruction.documents {
        let path = match takes_names {
            true => to.join(&document.name),
            false => to.clone(),
        };
        let content = match document.is_quoted {
            true => document.content.clone(),
            false => variables(&document.content, instruction.escape, &lookup)
                .map_err(|sentence| instruction.wrong(sentence))?,
        };
        let written = write(root, &path, &content);
        written.map_err(|error| {
            let shown = path.display().to_string();
            instruction.wrong(format!("could not write {}: {error}.", plain(&shown)))
        })?;
    }
    Ok(())
}

fn write(root: &Beneath, path: &Path, content: &str) -> std::io::Result<()> {
    let directory = root.make(path.parent().unwrap_or(Path::new("")))?;
    let name = path.file_name().unwrap_or_default();
    directory.remove(name)?;
    directory.create(name, 0o644)?.write_all(content.as_bytes())
}

struct Target<'a> {
    /// Relative to the directory that stands for the image.
    path: &'a Path,
    /// Whether a file gets its own name below it.
    takes_names: bool,
    own_root: &'a Path,
}

fn copy_one(
    instruction: &Instruction,
    source: &Path,
    root: &Beneath,
    target: &Target<'_>,
) -> Result<(), BuildError> {
    let metadata = std::fs::symlink_metadata(source).map_err(super::at("look at", source))?;
    if metadata.is_dir() {
        let to = target.own_root.join(target.path);
        return match to == source {
            true => Ok(()),
            false => copy_tree(source, root, target.path, &to),
        };
    }
    let name = source.file_name().unwrap_or_default();
    if instruction.kind == Kind::Add && is_archive(name) {
        return unpack(instruction, source, root, target);
    }
    let path = match target.takes_names {
        true => target.path.join(name),
        false => target.path.to_owned(),
    };
    match target.own_root.join(&path) == source {
        true => Ok(()),
        false => copy_entry(source, &metadata, root, &path),
    }
}

fn is_archive(name: &std::ffi::OsStr) -> bool {
    let name = name.to_string_lossy().to_lowercase();
    ARCHIVES.iter().any(|end| name.ends_with(end))
}

fn unpack(
    instruction: &Instruction,
    source: &Path,
    root: &Beneath,
    target: &Target<'_>,
) -> Result<(), BuildError> {
    // Through no link: `tar` is given a path that was checked.
    root.make(target.path)
        .map_err(super::at("make", target.path))?;
    let to = target.own_root.join(target.path);
    let mut command = Command::new("tar");
    command.args(["--extract", "--no-same-owner", "--file"]);
    command.arg(source);
    match run(&mut command, &to, &to)? {
        0 => Ok(()),
        code => {
            let sentence = format!("tar failed with exit code {code}.");
            Err(instruction.wrong(sentence).into())
        }
    }
}

/// All that the sources name: paths without links, in the directory that is copied from.
fn found(
    instruction: &Instruction,
    from: &From<'_>,
    sources: &[String],
) -> Result<Vec<PathBuf>, BuildError> {
    let mut found = Vec::new();
    for source in sources {
        if source.contains("://") || source.starts_with("git@") {
            let sentence = format!("{}: an address needs a container runtime.", plain(source));
            return Err(instruction.wrong(sentence).into());
        }
        let Some(inside) = inside(source) else {
            return Err(leads_out(instruction, from, source).into());
        };
        let named = match is_pattern(source) {
            true => matches(from.directory, &inside),
            false => vec![inside],
        };
        let missing = || {
            let sentence = format!("there is no {} in {}.", plain(source), from.name);
            BuildError::from(instruction.wrong(sentence))
        };
        if named.is_empty() {
            return Err(missing());
        }
        for path in named {
            let path = from.directory.join(path).canonicalize();
            let path = path.map_err(|_| missing())?;
            if !path.starts_with(from.directory) {
                return Err(leads_out(instruction, from, source).into());
            }
            found.push(path);
        }
    }
    Ok(found)
}

fn leads_out(instruction: &Instruction, from: &From<'_>, source: &str) -> WrongDockerfile {
    let (word, source) = (instruction.word(), plain(source));
    instruction.wrong(format!(
        "{word} of {source}: it leads out of {}.",
        from.name
    ))
}

/// A path from the top of the workspace on; none where it climbs out.
fn inside(path: &str) -> Option<PathBuf> {
    let mut inside = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            std::path::Component::Normal(name) => inside.push(name),
            std::path::Component::ParentDir if !inside.pop() => return None,
            _ => {}
        }
    }
    Some(inside)
}

/// The paths that fit a pattern, in order.
fn matches(directory: &Path, pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern {
        let part = part.to_string_lossy();
        let mut deeper = Vec::new();
        for path in found {
            if !is_pattern(&part) {
                deeper.push(path.join(&*part));
                continue;
            }
            let Ok(entries) = std::fs::read_dir(directory.join(&path)) else {
                continue;
            };
            let names = entries.flatten().map(|entry| entry.file_name());
            let names = names.filter(|name| fits(&part, &name.to_string_lossy()));
            deeper.extend(names.map(|name| path.join(name)));
        }
        deeper.retain(|path| directory.join(path).symlink_metadata().is_ok());
        found = deeper;
    }
    found.sort();
    found
}
