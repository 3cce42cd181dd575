//! Consoles of atoms, piece by piece as they come.

use super::{ESCAPE, LONGEST_COLOUR, is_colour_parameter, is_layout, is_obeyed};

/// Passes on what an atom printed. Colours stay, other escape sequences are left out, and a carriage
/// return that ends no line begins one, so that nothing is overwritten. Other control characters and
/// marks of direction are written out (`\u{8}`).
///
/// A sequence may begin in one piece and end in another. One that never ends, ends with its line.
#[derive(Debug, Default)]
pub struct ConsoleFilter {
    state: State,
    is_coloured: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Text,
    /// After a carriage return.
    Returned,
    /// After ESC.
    Escape,
    /// After ESC and what only introduces another character.
    Introduced,
    /// In a control sequence, with the parameters of a colour so far.
    Control(Option<String>),
    /// In what is not for the screen: titles, links, clipboards, queries.
    Hidden,
    /// After ESC in it.
    HiddenEscape,
}

impl ConsoleFilter {
    /// At the beginning of a console.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What is shown of the next piece.
    #[must_use]
    pub fn pass(&mut self, piece: &str) -> String {
        let mut out = String::with_capacity(piece.len());
        for character in piece.chars() {
            self.step(character, &mut out);
        }
        out
    }

    /// What is to be printed at the end so that no colour stays.
    #[must_use]
    pub fn end(self) -> &'static str {
        match self.is_coloured {
            true => "\u{1b}[0m",
            false => "",
        }
    }

    fn step(&mut self, character: char, out: &mut String) {
        self.state = match (std::mem::take(&mut self.state), character) {
            (State::Returned, '\r') => State::Returned,
            (State::Returned, '\n') => text(character, out),
            (State::Returned, _) => {
                out.push('\n');
                text(character, out)
            }
            (State::Escape | State::HiddenEscape, '[') => State::Control(Some(String::new())),
            (State::Escape | State::HiddenEscape, ']' | 'P' | 'X' | '^' | '_') => State::Hidden,
            (State::Escape | State::HiddenEscape, ' '..='/') => State::Introduced,
            (State::Escape | State::HiddenEscape | State::Introduced, '0'..='~') => State::Text,
            (State::Introduced, ' '..='/') => State::Introduced,
            (State::Control(Some(parameters)), 'm') => {
                self.is_coloured = !matches!(&*parameters, "" | "0" | "00");
                out.push_str(&format!("{ESCAPE}[{parameters}m"));
                State::Text
            }
            (State::Control(parameters), ' '..='?') => {
                State::Control(parameters.and_then(|known| longer(known, character)))
            }
            (State::Control(_), '@'..='~') => State::Text,
            (State::Hidden, '\u{7}' | '\u{9c}') => State::Text,
            (State::Hidden, ESCAPE) => State::HiddenEscape,
            (State::Hidden, '\n' | '\r' | '\u{18}' | '\u{1a}') => text(character, out),
            (State::Hidden, _) => State::Hidden,
            // What a sequence can not have ends it.
            (_, character) => text(character, out),
        };
    }
}

fn longer(mut parameters: String, character: char) -> Option<String> {
    parameters.push(character);
    let fits = is_colour_parameter(character) && parameters.len() <= LONGEST_COLOUR;
    fits.then_some(parameters)
}

fn text(character: char, out: &mut String) -> State {
    match character {
        '\r' => return State::Returned,
        ESCAPE => return State::Escape,
        '\u{9b}' => return State::Control(None),
        '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => return State::Hidden,
        character if is_obeyed(character) && !is_layout(character) => {
            out.extend(character.escape_default());
        }
        character => out.push(character),
    }
    State::Text
}
