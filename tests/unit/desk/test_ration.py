"""Who is let out where a source has too little for all: nobody starves, and the rest goes to what promises most."""

import asyncio
import math
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from threatwalk.archive import database
from threatwalk.desk.allowance import Allowance, allowed
from threatwalk.desk.ration import NIGHT_SPENT, SPENT, Bid, Rations, Right, shared
from threatwalk.errors import StoreError
from threatwalk.sample import Kind, Sample

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
HOST = Sample(Kind.HOSTNAME, "h.example.com")

places = st.tuples(st.integers(0, 1), st.integers(0, 3))
bids = st.lists(
    st.builds(
        Bid, places, st.sampled_from(["otx", "vt"]), st.sampled_from([0.01, 0.02, 0.03, 0.5]), st.booleans()
    ),
    max_size=20,
)
room = st.floats(0, 30) | st.just(math.inf)


@given(bids=bids, otx=room, vt=room, reserved=st.integers(0, 12))
def test_no_more_than_is_left_is_let_out_and_what_is_reserved_stays(
    bids: list[Bid], otx: float, vt: float, reserved: int
) -> None:
    left = {"otx": otx, "vt": vt}
    granted = shared(bids, left, dict.fromkeys(left, reserved))

    assert granted <= set(bids)
    for source, most in left.items():
        some = [b for b in bids if b.source == source]
        out = [b for b in some if b in granted]
        rights = {b.place for b in some if b.first}
        assert len(out) <= most
        assert len(out) <= max(len(rights), most - reserved)
        assert len(out) == min(len(some), math.floor(min(most, max(len(rights), most - reserved, 0), 99)))


@given(bids=bids, left=st.integers(0, 25), reserved=st.integers(0, 12))
def test_no_walk_has_a_second_lookup_before_every_one_had_its_best(
    bids: list[Bid], left: int, reserved: int
) -> None:
    granted = shared(bids, {"otx": left, "vt": left}, {"otx": reserved, "vt": reserved})

    for source in ("otx", "vt"):
        some = [b for b in bids if b.source == source]
        waiting = sorted({b.place for b in some if b.first})
        served = [p for p in waiting if any(b in granted for b in some if b.place == p and b.first)]
        assert served[: min(left, len(waiting))] == waiting[:left]
        for place in served:
            own = [b for b in some if b.place == place]
            assert max(b.promise for b in own if b.first) == max(
                b.promise for b in own if b in granted and b.first
            )
        if len(waiting) >= left:
            assert sum(b in granted for b in some) == left or len(some) < left


@given(bids=bids, left=st.integers(0, 25), reserved=st.integers(0, 12))
def test_beyond_the_rights_nothing_is_let_out_before_what_promises_more(
    bids: list[Bid], left: int, reserved: int
) -> None:
    plain = [Bid(b.place, b.source, b.promise, first=False) for b in bids]
    granted = shared(plain, {"otx": left, "vt": left}, {"otx": reserved, "vt": reserved})

    for source in ("otx", "vt"):
        some = [b for b in plain if b.source == source]
        out, held = (
            [(b.promise, -b.place[0], -b.place[1]) for b in some if (b in granted) is which]
            for which in (True, False)
        )
        assert not out or not held or min(out) >= max(held)


class Source:
    """Grants so many questions, and counts who was let out."""

    def __init__(self, quota: float) -> None:
        self.quota = quota
        self.out: list[int] = []

    def left(self, _name: str) -> float:
        return self.quota - len(self.out)


async def walks(
    source: Source, wants: Sequence[Sequence[float]], batch: int, known: frozenset[Sample] = frozenset()
) -> list[list[str | None]]:
    """Walks of one question a round, so many side by side; what each was told."""
    begun = 0
    rations = Rations(lambda: len(wants) - begun, lookups=9)
    said: list[list[str | None]] = [[] for _ in wants]

    async def worker() -> None:
        nonlocal begun
        while begun < len(wants):
            number, begun = begun, begun + 1
            with rations.seat((0, number), Right(), source.left, lambda _name, s: s in known) as admit:
                for promise in wants[number]:
                    [refused] = await admit([("otx", HOST, promise)])
                    if refused is None and HOST not in known and source.left("otx") < 1:
                        refused = "the gate says that it is spent"
                    said[number].append(refused)
                    if refused is None and HOST not in known:
                        source.out.append(number)
                    await asyncio.sleep(0)

    await asyncio.wait_for(asyncio.gather(*(worker() for _ in range(batch))), 20)
    return said


@settings(deadline=None)
@given(
    wants=st.lists(st.lists(st.floats(0.005, 1), min_size=1, max_size=6), min_size=1, max_size=15),
    quota=st.integers(0, 60),
    batch=st.integers(1, 6),
)
def test_a_night_passes_no_quota_and_starves_nobody_that_it_could_serve(
    wants: list[list[float]], quota: int, batch: int
) -> None:
    source = Source(quota)
    said = asyncio.run(walks(source, wants, batch))

    assert [len(one) for one in said] == [len(one) for one in wants]
    assert len(source.out) <= quota
    served = [None in one for one in said]
    assert served == [number < quota for number in range(len(wants))] or all(served)
    assert all(served) or quota < len(wants)


class Night:
    """A night of so many lookups over all its walks, in a database of its own."""

    def __init__(self, most: int) -> None:
        self.engine = database.engine("sqlite://")
        self.waiting = 0
        self.allowance = Allowance(self.engine, "night", most, now=MOMENT, waiting=lambda _: self.waiting)
        self.out: list[int] = []  # who put a question, in this order

    def claims(self) -> bool:
        """As a claim of the queue does, whose indicator this test makes up: one that waits less, and one lookup less."""
        with database.transaction(self.engine) as connection:
            if self.waiting == 0 or self.allowance.held(connection) == 0:
                return False
            self.waiting -= 1
            self.allowance.count(connection, 1)
        return True

    async def walks(self, wants: Sequence[Sequence[float]], batch: int) -> list[list[str | None]]:
        """Walks of one question a round, so many side by side; what each was told, nothing where it was not begun."""
        self.waiting = len(wants)
        rations = Rations(lambda: self.waiting, lookups=6, allowance=self.allowance)
        said: list[list[str | None]] = [[] for _ in wants]

        async def worker() -> None:
            while self.claims():
                number = len(wants) - self.waiting - 1
                with (
                    rations.right() as right,
                    rations.seat((0, number), right, lambda _: math.inf, lambda *_: False) as admit,
                ):
                    for promise in wants[number]:
                        spare = rations.spare(right)
                        said[number] += await admit([("otx", HOST, promise)])
                        assert spare > 0 or said[number][-1]
                        self.out += [] if said[number][-1] else [number]
                        await asyncio.sleep(0)

        await asyncio.wait_for(asyncio.gather(*(worker() for _ in range(batch))), 20)
        return said

    def used(self) -> int:
        """... in the end: the database is gone then."""
        [one] = allowed(self.engine)
        self.engine.dispose()
        return one.used


@settings(deadline=None, max_examples=60)
@given(
    wants=st.lists(st.lists(st.floats(0.005, 1), max_size=6), min_size=1, max_size=12),
    most=st.integers(1, 60),
    batch=st.integers(1, 6),
)
def test_a_nights_lookups_reach_for_one_each_and_no_further(
    wants: list[list[float]], most: int, batch: int
) -> None:
    night = Night(most)
    said = asyncio.run(night.walks(wants, batch))

    assert night.used() == len(night.out) <= most
    if most >= len(wants):
        assert set(night.out) == {number for number, own in enumerate(wants) if own}
    if most >= sum(map(len, wants)) + len(wants):
        assert not any(why for own in said for why in own)


def test_of_a_nights_lookups_the_rest_goes_to_what_promises_most() -> None:
    night = Night(5)
    said = asyncio.run(night.walks([[0.1, 0.2], [0.1, 0.9], [0.1, 0.2]], batch=3))

    assert said == [[None, None], [None, None], [None, NIGHT_SPENT]]
    assert night.used() == 5


def test_what_a_scarce_source_refuses_costs_the_night_nothing() -> None:
    night = Night(4)
    rations = Rations(lambda: 0, lookups=9, allowance=night.allowance)
    other = Sample(Kind.HOSTNAME, "i.example.com")

    async def walk() -> list[str | None]:
        night.waiting = 1
        assert night.claims()
        with rations.right() as right:
            left = {"otx": 1.0, "vt": math.inf}
            with rations.seat((0, 1), right, left.__getitem__, lambda *_: False) as admit:
                wishes = [("otx", HOST, 0.1), ("otx", other, 0.2), ("vt", HOST, 0.3), ("vt", other, 0.3)]
                return list(await admit([*wishes, ("vt", Sample(Kind.HOSTNAME, "j.example.com"), 0.01)]))

    said = asyncio.run(walk())

    assert said == [f"otx: {SPENT}", None, None, None, None]
    assert night.used() == 4


def test_a_right_that_is_not_used_is_given_back_whatever_becomes_of_its_walk() -> None:
    night = Night(1)
    rations = Rations(lambda: 0, lookups=9, allowance=night.allowance)

    def walk() -> None:
        night.waiting = 2
        assert (night.claims(), night.claims()) == (True, False)
        with rations.right():
            raise RuntimeError

    with pytest.raises(RuntimeError):
        walk()
    assert night.used() == 0


def test_a_promise_beats_another_one_and_age_settles_a_tie() -> None:
    source = Source(5)
    said = asyncio.run(walks(source, [[0.1, 0.2], [0.1, 0.9], [0.1, 0.2]], batch=3))

    assert said == [[None, None], [None, None], [None, f"otx: {SPENT}"]]


def test_where_there_is_enough_nobody_waits() -> None:
    async def alone() -> list[str | None]:
        rations = Rations(lambda: 0, lookups=9)
        with (
            rations.seat((0, 1), Right(), Source(18).left, lambda *_: False) as admit,
            rations.seat((0, 1), Right(), Source(18).left, lambda *_: False),
        ):
            return list(await asyncio.wait_for(admit([("otx", HOST, 0.1)]), 5))

    assert asyncio.run(alone()) == [None]


def test_what_the_archive_knows_costs_nothing() -> None:
    assert asyncio.run(walks(Source(0), [[0.1], [0.1]], 2, known=frozenset({HOST}))) == [[None], [None]]


async def test_a_walk_that_is_ended_while_it_waits_holds_up_nobody() -> None:
    rations, source = Rations(lambda: 0, lookups=9), Source(1)

    async def waits() -> list[str | None]:
        with rations.seat((0, 1), Right(), source.left, lambda *_: False) as admit:
            return list(await admit([("otx", HOST, 0.1)]))

    with rations.seat((0, 1), Right(), source.left, lambda *_: False) as admit:
        ended = asyncio.create_task(waits())
        await asyncio.sleep(0)
        ended.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ended
        assert list(await asyncio.wait_for(admit([("otx", HOST, 0.1)]), 5)) == [None]


async def test_a_database_that_is_gone_is_said_to_every_walk() -> None:
    calls = 0

    def left(_name: str) -> float:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise StoreError("the disk is full")
        return 1.0

    rations = Rations(lambda: 0, lookups=9)
    with (
        rations.seat((0, 1), Right(), left, lambda *_: False) as one,
        rations.seat((0, 2), Right(), left, lambda *_: False) as two,
    ):
        wishes = [("otx", HOST, 0.1)]
        done = await asyncio.gather(one(wishes), two(wishes), return_exceptions=True)

    assert [type(said) for said in done] == [StoreError] * 2
