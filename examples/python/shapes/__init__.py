"""Areas and perimeters, in order to have something to test."""

import math


def circle_area(radius):
    """The area of a circle; a negative radius is an error."""
    if radius < 0:
        raise ValueError("a radius is not negative")
    return math.pi * radius**2


def rectangle_area(width, height):
    """The area of a rectangle."""
    return width * height


def rectangle_perimeter(width, height):
    """The way around a rectangle."""
    return 2 * (width + height)
