"""Rations: what a night may still send to a source is shared among the walks side by side, by what their questions promise.

Each indicator has a right to one lookup at each source, the first in the queue first; what nobody has a right to goes to
the questions that promise most. Where there is enough for all, nobody waits for anybody.
"""

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from threatwalk.analysis.walk import Admit, Wish
from threatwalk.errors import StoreError
from threatwalk.sample import Sample

Place = tuple[int, int]
"""Where an indicator stands in the queue: the least first."""

SPENT = "what is left of its quota goes to questions that promise more"


@dataclass(eq=False, slots=True)
class _Seat:
    """A walk under way: its place in the queue's order, and the sources at which it had its lookup."""

    place: Place
    had: set[str] = field(default_factory=set)


@dataclass(frozen=True, eq=False, slots=True)
class Bid:
    """A question that a walk would put, by the walk's place in the queue. `first`: it had no lookup at this source yet."""

    place: Place
    source: str
    promise: float
    first: bool


@dataclass(frozen=True, eq=False, slots=True)
class _Round:
    """What one walk would ask now at sources that are scarce, and who waits for what is let out of it."""

    bids: Sequence[Bid]
    left: Callable[[str], float]
    granted: asyncio.Future[set[Bid]]


class Rations:
    """The rations of one worker. `queued` counts the indicators that nobody has begun with; a walk asks at most `lookups`.

    A round of questions to a scarce source waits until every walk side by side has one, or is done.
    """

    def __init__(self, queued: Callable[[], int], *, lookups: int) -> None:
        self._queued = queued
        self._lookups = lookups
        self._seats: list[_Seat] = []
        self._rounds: list[_Round] = []

    @contextmanager
    def seat(
        self, place: Place, left: Callable[[str], float], knows: Callable[[str, Sample], bool]
    ) -> Iterator[Admit]:
        """A walk's place at the table, until it is done.

        `left` says how many questions to a source are left for the night (infinite: there is no limit), `knows` whether one
        costs nothing.
        """
        seat = _Seat(place)
        self._seats.append(seat)

        async def admit(wishes: Sequence[Wish]) -> list[str | None]:
            scarce = self._scarce({name: left(name) for name in {name for name, _, _ in wishes}})
            bids = {
                at: Bid(seat.place, name, promise, name not in seat.had)
                for at, (name, s, promise) in enumerate(wishes)
                if name in scarce and not knows(name, s)
            }
            granted = await self._granted(list(bids.values()), left) if bids else set()
            seat.had |= {bid.source for bid in granted} | ({name for name, _, _ in wishes} - scarce)
            return [
                f"{name}: {SPENT}" if at in bids and bids[at] not in granted else None
                for at, (name, _, _) in enumerate(wishes)
            ]

        try:
            yield admit
        finally:
            self._seats.remove(seat)
            self._settle()

    def _scarce(self, left: Mapping[str, float]) -> set[str]:
        """The sources of which all open indicators could want more than is left; of nothing the gate says itself why."""
        if all(some == math.inf for some in left.values()):
            return set()
        wanted = (len(self._seats) + self._queued()) * self._lookups
        return {name for name, some in left.items() if 0 < some < wanted}

    async def _granted(self, bids: list[Bid], left: Callable[[str], float]) -> set[Bid]:
        own = _Round(bids, left, asyncio.get_running_loop().create_future())
        self._rounds.append(own)
        self._settle()
        try:
            return await own.granted
        finally:
            if own in self._rounds:  # this walk was ended while it waited
                self._rounds.remove(own)

    def _settle(self) -> None:
        """Share out, where all walks wait."""
        if not self._rounds or len(self._rounds) < len(self._seats):
            return
        rounds, self._rounds = self._rounds, []
        bids = [bid for one in rounds for bid in one.bids]
        try:
            sources = {bid.source: one.left for one in rounds for bid in one.bids}
            left = {name: of(name) for name, of in sources.items()}
            granted = shared(
                bids, left, {name: self._queued() + self._without(name, bids) for name in sources}
            )
        except StoreError as err:
            for one in rounds:
                one.granted.set_exception(err)
            return
        for one in rounds:
            if not one.granted.done():
                one.granted.set_result(granted & set(one.bids))

    def _without(self, source: str, bids: Sequence[Bid]) -> int:
        """How many walks under way had no lookup at a source and ask for none now: they may later."""
        asking = {bid.place for bid in bids if bid.source == source}
        return sum(source not in seat.had and seat.place not in asking for seat in self._seats)


def shared(bids: Sequence[Bid], left: Mapping[str, float], reserved: Mapping[str, int]) -> set[Bid]:
    """The bids that are let out, with `left` questions to each source, of which so many are `reserved` for who does not bid now.

    Of each walk without a lookup at a source its best bid there goes first, in the queue's order; then the others, by what
    they promise, and leave what is reserved.
    """
    granted: set[Bid] = set()
    for source in dict.fromkeys(bid.source for bid in bids):
        ranked = sorted((b for b in bids if b.source == source), key=lambda b: (-b.promise, b.place))
        best = {bid.place: bid for bid in reversed(ranked) if bid.first}
        rights = [bid for _, bid in sorted(best.items())]
        others = [bid for bid in ranked if best.get(bid.place) is not bid]
        room = math.floor(min(left[source], len(ranked) + reserved[source]))
        granted.update((rights + others)[: max(0, min(room, max(len(rights), room - reserved[source])))])
    return granted
