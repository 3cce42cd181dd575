from shapes import area


def test_area():
    assert area(6, 2) == 12


def test_nothing_has_no_area():
    assert area(6, 0) == 0
