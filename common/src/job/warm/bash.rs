//! Whether a text could tell a shell that was forked from a worker from one that was started for it.

/// Longer texts are not looked at.
const LONGEST: usize = 64 << 10;

/// Words that ask what only one of both answers so, or that change more than the shell that runs them. They count wherever
/// they stand, also in quotes: a text that is taken for odd only takes longer.
const ODD_WORDS: &[&str] = &[
    // What is different about a process, and when it began.
    "PPID",
    "SHLVL",
    "LINENO",
    "SECONDS",
    "RANDOM",
    "SRANDOM",
    "OLDPWD",
    "PIPESTATUS",
    "FUNCNAME",
    "DIRSTACK",
    "PS4",
    "PROMPT_COMMAND",
    "POSIXLY_CORRECT",
    "SHELLOPTS",
    "times",
    "caller",
    "getconf",
    // Other processes.
    "wait",
    "jobs",
    "fg",
    "bg",
    "disown",
    "kill",
    "suspend",
    "coproc",
    "ps",
    "pgrep",
    "pkill",
    "pstree",
    "pidof",
    "killall",
    "lsof",
    "fuser",
    "strace",
    "nohup",
    "setsid",
    "proc",
    // All variables, functions and options at once.
    "env",
    "printenv",
    "declare",
    "typeset",
    "compgen",
    "complete",
    "shopt",
    "alias",
    "unalias",
    "hash",
    "enable",
    "history",
    "fc",
    "bind",
    // What runs elsewhere than it stands, and so is not seen here.
    "eval",
    "source",
    "exec",
    "trap",
    "builtin",
    // What acts on what is around it.
    "return",
    "break",
    "continue",
    "logout",
];

/// The options that `set` may set.
const USUAL_OPTIONS: &[&str] = &[
    "-e", "-u", "-eu", "-ue", "+e", "+u", "-o", "-euo", "-eo", "-uo", "pipefail", "errexit",
    "nounset",
];

/// Names of variables that change what a shell does when it starts.
const ODD_VARIABLES: &[&str] = &[
    "BASH_ENV",
    "ENV",
    "SHELLOPTS",
    "BASHOPTS",
    "BASH_XTRACEFD",
    "BASH_COMPAT",
    "POSIXLY_CORRECT",
    "PS4",
    "IFS",
    "TIMEFORMAT",
    "CHILD_MAX",
];

/// Whether the text means the same in both. `false` where that is not certain.
#[must_use]
pub fn is_usual(text: &str) -> bool {
    text.len() <= LONGEST
        && !text.contains(['\0', '\r'])
        && !has_odd_characters(text)
        && words(text).all(|word| !ODD_WORDS.contains(&word) && !is_odd_name(word))
        && text.lines().all(sets_usual_options)
        && !has_bare_command(text, "export")
        && !has_bare_command(text, "readonly")
        && !has_dot_command(text)
}

/// Whether a shell that finds this variable in its environment starts as any other.
#[must_use]
pub fn is_usual_variable(name: &str) -> bool {
    !ODD_VARIABLES.contains(&name) && !name.starts_with("BASH_FUNC_")
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !is_of_word(c))
        .filter(|word| !word.is_empty())
}

/// Names that the shell itself sets, and ours.
fn is_odd_name(word: &str) -> bool {
    ["BASH", "EPOCH", "HIST", "COMP_", "__clusterrunner"]
        .iter()
        .any(|prefix| word.starts_with(prefix))
}

/// Background processes, process substitutions, and parameters that name processes or what ran last.
fn has_odd_characters(text: &str) -> bool {
    const ODD: [&str; 11] = [
        "$$", "$!", "$_", "$-", "${$", "${!", "${_", "${-", "<(", ">(", "%(",
    ];
    if ODD.iter().any(|odd| text.contains(odd)) {
        return true;
    }
    let bytes = text.as_bytes();
    let is_one_of = |place: Option<usize>, set: &[u8]| {
        place
            .and_then(|place| bytes.get(place))
            .is_some_and(|byte| set.contains(byte))
    };
    let ampersands = (0..bytes.len()).filter(|place| bytes[*place] == b'&');
    let mut background = ampersands.filter(|place| {
        !is_one_of(place.checked_sub(1), b"&<>|") && !is_one_of(Some(place + 1), b"&>")
    });
    // A character before the ampersand that is escaped makes it another one.
    background.next().is_some() || text.contains("\\&") || text.contains("\\>&") || {
        // More than two of them are no operator.
        text.contains("&&&")
    }
}

/// Whether every `set` of a line sets only what is known to be the same.
fn sets_usual_options(line: &str) -> bool {
    let mut parts = line.split_whitespace().peekable();
    while let Some(part) = parts.next() {
        let is_set = words(part).any(|word| word == "set");
        if !is_set {
            continue;
        }
        let mut is_last = false;
        let mut number = 0;
        while let Some(next) = parts.peek().copied().filter(|_| !is_last) {
            let option = next.trim_end_matches(';');
            if !USUAL_OPTIONS.contains(&option) {
                break;
            }
            is_last = option.len() < next.len();
            number += 1;
            parts.next();
        }
        let ends = is_last || parts.peek().is_none_or(|next| *next == "&&");
        if part != "set" || number == 0 || !ends {
            return false;
        }
    }
    true
}

/// Whether this command may stand there alone or with an option: it prints all variables then.
fn has_bare_command(text: &str, command: &str) -> bool {
    text.match_indices(command).any(|(place, _)| {
        let before = text[..place].chars().next_back();
        let after = text[place + command.len()..].trim_start_matches([' ', '\t']);
        let is_word = before.is_none_or(|c| !is_of_word(c));
        is_word
            && !after
                .chars()
                .next()
                .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
    })
}

/// Whether a lone dot is there, which runs a file.
fn has_dot_command(text: &str) -> bool {
    text.split(|c: char| c.is_whitespace() || ";&|(){}!`".contains(c))
        .any(|part| part == ".")
        || text.contains("\\.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_is_found_so() {
        for text in [
            "true",
            "export TEST=\"a b\"; ./run \"$TEST\"",
            "set -e\ncase $? in 0) ;; *) exit ;; esac\n./run",
            "set -e; set -o pipefail; make test && echo done",
            "set -euo pipefail && make",
            "cd x && [[ -f y ]] || exit 3",
            "echo a 2>&1 | cat > /dev/null",
            "run &> log; run |& cat",
            "for a in 1 2; do echo $a; done",
            "if test -d x; then echo \"${A:-b}\"; fi",
            "f() { local a=1; echo $a; }; f",
            "pytest tests/test_a.py ./tests --x=../y",
            "printf '%s\\n' \"$(date)\"",
        ] {
            assert!(is_usual(text), "{text}");
        }
    }

    #[test]
    fn what_could_tell_is_found() {
        for text in [
            "echo $$",
            "echo ${PPID}",
            "kill -9 $PPID",
            "echo $BASHPID",
            "echo $BASH_SUBSHELL",
            "sleep 1 & echo",
            "sleep 1 &",
            "cat <(ls)",
            "trap 'echo x' EXIT",
            "exec 3< x",
            ". ./file",
            "x && . file",
            "(. file)",
            "s\\ource x; \\. y",
            "source file",
            "eval \"$A\"",
            "set",
            "set -x",
            "set -e -x",
            "set -- a b",
            "x; set;",
            "export",
            "export -p",
            "echo $(export)",
            "echo ${!A}",
            "cat /proc/self/status",
            "break",
            "echo \"$_\"",
            "a\0b",
            "echo \\&",
            "printf '%(%s)T' -2",
            "history",
        ] {
            assert!(!is_usual(text), "{text}");
        }
        assert!(!is_usual(&"x".repeat(LONGEST + 1)));
    }

    #[test]
    fn variables_that_change_the_start_are_known() {
        for name in ["BASH_ENV", "ENV", "BASH_FUNC_f%%", "SHELLOPTS"] {
            assert!(!is_usual_variable(name), "{name}");
        }
        assert!(is_usual_variable("PATH"));
    }
}
