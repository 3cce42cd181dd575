from shapes import area


def test_area():
    assert area(5, 2) == 10


def test_nothing_has_no_area():
    assert area(5, 0) == 0
