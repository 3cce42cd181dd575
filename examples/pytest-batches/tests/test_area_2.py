from shapes import area


def test_area():
    assert area(2, 2) == 4


def test_nothing_has_no_area():
    assert area(2, 0) == 0
