//! Asks before something is gone for good.

use crate::trouble::Trouble;
use console::Term;
use std::io::IsTerminal as _;

/// Has the user type the name of the app that is to go.
pub(super) fn by_name(app: &str) -> Result<(), Trouble> {
    let terminal = Term::stderr();
    if !terminal.is_term() || !std::io::stdin().is_terminal() {
        let trouble = Trouble::usage(format!(
            "there is no terminal to ask at whether {app} is to go"
        ));
        return Err(trouble.hint("--yes destroys it without asking"));
    }
    let failed = |error| Trouble::new(format!("could not ask: {error}"));
    let question = format!(
        "{app} goes with its processes, releases, configuration, domains and log. Type its name to destroy it: "
    );
    terminal.write_str(&question).map_err(failed)?;
    match terminal.read_line().map_err(failed)?.trim() == app {
        true => Ok(()),
        false => Err(Trouble::usage(format!("that is not its name: {app} stays"))),
    }
}
