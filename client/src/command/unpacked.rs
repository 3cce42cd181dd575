//! Where a build's results go, and what is said of them once they are there.

use crate::output::events::Event;
use crate::output::text::count;
use crate::output::{self, NOTICE, styled};
use clusterrunner_client::results::{Destination, Fetched, KEPT, LeftOut, USUAL_NAME};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::text::printable::plain;
use std::path::{Path, PathBuf};

/// Where results go: just into a directory, or among those of a project, which is the current directory where
/// nothing else is said.
pub(crate) fn destination(exactly: Option<&Path>, project: Option<&Path>) -> Destination {
    match exactly {
        Some(directory) => Destination::Exactly(directory.to_owned()),
        None => Destination::Among(project.unwrap_or(Path::new(".")).join(USUAL_NAME)),
    }
}

/// Says where results are, what became of older ones, and what is not there.
pub(crate) fn say(build: BuildId, fetched: &Fetched) {
    output::emit(&Event::Results {
        build_id: build,
        directory: fetched.directory.display().to_string(),
        num_files: fetched.unpacked.files,
    });
    output::note(format!(
        "results: {} ({})",
        shown(&fetched.directory),
        count(fetched.unpacked.files, "file")
    ));
    if let Some(old) = &fetched.moved_to {
        output::note(format!("earlier results: {}", shown(old)));
    }
    if !fetched.removed.is_empty() {
        let removed: Vec<String> = fetched.removed.iter().map(|path| shown(path)).collect();
        output::note(format!(
            "removed old results: {} (the {KEPT} before these are kept)",
            removed.join(", ")
        ));
    }
    if let Some(why) = &fetched.no_link {
        output::complain(format!("{} {}", styled(NOTICE, "warning:"), plain(why)));
    }
    say_what_is_missing(&fetched.unpacked.left_out);
}

fn say_what_is_missing(left_out: &LeftOut) {
    if left_out.count == 0 {
        return;
    }
    let mut text = format!(
        "{} {} could not be brought back; artifacts.tar.gz on the master has what was left out:",
        styled(NOTICE, "warning:"),
        match left_out.count {
            1 => "1 entry of the results".to_owned(),
            more => format!("{more} entries of the results"),
        }
    );
    for (path, why) in &left_out.first {
        let path = path.display().to_string();
        text.push_str(&format!("\n    {}: {}", plain(&path), plain(why)));
    }
    let named = u64::try_from(left_out.first.len()).unwrap_or(u64::MAX);
    if left_out.count > named {
        text.push_str(&format!("\n    ... and {} more", left_out.count - named));
    }
    output::complain(text);
}

/// A path as somebody in the current directory would write it.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let inside = path.strip_prefix(here).map(PathBuf::from);
    let path = inside.unwrap_or_else(|_| path.to_owned());
    plain(&path.display().to_string()).into_owned()
}
