import unittest

from basket.basket import Basket


class Prices(unittest.TestCase):
    def test_an_empty_basket_costs_nothing(self):
        self.assertEqual(Basket().total(), 0)

    def test_every_thing_counts(self):
        basket = Basket()
        basket.add('pear', 30, 3)
        basket.add('bread', 250)
        self.assertEqual(basket.total(), 340)


class Counts(unittest.TestCase):
    def test_the_same_thing_twice(self):
        basket = Basket()
        basket.add('pear', 30)
        basket.add('pear', 30, 2)
        self.assertEqual(len(basket), 3)


class Mistakes(unittest.TestCase):
    def test_nothing_is_not_added(self):
        with self.assertRaisesRegex(ValueError, '0 of pear'):
            Basket().add('pear', 30, 0)
