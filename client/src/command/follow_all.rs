//! `clusterrunner logs BUILD -f`: what all atoms of a build print, or of all builds of a matrix, each line after the name
//! of its atom.

use super::console_page::{is_not_there, is_servers, lines};
use super::matrix::{Part, parts_of};
use crate::output::events::Event;
use crate::output::text::name;
use crate::output::{self, FAINT, styled};
use crate::trouble::Trouble;
use anstyle::{AnsiColor, Color, Style};
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_client::{Client, ClientError};
use clusterrunner_common::api::{AtomState, AtomView};
use clusterrunner_common::ids::{AtomId, Attempt, BuildId, SubjobId};
use clusterrunner_common::text::printable::{ConsoleFilter, plain};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Lines fetched at a time: more than fit into what is given at once.
const PAGE: u64 = 1_000_000;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(150);

/// The list of atoms may be long, so that fetching one takes at most this part of the time.
const SHARE_OF_LISTS: u32 = 10;

/// The colours of names: neighbours differ.
const COLOURS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::Red,
];

/// How far an atom is printed.
#[derive(Clone, Copy, Default)]
struct Printed {
    /// The attempt that the lines are of, where its master tells.
    attempt: Option<Attempt>,
    /// The next line of it.
    line: u64,
    /// Nothing more comes.
    is_over: bool,
}

/// Prints what all atoms of a build print until the build is over, or as far as they have printed if it is.
pub(super) async fn print(
    (client, first): (&Client, &Client),
    build: BuildId,
) -> Result<ExitCode, Trouble> {
    // The first look fails soon where there is no master; the others ride through its restart.
    let mut view = first.build(build).await?;
    // One atom that can not be read now does not hold up the others.
    let soon = client.with_patience(Duration::ZERO);
    let mut atoms: HashMap<(BuildId, SubjobId, AtomId), Printed> = HashMap::new();
    loop {
        let asked = Instant::now();
        let is_over = view.status.is_over();
        let mut found = Vec::new();
        for part in parts_of(&view) {
            match client.subjobs(part.id).await {
                Ok(subjobs) => found.push((part, subjobs)),
                // One of a matrix may have been deleted.
                Err(error) if part.among.is_some() && is_not_there(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let pause = asked.elapsed() * SHARE_OF_LISTS;
        let mut missed = None;
        let of_parts = found.iter().flat_map(|(part, subjobs)| {
            let atoms = subjobs.iter().flat_map(|subjob| &subjob.atoms);
            atoms.map(move |atom| (part, atom))
        });
        for (part, atom) in of_parts {
            if output::is_closed() {
                return Ok(ExitCode::Success);
            }
            let place = (part.id, atom.subjob_id, atom.id);
            let printed = atoms.entry(place).or_default();
            if may_have_printed(atom) && !printed.is_over {
                // The last look waits for the first answer, but not for that of each atom.
                let reader = match is_over && missed.is_none() {
                    true => client,
                    false => &soon,
                };
                match follow(reader, part, atom, printed).await {
                    Ok(()) => {}
                    // What is new stays for the next look.
                    Err(error) if is_servers(&error) || error.is_unreachable() => {
                        missed = missed.or(Some(error));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        // Asked before the atoms were read, so that nothing printed before the end is missed.
        if is_over {
            return match missed {
                None => Ok(ExitCode::Success),
                Some(error) => Err(error.into()),
            };
        }
        tokio::time::sleep(pause.max(PAUSE)).await;
        view = client.build(build).await?;
    }
}

fn may_have_printed(atom: &AtomView) -> bool {
    match atom.state {
        AtomState::InProgress | AtomState::Completed | AtomState::Canceled => true,
        // Between two attempts it waits, and has printed something.
        AtomState::NotStarted => !atom.failed_attempts.is_empty(),
        AtomState::NotRun => false,
    }
}

/// Prints what is new of an atom.
async fn follow(
    client: &Client,
    part: &Part,
    atom: &AtomView,
    printed: &mut Printed,
) -> Result<(), ClientError> {
    // Attempts that ended since the last look, in their order.
    let known = printed.attempt;
    let ended = atom.failed_attempts.iter().map(|failed| failed.attempt);
    for attempt in ended.filter(|attempt| known.is_none_or(|known| *attempt >= known)) {
        begin(printed, Some(attempt));
        print_new(client, part, atom, printed, Some(attempt)).await?;
        output::tell(line(part, atom, &format!("-- attempt {attempt} failed --")));
        // The next one begins with its first line.
        *printed = Printed {
            attempt: Some(Attempt(attempt.0 + 1)),
            ..Printed::default()
        };
    }
    if atom.state == AtomState::NotStarted {
        return Ok(());
    }
    begin(printed, atom.attempt);
    print_new(client, part, atom, printed, None).await?;
    printed.is_over = matches!(atom.state, AtomState::Completed | AtomState::Canceled);
    Ok(())
}

/// Another attempt begins with its first line. One that brought no result, since its slave was lost, is not told.
fn begin(printed: &mut Printed, attempt: Option<Attempt>) {
    if printed.attempt != attempt {
        *printed = Printed {
            attempt,
            ..Printed::default()
        };
    }
}

async fn print_new(
    client: &Client,
    part: &Part,
    atom: &AtomView,
    printed: &mut Printed,
    attempt: Option<Attempt>,
) -> Result<(), ClientError> {
    let place = (part.id, atom.subjob_id, atom.id);
    loop {
        let page = client.console_of(place, attempt, PAGE, Some(printed.line));
        let page = match page.await {
            Ok(page) => page,
            // It has not begun to print, began anew, or its output is gone.
            Err(error) if is_not_there(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        if page.num_lines == 0 || output::is_closed() {
            return Ok(());
        }
        for (number, text, num_bytes_cut) in lines(&page) {
            output::emit(&Event::Output {
                build_id: part.id,
                subjob_id: atom.subjob_id,
                atom_id: atom.id,
                attempt: printed.attempt,
                line: number,
                text,
                num_bytes_cut,
            });
            output::say(line(part, atom, text));
            if num_bytes_cut > 0 && !output::is_json_lines() {
                let cut = format!("-- {num_bytes_cut} more bytes of this line are not shown --");
                output::tell(line(part, atom, &cut));
            }
        }
        printed.line = page.offset_line + page.num_lines;
    }
}

/// A line of an atom, after its name and that of its build among those of a matrix.
fn line(part: &Part, atom: &AtomView, text: &str) -> String {
    let number = usize::try_from(atom.subjob_id.0).unwrap_or_default();
    let colour = Color::Ansi(COLOURS[number % COLOURS.len()]);
    let name = match &part.among {
        None => name(atom),
        Some(among) => format!("{} {}", among.name, name(atom)),
    };
    let name = styled(Style::new().fg_color(Some(colour)), plain(&name));
    let bar = styled(FAINT, "|");
    let mut filter = ConsoleFilter::new();
    let text = filter.pass(text);
    let end = filter.end();
    // A carriage return begins a line, which has the name, too.
    let text = text.replace('\n', &format!("\n{name} {bar} "));
    format!("{name} {bar} {text}{end}")
}
