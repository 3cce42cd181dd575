#!/usr/bin/env python3
"""Mutants of the master's core: which small faults in core/src do the core's own tests not notice?

    tests/measure/mutants.py SCRATCH [--number 300] [--seed 1] [--files core/src/scheduling core/src/slaves]

cargo-mutants (`cargo install cargo-mutants`) lists the mutants. It would compile the core for each of them, some minutes; this
script compiles a sample of them at once into a copy of the workspace in the directory SCRATCH, each behind a condition that
one of them is chosen by `CLUSTERRUNNER_MUTANT`. The tests run for one after the other: first the quick ones, then, where these
pass, the simulations. The first test that fails catches a mutant, and so does one that does not come to its end in four
times the processor time, or takes more than 4 GiB.

Left out, and counted: mutants that the compiler refuses, those of constants, those that overlap with another one of the sample, and
deleted fields of structs. SCRATCH/results.jsonl has a line for each mutant that ran; a second call goes on behind it.
"""

import argparse
import json
import os
import pathlib
import random
import re
import resource
import shutil
import subprocess
import sys
import time

# The tests that simulate for seconds, by a part of their names: they run only where all others pass.
SLOW = ["simulated", "whatever_happens_every_build_ends", "mutation", "calibrat"]

DOOR = """//! Which mutant is chosen.

static CHOSEN: std::sync::LazyLock<u32> = std::sync::LazyLock::new(|| {
    std::env::var("CLUSTERRUNNER_MUTANT").map_or(0, |number| number.parse().unwrap_or(0))
});

#[inline]
pub(crate) fn is(number: u32) -> bool {
    *CHOSEN == number
}
"""

TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
      | (?P<text>b?r(?P<fence>\#*)".*?"(?P=fence)|b?"(?:\\.|[^"\\])*")
      | (?P<char>b?'(?:\\(?:x..|u\{[^}]*\}|.)|[^\\'])')
      | (?P<life>'\w+)
      | (?P<number>\d[\w]*(?:\.\d[\w]*)?)
      | (?P<word>(?:r\#)?[A-Za-z_]\w*)
      | (?P<sign><<=|>>=|\.\.\.|\.\.=|=>|->|::|==|!=|<=|>=|&&|\|\||\+=|-=|\*=|/=|%=|\^=|&=|\|=|<<|>>|\.\.|.)""",
    re.X | re.S,
)
STRENGTH = {"..": 1, "..=": 1, "||": 2, "&&": 3, "|": 5, "^": 6, "&": 7, "<<": 8, ">>": 8, "+": 9, "-": 9, "*": 10, "/": 10, "%": 10}
STRENGTH |= dict.fromkeys(["==", "!=", "<", ">", "<=", ">="], 4)
STRENGTH |= dict.fromkeys(["=", "+=", "-=", "*=", "/=", "%=", "^=", "&=", "|=", "<<=", ">>="], 0)
UNARY = 11
STOPS = {"if", "while", "match", "return", "in", "let", "else", "move", "break", "=>", ",", ";", "for", "->"}
CLOSING = {"(": ")", "[": "]", "{": "}"}


class Refused(Exception):
    """A mutant that this script can not place."""


def flat(text):
    """A copy on one line: the other lines stay where they are, so that an error of the compiler names its mutant."""
    return re.sub(r"\s*\n\s*", " ", re.sub(r"//[^\n]*", "", text))


class Source:
    """A file as tokens, with what belongs together."""

    def __init__(self, text):
        self.text = text
        self.starts = [0]
        for line in text.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.tokens = [(t.lastgroup, t.group(), t.start(), t.end()) for t in TOKEN.finditer(text) if t.group("space") is None]
        self.at = {start: index for index, (_, _, start, _) in enumerate(self.tokens)}
        self.partner, self.closures = {}, set()
        self.pair()

    def word(self, index):
        if index >= len(self.tokens):
            raise Refused("not understood")
        return self.tokens[index][1] if index >= 0 else ""

    def ends_operand(self, index):
        kind, word = self.tokens[index][:2] if 0 <= index < len(self.tokens) else ("", "")
        return kind in ("text", "char", "number") or kind == "word" and word not in STOPS | {"as", "mut", "ref", "where"} or word in (")", "]", "}", "?")

    def pair(self):
        """Brackets, turbofish and the parameters of closures."""
        opened, index = [], 0
        while index < len(self.tokens):
            word = self.word(index)
            if word in CLOSING:
                opened.append(index)
            elif word in CLOSING.values():
                other = opened.pop()
                self.partner[other], self.partner[index] = index, other
            elif word == "<" and self.word(index - 1) == "::":
                depth, end = 1, index
                while depth:
                    end += 1
                    depth += {"<": 1, ">": -1, ">>": -2}.get(self.word(end), 0)
                self.partner[index], self.partner[end] = end, index
                index = end
            elif word in ("|", "||") and index not in self.closures and not self.ends_operand(index - 1):
                self.closures.add(index)
                if word == "|":
                    end = index + 1
                    while self.word(end) != "|":
                        if self.word(end) in CLOSING:
                            depth, end = 1, end + 1
                            while depth:
                                depth += 1 if self.word(end) in CLOSING else -1 if self.word(end) in CLOSING.values() else 0
                                end += 1
                        else:
                            end += 1
                    self.closures.add(end)
            index += 1

    def is_binary(self, index):
        return self.word(index) in STRENGTH and index not in self.closures and index not in self.partner and self.ends_operand(index - 1)

    def left_of(self, index, strength):
        """Where the left operand of an operator begins."""
        start = index
        while start > 0:
            at, word = start - 1, self.word(start - 1)
            if at in self.closures or word in STOPS or word in CLOSING:
                break
            if word == "}" and start != index and (self.ends_operand(start) and self.word(start) not in (")", "]", "?") or self.word(start) in ("*", "&", "!", "-", "(", "#")):
                break
            if self.is_binary(at) and STRENGTH[word] < strength:
                break
            start = self.partner[at] if at in self.partner else at
        if start == index:
            raise Refused("no left operand")
        return self.tokens[start][2]

    def right_of(self, index, strength, stops_at_as=False):
        """Where the right operand of an operator ends."""
        end = index
        while end + 1 < len(self.tokens):
            at, word = end + 1, self.word(end + 1)
            if word in (",", ";", "=>", "else") or word in CLOSING.values():
                break
            if word == "{" and self.ends_operand(end):
                break
            if word == "as" and stops_at_as or self.is_binary(at) and STRENGTH[word] <= strength and end != index:
                break
            end = self.partner[at] if at in self.partner and self.partner[at] > at else at
        if end == index:
            raise Refused("no right operand")
        return self.tokens[end][3]

    def offset(self, place):
        return self.starts[place["line"] - 1] + place["column"] - 1

    def change(self, mutant, number):
        """What to replace for a mutant: where from, where to, and by what."""
        start, end = self.offset(mutant["span"]["start"]), self.offset(mutant["span"]["end"])
        chosen, new, genre = f"crate::mutants::is({number})", mutant["replacement"], mutant["genre"]
        if mutant["function"] is None:
            raise Refused("constant")
        if genre == "FnValue":
            return start, start, f"if {chosen} {{ return {new}; }} "
        if genre == "MatchArmGuard":
            guard = self.text[start:end]
            return start, end, f"({chosen} || ({guard}))" if new == "true" else f"(!{chosen} && ({guard}))"
        index = self.at.get(start)
        if index is None:
            raise Refused("no token")
        if genre == "MatchArm":
            while self.word(index) != "=>":
                if self.word(index) == "if":
                    guard = self.tokens[index][3]
                    while self.word(index) != "=>":
                        index = max(self.partner.get(index, index), index) + 1
                    arrow = self.tokens[index][2]
                    return guard, arrow, f" !{chosen} && ({self.text[guard:arrow]}) "
                index = max(self.partner.get(index, index), index) + 1
            arrow = self.tokens[index][2]
            return arrow, arrow, f"if !{chosen} "
        if genre == "UnaryOperator":
            last = self.right_of(index, UNARY, stops_at_as=True)
            operand = self.text[end:last]
            return start, last, f"(if {chosen} {{ {flat(operand)} }} else {{ {self.text[start:last]} }})"
        if genre == "BinaryOperator":
            strength = STRENGTH[self.word(index)]
            first, last = self.left_of(index, strength), self.right_of(index, strength)
            left, right = self.text[first:start], self.text[end:last]
            if strength == 3 and re.search(r"\blet\b", self.text[max(0, first - 40) : last]):
                raise Refused("a chain of let")
            return first, last, f"(if {chosen} {{ {flat(left)}{new}{flat(right)} }} else {{ {self.text[first:last]} }})"
        raise Refused(genre)


def copy(workspace, scratch):
    """The crates that the core's tests need, without what git does not know."""
    listed = subprocess.run(["git", "ls-files"], cwd=workspace, check=True, capture_output=True, text=True).stdout.split("\n")
    for name in filter(None, listed):
        new = scratch / name
        if name.startswith(("docs/images", "examples")) or not (workspace / name).is_file():
            continue
        new.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(workspace / name, new)


def place(workspace, scratch, mutants):
    """Writes the changed files; says which mutants are in them, and at which lines."""
    counts, placed, files = {}, {}, {"core/src/lib.rs": []}
    for number, mutant in mutants.items():
        files.setdefault(mutant["file"], []).append(number)
    for name, numbers in files.items():
        source, changes = Source((workspace / name).read_text()), []
        for number in numbers:
            try:
                change = source.change(mutants[number], number)
            except Refused as why:
                counts[str(why)] = counts.get(str(why), 0) + 1
                continue
            if any(change[0] < other[1] and other[0] < change[1] for other, _ in changes):
                counts["overlap"] = counts.get("overlap", 0) + 1
                continue
            changes.append((change, number))
            placed[number] = (name, source.text.count("\n", 0, change[0]) + 1, source.text.count("\n", 0, change[1]) + 1)
        text, shift = source.text, 0
        for (start, end, new), _ in sorted(changes):
            text = text[: start + shift] + new + text[end + shift :]
            shift += len(new) - (end - start)
        (scratch / name).write_text(text)
    library = (scratch / "core/src/lib.rs").read_text()
    if "mod mutants;" not in library:
        (scratch / "core/src/lib.rs").write_text(library.replace("\nmod apply;", "\nmod mutants; mod apply;", 1))
    (scratch / "core/src/mutants.rs").write_text(DOOR)
    return placed, counts


def compile_tests(scratch, also):
    environment = {**os.environ, "CARGO_TARGET_DIR": str(scratch / "target")}
    packages = [argument for package in ["clusterrunner-core", *also] for argument in ("-p", package)]
    command = ["cargo", "test", "--no-run", *packages, "--lib", "--offline", "--message-format=json"]
    ended = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True)
    return ended.returncode, [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")], ended.stderr


def compile_all(workspace, scratch, also, mutants):
    """The program with all mutants that the compiler takes."""
    refused = 0
    touched = {mutant["file"] for mutant in mutants.values()}
    while True:
        for name in touched:
            shutil.copyfile(workspace / name, scratch / name)
        placed, counts = place(workspace, scratch, mutants)
        code, messages, errors = compile_tests(scratch, also)
        if code == 0:
            break
        mistakes = [message["message"] for message in messages if message.get("message", {}).get("level") == "error"]
        wrong = set()
        for span in (span for mistake in mistakes for span in mistake["spans"]):
            for number, (name, first, last) in placed.items():
                if span["file_name"] == name and first <= span["line_end"] and span["line_start"] <= last:
                    wrong.add(number)
        if not wrong:
            sys.exit("error: nothing of the sample explains this:\n" + errors + "\n".join(mistake["rendered"] for mistake in mistakes))
        refused += len(wrong)
        mutants = {number: mutant for number, mutant in mutants.items() if number not in wrong}
        print(f"the compiler refuses {len(wrong)} of {len(placed)}", flush=True)
    program = [message["executable"] for message in messages if message.get("executable")][-1]
    return program, {number: mutants[number] for number in placed}, {**counts, "refused": refused}


def run(program, scratch, number, filters, seconds):
    """Runs tests for a mutant: the first one that fails, None if all pass, and the processor time."""

    def limit():
        os.nice(19)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))

    environment = {**os.environ, "CLUSTERRUNNER_MUTANT": str(number), "CLUSTERRUNNER_WALK_SEEDS": "40", "RUST_BACKTRACE": "0"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [program, "--test-threads=1", *filters]
    child = subprocess.Popen(command, cwd=scratch / "core", env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, preexec_fn=limit)
    caught, last = None, ""
    for line in child.stdout:
        if line.startswith("test "):
            last = line.split()[1]
            if line.rstrip().endswith("FAILED"):
                caught = last
                child.kill()
                break
    code = child.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if caught is None and code != 0:
        caught = f"no end after {last} (code {code})"
    return caught, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    options = argparse.ArgumentParser()
    options.add_argument("scratch", type=pathlib.Path)
    options.add_argument("--number", type=int, default=300)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--also", nargs="*", default=[], help="packages that cargo builds beside the core, for the features of a warm SCRATCH/target")
    options.add_argument("--files", nargs="*", default=["core/src"])
    options = options.parse_args()
    workspace = pathlib.Path(__file__).resolve().parents[2]
    scratch = options.scratch.resolve()
    scratch.mkdir(parents=True, exist_ok=True)
    listed = subprocess.run(["cargo", "mutants", "--list", "--json", "-p", "clusterrunner-core"], cwd=workspace, check=True, capture_output=True, text=True)
    every = [mutant for mutant in json.loads(listed.stdout) if mutant["file"].startswith(tuple(options.files))]
    random.Random(options.seed).shuffle(every)
    sample = {number + 1: mutant for number, mutant in enumerate(every[: options.number])}
    copy(workspace, scratch)
    program, mutants, counts = compile_all(workspace, scratch, options.also, sample)
    print(f"{len(every)} mutants, {len(sample)} in the sample, {len(mutants)} of them compiled; left out: {counts}", flush=True)

    quick = [argument for name in SLOW for argument in ("--skip", name)]
    results = scratch / "results.jsonl"
    known = {json.loads(line)["name"] for line in results.read_text().splitlines()} if results.exists() else set()
    bases = []
    for filters in (quick, SLOW):
        caught, used = run(program, scratch, 0, filters, 3600)
        if caught is not None:
            sys.exit(f"error: without a mutant {caught} fails")
        bases.append(used)
    print(f"without a mutant: {bases[0]:.0f} s and {bases[1]:.0f} s of processor time", flush=True)
    for number, mutant in mutants.items():
        if mutant["name"] in known:
            continue
        began, caught, used = time.monotonic(), None, 0
        for filters, base in zip((quick, SLOW), bases):
            caught, more = run(program, scratch, number, filters, int(base * 4) + 10)
            used += more
            if caught is not None:
                break
        with results.open("a") as lines:
            lines.write(json.dumps({"name": mutant["name"], "caught": caught, "cpu": round(used, 1), "seconds": round(time.monotonic() - began)}) + "\n")
        if caught is None:
            print(f"SURVIVES {mutant['name']}", flush=True)
    ran = [json.loads(line) for line in results.read_text().splitlines()]
    print(f"{len(ran)} mutants ran, {sum(line['caught'] is not None for line in ran)} caught")


if __name__ == "__main__":
    main()
