import unittest

from shapes import circle_area


class CircleTest(unittest.TestCase):
    def test_area(self):
        self.assertAlmostEqual(circle_area(2), 12.566370614)

    def test_negative_radius_is_refused(self):
        with self.assertRaises(ValueError):
            circle_area(-1)
