import unittest

from shapes import rectangle_perimeter


class RectanglePerimeterTest(unittest.TestCase):
    def test_perimeter(self):
        self.assertEqual(rectangle_perimeter(3, 4), 14)
