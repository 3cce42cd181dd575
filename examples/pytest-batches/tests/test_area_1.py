from shapes import area


def test_area():
    assert area(1, 2) == 2


def test_nothing_has_no_area():
    assert area(1, 0) == 0
