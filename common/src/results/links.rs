//! Symbolic links among the members of an archive: none may lead out of its atom's directory once
//! all is unpacked, also not by way of another link.
//!
//! Members below a link are refused, so the directory of a link is a real one, and the `..` with
//! which a target begins only take real directories away. A target that goes down from there stays
//! inside, whatever links it meets, since each of those stays inside. Only a `..` after a name may
//! climb out of where a link has led: such targets are followed through all links of the atom, part
//! by part, as the kernel does.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::hash::{BuildHasher as _, RandomState};
use std::path::{Component, Path, PathBuf};

/// How many links the kernel follows in one path.
const MAX_FOLLOWED: u32 = 40;

/// The most links of one atom whose targets have a `..` after a name: each is followed.
const MAX_CROOKED: usize = 1_000;

/// The most links and directories of one atom that are remembered.
const MAX_REMEMBERED: usize = 1_000_000;

/// The most bytes that the names and targets of one atom's links have.
const MAX_TEXT: usize = 16 << 20;

/// The longest path that a member may have: no system opens longer ones, and each part costs a look.
const MAX_PATH: usize = 8 << 10;

/// How often links that lead out are taken away before all that can is.
const MAX_ROUNDS: usize = 8;

/// A member that can not be where it is.
#[derive(Debug, PartialEq, Eq)]
pub struct Misplaced;

/// What can be said of a link when it is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays inside whatever else comes.
    Inside,
    /// It leads out whatever else comes.
    Outside,
    /// Only all links of the atom tell: see [`Links::leading_out`].
    Open,
}

/// What has been met in one atom's directory. Paths are relative to that directory.
#[derive(Debug, Default)]
pub struct Links {
    /// Also those that lead out: nothing may be below them.
    links: BTreeMap<PathBuf, PathBuf>,
    /// Those of them that are followed at the end.
    open: Vec<PathBuf>,
    /// The directories that members are in or are, by their hash.
    directories: HashSet<u64>,
    hashes: RandomState,
    /// The directory of the member before, which is usually the next one's, too.
    latest: Option<PathBuf>,
    /// Bytes of `links`.
    text: usize,
}

impl Links {
    /// Comes to a directory.
    ///
    /// # Errors
    /// It is below a link, or too much is remembered.
    pub fn directory(&mut self, inside: &Path) -> Result<(), Misplaced> {
        self.remember(inside)
    }

    /// Comes to a file.
    ///
    /// # Errors
    /// It is below a link or has a link's name, or too much is remembered.
    pub fn file(&mut self, inside: &Path) -> Result<(), Misplaced> {
        if self.links.contains_key(inside) {
            return Err(Misplaced);
        }
        self.remember(inside.parent().unwrap_or(Path::new("")))
    }

    /// Comes to a link.
    ///
    /// # Errors
    /// As [`file`](Self::file), and where it has a directory's name.
    pub fn link(&mut self, inside: &Path, target: &Path) -> Result<Verdict, Misplaced> {
        self.file(inside)?;
        let text = inside.as_os_str().len() + target.as_os_str().len();
        self.text += text;
        let is_directory = self.directories.contains(&self.hashes.hash_one(inside));
        if is_directory || self.text > MAX_TEXT || inside.as_os_str().is_empty() {
            return Err(Misplaced);
        }
        self.links.insert(inside.to_owned(), target.to_owned());
        let verdict = verdict(inside, target);
        if verdict == Verdict::Open {
            self.open.push(inside.to_owned());
        }
        Ok(verdict)
    }

    /// Those of the open links that lead out, given that all the others are there.
    pub fn leading_out(&mut self) -> HashSet<PathBuf> {
        let mut out = HashSet::new();
        let open = std::mem::take(&mut self.open);
        if open.is_empty() {
            return out;
        }
        let is_there = |links: &BTreeMap<PathBuf, PathBuf>, link: &Path| {
            let target = links.get(link);
            target.is_some_and(|target| verdict(link, target) != Verdict::Outside)
        };
        let mut there: BTreeMap<PathBuf, PathBuf> = self.links.clone();
        there.retain(|link, _| is_there(&self.links, link));
        for round in 0..=MAX_ROUNDS {
            let all_go = round == MAX_ROUNDS || open.len() > MAX_CROOKED;
            let leads_out = |link: &&PathBuf| {
                there.contains_key(*link) && (all_go || !stays_inside(link, &there))
            };
            let found: Vec<PathBuf> = open.iter().filter(leads_out).cloned().collect();
            if found.is_empty() {
                break;
            }
            for link in found {
                there.remove(&link);
                out.insert(link);
            }
        }
        out
    }

    fn remember(&mut self, directory: &Path) -> Result<(), Misplaced> {
        if directory.as_os_str().len() > MAX_PATH {
            return Err(Misplaced);
        }
        let is_root = directory.as_os_str().is_empty();
        if is_root || self.latest.as_deref() == Some(directory) {
            return Ok(());
        }
        for ancestor in directory.ancestors() {
            if self.links.contains_key(ancestor) {
                return Err(Misplaced);
            }
            if !self.directories.insert(self.hashes.hash_one(ancestor)) {
                // So its ancestors are known to be directories, too.
                break;
            }
        }
        if self.directories.len() > MAX_REMEMBERED {
            return Err(Misplaced);
        }
        self.latest = Some(directory.to_owned());
        Ok(())
    }
}

/// What a target says by itself.
fn verdict(inside: &Path, target: &Path) -> Verdict {
    let mut depth = inside.components().count().saturating_sub(1);
    let mut is_down = false;
    for part in target.components() {
        match part {
            Component::Normal(_) => is_down = true,
            Component::CurDir => {}
            Component::ParentDir if is_down => return Verdict::Open,
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Verdict::Outside;
            }
        }
    }
    match target.as_os_str().is_empty() {
        true => Verdict::Outside,
        false => Verdict::Inside,
    }
}

/// Whether a link, followed through `links` as the kernel does, never leaves the atom's directory.
/// What is no link counts as a directory: if it is none, the kernel goes no further there.
fn stays_inside(link: &Path, links: &BTreeMap<PathBuf, PathBuf>) -> bool {
    let mut place = link.parent().unwrap_or(Path::new("")).to_owned();
    let mut followed = 0;
    let mut waiting = Vec::new();
    let Some(target) = links.get(link) else {
        return true;
    };
    push(&mut waiting, target);
    while let Some(step) = waiting.pop() {
        match step {
            Step::Out => return false,
            Step::Up => {
                if !place.pop() {
                    return false;
                }
            }
            Step::Down(name) => {
                place.push(&name);
                if let Some(target) = links.get(&place) {
                    followed += 1;
                    if followed > MAX_FOLLOWED {
                        return false;
                    }
                    place.pop();
                    push(&mut waiting, target);
                }
            }
        }
    }
    true
}

enum Step {
    Up,
    Down(OsString),
    Out,
}

/// The parts of a target come before what waits.
fn push(waiting: &mut Vec<Step>, target: &Path) {
    for part in target.components().rev() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => waiting.push(Step::Up),
            Component::Normal(name) => waiting.push(Step::Down(name.to_owned())),
            Component::RootDir | Component::Prefix(_) => waiting.push(Step::Out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of links that are met in this order: the names of those that lead out.
    fn out(links: &[(&str, &str)]) -> Vec<String> {
        let mut met = Links::default();
        let mut out = Vec::new();
        for (link, target) in links {
            if met.link(Path::new(link), Path::new(target)) == Ok(Verdict::Outside) {
                out.push((*link).to_owned());
            }
        }
        let late = met.leading_out().into_iter();
        out.extend(late.map(|link| link.to_str().unwrap().to_owned()));
        out.sort();
        out
    }

    #[test]
    fn a_link_that_leads_out_through_another_is_found_in_either_order() {
        let by_root = [("l", "."), ("x", "l/l/../../etc/passwd")];
        let by_depth = [("d/l", ".."), ("x", "d/l/../../etc")];
        for [one, other] in [by_root, by_depth] {
            assert_eq!(out(&[one, other]), ["x"]);
            assert_eq!(out(&[other, one]), ["x"]);
        }
    }

    #[test]
    fn links_that_stay_inside_are_left_alone() {
        for links in [
            &[("a", "b")][..],
            &[("deep/er/a", "../../b/c")],
            &[("a", "real/../b"), ("c/d", "../x/../y")],
            &[("l", "deep/er"), ("x", "l/../other")],
            &[("a", "a"), ("b", "c"), ("c", "b")],
            &[("d/l", ".."), ("x", "d/l/b")],
        ] {
            assert_eq!(out(links), [""; 0], "{links:?}");
        }
    }

    #[test]
    fn targets_that_lead_out_by_themselves_are_found() {
        for target in ["/etc", "..", "b/../..", "./../b", ""] {
            assert_eq!(out(&[("a", target)]), ["a"], "{target}");
        }
        assert_eq!(out(&[("d/a", "../..")]), ["d/a"]);
        // No path that the kernel can follow: forty links and more.
        assert_eq!(out(&[("a", "b/../c"), ("b", "b")]), ["a"]);
    }

    #[test]
    fn a_link_that_goes_with_another_leaves_the_others() {
        // `y` leads out only as long as `x` is there, and `x` leads out.
        let links = [("l", "."), ("x", "l/../.."), ("y", "x/../z/../..")];
        assert_eq!(out(&links), ["x", "y"]);
    }

    #[test]
    fn nothing_may_be_below_a_link_or_in_its_place() {
        let (a, b) = (Path::new("a"), Path::new("b"));
        let met = || {
            let mut met = Links::default();
            assert_eq!(met.link(a, b), Ok(Verdict::Inside));
            met
        };
        for below in ["a/b", "a/b/c"] {
            assert_eq!(met().file(Path::new(below)), Err(Misplaced));
            assert_eq!(met().directory(Path::new(below)), Err(Misplaced));
            assert_eq!(met().link(Path::new(below), b), Err(Misplaced));
            let mut met = Links::default();
            met.file(Path::new(below)).unwrap();
            assert_eq!(met.link(a, b), Err(Misplaced));
        }
        assert_eq!(met().file(a), Err(Misplaced));
        assert_eq!(met().directory(a), Err(Misplaced));
        assert_eq!(met().link(a, b), Err(Misplaced));
        assert_eq!(met().file(Path::new("ab/c")), Ok(()));
    }

    #[test]
    fn a_path_that_nobody_can_open_has_no_place() {
        let deep = "d/".repeat(MAX_PATH);
        assert_eq!(Links::default().file(Path::new(&deep)), Err(Misplaced));
    }

    #[test]
    fn endless_chains_end() {
        let names: Vec<(String, String)> = (0..3_000)
            .map(|n| (format!("l{n}"), format!("l{}/../l{}", n + 1, n + 1)))
            .collect();
        let links: Vec<(&str, &str)> = names.iter().map(|(l, t)| (&**l, &**t)).collect();
        assert_eq!(out(&links).len(), 3_000);
    }
}
