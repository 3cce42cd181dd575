//! The table of `docs/security.md`: each of its rows is a canary here, which is run at each of the levels, with what its cells say
//! beside it.

mod rows;

use super::cells::Cell::{self, Open, Stopped};
use super::cells::{IN, Place, beside};
use super::kernel::with_a_key;
use crate::containers::{IMAGE, Images};
use crate::job::{Job, job};
use crate::processes;
use crate::repository::Repository;
use crate::wait::wait_for;
use rows::{Canary, LIMITS, Row, rows};
use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;

/// In the order of the columns.
const LEVELS: [&str; 4] = ["none", "limits", "user", "container"];

/// How a row of which nothing is asked at a level is written.
const NOT_ASKED: &str = "-";

/// What the documentation says: the rows, and in each of their cells whether the canary gets in.
fn documented() -> Vec<(String, [Option<Cell>; 4])> {
    let text = include_str!("../../../docs/security.md");
    let begin = "| a command | `none` | `limits` | `user` | `container` |";
    let (_, table) = text.split_once(begin).expect("the table has this head");
    let lines = table.lines().skip(2);
    let lines = lines.take_while(|line| line.starts_with('|'));
    lines
        .map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            let name = cells.next().unwrap_or_default().to_owned();
            let cells: Vec<_> = cells.map(|cell| said(&name, cell)).collect();
            let cells = cells.try_into().expect("a cell for each level");
            (name, cells)
        })
        .collect()
}

fn said(row: &str, cell: &str) -> Option<Cell> {
    let word = cell.trim_matches('*');
    match word {
        NOT_ASKED => None,
        _ if word.starts_with("yes") => Some(Open),
        _ if word.starts_with("no") => Some(Stopped),
        _ => panic!("neither yes nor no in a cell of {row}: {cell}"),
    }
}

#[test]
fn the_documentation_says_what_is_tried() {
    let tried = rows(&Surroundings::nowhere(), LEVELS[0]);
    let tried: Vec<_> = tried
        .into_iter()
        .map(|row| (row.name.to_owned(), row.cells))
        .collect();
    assert_eq!(documented(), tried);
}

/// What canaries look for.
struct Surroundings {
    host: String,
    port: u16,
    /// The slave's process.
    slave: u32,
    /// Where the farm is.
    farm: PathBuf,
    slave_directory: PathBuf,
    /// A directory of the machine that everybody may write to.
    outside: PathBuf,
}

impl Surroundings {
    fn of(place: &Place) -> Self {
        Self {
            host: place.farm.address().to_string(),
            port: place.farm.port(),
            slave: place.farm.slave_process(0),
            farm: place.farm.path(""),
            slave_directory: place.farm.slave_directory(0),
            outside: place.outside(),
        }
    }

    fn nowhere() -> Self {
        Self {
            host: String::new(),
            port: 0,
            slave: 0,
            farm: PathBuf::new(),
            slave_directory: PathBuf::new(),
            outside: PathBuf::new(),
        }
    }
}

/// Compiles the program that canaries run.
fn compile(to: &Path) {
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/cluster/isolation/table/canary.c"
    );
    let mut compiler = Command::new("cc");
    let done = compiler.args(["-static", "-O1", source, "-o"]).arg(to);
    assert!(done.status().unwrap().success());
}

/// What services of the machine listen at.
struct Services {
    socket: PathBuf,
    listeners: [UnixListener; 2],
}

impl Services {
    fn of(around: &Surroundings) -> Self {
        let socket = rows::service(around);
        fs::remove_file(&socket).ok();
        let listener = UnixListener::bind(&socket).unwrap();
        let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(&socket, everybody).unwrap();
        let address = SocketAddr::from_abstract_name(rows::abstract_name(around)).unwrap();
        let listeners = [listener, UnixListener::bind_addr(&address).unwrap()];
        Self { socket, listeners }
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        assert_eq!(self.listeners.len(), 2);
        fs::remove_file(&self.socket).ok();
    }
}

/// A job at a level whose command is the script of its atom.
fn of_scripts(level: &str) -> Job {
    let job = job("sh $PROJECT_DIR/canaries/$N 2>&1");
    match level {
        "container" => job.with("image", IMAGE).with("isolation", level),
        _ => job.with("isolation", level),
    }
}

/// Runs these scripts as atoms of one build; what each printed, and its exit code.
async fn run(
    (place, level, canary): (&Place, &str, &Path),
    row: &Row,
) -> Vec<(String, Option<i32>)> {
    let scripts = row.scripts();
    let mut job = of_scripts(level).atoms(u32::try_from(scripts.len()).unwrap());
    if !matches!(row.canary, Canary::TwoAtATime(_)) {
        job = job.with("max_executors", 1);
    }
    if let Canary::WithoutNetwork(_) = row.canary {
        job = job.with("network", false);
    }
    let repository = Repository::of(&job);
    fs::copy(canary, repository.path().join("canary")).unwrap();
    let scripts: Vec<_> = (1..)
        .zip(&scripts)
        .map(|(number, script)| (format!("canaries/{number}"), script.as_str()))
        .collect();
    let scripts: Vec<_> = scripts
        .iter()
        .map(|(name, script)| (name.as_str(), *script))
        .collect();
    repository.commit(&scripts);
    let build = place.farm.run(&repository.request()).await;
    let atoms = place.farm.atoms(build.id).await;
    assert!(
        atoms.iter().all(|atom| atom.exit_code.is_some()),
        "{level}, {}: {build:#?}",
        row.name
    );
    let consoles = place.farm.consoles(build.id).await;
    let codes = atoms.iter().map(|atom| atom.exit_code);
    consoles.into_iter().zip(codes).collect()
}

/// What a row comes to at a level.
async fn found(what: (&Place, &str, &Path), artifact: PathBuf, row: &Row) -> (Cell, String) {
    // Another build of this slave has left it, as it were.
    let of_build = artifact.parent().unwrap();
    fs::create_dir_all(of_build).unwrap();
    fs::write(&artifact, super::cells::SECRET).unwrap();
    let ended = run(what, row).await;
    fs::remove_dir_all(of_build).unwrap();
    let (place, level, _) = what;
    let told = format!("{ended:#?}");
    let is_in = match &row.canary {
        Canary::Prints(_)
        | Canary::Twice(_)
        | Canary::TwoAtATime(_)
        | Canary::WithoutNetwork(_) => ended.iter().any(|(console, _)| console.contains(IN)),
        Canary::Succeeds(_) => ended.iter().any(|(_, code)| *code == Some(0)),
        Canary::Leaves { text, .. } => {
            place.farm.wait_for_rest().await;
            is_left(text, row.cells[column(level)]).await
        }
    };
    (if is_in { Open } else { Stopped }, told)
}

/// Whether a process is left. What is to end may take its time.
async fn is_left(text: &str, expected: Option<Cell>) -> bool {
    if expected == Some(Stopped) {
        wait_for("nothing is left", async || {
            processes::with_text(text).is_empty().then_some(())
        })
        .await;
    }
    let is_left = !processes::with_text(text).is_empty();
    processes::kill_with_text(text);
    is_left
}

fn column(level: &str) -> usize {
    LEVELS.iter().position(|one| *one == level).unwrap()
}

/// Runs all rows at a level.
async fn check(level: &str, place: &Place) {
    let around = Surroundings::of(place);
    let _services = Services::of(&around);
    let canary = beside().join(format!("canary-{}", around.port));
    compile(&canary);
    fs::write(around.outside.join("readable"), super::cells::SECRET).unwrap();
    let mut wrong = Vec::new();
    for row in rows(&around, level) {
        let Some(cell) = row.cells[column(level)] else {
            continue;
        };
        let expected = row.on_this_system(cell, level);
        let what = (place, level, canary.as_path());
        let (found, told) = found(what, rows::artifact(&around), &row).await;
        if found != expected && !row.is_up_to_the_runtime(level) {
            wrong.push(format!("{}: {found:?}, not {expected:?}: {told}", row.name));
        }
    }
    assert!(wrong.is_empty(), "{level}: {}", wrong.join("\n"));
    place.farm.wait_for_rest().await;
    fs::remove_dir_all(around.outside).unwrap();
    fs::remove_file(canary).unwrap();
}

async fn check_without_containers(level: &str) {
    if let Some(place) = Place::started_by_with(2, LIMITS, with_a_key).await {
        check(level, &place).await;
    }
}

#[tokio::test]
async fn each_row_at_the_level_none() {
    check_without_containers("none").await;
}

#[tokio::test]
async fn each_row_at_the_level_limits() {
    check_without_containers("limits").await;
}

#[tokio::test]
async fn each_row_at_the_level_user() {
    check_without_containers("user").await;
}

#[tokio::test]
async fn each_row_at_the_level_container() {
    let Some(images) = Images::new() else {
        return;
    };
    let settings = format!("{LIMITS}{}", images.settings());
    if let Some(place) = Place::started_by_with(2, &settings, with_a_key).await {
        check("container", &place).await;
        images.are_left_alone().await;
    }
}
