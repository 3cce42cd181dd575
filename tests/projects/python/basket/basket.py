"""A basket of things that cost cents."""


class Basket:
    def __init__(self):
        self.things = {}

    def add(self, name, cents, count=1):
        if cents < 0 or count < 1:
            raise ValueError(f'{count} of {name} for {cents} cents')
        have, _ = self.things.get(name, (0, cents))
        self.things[name] = (have + count, cents)

    def total(self):
        return sum(count * cents for count, cents in self.things.values())

    def __len__(self):
        return sum(count for count, _ in self.things.values())
