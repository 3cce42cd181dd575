//! Projects of several languages, each with the test suite that its language has: what fails there fails here.

use crate::farm::Farm;
use crate::repository::Repository;
use crate::skipping::{Lacks, skip};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PROJECTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/projects");

/// A project, and a change that one of its atoms notices.
struct Project {
    name: &'static str,
    runtime: &'static str,
    lacks: Lacks,
    atoms: u64,
    file: &'static str,
    right: &'static str,
    wrong: &'static str,
    noticed_by: &'static str,
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => waiting.push(path),
                false => files.push(path),
            }
        }
    }
    files
}

fn is_installed(program: &str) -> bool {
    let mut asked = Command::new(program);
    asked.arg("--version").stdout(Stdio::null());
    asked
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

impl Project {
    async fn check(&self) {
        if !is_installed(self.runtime) {
            return skip(self.lacks);
        }
        let directory = Path::new(PROJECTS).join(self.name);
        let read = |path: &PathBuf| {
            let name = path.strip_prefix(&directory).unwrap().to_str().unwrap();
            (name.to_owned(), fs::read_to_string(path).unwrap())
        };
        let files: Vec<(String, String)> = files_below(&directory).iter().map(read).collect();
        let named: Vec<(&str, &str)> = files
            .iter()
            .map(|(name, text)| (&**name, &**text))
            .collect();
        let repository = Repository::empty();
        repository.commit(&named);
        let farm = Farm::start(&[2]).await;
        let built = farm.run(&repository.request()).await.passes();
        assert_eq!(built.num_atoms, Some(self.atoms), "{built:#?}");

        let (_, text) = files.iter().find(|(name, _)| name == self.file).unwrap();
        assert_eq!(text.matches(self.right).count(), 1, "{}", self.file);
        repository.commit(&[(self.file, &text.replace(self.right, self.wrong))]);
        let built = farm.run(&repository.request()).await;
        built.fails(&[(self.noticed_by, 1)]);
    }
}

#[tokio::test]
async fn python_with_unittest() {
    let project = Project {
        name: "python",
        runtime: "python3",
        lacks: Lacks::Runtime("python"),
        atoms: 3,
        file: "basket/basket.py",
        right: "sum(count * cents for",
        wrong: "sum(cents for",
        noticed_by: "tests.test_basket.Prices",
    };
    project.check().await;
}

#[tokio::test]
async fn javascript_with_node() {
    let project = Project {
        name: "javascript",
        runtime: "node",
        lacks: Lacks::Runtime("node"),
        atoms: 2,
        file: "src/slug.js",
        right: "number === 1 ?",
        wrong: "number === 2 ?",
        noticed_by: "test/free.test.js",
    };
    project.check().await;
}

#[tokio::test]
async fn c_with_make() {
    let project = Project {
        name: "c",
        runtime: "make",
        lacks: Lacks::Runtime("make"),
        atoms: 3,
        file: "ring.c",
        right: "    else\n        ring->first = (ring->first + 1) % RING_SIZE;",
        wrong: "    else\n        ring->count = 0;",
        noticed_by: "overflow",
    };
    project.check().await;
}

#[tokio::test]
async fn perl_with_test_more() {
    let project = Project {
        name: "perl",
        runtime: "perl",
        lacks: Lacks::Runtime("perl"),
        atoms: 3,
        file: "lib/Roman.pm",
        right: "no Roman numeral for",
        wrong: "nothing for",
        noticed_by: "t/roman.t",
    };
    project.check().await;
}

#[tokio::test]
async fn shell_with_functions() {
    let project = Project {
        name: "shell",
        runtime: "bash",
        lacks: Lacks::Runtime("bash"),
        atoms: 4,
        file: "rotate.sh",
        right: "mv \"$file\" \"$file.1\"",
        wrong: "mv $file \"$file.1\"",
        noticed_by: "names_with_blanks",
    };
    project.check().await;
}
