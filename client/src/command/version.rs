//! `clusterrunner version`: what this program is and what it consists of.

use crate::options::{CommonOptions, VersionOptions};
use crate::output;
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use serde_json::{Value, json};

/// A line for each crate, as `build.rs` writes them.
const CRATES: &str = include_str!(concat!(env!("OUT_DIR"), "/crates.txt"));

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A crate that is linked into this program.
struct Crate {
    name: &'static str,
    version: &'static str,
    /// As an SPDX expression; empty where the crate names none.
    licence: String,
    /// Of the crate's archive, in hex; empty for crates of this project.
    sha256: &'static str,
}

/// Prints the version, with `-v` also the crates, or a software bill of materials.
pub(crate) fn run(options: &VersionOptions, common: &CommonOptions) -> Result<ExitCode, Trouble> {
    if options.sbom {
        if CRATES.is_empty() {
            return Err(Trouble::new(
                "this program was built without a list of its crates; `cargo build` says why",
            ));
        }
        output::say_json(&format!("{:#}", bill_of_materials()));
        return Ok(ExitCode::Success);
    }
    output::say(format!("ClusterRunner {VERSION}"));
    if common.verbose {
        output::say(format!("target:   {}", env!("CLUSTERRUNNER_TARGET")));
        output::say(format!("compiler: {}", env!("CLUSTERRUNNER_COMPILER")));
        output::say("crates:");
        for one in crates() {
            output::say(format!("  {} {} ({})", one.name, one.version, one.licence));
        }
    }
    Ok(ExitCode::Success)
}

fn crates() -> impl Iterator<Item = Crate> {
    CRATES.lines().filter_map(|line| {
        let mut fields = line.split('\t');
        Some(Crate {
            name: fields.next()?,
            version: fields.next()?,
            // The old way to write a choice, which SPDX does not know.
            licence: fields.next()?.replace('/', " OR "),
            sha256: fields.next()?,
        })
    })
}

/// As CycloneDX 1.5 says: <https://cyclonedx.org/docs/1.5/json/>. Without a time or a serial number, so that the same
/// program always prints the same.
fn bill_of_materials() -> Value {
    let components: Vec<Value> = crates().map(|one| component(&one)).collect();
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "name": "clusterrunner",
                "version": VERSION,
                "properties": [
                    { "name": "target", "value": env!("CLUSTERRUNNER_TARGET") },
                    { "name": "compiler", "value": env!("CLUSTERRUNNER_COMPILER") },
                ],
            },
        },
        "components": components,
    })
}

fn component(one: &Crate) -> Value {
    let mut component = json!({
        "type": "library",
        "name": one.name,
        "version": one.version,
    });
    if !one.licence.is_empty() {
        component["licenses"] = json!([{ "expression": one.licence }]);
    }
    if !one.sha256.is_empty() {
        component["purl"] = json!(format!("pkg:cargo/{}@{}", one.name, one.version));
        component["hashes"] = json!([{ "alg": "SHA-256", "content": one.sha256 }]);
    }
    component
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn lists_what_is_linked_and_nothing_that_only_tests() {
        let names: BTreeSet<&str> = crates().map(|one| one.name).collect();
        for linked in ["clusterrunner-master", "hyper", "sled", "git2"] {
            assert!(
                names.contains(linked),
                "{linked} is linked, among {names:?}"
            );
        }
        for other in ["proptest", "clusterrunner-tests", "libfuzzer-sys", "syn"] {
            assert!(!names.contains(other), "{other} is not linked");
        }
    }

    #[test]
    fn the_bill_of_materials_names_each_crate_once_with_its_sum() {
        let bill = bill_of_materials();
        let Some(components) = bill["components"].as_array() else {
            panic!("no components in {bill}");
        };
        let mut seen = BTreeSet::new();
        for one in components {
            let key = (one["name"].to_string(), one["version"].to_string());
            assert!(seen.insert(key), "{one} is there twice");
            let licence = one["licenses"][0]["expression"]
                .as_str()
                .unwrap_or_default();
            assert!(!licence.is_empty() && !licence.contains('/'), "{one}");
            if let Some(sum) = one["hashes"][0]["content"].as_str() {
                assert!(sum.len() == 64, "{one}");
                assert!(
                    one["purl"]
                        .as_str()
                        .is_some_and(|url| url.starts_with("pkg:cargo/"))
                );
            } else {
                assert!(
                    one["name"]
                        .as_str()
                        .is_some_and(|name| name.starts_with("clusterrunner-"))
                );
            }
        }
    }
}
