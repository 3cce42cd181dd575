from shapes import area


def test_area():
    assert area(3, 2) == 6


def test_nothing_has_no_area():
    assert area(3, 0) == 0
