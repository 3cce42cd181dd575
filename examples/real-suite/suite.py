"""Lists the tests of a library as atoms, and runs some or all of them with the standard unittest.

    suite.py atoms class|test [CLASS,CLASS ...]
        print each test class, or each test, on a line of its own; but classes given with commas between them,
        since they need each other, on one line in that order
    suite.py run FILE [NAME ...]
        run the named ones, or all, and write how each test ended into FILE

A line of FILE is `passed NAME`, `failed NAME` or `skipped NAME`. A test module that can not be imported
is an atom by itself, and one failed test, as it is for `python3 -m unittest discover`.
"""

import doctest
import sys
import unittest

TESTS_DIRECTORY = "tests"


def discover(pattern="test*.py"):
    """The tests of the modules that `pattern` fits, in the order of unittest."""
    suite = unittest.defaultTestLoader.discover(TESTS_DIRECTORY, pattern, top_level_dir=".")
    return list(flatten(suite))


def flatten(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from flatten(item)
        else:
            yield item


def names(test):
    """A test's own name and that of its class, such as `tests.test_more.FirstTests`.

    A doctest is named for what it documents. Its class gets a name of its own, since otherwise that of the
    doctests of a class's methods would be that of the doctest of the class.
    """
    prefix = "unittest.loader._FailedTest."
    if test.id().startswith(prefix):
        module = test.id().removeprefix(prefix)
        return module, module
    outer = test.id().rpartition(".")[0]
    return test.id(), f"doctest:{outer}" if isinstance(test, doctest.DocTestCase) else outer


def print_atoms(kind, together):
    line_of = {name: " ".join(line.split(",")) for line in together for name in line.split(",")}
    lines = []
    for test in discover():
        test_name, class_name = names(test)
        lines.append(line_of.get(class_name, test_name if kind == "test" else class_name))
    # A dict, since it forgets repetitions and keeps the order.
    print("\n".join(dict.fromkeys(lines)))


def named(name):
    """The tests of the class or test called `name`."""
    directory, _, rest = name.partition(".")
    # To import one module is quicker; but doctests have the name of what they document.
    tests = discover(rest.split(".")[0] + ".py") if directory == TESTS_DIRECTORY else discover()
    found = [test for test in tests if name in names(test)]
    if not found:
        sys.exit(f"there is no test called {name}")
    return found


class Outcomes(unittest.TextTestResult):
    """What unittest prints, and how each test ended in `ends`; with several ends, failed wins."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.ends = {}

    def note(self, test, end):
        if self.ends.get(test.id()) != "failed":
            self.ends[test.id()] = end

    def addSuccess(self, test):
        super().addSuccess(test)
        self.note(test, "passed")

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self.note(test, "passed")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.note(getattr(test, "test_case", test), "skipped")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.note(test, "failed")

    def addError(self, test, err):
        super().addError(test, err)
        self.note(test, "failed")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.note(test, "failed")

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.note(test, "failed")


def run(file, wanted):
    tests = [test for name in wanted for test in named(name)] if wanted else discover()
    runner = unittest.TextTestRunner(sys.stdout, verbosity=2, resultclass=Outcomes)
    result = runner.run(unittest.TestSuite(tests))
    with open(file, "w", encoding="utf-8") as lines:
        for name, end in sorted(result.ends.items()):
            print(end, name, file=lines)
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["atoms", "class" | "test" as kind, *together]:
            print_atoms(kind, together)
        case ["run", file, *wanted]:
            sys.exit(run(file, wanted))
        case _:
            sys.exit(__doc__)
