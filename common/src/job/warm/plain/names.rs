//! Names that mean something to the shell.

use crate::process::variables::is_set_by_bash;

/// What the shell runs itself, and what it reads as grammar.
pub(super) const SHELL_WORDS: [&str; 30] = [
    "if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac",
    "select", "function", "time", "coproc", "export", "cd", "set", "eval", "exec", "source", ".",
    "command", "builtin", "exit", "return", "unset", "trap", "test",
];

/// Variables whose values are the shell's and not, or not always, those of the environment.
pub(super) fn is_of_the_shell(name: &str) -> bool {
    const NAMES: [&str; 18] = [
        "COPROC",
        "FUNCNEST",
        "HOSTNAME",
        "HOSTTYPE",
        "IFS",
        "MACHTYPE",
        "OLDPWD",
        "OPTARG",
        "OPTERR",
        "OSTYPE",
        "PIPESTATUS",
        "PS0",
        "PS1",
        "PS2",
        "PS3",
        "PS4",
        "PWD",
        "SHLVL",
    ];
    // BASH itself and more.
    is_set_by_bash(name) || NAMES.contains(&name) || name.starts_with("BASH")
}
