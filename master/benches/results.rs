//! How the store of results stands a large build.
//!
//! `cargo bench -p clusterrunner-master --bench results -- [ATOMS [ATOMS_PER_BLOCK]]` (300000 and 1
//! if not given) stores so many atoms with 1 KB of output each, as many slaves at a time bring them,
//! reads consoles and both archives, and removes all again. `TMPDIR` says on which file system.
//! Figures are printed as they come; those of reading are of files that are still in memory. Last, a
//! build of as many subjobs goes through the master's core, and pages of its list are read; in a
//! process of its own, so that neither's memory hides the other's. The line at the end has all figures
//! that there are goals for.
#![expect(clippy::print_stdout, reason = "it is what this program is for")]
#![expect(
    clippy::expect_used,
    reason = "a benchmark stops at the first thing that goes wrong"
)]

#[path = "results/list.rs"]
mod list;

use clusterrunner_common::ids::{AtomId, Attempt, BuildId, SubjobId};
use clusterrunner_common::results::block::{AtomResult, BlockWriter, Console};
use clusterrunner_common::turns::Turns;
use clusterrunner_master::store::results::{Block, Results, StoredConsole};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const BUILD: BuildId = BuildId(1);
const ATTEMPT: Attempt = Attempt::FIRST;

/// How many uploads there are at a time.
const UPLOADS: usize = 64;

/// How many bytes each atom puts out.
const OUTPUT: usize = 1024;

/// What makes this program measure the list: then come the directory and how many subjobs.
const LIST: &str = "--list";

/// How many consoles are read.
const CONSOLES: u32 = 1000;

fn main() {
    // As the master does.
    clusterrunner_common::process::allocator::limit_malloc_arenas();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, directory, subjobs] = &arguments[..]
        && first == LIST
    {
        let subjobs = subjobs.parse().expect("a number");
        return runtime.block_on(measure_list(Path::new(directory), subjobs));
    }
    let numbers: Vec<u32> = arguments
        .iter()
        // What `cargo bench` itself says.
        .filter(|argument| *argument != "--bench")
        .map(|argument| argument.parse().expect("a number"))
        .collect();
    let atoms = numbers.first().copied().unwrap_or(300_000);
    let in_block = numbers.get(1).copied().unwrap_or(1).max(1);
    runtime.block_on(measure(atoms, in_block));
}

async fn measure(atoms: u32, in_block: u32) {
    let directory = tempfile::tempdir().expect("a directory");
    println!(
        "{atoms} atoms, {in_block} in a block, in {}",
        directory.path().display()
    );
    let results = Results::new(directory.path().to_owned()).expect("a store");
    let subjobs = atoms.div_ceil(in_block);

    let started = Instant::now();
    let stored = futures_util::stream::iter(0..subjobs).map(|subjob| {
        let results = results.clone();
        let stored = tokio::spawn(async move { store(&results, SubjobId(subjob), in_block).await });
        async move { stored.await.expect("a task") }
    });
    let () = stored.buffer_unordered(UPLOADS).collect().await;
    let ingest = started.elapsed();
    per_second("packed, checked and stored", atoms, ingest);
    let (bytes, files) = disk_use(&directory.path().join(BUILD.to_string()));
    println!(
        "on disk: {:.1} MiB in {files} files ({} bytes for an atom)",
        mib(bytes),
        bytes / u64::from(atoms)
    );
    let payload = u64::from(atoms) * OUTPUT as u64;
    println!(
        "on disk: x {:.2} of the output alone",
        mib(bytes) / mib(payload)
    );
    println!("memory at most: {:.0} MiB", peak_mib());

    drop(results);
    let results = Results::new(directory.path().to_owned()).expect("a store");
    let mut times: Vec<Duration> = (0..CONSOLES)
        .map(|n| {
            let atom = u32::try_from(u64::from(n) * 7919 % u64::from(atoms)).unwrap_or(0);
            let started = Instant::now();
            let (subjob, atom) = (SubjobId(atom / in_block), AtomId(atom % in_block));
            let length = read_console(&results, subjob, atom);
            assert_eq!(length, OUTPUT);
            started.elapsed()
        })
        .collect();
    println!("the first console after a start: {:.2?}", times[0]);
    times.sort();
    let slow_console = times[times.len() * 99 / 100];
    println!(
        "a console: median {:.0?}, 99 % within {:.0?}",
        times[times.len() / 2],
        slow_console
    );

    let keys: Vec<_> = (0..subjobs).map(|n| (SubjobId(n), ATTEMPT)).collect();
    let started = Instant::now();
    let made = results.make_archive(BUILD, &keys, &[], &CancellationToken::new());
    made.expect("an archive");
    let archive_made = started.elapsed();
    println!("archive made in {archive_made:.1?}");
    let archive = results.archive(BUILD).expect("an archive");
    let length = archive.tar_length();
    let tar_begins = download("artifacts.tar.gz", archive.tar(0..length)).await;
    println!("memory at most until then: {:.0} MiB", peak_mib());
    let archive = results.archive(BUILD).expect("an archive");
    let zip_begins = download("artifacts.zip", archive.zip(Turns::default())).await;
    let of_store = peak_mib();
    println!("memory at most: {of_store:.0} MiB");

    let started = Instant::now();
    results.remove(BUILD).expect("a removal");
    let removed = started.elapsed();
    println!("removed in {removed:.1?}");

    let (page, slowest_page, of_core) = list_apart(directory.path(), subjobs);
    println!("a page of the list: median {page:.1?}, slowest {slowest_page:.1?}");
    println!("memory of core and journal with such a build: {of_core:.0} MiB at most");
    println!(
        "{atoms} atoms, {in_block} in a block: {:.0} atoms/s, page {slowest_page:.1?}, console {slow_console:.0?}, \
         archive made in {archive_made:.1?}, tar begins after {tar_begins:.1?}, zip after {zip_begins:.1?}, \
         store {of_store:.0} MiB, core and journal {of_core:.0} MiB, x {:.2} of the output, {files} files, removed in {removed:.1?}",
        f64::from(atoms) / ingest.as_secs_f64(),
        mib(bytes) / mib(payload),
    );
}

/// Has this program measure the list in a process of its own: median and slowest page, and its memory
/// at most in MiB.
fn list_apart(directory: &Path, subjobs: u32) -> (Duration, Duration, f64) {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.arg(LIST).arg(directory).arg(subjobs.to_string());
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.expect("this program once more");
    assert!(output.status.success(), "{output:?}");
    let figures = String::from_utf8(output.stdout).expect("figures");
    let figures: Vec<f64> = figures
        .split_whitespace()
        .map(|figure| figure.parse().expect("a figure"))
        .collect();
    let [page, slowest, memory] = figures[..] else {
        panic!("three figures, not {figures:?}")
    };
    let (page, slowest) = (
        Duration::from_secs_f64(page),
        Duration::from_secs_f64(slowest),
    );
    (page, slowest, memory)
}

/// The other end of [`list_apart`].
async fn measure_list(directory: &Path, subjobs: u32) {
    let (page, slowest) = list::pages(directory, subjobs).await;
    let (page, slowest) = (page.as_secs_f64(), slowest.as_secs_f64());
    println!("{page} {slowest} {}", peak_mib());
}

/// Packs the result of a subjob as a slave does, and takes it as the master does.
async fn store(results: &Results, subjob: SubjobId, num_atoms: u32) {
    let mut block = BlockWriter::new(Vec::new(), CancellationToken::new());
    block.begin(subjob, ATTEMPT);
    for atom in (0..num_atoms).map(AtomId) {
        let console = console(subjob, atom);
        let result = AtomResult {
            command: "export N=\"1\"; true",
            exit_code: 0,
            seconds: 0.01,
            ended_at: 1_700_000_000,
            console: Console::Memory(&console),
            artifacts: None,
        };
        block.add(atom, &result).expect("a block");
    }
    let (bytes, _) = block.finish().expect("a block");
    let atoms = usize::try_from(num_atoms).expect("a small number");
    let checked = results.check(BUILD, Block::Memory(bytes), subjob, atoms);
    let (block, result) = checked.expect("a disk").expect("a right block");
    let stored = results.append(BUILD, block, vec![(result, ATTEMPT)]);
    stored.await.expect("a disk");
}

/// 1 KB of lines as tests print them.
fn console(subjob: SubjobId, atom: AtomId) -> Vec<u8> {
    let mut text = Vec::new();
    let mut state = u64::from(subjob.0) << 32 | u64::from(atom.0);
    while text.len() < OUTPUT {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let line = format!("test case_{:x} ... ok, {} ms\n", state >> 40, state >> 54);
        text.extend_from_slice(line.as_bytes());
    }
    text.truncate(OUTPUT);
    text
}

fn read_console(results: &Results, subjob: SubjobId, atom: AtomId) -> usize {
    let mut text = Vec::new();
    match results
        .console(BUILD, subjob, ATTEMPT, atom)
        .expect("a console")
    {
        StoredConsole::Memory(mut console) => console.read_to_end(&mut text),
        StoredConsole::File(mut console) => console.read_to_end(&mut text),
    }
    .expect("a console")
}

/// Reads an archive; how long it takes to begin.
async fn download(name: &str, body: impl Stream<Item = io::Result<bytes::Bytes>>) -> Duration {
    let started = Instant::now();
    let mut body = std::pin::pin!(body);
    let (mut first, mut length) = (None, 0);
    while let Some(chunk) = body.try_next().await.expect("an archive") {
        first.get_or_insert_with(|| started.elapsed());
        length += chunk.len() as u64;
    }
    let took = started.elapsed();
    let first = first.unwrap_or_default();
    println!(
        "{name}: begins after {first:.1?}, {:.1} MiB at {:.0} MiB/s",
        mib(length),
        mib(length) / took.as_secs_f64()
    );
    first
}

fn per_second(what: &str, number: u32, took: Duration) {
    let rate = f64::from(number) / took.as_secs_f64();
    println!("{what}: {rate:.0} atoms/s ({took:.1?})");
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn disk_use(directory: &Path) -> (u64, usize) {
    let files = std::fs::read_dir(directory).expect("a directory");
    let sizes = files.map(|file| file.and_then(|file| file.metadata()).expect("a file"));
    let sizes: Vec<u64> = sizes.map(|metadata| metadata.blocks() * 512).collect();
    (sizes.iter().sum(), sizes.len())
}

/// The most memory that this process ever had.
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let size = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let size = size.and_then(|text| text.trim().strip_suffix(" kB"));
    let kib: f64 = size.and_then(|text| text.parse().ok()).expect("a size");
    kib / 1024.0
}
