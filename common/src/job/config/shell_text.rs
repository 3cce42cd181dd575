//! How a piece of shell text ends, as far as it matters to what is written behind it.
//!
//! No parser of the shell's grammar: where the text is odd, an end that needs a line of its own is the answer that
//! does no harm.

/// How a piece of shell text ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// What follows on the same line is shell text.
    Plain,
    /// In a comment, and so is what follows on the same line.
    Comment,
    /// In a here-document, whose last line must have nothing else.
    HereDocument,
    /// In quotes that are not closed.
    Quotes,
    /// With a backslash, which changes the next character.
    Backslash,
    /// With a `&` behind a backslash: an argument, not the sign that runs a command in the background.
    Ampersand,
}

impl End {
    /// Whether what follows has to begin on a line of its own.
    pub(super) fn needs_a_line(self) -> bool {
        match self {
            Self::Plain | Self::Ampersand => false,
            Self::Comment | Self::HereDocument | Self::Quotes | Self::Backslash => true,
        }
    }
}

/// How `text` ends.
pub(super) fn end_of(text: &str) -> End {
    let mut scan = Scan::new(text);
    while let Some(end) = scan.step() {
        if end != End::Plain {
            return end;
        }
    }
    match scan.here_documents.is_empty() {
        true => End::Plain,
        false => End::HereDocument,
    }
}

/// `text` with an `x` for all that is quoted, and without comments and here-documents: what is left means to the shell what
/// it says. None where the text ends in the middle of something.
pub(super) fn skeleton(text: &str) -> Option<String> {
    let mut scan = Scan::new(text);
    let mut skeleton = String::with_capacity(text.len());
    loop {
        let before = scan.rest;
        match scan.step() {
            None | Some(End::Comment | End::HereDocument) => break,
            Some(End::Plain | End::Ampersand) => {}
            Some(End::Quotes | End::Backslash) => return None,
        }
        let read = &before[..before.len() - scan.rest.len()];
        match read.chars().next() {
            Some('#') if read.len() > 1 => {}
            Some('\n') => skeleton.push('\n'),
            Some('\'' | '"' | '`' | '\\') => skeleton.push('x'),
            Some('$') if read.len() > 1 => skeleton.push('x'),
            Some('<') if read.len() > 1 => skeleton.push_str("< x"),
            _ => skeleton.push_str(read),
        }
    }
    scan.here_documents.is_empty().then_some(skeleton)
}

/// Whether `text` has comments and no command.
pub(super) fn has_only_comments(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim_start);
    !text.trim().is_empty() && lines.all(|line| line.is_empty() || line.starts_with('#'))
}

/// Whether a text ends in a character that has no backslash before it.
pub(super) fn ends_with_unescaped(text: &str, last: char) -> bool {
    text.strip_suffix(last).is_some_and(|before| {
        let plain = before.trim_end_matches('\\');
        (before.len() - plain.len()).is_multiple_of(2)
    })
}

struct HereDocument {
    delimiter: String,
    /// Tabs before each line are not part of it.
    is_indented: bool,
}

struct Scan<'a> {
    rest: &'a str,
    /// The character before `rest`.
    before: char,
    /// Those whose lines have not begun.
    here_documents: Vec<HereDocument>,
    /// How many `((` are open, in which `<<` is arithmetic.
    arithmetic: usize,
}

impl<'a> Scan<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            before: '\n',
            here_documents: Vec::new(),
            arithmetic: 0,
        }
    }

    /// Reads on; `None` at the end of the text, [`End::Plain`] where it goes on.
    fn step(&mut self) -> Option<End> {
        let before = self.before;
        let c = self.next()?;
        let end = match c {
            '\\' => match self.next() {
                None => End::Backslash,
                Some('&') if self.rest.is_empty() => End::Ampersand,
                Some(_) => End::Plain,
            },
            '\'' if before == '$' => self.skip_quotes('\'', true),
            '\'' => self.skip_quotes('\'', false),
            '"' | '`' => self.skip_quotes(c, true),
            '$' if self.rest.starts_with('{') => self.skip_parameter(),
            '#' if begins_word(before) => match self.rest.find('\n') {
                None => End::Comment,
                Some(line_end) => {
                    self.skip(line_end);
                    End::Plain
                }
            },
            '(' if self.rest.starts_with('(') => {
                self.skip(1);
                self.arithmetic += 1;
                End::Plain
            }
            ')' if self.rest.starts_with(')') && self.arithmetic > 0 => {
                self.skip(1);
                self.arithmetic -= 1;
                End::Plain
            }
            '<' if self.rest.starts_with("<<") => {
                self.skip(2);
                End::Plain
            }
            '<' if self.rest.starts_with('<') && self.arithmetic == 0 => {
                self.skip(1);
                self.note_here_document();
                End::Plain
            }
            '\n' if !self.here_documents.is_empty() => self.skip_here_documents(),
            _ => End::Plain,
        };
        Some(end)
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next()?;
        self.rest = chars.as_str();
        self.before = c;
        Some(c)
    }

    /// Leaves out so many bytes, whose last character stands for none that means anything.
    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
        self.before = ' ';
    }

    /// To behind the next `quote`. With `has_escapes` one behind a backslash does not count.
    fn skip_quotes(&mut self, quote: char, has_escapes: bool) -> End {
        while let Some(c) = self.next() {
            if c == quote {
                return End::Plain;
            }
            if c == '\\' && has_escapes {
                self.next();
            }
        }
        End::Quotes
    }

    /// To behind the end of `${...}`, with those inside.
    fn skip_parameter(&mut self) -> End {
        let mut open = 0;
        while let Some(c) = self.next() {
            let end = match c {
                '{' if open == 0 => {
                    open = 1;
                    End::Plain
                }
                '$' if self.rest.starts_with('{') => {
                    self.skip(1);
                    open += 1;
                    End::Plain
                }
                '}' => {
                    open -= 1;
                    End::Plain
                }
                '\\' => {
                    self.next();
                    End::Plain
                }
                '\'' => self.skip_quotes('\'', false),
                '"' | '`' => self.skip_quotes(c, true),
                _ => End::Plain,
            };
            if end != End::Plain || open == 0 {
                self.before = '}';
                return end;
            }
        }
        End::Quotes
    }

    /// Reads what is behind `<<`.
    fn note_here_document(&mut self) {
        let is_indented = self.rest.starts_with('-');
        if is_indented {
            self.skip(1);
        }
        let word = self.rest.trim_start_matches([' ', '\t']);
        let is_end = |c: char| c.is_whitespace() || ";&|<>()".contains(c);
        let length = word.find(is_end).unwrap_or(word.len());
        let (word, after) = word.split_at(length);
        let delimiter: String = word.chars().filter(|c| !"'\"\\".contains(*c)).collect();
        if word.is_empty() {
            return;
        }
        self.rest = after;
        self.before = 'x';
        self.here_documents.push(HereDocument {
            delimiter,
            is_indented,
        });
    }

    /// Behind the line with the delimiter of the last one.
    fn skip_here_documents(&mut self) -> End {
        for document in std::mem::take(&mut self.here_documents) {
            loop {
                let Some((line, after)) = self.rest.split_once('\n') else {
                    return End::HereDocument;
                };
                self.rest = after;
                let line = match document.is_indented {
                    true => line.trim_start_matches('\t'),
                    false => line,
                };
                if line == document.delimiter {
                    break;
                }
            }
        }
        self.before = '\n';
        End::Plain
    }
}

/// Whether a word begins behind this character, which may then be a comment.
fn begins_word(before: char) -> bool {
    before.is_whitespace() || ";&|()<>".contains(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(end: End, texts: &[&str]) {
        for text in texts {
            assert_eq!(end_of(text), end, "{text}");
        }
    }

    #[test]
    fn most_texts_end_plainly() {
        check(
            End::Plain,
            &[
                "",
                "make",
                "make -j2 &",
                "echo a#b ${#x} ${x#y} $# '# no' \"# no\" \\# $'\\'# no'",
                "# a comment before\nmake",
                "make # a comment\nmake check",
                "cat <<END\ntext ' \" # \\\nEND\ntrue",
                "cat <<-'END' | wc\n\ttext\n\tEND\ntrue",
                "cat <<A <<B; x\na\nA\nb\nB\ntrue",
                "cat <<< 'a here-string'",
                "echo $((1 << 2)) $((1<<n))",
                "echo \"a $(date '+%s')\" `date`",
                "for a in 1 2; do\n  echo $a\ndone",
                "echo \\\n  b",
                "echo \\\\",
                "find . -exec rm {} \\;",
                "( cd x",
            ],
        );
    }

    #[test]
    fn other_ends_are_told_apart() {
        check(
            End::Comment,
            &["make # note", "make;# note", "# note", "a\n# b", "(a)# c"],
        );
        check(
            End::HereDocument,
            &[
                "cat <<END\ntext\nEND",
                "cat <<-END\n\ttext\n\tEND",
                "cat << 'END'\ntext\nEND",
                "cat <<END",
                "cat <<END\ntext",
                "cat <<A <<B\na\nA\nb\nB",
            ],
        );
        check(
            End::Quotes,
            &["echo don't", "echo \"a", "echo `a", "echo 'a\\'b'"],
        );
        check(End::Backslash, &["echo \\", "echo a \\\\\\", "a\nb \\"]);
        check(End::Ampersand, &["echo \\&"]);
    }

    #[test]
    fn a_backslash_takes_the_meaning_away() {
        assert!(ends_with_unescaped("a;", ';'));
        assert!(ends_with_unescaped("a\\\\;", ';'));
        assert!(!ends_with_unescaped("a\\;", ';'));
        assert!(!ends_with_unescaped("a", ';'));
    }

    #[test]
    fn comments_alone_are_no_command() {
        assert!(has_only_comments("# a\n\n  # b"));
        assert!(!has_only_comments("# a\nb"));
        assert!(!has_only_comments(""));
    }
}
