"""Figure 5: a sample set as JSON, as Unicode code points, cut at m characters and padded.

    {hostname staffsolut.nichost.ru}
    -> '["hostname:staffsolut.nichost.ru"]'        to_json
    -> 91 34 104 111 115 116 110 97 109 101 ...    code_points
    -> 91 34 104 111 115 ... 34 93 0 0 0           fixed_length, m numbers
    -> 0.711 0.266 0.813 ... 0 0 0                 scaled

A set has no order, so its samples are written sorted: equal sets give equal vectors. JSON escapes
what is not ASCII, so every code point is below 128; divided by 0x10FFFF they would all vanish.
"""

import json
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from threatwalk.learning.compiled import compiled
from threatwalk.learning.dataset import Ints, Longs
from threatwalk.sample import Sample

ENCODING_VERSION = "code-points-1"  # carried by every model; another one is an error, not a guess
PAD = 0
_SCALE = 128.0
_OPEN, _COMMA, _CLOSE = b"[,]"

Codes = NDArray[np.uint8]


def to_json(samples: Iterable[Sample]) -> str:
    """The canonical JSON text of a sample set: a sorted list of `kind:value`, ASCII only."""
    return json.dumps([str(s) for s in sorted(samples)], separators=(",", ":"))


def code_points(text: str) -> list[int]:
    """The Unicode code point of each character."""
    return [ord(c) for c in text]


def fixed_length(codes: Sequence[int], m: int) -> Codes:
    """`codes` cut at m, or padded with 0 to m.  (m,) uint8"""
    vector = np.full(m, PAD, dtype=np.uint8)
    cut = codes[:m]
    vector[: len(cut)] = cut
    return vector


def encode(samples: Iterable[Sample], m: int) -> Codes:
    """All of figure 5 but the scale: what replay memories keep.  (m,) uint8"""
    return fixed_length(code_points(to_json(samples)), m)


def scaled(codes: Codes) -> NDArray[np.float32]:
    """Code points as the network reads them: in [0, 1)."""
    return codes.astype(np.float32) / np.float32(_SCALE)


class Encoder:
    """`encode` for many sets of numbered samples at once, as a compiled loop."""

    def __init__(self, samples: Sequence[Sample], m: int) -> None:
        """`samples[i]` is the sample with number i."""
        order = sorted(range(len(samples)), key=samples.__getitem__)
        words = [json.dumps(str(samples[i])).encode("ascii")[:m] for i in order]
        self._m = m
        self._rank = np.empty(len(samples), dtype=np.int64)
        self._rank[order] = np.arange(len(samples))
        self._text = np.frombuffer(b"".join(words), dtype=np.uint8)  # every sample as JSON, by rank
        self._ends = np.cumsum([0, *map(len, words)])

    def __call__(self, order: Ints, count: Longs, rows: Longs) -> Codes:
        """The vectors of the sets order[row, : count[row]], as `env.BatchEnv` holds them.  (n, m) uint8"""
        codes = np.full((len(rows), self._m), PAD, dtype=np.uint8)
        _write(self._rank, self._text, self._ends, order, count, rows, codes)
        return codes


@compiled
def _write(
    rank: Longs, text: Codes, ends: Longs, order: Ints, count: Longs, rows: Longs, codes: Codes
) -> None:
    """Only the first samples survive the cut, so no more are sorted: no word is shorter than `"md5:x",`."""
    m = codes.shape[1]
    most = m // 8 + 1
    first = np.empty(most + 1, np.int64)  # the lowest ranks so far, ascending
    for i in range(len(rows)):
        held = 0
        for at in range(count[rows[i]]):
            new = rank[order[rows[i], at]]
            if held == most and new > first[held - 1]:
                continue
            place = held
            while place > 0 and first[place - 1] > new:
                first[place] = first[place - 1]
                place -= 1
            first[place] = new
            held = min(held + 1, most)
        codes[i, 0] = _OPEN
        end = 1
        for at in range(held):
            if at > 0 and end < m:
                codes[i, end] = _COMMA
                end += 1
            for character in range(ends[first[at]], min(ends[first[at] + 1], ends[first[at]] + m - end)):
                codes[i, end] = text[character]
                end += 1
        if end < m:
            codes[i, end] = _CLOSE
