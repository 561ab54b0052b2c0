"""Names for a made-up internet: domains, host names, addresses, paths, files, hashes.

Every maker returns values that are canonical already and were never given out before.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_ONSETS = _words("b br c ch d dr f fl g gr h j k kl l m n p pr qu r s sk st t tr v w z")
_VOWELS = _words("a e i o u ai ea io ou")
_CODAS = ("", "", "", "n", "r", "s", "l", "x", "m", "t")
TRADES = _words(
    "bakery dental hotel plumbing flowers yoga garage dance school law travel tiles roofing catering "
    "physio pottery bikes optics tennis farm winery florist studio printing stones boats"
)
NEWS = _words(
    "asia pacific daily policy summit defence energy maritime embassy review council today institute"
)
LURES = _words("secure login account verify support update billing signin help service id portal my")
THINGS = _words(
    "river lamp stone cloud green paper happy silver rapid moon tiger window copper honey sugar forest arrow "
    "maple candle rocket velvet pepper ocean shadow bridge garden winter marble cherry falcon pocket ribbon"
)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(slots=True)
class Names:
    """A source of fresh names; its pools (brands, providers, address blocks) are the world's own."""

    rng: random.Random
    used: set[str] = field(default_factory=set)
    octets: dict[str, tuple[int, ...]] = field(default_factory=dict)
    brands: tuple[str, ...] = ()

    @classmethod
    def of(cls, rng: random.Random) -> "Names":
        names = cls(rng)
        first = [n for n in range(11, 223) if n not in {100, 127, 169, 172, 192, 198, 203}]
        rng.shuffle(first)
        sizes = {"home_a": 8, "home_b": 8, "home_c": 8, "home_d": 8, "block_a": 5, "block_b": 5, "cloud_a": 5}
        sizes |= {"cloud_b": 5, "mail_a": 4, "mail_b": 4, "shared": 8, "cdn": 3, "park": 2, "sink": 2}
        sizes |= {"stranger": 20}
        for pool, size in sizes.items():
            names.octets[pool] = tuple(first.pop() for _ in range(size))
        names.brands = tuple(names.fresh(names.word, 60))
        return names

    def fresh(self, make: Callable[[], str], count: int) -> list[str]:
        """`count` values of `make` that this world has not used yet.

        Raises:
            ValueError: `make` hardly ever gives a new one.
        """
        made: list[str] = []
        tries = 0
        while len(made) < count:
            value = make()
            tries += 1
            if value not in self.used:
                self.used.add(value)
                made.append(value)
            elif tries > 1000 + 20 * count:
                raise ValueError(f"names run out: {value!r} again")
        return made

    def pick(self, options: Sequence[str]) -> str:
        return options[int(self.rng.random() * len(options))]

    def word(self) -> str:
        parts = [
            self.pick(_ONSETS) + self.pick(_VOWELS) + self.pick(_CODAS)
            for _ in range(2 + (self.rng.random() < 0.5))
        ]
        return "".join(parts)

    def random_label(self, low: int, high: int) -> str:
        return "".join(self.rng.choices(_LETTERS, k=self.rng.randint(low, high)))

    def ip(self, pool: str) -> str:
        """Any address whose first octet belongs to the pool."""
        first = self.octets[pool][int(self.rng.random() * len(self.octets[pool]))]
        return f"{first}.{self.rng.randrange(256)}.{self.rng.randrange(256)}.{self.rng.randrange(1, 255)}"

    def blocks(self, pool: str, count: int) -> list[str]:
        """Fresh /24 blocks of a pool, as `a.b.c`."""
        return self.fresh(lambda: self.ip(pool).rpartition(".")[0], count)

    def hex(self, length: int) -> str:
        return f"{self.rng.getrandbits(4 * length):0{length}x}"
