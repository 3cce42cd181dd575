"""Prints the classes of tests, one a line."""
import os
import sys
import unittest

sys.path.insert(0, os.getcwd())


def cases(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from cases(test)
        else:
            yield f'{type(test).__module__}.{type(test).__qualname__}'


print('\n'.join(sorted(set(cases(unittest.TestLoader().discover('tests', top_level_dir='.'))))))
