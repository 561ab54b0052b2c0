"""Who is let out where a source has too little for all: nobody starves, and the rest goes to what promises most."""

import asyncio
import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from threatwalk.desk.ration import SPENT, Bid, Rations, shared
from threatwalk.errors import StoreError
from threatwalk.sample import Kind, Sample

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
            with rations.seat((0, number), source.left, lambda _name, s: s in known) as admit:
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


def test_a_promise_beats_another_one_and_age_settles_a_tie() -> None:
    source = Source(5)
    said = asyncio.run(walks(source, [[0.1, 0.2], [0.1, 0.9], [0.1, 0.2]], batch=3))

    assert said == [[None, None], [None, None], [None, f"otx: {SPENT}"]]


def test_where_there_is_enough_nobody_waits() -> None:
    async def alone() -> list[str | None]:
        rations = Rations(lambda: 0, lookups=9)
        with (
            rations.seat((0, 1), Source(18).left, lambda *_: False) as admit,
            rations.seat((0, 1), Source(18).left, lambda *_: False),
        ):
            return list(await asyncio.wait_for(admit([("otx", HOST, 0.1)]), 5))

    assert asyncio.run(alone()) == [None]


def test_what_the_archive_knows_costs_nothing() -> None:
    assert asyncio.run(walks(Source(0), [[0.1], [0.1]], 2, known=frozenset({HOST}))) == [[None], [None]]


async def test_a_walk_that_is_ended_while_it_waits_holds_up_nobody() -> None:
    rations, source = Rations(lambda: 0, lookups=9), Source(1)

    async def waits() -> list[str | None]:
        with rations.seat((0, 1), source.left, lambda *_: False) as admit:
            return list(await admit([("otx", HOST, 0.1)]))

    with rations.seat((0, 1), source.left, lambda *_: False) as admit:
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
        rations.seat((0, 1), left, lambda *_: False) as one,
        rations.seat((0, 2), left, lambda *_: False) as two,
    ):
        wishes = [("otx", HOST, 0.1)]
        done = await asyncio.gather(one(wishes), two(wishes), return_exceptions=True)

    assert [type(said) for said in done] == [StoreError] * 2
