"""Where samples stand in a text: the number of the first line that holds each as a word."""

import re
from collections.abc import Iterator, Mapping
from functools import cached_property

from threatwalk.sample import LONGEST, Sample, SampleSet, refang

_BETWEEN = str.maketrans(dict.fromkeys(",;|\"'`<>", " "))
_AROUND = ".,:;!?()[]{}*_"
_may_be_fanged = re.compile(r"[\[({]|\bh[tx*]{2}p|[^ -~]").search
_SHORTEST_HASH = 32


class Lines(Mapping[Sample, str]):
    """The line of each sample, from 1, as far as it stands there as one word, defanged or not.

    Looked up when somebody asks: it takes a third of the time that reading the text took.
    """

    def __init__(self, content: str, goal: SampleSet) -> None:
        self._content = content
        self._goal = goal

    @cached_property
    def _places(self) -> dict[Sample, str]:
        return _places(self._content, self._goal)

    def __getitem__(self, one: Sample) -> str:
        return self._places[one]

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _places(content: str, goal: SampleSet) -> dict[Sample, str]:
    wanted = {one.value: one for one in goal}
    places: dict[Sample, str] = {}
    met: set[str] = set()
    for number, line in enumerate(content.translate(_BETWEEN).splitlines(), 1):
        for word in line.split():
            if word in met or ("." not in word and ":" not in word and len(word) < _SHORTEST_HASH):
                continue
            met.add(word)
            for form in _forms(word):
                if form in wanted:
                    places[wanted.pop(form)] = str(number)
                    break
        if not wanted:
            break
    return places


def _forms(word: str) -> Iterator[str]:
    """What a word may be as a sample's value, the commonest first."""
    bare = word.replace("[.]", ".").strip(_AROUND)
    yield bare
    if len(bare) <= LONGEST:
        plain = refang(bare) if _may_be_fanged(bare) else bare
        low = plain.lower()
        yield from (plain, low, f"{low}/", low.rpartition(":")[0])
