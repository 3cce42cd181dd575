import unittest

from shapes import rectangle_area


class RectangleAreaTest(unittest.TestCase):
    def test_area(self):
        self.assertEqual(rectangle_area(3, 4), 12)

    def test_a_line_has_no_area(self):
        self.assertEqual(rectangle_area(3, 0), 0)
