from shapes import area


def test_area():
    assert area(4, 2) == 8


def test_nothing_has_no_area():
    assert area(4, 0) == 0
