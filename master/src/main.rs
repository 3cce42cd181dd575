//! The master as a program of its own.

use clap::Parser;
use clusterrunner_common::daemon::CommonOptions;
use clusterrunner_common::text::printable::plain_lines;
use clusterrunner_master::effects::preparer::{PREPARE_BUILD, prepare_build};
use clusterrunner_master::push::{PUSH_HOOK, push_hook};
use clusterrunner_master::store::own_repositories::{KEEP_CODE, keep_code};
use clusterrunner_master::store::working_trees::{LOOK_AT_PACK, look_at_pack};
use clusterrunner_master::{MasterOptions, run};
use std::process::ExitCode;

/// Accepts builds, prepares them, and hands their work to slaves.
#[derive(Debug, Parser)]
#[command(name = "clusterrunner-master", version)]
struct Options {
    #[command(flatten)]
    master: MasterOptions,
    #[command(flatten)]
    common: CommonOptions,
}

fn main() -> ExitCode {
    if let Some(code) = clusterrunner_common::process::first::stand_in() {
        return code;
    }
    clusterrunner_common::process::umask::close_to_others();
    // Not for users, so it is no part of the command line.
    match std::env::args_os().nth(1) {
        Some(first) if first == PREPARE_BUILD => return prepare_build(),
        Some(first) if first == KEEP_CODE => return keep_code(),
        Some(first) if first == LOOK_AT_PACK => return look_at_pack(),
        Some(first) if first == PUSH_HOOK => return push_hook(),
        Some(_) | None => {}
    }
    let options = Options::parse();
    clusterrunner_common::process::allocator::limit_malloc_arenas();
    serve(options)
}

#[tokio::main]
async fn serve(options: Options) -> ExitCode {
    match run(options.master, &options.common).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", plain_lines(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}
