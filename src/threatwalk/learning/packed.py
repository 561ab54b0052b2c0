"""The graph as walks read it: all that a sample was ever answered by lies together, in as few bytes as can be.

Waiting for memory is most of a step. So the answers about a sample stand one after the other, filter by filter,
and where they begin is one line of memory. A walk looks further (at who said something, and when) only where the
leak audit may hold something back.
"""

from typing import NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from threatwalk.errors import DataError
from threatwalk.learning.compiled import compiled
from threatwalk.learning.dataset import NEVER, NO_GROUP, UNDATED, Dataset, Ints, Longs

KIND_AT = 27  # the bits of an edge below are the sample found, those above its kind
FOUND = np.uint32((1 << KIND_AT) - 1)
_FILTERS = 30  # so many bits of a number are left beside two marks (outlook.py)
_LINE = 16  # numbers of 32 bits that the processor reads at once
_NARROW = 1 << 31  # edges that 32 bits can number

N = TypeVar("N", bound=np.generic)


class Packed(NamedTuple):
    """Of N samples, F filters and E edges.

    answered (N,): the filters that found something, as bits. edges (E,): kind << KIND_AT | sample of what filter f
    found of sample s are edges[lines[s, f] : lines[s, f + 1]], in the order of the dataset. lines[s, F + 1] is the
    day from which the audit lets all edges of s pass (NEVER: each must be looked at).
    """

    answered: Ints
    lines: NDArray[np.signedinteger]
    edges: NDArray[np.uint32]


_MADE = WeakKeyDictionary[Dataset, Packed]()


def packed(data: Dataset) -> Packed:
    """A dataset, packed when this is first asked.

    Raises:
        DataError: it has too many samples or filters to number them so.
    """
    if data not in _MADE:
        keep(data, _packed(data))
    return _MADE[data]


def keep(data: Dataset, made: Packed) -> None:
    """Let this be its packed form."""
    _MADE[data] = made


def _packed(data: Dataset) -> Packed:
    if len(data.kind) > 1 << KIND_AT:
        raise DataError(f"{len(data.kind):,} samples are more than {1 << KIND_AT:,}: compile fewer reports")
    if len(data.filters) > _FILTERS:
        raise DataError(f"{len(data.filters)} filters are more than {_FILTERS}: compile with fewer")
    edges = int(
        (data.indptr[:, -1] - data.indptr[:, 0]).sum()
    )  # filters may share theirs (bench/practice.py)
    made = empty(len(data.kind), len(data.filters), edges)
    _pack(
        frozen(data.indptr),
        frozen(data.found),
        frozen(data.kind),
        frozen(data.first_day),
        frozen(data.first_group),
        made,
    )
    return made


def empty(samples: int, filters: int, edges: int) -> Packed:
    """With room for so many; every row of `lines` begins where a line of memory does."""
    width = -(-(filters + 2) // _LINE) * _LINE
    number = np.dtype(np.int32 if edges < _NARROW else np.int64)
    room = np.zeros((samples * width + _LINE) * number.itemsize, dtype=np.uint8)
    begin = -room.ctypes.data % (_LINE * 4)
    lines = room[begin : begin + samples * width * number.itemsize].view(number).reshape(samples, width)
    return Packed(np.zeros(samples, dtype=np.int32), lines, np.empty(edges, dtype=np.uint32))


def frozen(array: NDArray[N]) -> NDArray[N]:
    """Mapped from a file or made in memory, an array is of one type: the loops are compiled once."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


@compiled
def _pack(
    indptr: Longs, found: Ints, kind: NDArray[np.uint8], first_day: Ints, first_group: Ints, to: Packed
) -> None:
    answered, lines, edges = to
    filters, at = len(indptr), 0
    for sample in range(len(kind)):
        newest = UNDATED
        for f in range(filters):
            lines[sample, f] = at
            for edge in range(indptr[f, sample], indptr[f, sample + 1]):
                edges[at] = kind[found[edge]] << KIND_AT | found[edge]
                newest = max(newest, first_day[edge] if first_group[edge] == NO_GROUP else NEVER)
                at += 1
            answered[sample] |= (at > lines[sample, f]) << f
        lines[sample, filters], lines[sample, filters + 1] = at, newest
