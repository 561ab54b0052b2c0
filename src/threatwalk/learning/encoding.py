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

from threatwalk.sample import Sample

ENCODING_VERSION = "code-points-1"  # carried by every model; another one is an error, not a guess
PAD = 0
_SCALE = 128.0

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
    """`encode` for sets of numbered samples, at the price of the characters that survive the cut."""

    def __init__(self, samples: Sequence[Sample], m: int) -> None:
        """`samples[i]` is the sample with number i."""
        order = sorted(range(len(samples)), key=samples.__getitem__)
        self._m = m
        self._rank = np.empty(len(samples), dtype=np.int64)
        self._rank[order] = np.arange(len(samples))
        self._words = [json.dumps(str(samples[i])) for i in order]  # by rank

    def __call__(self, ids: NDArray[np.integer]) -> Codes:
        """The vector of the set of these numbers.  (m,) uint8"""
        parts: list[str] = []
        length = 1
        ranks = self._rank[ids]
        if len(ranks) > self._m // 8:  # no word is shorter than `"md5:x",`
            ranks = np.partition(ranks, self._m // 8)[: self._m // 8 + 1]
        for rank in np.sort(ranks).tolist():
            parts.append(self._words[rank])
            length += len(parts[-1]) + 1
            if length > self._m:
                break
        text = ("[" + ",".join(parts) + "]").encode("ascii")[: self._m]
        vector = np.full(self._m, PAD, dtype=np.uint8)
        vector[: len(text)] = np.frombuffer(text, dtype=np.uint8)
        return vector
