//! Shell texts that are so plain that what they run can be known without a shell: variables that are exported, a change of
//! the directory, and one command. They are expanded as bash does; all else is refused with the reason.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// What a plain text runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plain {
    /// What it exports, and what stands before the command, by name.
    pub exports: BTreeMap<String, String>,
    /// Where it changes to, as it is written; `None` for nowhere.
    pub directory: Option<String>,
    /// The command and its arguments; never empty.
    pub words: Vec<String>,
}

/// Why a text is not plain. The text of it fits "the command is not plain: …".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotPlain(&'static str);

const OPERATOR: NotPlain = NotPlain("it has a redirection, a pipe or another operator");
const SUBSTITUTION: NotPlain =
    NotPlain("it has a substitution or an expansion other than of a variable");
const PATTERN: NotPlain = NotPlain("it has a pattern, braces or a ~ outside of quotes");
const SPLIT: NotPlain = NotPlain("a variable outside of quotes has blanks or is a pattern");
const QUOTES: NotPlain = NotPlain("a quote is not closed");
const FIRST: NotPlain = NotPlain("it has several commands other than export, cd and set");
const NOTHING: NotPlain = NotPlain("it has no command");
const CD: NotPlain = NotPlain("it changes the directory more than once, or not to a path");
const WORD: NotPlain = NotPlain("it begins with a word of the shell");
const VARIABLE: NotPlain = NotPlain("it names a variable that the shell itself sets");

/// Reads a text. `environment` gives what a variable has before it.
///
/// # Errors
/// When it is not plain.
pub fn read(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Plain, NotPlain> {
    let mut reader = Reader {
        rest: text.chars().peekable(),
        environment,
        plain: Plain::default(),
    };
    loop {
        let (words, end) = reader.command()?;
        let is_last = end.is_none() || reader.is_at_end();
        if is_last && !words.is_empty() {
            return reader.last(words);
        }
        if is_last {
            return Err(NOTHING);
        }
        // Only where it can not fail does it not matter which of them stands there.
        reader.first(words)?;
    }
}

/// The variables that a text exports at its beginning, each followed by `;`, and the rest of it: of an atom and the command
/// of its job.
///
/// # Errors
/// When the beginning is not plain.
pub fn split_atom(text: &str) -> Result<(BTreeMap<String, String>, &str), NotPlain> {
    let mut rest = text;
    let mut variables = BTreeMap::new();
    while rest.starts_with("export ") {
        let nothing = |_: &str| None;
        let mut reader = Reader {
            rest: rest.chars().peekable(),
            environment: &nothing,
            plain: Plain::default(),
        };
        let (words, end) = reader.command()?;
        if end != Some(';') {
            break;
        }
        reader.first(words)?;
        variables.extend(std::mem::take(&mut reader.plain.exports));
        let left: usize = reader.rest.clone().map(char::len_utf8).sum();
        rest = rest[rest.len() - left..].trim_start_matches(' ');
    }
    Ok((variables, rest))
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    environment: &'a dyn Fn(&str) -> Option<String>,
    plain: Plain,
}

/// A word, and how much of it is an assignment by its form.
struct Word {
    text: String,
    /// Where its first `=` stands that is not in quotes, with only a name before it.
    assigns_at: Option<usize>,
    /// Whether any of it was in quotes or expanded.
    is_quoted: bool,
}

impl Reader<'_> {
    fn is_at_end(&mut self) -> bool {
        self.rest.clone().all(char::is_whitespace)
    }

    /// The words of the next command, and what ends it: `;` (or the end of a line), `&` for `&&`, or nothing.
    fn command(&mut self) -> Result<(Vec<Word>, Option<char>), NotPlain> {
        let mut words = Vec::new();
        loop {
            match self.rest.peek().copied() {
                None => return Ok((words, None)),
                Some(' ' | '\t') => {
                    self.rest.next();
                }
                Some('\n') if words.is_empty() => {
                    self.rest.next();
                }
                Some('\n' | ';') => {
                    self.rest.next();
                    return match (words.is_empty(), self.rest.peek()) {
                        (true, _) | (_, Some(';' | '&')) => Err(OPERATOR),
                        _ => Ok((words, Some(';'))),
                    };
                }
                Some('&') => {
                    self.rest.next();
                    return match (self.rest.next(), words.is_empty()) {
                        (Some('&'), false) => Ok((words, Some('&'))),
                        _ => Err(OPERATOR),
                    };
                }
                Some(_) => words.extend(self.word()?),
            }
        }
    }

    /// A word; none where all of it expands to nothing and nothing is quoted.
    fn word(&mut self) -> Result<Option<Word>, NotPlain> {
        let mut word = Word {
            text: String::new(),
            assigns_at: None,
            is_quoted: false,
        };
        let mut is_first = true;
        let mut is_there = false;
        while let Some(c) = self.rest.peek().copied() {
            match c {
                ' ' | '\t' | '\n' | ';' | '&' => break,
                '|' | '<' | '>' | '(' | ')' => return Err(OPERATOR),
                '`' => return Err(SUBSTITUTION),
                '*' | '?' | '[' | ']' | '{' | '}' | '~' | '^' => return Err(PATTERN),
                '#' | '!' if is_first => return Err(OPERATOR),
                '\'' => {
                    self.rest.next();
                    self.single_quoted(&mut word.text)?;
                    (word.is_quoted, is_there) = (true, true);
                }
                '"' => {
                    self.rest.next();
                    self.double_quoted(&mut word.text)?;
                    (word.is_quoted, is_there) = (true, true);
                }
                '\\' => {
                    self.rest.next();
                    match self.rest.next() {
                        None => return Err(QUOTES),
                        Some('\n') => continue,
                        Some(c) => word.text.push(c),
                    }
                    (word.is_quoted, is_there) = (true, true);
                }
                '$' => {
                    self.rest.next();
                    let value = self.variable()?;
                    // An assignment is not split.
                    let splits = |c: char| c.is_whitespace() || "*?[\\".contains(c);
                    if word.assigns_at.is_none() && value.contains(splits) {
                        return Err(SPLIT);
                    }
                    is_there |= !value.is_empty();
                    word.text.push_str(&value);
                    word.is_quoted = true;
                }
                '=' if !word.is_quoted && word.assigns_at.is_none() && is_name(&word.text) => {
                    self.rest.next();
                    word.assigns_at = Some(word.text.len());
                    word.text.push('=');
                    is_there = true;
                }
                c if c.is_control() => return Err(OPERATOR),
                c => {
                    self.rest.next();
                    word.text.push(c);
                    is_there = true;
                }
            }
            is_first = false;
        }
        Ok(is_there.then_some(word))
    }

    fn single_quoted(&mut self, text: &mut String) -> Result<(), NotPlain> {
        loop {
            match self.rest.next() {
                None => return Err(QUOTES),
                Some('\'') => return Ok(()),
                Some(c) => text.push(c),
            }
        }
    }

    fn double_quoted(&mut self, text: &mut String) -> Result<(), NotPlain> {
        loop {
            match self.rest.next() {
                None => return Err(QUOTES),
                Some('"') => return Ok(()),
                Some('`') => return Err(SUBSTITUTION),
                Some('$') => text.push_str(&self.variable()?),
                Some('\\') => match self.rest.next() {
                    None => return Err(QUOTES),
                    Some('\n') => {}
                    Some(c @ ('$' | '`' | '"' | '\\')) => text.push(c),
                    Some(c) => text.extend(['\\', c]),
                },
                Some(c) => text.push(c),
            }
        }
    }

    /// What stands after a `$`.
    fn variable(&mut self) -> Result<String, NotPlain> {
        let is_braced = self.rest.next_if_eq(&'{').is_some();
        let mut name = String::new();
        while let Some(c) = self
            .rest
            .next_if(|c| c.is_ascii_alphanumeric() || *c == '_')
        {
            name.push(c);
        }
        if !is_name(&name) || (is_braced && self.rest.next() != Some('}')) {
            return Err(SUBSTITUTION);
        }
        if is_of_the_shell(&name) {
            return Err(VARIABLE);
        }
        if let Some(value) = self.plain.exports.get(&name) {
            return Ok(value.clone());
        }
        Ok((self.environment)(&name).unwrap_or_default())
    }

    /// A command before the last one: one that only prepares.
    fn first(&mut self, words: Vec<Word>) -> Result<(), NotPlain> {
        let mut words = words.into_iter();
        let Some(name) = words.next().filter(|word| !word.is_quoted) else {
            return Err(FIRST);
        };
        match name.text.as_str() {
            "export" => words.try_for_each(|word| self.export(word)),
            "cd" => match (words.next(), words.next(), &self.plain.directory) {
                (Some(to), None, None) if is_path(&to.text) && !self.has_cdpath() => {
                    self.plain.directory = Some(to.text);
                    Ok(())
                }
                _ => Err(CD),
            },
            "set" => words
                .all(|word| ["-e", "-u", "-eu", "-o", "pipefail", "-euo"].contains(&&*word.text))
                .then_some(())
                .ok_or(FIRST),
            "true" | ":" if words.next().is_none() => Ok(()),
            _ => Err(FIRST),
        }
    }

    fn has_cdpath(&self) -> bool {
        (self.environment)("CDPATH").is_some() || self.plain.exports.contains_key("CDPATH")
    }

    fn export(&mut self, word: Word) -> Result<(), NotPlain> {
        let Some(place) = word.assigns_at else {
            // What is in the environment is exported already.
            return is_name(&word.text).then_some(()).ok_or(FIRST);
        };
        let (name, value) = word.text.split_at(place);
        let value = value.get(1..).unwrap_or_default();
        if is_of_the_shell(name) {
            return Err(VARIABLE);
        }
        self.plain.exports.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    fn last(mut self, words: Vec<Word>) -> Result<Plain, NotPlain> {
        let mut words = words.into_iter().peekable();
        // All of them are expanded already: what stands before a command does not count in it.
        while let Some(word) = words.next_if(|word| word.assigns_at.is_some()) {
            self.export(word)?;
        }
        let Some(name) = words.peek() else {
            return Err(NOTHING);
        };
        if !name.is_quoted && SHELL_WORDS.contains(&name.text.as_str()) {
            return Err(WORD);
        }
        self.plain.words = words.map(|word| word.text).collect();
        Ok(self.plain)
    }
}

/// What the shell runs itself, and what it reads as grammar.
const SHELL_WORDS: [&str; 30] = [
    "if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac",
    "select", "function", "time", "coproc", "export", "cd", "set", "eval", "exec", "source", ".",
    "command", "builtin", "exit", "return", "unset", "trap", "test",
];

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_path(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('-')
}

/// Variables whose values are the shell's and not those of the environment.
fn is_of_the_shell(name: &str) -> bool {
    const NAMES: [&str; 17] = [
        "_", "PWD", "OLDPWD", "PPID", "UID", "EUID", "GROUPS", "HOSTNAME", "HOSTTYPE", "IFS",
        "LINENO", "MACHTYPE", "OSTYPE", "RANDOM", "SECONDS", "SHLVL", "SRANDOM",
    ];
    NAMES.contains(&name)
        || [
            "BASH",
            "EPOCH",
            "PS",
            "OPT",
            "FUNC",
            "DIRST",
            "SHELLOPTS",
            "PIPEST",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn environment(name: &str) -> Option<String> {
        match name {
            "ARTIFACT_DIR" => Some("/tmp/a b".to_owned()),
            "PLAIN" => Some("plain".to_owned()),
            "STAR" => Some("*".to_owned()),
            _ => None,
        }
    }

    /// What bash makes of a text whose last command prints its arguments.
    fn by_bash(text: &str) -> String {
        let ran = Command::new("bash")
            .args(["-c", text])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("ARTIFACT_DIR", "/tmp/a b")
            .env("PLAIN", "plain")
            .env("STAR", "*")
            .output()
            .unwrap();
        String::from_utf8(ran.stdout).unwrap()
    }

    #[test]
    fn words_are_those_of_bash() {
        for text in [
            "printf <%s> a 'b c' \"d e\" f\\ g",
            "export T=\"x y\"; printf <%s> $PLAIN \"$T\" ${PLAIN}s '$T'",
            "export T=\"a\\$b\\\"c\\`d\\\\e\\f\"; printf <%s> \"$T\"",
            "printf <%s> --x=\"$ARTIFACT_DIR/junit.xml\" -p no:cache",
            "export A=1 B=\"$PLAIN\" && export C=$B$A; printf <%s> $C \"\" '' $NOTHING \"$NOTHING\"",
            "A=$STAR; printf <%s> x",
            "export A=$STAR; printf <%s> \"$A\"",
            "X=1 printf <%s> a=b =c d#e",
            "set -e; set -o pipefail && printf <%s> 'it'\\''s'",
            "\n printf <%s> a \\\n b\n",
            "printf <%s> \"a\\\nb\" ;",
            "printf <%s> ümläut @%+,-./:_",
        ] {
            let text = text.replace("<%s>", "'<%s>'");
            match read(&text, &environment) {
                Ok(plain) => {
                    let arguments = plain.words[2..].iter();
                    let mut printed: String = arguments.map(|word| format!("<{word}>")).collect();
                    if printed.is_empty() {
                        printed.push_str("<>");
                    }
                    assert_eq!(printed, by_bash(&text), "{text}");
                }
                Err(error) => {
                    assert_eq!((text.as_str(), error), ("A=$STAR; printf '<%s>' x", FIRST));
                }
            }
        }
    }

    #[test]
    fn all_of_it_is_read() {
        let text =
            "export FILE=\"tests/a b.py\"; export X=1 && cd sub && Y=2 python3 -m pytest \"$FILE\"";
        let plain = read(text, &environment).unwrap();
        let exports: Vec<_> = plain
            .exports
            .iter()
            .map(|(a, b)| format!("{a}={b}"))
            .collect();
        assert_eq!(exports, ["FILE=tests/a b.py", "X=1", "Y=2"]);
        assert_eq!(plain.directory.as_deref(), Some("sub"));
        assert_eq!(plain.words, ["python3", "-m", "pytest", "tests/a b.py"]);
    }

    #[test]
    fn what_is_not_plain_is_refused() {
        for (text, error) in [
            ("a | b", OPERATOR),
            ("a > b", OPERATOR),
            ("a 2>&1", OPERATOR),
            ("a & b", OPERATOR),
            ("a || b", OPERATOR),
            ("(a)", OPERATOR),
            ("a; b", FIRST),
            ("a && b", FIRST),
            ("a # b", OPERATOR),
            ("! a", OPERATOR),
            ("a $(b)", SUBSTITUTION),
            ("a `b`", SUBSTITUTION),
            ("a \"`b`\"", SUBSTITUTION),
            ("a ${b:-c}", SUBSTITUTION),
            ("a $1", SUBSTITUTION),
            ("a $$", SUBSTITUTION),
            ("a $'b'", SUBSTITUTION),
            ("a *.py", PATTERN),
            ("a {b,c}", PATTERN),
            ("a ~/b", PATTERN),
            ("a $ARTIFACT_DIR", SPLIT),
            ("a $STAR", SPLIT),
            ("a 'b", QUOTES),
            ("a \"b", QUOTES),
            ("a $PWD", VARIABLE),
            ("a \"$RANDOM\"", VARIABLE),
            ("", NOTHING),
            ("export A=1;", WORD),
            ("A=1", NOTHING),
            ("if a", WORD),
            ("cd; a", CD),
            ("cd - && a", CD),
            ("cd a && cd b && c", CD),
            ("set -x; a", FIRST),
            (";a", OPERATOR),
            ("a;; b", OPERATOR),
        ] {
            assert_eq!(read(text, &environment), Err(error), "{text}");
        }
    }

    #[test]
    fn an_atom_is_split_from_its_command() {
        let (variables, rest) =
            split_atom("export A=\"x;y\"; export B=\"1\"; run | cat; x").unwrap();
        assert_eq!(rest, "run | cat; x");
        assert_eq!(variables.len(), 2);
        assert_eq!(variables["A"], "x;y");
        assert_eq!(split_atom("run").unwrap(), (BTreeMap::new(), "run"));
        let several = split_atom("export A=\"1\" B=\"2\"; run && x").unwrap();
        assert_eq!(several.0.len(), 2);
        split_atom("export A=\"$(date)\"; run").unwrap_err();
    }
}
