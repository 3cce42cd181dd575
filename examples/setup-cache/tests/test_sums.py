"""A test that needs what the set-up installs."""

import pytest


@pytest.mark.parametrize(("one", "other", "total"), [(1, 2, 3), (2, 2, 4)])
def test_sums(one, other, total):
    assert one + other == total
