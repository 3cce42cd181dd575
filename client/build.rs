//! Writes down the crates that the program consists of, for `clusterrunner version`.
//!
//! `$OUT_DIR/crates.txt` has a line for each, with tabs between name, version, licence and SHA-256; the last is empty for
//! crates of this workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../Cargo.lock");
    for part in [
        "..",
        "../client",
        "../common",
        "../core",
        "../master",
        "../slave",
    ] {
        println!("cargo::rerun-if-changed={part}/Cargo.toml");
    }
    let crates = match read_lock().and_then(|lock| crates(&checksums(&lock))) {
        Ok(crates) => crates,
        Err(error) => {
            println!("cargo::warning=the program will not list its crates: {error}");
            String::new()
        }
    };
    let out = env::var_os("OUT_DIR").ok_or("cargo sets no OUT_DIR")?;
    fs::write(Path::new(&out).join("crates.txt"), crates)?;
    println!(
        "cargo::rustc-env=CLUSTERRUNNER_TARGET={}",
        env::var("TARGET")?
    );
    let compiler = said(Command::new(env::var("RUSTC")?).arg("--version"))?;
    println!(
        "cargo::rustc-env=CLUSTERRUNNER_COMPILER={}",
        compiler.trim()
    );
    Ok(())
}

/// The crates that are linked for this target, without those that only build or test it.
fn crates(checksums: &BTreeMap<(String, String), String>) -> Result<String, Box<dyn Error>> {
    let mut tree = Command::new(env::var("CARGO")?);
    tree.args([
        "tree",
        "--locked",
        "--offline",
        "--edges",
        "normal,no-proc-macro",
    ]);
    tree.args(["--prefix", "none", "--no-dedupe", "--format", "{p}\t{l}"]);
    tree.args(["--package", &env::var("CARGO_PKG_NAME")?]);
    tree.args(["--target", &env::var("TARGET")?]);
    let mut lines = BTreeSet::new();
    for line in said(&mut tree)?.lines() {
        let (package, licence) = line
            .split_once('\t')
            .ok_or("cargo tree prints no licence")?;
        // `name v1.2.3`, and for a crate of this workspace its directory, for macros `(proc-macro)`.
        let mut words = package.split(' ');
        let (Some(name), Some(version)) = (words.next(), words.next()) else {
            return Err(format!("cargo tree prints {package:?}").into());
        };
        let version = version.trim_start_matches('v');
        let key = (name.to_owned(), version.to_owned());
        let checksum = checksums.get(&key).map_or("", String::as_str);
        lines.insert(format!("{name}\t{version}\t{licence}\t{checksum}\n"));
    }
    Ok(lines.into_iter().collect())
}

fn read_lock() -> Result<String, Box<dyn Error>> {
    let lock = fs::read_to_string("../Cargo.lock");
    lock.map_err(|error| format!("../Cargo.lock can not be read: {error}").into())
}

/// The SHA-256 of each crate by name and version, as the lock file has it.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let value = |package: &str, name: &str| {
        let mut lines = package.lines();
        let start = format!("{name} = \"");
        let value = lines.find_map(|line| line.strip_prefix(&start)?.strip_suffix('"'));
        value.map(str::to_owned)
    };
    let packages = lock.split("[[package]]").skip(1);
    let known = packages.filter_map(|package| {
        let key = (value(package, "name")?, value(package, "version")?);
        Some((key, value(package, "checksum")?))
    });
    known.collect()
}

/// What a program prints, if it succeeds.
fn said(command: &mut Command) -> Result<String, Box<dyn Error>> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
