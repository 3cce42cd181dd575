//! `clusterrunner artifacts`: single files that the atoms of a build left, listed or fetched.

use super::interrupt::Interrupt;
use super::matrix::{self, Part};
use super::progress::{Progress, Slow};
use crate::farm::{connect, impatient};
use crate::options::{ArtifactsOptions, CommonOptions};
use crate::output;
use crate::output::again::command;
use crate::output::table::Table;
use crate::output::text::{count, size};
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_client::results::single::{
    SingleFile, SingleFiles, atoms_meant, fetch, find, lacks_lists, taken,
};
use clusterrunner_client::{Client, ClientError};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::text::printable::plain;
use serde_json::json;
use std::path::Path;

/// How many files that are in the way are named.
const NAMED: usize = 5;

/// Lists the files that are meant, or fetches them.
pub(crate) async fn run(
    options: ArtifactsOptions,
    common: CommonOptions,
) -> Result<ExitCode, Trouble> {
    let client = connect(&options.master, &common).await?;
    let interrupt = Interrupt::listen(false)?;
    let done = interrupt.unless(Box::pin(list_or_fetch(&client, &options)));
    match done.await {
        Some(done) => done,
        None => Err(interrupted(&options)),
    }
}

/// Files are put in their places as a whole, so that what is there may stay.
fn interrupted(options: &ArtifactsOptions) -> Trouble {
    match options.output {
        None => Trouble::new("interrupted before all files were listed"),
        Some(_) => Trouble::new("interrupted before all files were here")
            .hint("those that are here are whole; --force fetches all of them again"),
    }
}

/// Finds the files that are meant of a build, or of all builds of its matrix, and shows how far that is: each atom is
/// asked for.
async fn looked_for(
    client: &Client,
    options: &ArtifactsOptions,
    parts: &[Part],
) -> Result<SingleFiles, Trouble> {
    let mut progress = Progress::start(Slow(u32::MAX));
    let mut all = SingleFiles::default();
    for part in parts {
        let tell = |looked_at, atoms| {
            let atoms = count(atoms, "atom");
            progress.show(&format!(
                "looking at the files of {atoms}: {looked_at} done"
            ));
        };
        let pattern = options.pattern.as_deref();
        let found = find(client, (part.id, part.folder()), pattern, tell).await;
        let found = found.map_err(|error| why_not_found(client, options, error))?;
        all.files.extend(found.files);
        all.seen += found.seen;
        all.atoms_to_come += found.atoms_to_come;
        all.atoms_without += found.atoms_without;
    }
    Ok(all)
}

fn why_not_found(client: &Client, options: &ArtifactsOptions, error: ClientError) -> Trouble {
    match lacks_lists(&error) {
        true => Trouble::new(format!(
            "the master {} does not list single files: it is older than this command, or the original",
            client.master()
        ))
        .hint(format!(
            "`{}` fetches all that the build left",
            command(format!("results {}", options.build))
        )),
        false => error.into(),
    }
}

async fn list_or_fetch(client: &Client, options: &ArtifactsOptions) -> Result<ExitCode, Trouble> {
    // The first look fails soon where there is no master.
    let first = impatient(client, &options.master);
    let build = options.build.of(&first).await?;
    let is_over = first.build(build).await?.status.is_over();
    let parts = matrix::parts(&first, build).await?;
    let mut found = looked_for(client, options, &parts).await?;
    if is_over {
        // What was not run by then never is.
        found.atoms_to_come = 0;
    }
    if options.json {
        say_json(build, &found);
        return match options.pattern {
            Some(_) if found.files.is_empty() => Err(why_nothing(build, options, &found)),
            _ => Ok(ExitCode::Success),
        };
    }
    if found.files.is_empty() {
        return nothing(build, options, &found);
    }
    match &options.output {
        None => list(&found.files),
        Some(directory) => bring(client, &found.files, directory, options.force).await?,
    }
    if found.atoms_without > 0 {
        output::note(format!(
            "the files of {} are not on the master any more, or can not be read",
            count(found.atoms_without, "atom")
        ));
    }
    if found.atoms_to_come > 0 {
        output::note(format!(
            "{} not ended yet, and may leave more",
            match found.atoms_to_come {
                1 => "1 atom has".to_owned(),
                more => format!("{more} atoms have"),
            }
        ));
    }
    Ok(ExitCode::Success)
}

fn say_json(build: BuildId, found: &SingleFiles) {
    let files = found.files.iter().map(|file| {
        json!({
            "build_id": file.build,
            "subjob_id": file.subjob,
            "atom_id": file.atom,
            "path": file.path,
            "bytes": file.bytes,
        })
    });
    output::say_versioned(&json!({
        "build_id": build,
        "artifacts": files.collect::<Vec<_>>(),
        "atoms_to_come": found.atoms_to_come,
        "atoms_without": found.atoms_without,
    }));
}

fn list(files: &[SingleFile]) {
    let mut table = Table::new(&["File", "Size"]);
    for file in files {
        table.add([file.place().into(), size(file.bytes).into()]);
    }
    table.print();
}

async fn bring(
    client: &Client,
    files: &[SingleFile],
    directory: &Path,
    is_replacing: bool,
) -> Result<(), Trouble> {
    if !is_replacing {
        refuse_taken(&taken(directory, files)?, directory)?;
    }
    let bytes = files.iter().map(|file| file.bytes).sum();
    let all = format!("{} ({})", count(files.len() as u64, "file"), size(bytes));
    let mut progress = Progress::start(Slow(u32::MAX));
    progress.show(&format!("fetching {all}"));
    let (mut fetched, mut so_far) = (0_u64, 0);
    fetch(client, files, directory, is_replacing, |bytes| {
        fetched += 1;
        so_far += bytes;
        progress.show(&format!("fetching {all}: {fetched} here, {}", size(so_far)));
    })
    .await?;
    drop(progress);
    let directory = directory.display().to_string();
    output::note(format!("{all} in {}", plain(&directory)));
    Ok(())
}

/// Before anything is fetched, so that nothing is half new and half old.
fn refuse_taken(taken: &[&SingleFile], directory: &Path) -> Result<(), Trouble> {
    if taken.is_empty() {
        return Ok(());
    }
    let mut text = match taken.len() {
        1 => "1 file is there already, so nothing was fetched:".to_owned(),
        more => format!("{more} files are there already, so nothing was fetched:"),
    };
    for file in taken.iter().take(NAMED) {
        let place = directory.join(file.place()).display().to_string();
        text.push_str(&format!("\n  {}", plain(&place)));
    }
    if taken.len() > NAMED {
        text.push_str(&format!("\n  ... and {} more", taken.len() - NAMED));
    }
    Err(Trouble::usage(text).hint("--force replaces them, --output names another directory"))
}

/// Nothing is there, or nothing of it is meant. That is an end like another one only for who just looks.
fn nothing(
    build: BuildId,
    options: &ArtifactsOptions,
    found: &SingleFiles,
) -> Result<ExitCode, Trouble> {
    let trouble = why_nothing(build, options, found);
    if options.pattern.is_some() || options.output.is_some() {
        return Err(trouble);
    }
    output::note(&trouble.message);
    if let Some(hint) = &trouble.hint {
        output::note(hint);
    }
    Ok(ExitCode::Success)
}

fn why_nothing(build: BuildId, options: &ArtifactsOptions, found: &SingleFiles) -> Trouble {
    let all = command(format!("artifacts {build}"));
    let listed = format!("`{all}` lists all of them");
    let trouble = match &options.pattern {
        Some(pattern) if atoms_meant(pattern).is_some() => {
            Trouble::usage(format!("no file of build {build} fits '{pattern}'")).hint(listed)
        }
        Some(pattern) if found.seen > 0 => Trouble::usage(format!(
            "none of the {} of build {build} fits '{pattern}'",
            count(found.seen, "file")
        ))
        .hint(listed),
        Some(_) | None => Trouble::usage(format!("no atom of build {build} has left files")),
    };
    if found.atoms_to_come > 0 {
        return trouble.hint(format!(
            "{} not ended; `{}` waits for the end",
            match found.atoms_to_come {
                1 => "1 of its atoms has".to_owned(),
                more => format!("{more} of its atoms have"),
            },
            command(format!("wait {build}"))
        ));
    }
    if found.atoms_without > 0 {
        return trouble.hint(
            "the results of its atoms are not on the master any more: they were too old or took too much of its disk",
        );
    }
    trouble
}
