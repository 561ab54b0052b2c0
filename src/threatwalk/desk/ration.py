"""Rations: what a night may still send to a source, and ask in all, is shared among the walks side by side, by what their
questions promise.

Each indicator has a right to one lookup at each source and to one of the night, the first in the queue first; what nobody
has a right to goes to the questions that promise most. Where there is enough for all, nobody waits for anybody.
"""

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from threatwalk.analysis.walk import Admit, Wish
from threatwalk.desk.allowance import Allowance
from threatwalk.errors import BusyError, StoreError
from threatwalk.sample import Sample

Place = tuple[int, int]
"""Where an indicator stands in the queue: the least first."""

SPENT = "what is left of its quota goes to questions that promise more"
NIGHT = ""
"""What all walks of a night may ask together, beside the sources and what each of them still takes."""
NIGHT_SPENT = "what is left of the night's lookups goes to questions that promise more, and to who had none"


@dataclass(eq=False, slots=True)
class Right:
    """A lookup of the night that is kept for one walk from before it begins, until it is used."""

    used: bool = False


@dataclass(eq=False, slots=True)
class _Seat:
    """A walk under way: its place in the queue's order, and the sources at which it had its lookup."""

    place: Place
    had: set[str] = field(default_factory=set)


@dataclass(frozen=True, eq=False, slots=True)
class Bid:
    """A question that a walk would put, by the walk's place in the queue. `first`: it had no lookup at this source yet.

    `source` may be NIGHT.
    """

    place: Place
    source: str
    promise: float
    first: bool


Bids = tuple[Bid, ...]
"""Of one question, all of which it needs: at its source where that is scarce, and of the night where it has a bound."""


@dataclass(frozen=True, eq=False, slots=True)
class _Round:
    """What one walk would ask now, and who waits for what is let out of it."""

    questions: Sequence[Bids]
    left: Callable[[str], float]
    granted: asyncio.Future[set[Bid]]


class Rations:
    """The rations of one worker. `queued` counts the indicators that nobody has begun with; a walk asks at most `lookups`.

    A round of questions waits, where a source of it or the night is scarce, until every walk side by side has one, or is done.
    `allowance` is what the workers of a night may ask together (None: there is no bound).
    """

    def __init__(
        self, queued: Callable[[], int], *, lookups: int, allowance: Allowance | None = None
    ) -> None:
        self._queued = queued
        self._lookups = lookups
        self._allowance = allowance
        self._seats: list[_Seat] = []
        self._rounds: list[_Round] = []

    @contextmanager
    def right(self) -> Iterator[Right]:
        """A walk's right to one lookup of the night, given back where it is not used.

        The claim of its indicator took it: so no worker can ask away what another one's walk is to have.
        """
        right = Right()
        try:
            yield right
        finally:
            if self._allowance and not right.used:
                self._allowance.give_back(1)

    def spare(self, right: Right) -> float:
        """How many lookups the night has for who holds this right, less one for each indicator that nobody has begun with."""
        if self._allowance is None:
            return math.inf
        return self._allowance.spare() + (not right.used)

    @contextmanager
    def seat(
        self,
        place: Place,
        right: Right,
        left: Callable[[str], float],
        knows: Callable[[str, Sample], bool],
    ) -> Iterator[Admit]:
        """A walk's place at the table, until it is done.

        `left` says how many questions to a source are left for the night (infinite: there is no limit), `knows` whether one
        costs nothing of them.
        """
        seat = _Seat(place)
        self._seats.append(seat)

        async def admit(wishes: Sequence[Wish]) -> list[str | None]:
            names = {name for name, _, _ in wishes}
            scarce = self._scarce({**{name: left(name) for name in names}, NIGHT: self.spare(right)})

            def bids(name: str, s: Sample, promise: float) -> Iterator[Bid]:
                if name in scarce and not knows(name, s):
                    yield Bid(place, name, promise, name not in seat.had)
                if self._allowance:
                    yield Bid(place, NIGHT, promise, not right.used)

            questions = [tuple(bids(*wish)) for wish in wishes]
            waits = NIGHT in scarce or any(bid.source != NIGHT for one in questions for bid in one)
            granted = await self._granted(questions, left, waits=waits) if any(questions) else set()
            out = [bid for one in questions if granted.issuperset(one) for bid in one]
            seat.had |= {bid.source for bid in out} | (names - scarce)
            right.used = right.used or any(bid.source == NIGHT for bid in out)
            return [_why(name, one, granted) for (name, _, _), one in zip(wishes, questions, strict=True)]

        try:
            yield admit
        finally:
            self._seats.remove(seat)
            self._settle()

    def _scarce(self, left: Mapping[str, float]) -> set[str]:
        """Of what all open indicators could want more than is left; of nothing the gate says itself why."""
        if all(some == math.inf for some in left.values()):
            return set()
        wanted = (len(self._seats) + self._queued()) * self._lookups
        return {name for name, some in left.items() if 0 < some < wanted}

    async def _granted(self, questions: list[Bids], left: Callable[[str], float], *, waits: bool) -> set[Bid]:
        own = _Round(questions, left, asyncio.get_running_loop().create_future())
        if not waits:
            return self._shared([own])
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
        try:
            granted = self._shared(rounds)
        except (StoreError, BusyError) as err:
            for one in rounds:
                one.granted.set_exception(err)
            return
        for one in rounds:
            if not one.granted.done():
                one.granted.set_result(granted)

    def _shared(self, rounds: Sequence[_Round]) -> set[Bid]:
        """What is let out of these rounds: first each source is shared out, then the night among what that let out."""
        questions = [one for each in rounds for one in each.questions]
        bids = [bid for one in questions for bid in one if bid.source != NIGHT]
        sources = {bid.source: one.left for one in rounds for each in one.questions for bid in each}
        left = {name: of(name) for name, of in sources.items() if name != NIGHT}
        reserved = {name: self._queued() + self._without(name, bids) for name in left}
        granted = shared(bids, left, reserved)
        nights = [
            bid for one in questions for bid in one if bid.source == NIGHT and granted.issuperset(one[:-1])
        ]
        return granted | self._of_the_night(nights)

    def _of_the_night(self, bids: Sequence[Bid]) -> set[Bid]:
        """The rights of these walks were taken before they began; what is more is taken now, as far as others' are kept."""
        if self._allowance is None:
            return set()
        rights = len({bid.place for bid in bids if bid.first})
        more = self._allowance.take(len(bids) - rights)
        return shared(bids, {NIGHT: rights + more}, {NIGHT: 0})

    def _without(self, source: str, bids: Sequence[Bid]) -> int:
        """How many walks under way had no lookup at a source and ask for none now: they may later."""
        asking = {bid.place for bid in bids if bid.source == source}
        return sum(source not in seat.had and seat.place not in asking for seat in self._seats)


def _why(name: str, bids: Bids, granted: set[Bid]) -> str | None:
    """Why a question is not put; None: it is."""
    refused = next((bid for bid in bids if bid not in granted), None)
    if refused is None:
        return None
    return NIGHT_SPENT if refused.source == NIGHT else f"{name}: {SPENT}"


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
