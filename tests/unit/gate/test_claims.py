"""Over processes, too, a question is asked once: whoever finds another's claim waits for its answer."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import sqlalchemy as sa
from tests.unit.gate.conftest import FOUND, IP, Clock, Fake, MakeGate, Store, filter_of

from threatwalk.gate import tables
from threatwalk.gate.claims import LEASE_S, Claims
from threatwalk.gate.gate import Gate
from threatwalk.pivot import Answer, Outcome
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sources.filter import Quota

LIMITED = Quota(per_minute=1000)


async def ask(gate: Gate) -> Answer:
    return await gate.ask("fake", IP, tlp=Tlp.CLEAR, pap=Pap.CLEAR, active_dns=False)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - what becomes true sets no event
            await asyncio.sleep(0.01)


def claims(store: Store) -> int:
    with store.engine.connect() as connection:
        return connection.execute(sa.text("SELECT count(*) FROM source_claims")).scalar_one()


async def test_two_gates_ask_a_question_once(make_gate: MakeGate, store: Store) -> None:
    fake = Fake(lambda _: str(FOUND), gate_open=asyncio.Event())
    f = filter_of(fake, quota=LIMITED)
    async with make_gate(f) as one, make_gate(f) as two:
        first, second = asyncio.create_task(ask(one)), asyncio.create_task(ask(two))
        await until(lambda: bool(fake.calls))
        assert fake.gate_open is not None
        fake.gate_open.set()
        answers = await asyncio.gather(first, second)

    assert len(fake.calls) == 1
    assert [a.outcome for a in answers] == [Outcome.FOUND] * 2
    assert sorted(a.archived for a in answers) == [False, True]
    assert store.groups == [1]


async def test_after_a_failure_the_next_in_line_asks(make_gate: MakeGate) -> None:
    fake = Fake(lambda _: "nonsense")
    f = filter_of(fake, quota=LIMITED)
    async with make_gate(f) as one, make_gate(f) as two:
        answers = await asyncio.gather(ask(one), ask(two))

    assert len(fake.calls) == 2
    assert [a.outcome for a in answers] == [Outcome.FAILED] * 2


async def test_a_source_without_limits_is_asked_without_a_claim(make_gate: MakeGate, store: Store) -> None:
    fake = Fake(lambda _: str(FOUND), gate_open=asyncio.Event())
    f = filter_of(fake)
    async with make_gate(f) as gate:
        asking = asyncio.create_task(ask(gate))
        await until(lambda: bool(fake.calls))
        held = claims(store)
        assert fake.gate_open is not None
        fake.gate_open.set()
        await asking

    assert held == 0


async def test_a_claim_is_one_s_until_it_is_given_back_or_void(store: Store, clock: Clock) -> None:
    engine = store.engine
    tables.create(engine)
    one, two = Claims(engine, clock), Claims(engine, clock)

    taken = [await one.take("fake", IP), await two.take("fake", IP), await two.take("fake", FOUND)]
    one.give("fake", IP)
    await one.take("fake", FOUND)  # written after it
    freed = await two.take("fake", IP)
    clock.now += timedelta(seconds=LEASE_S - 1)
    held = await one.take("fake", IP)
    clock.now += timedelta(seconds=2)
    void = await one.take("fake", IP) or await one.take("fake", IP)  # the first try may only find it void
    await one.close()
    await two.close()

    assert taken == [True, False, True]
    assert freed
    assert not held
    assert void


async def test_what_is_left_is_given_back_at_the_end(make_gate: MakeGate, store: Store) -> None:
    fake = Fake(lambda _: str(FOUND), gate_open=asyncio.Event())
    f = filter_of(fake, quota=LIMITED)
    async with make_gate(f) as gate:
        asking = asyncio.create_task(ask(gate))
        await until(lambda: bool(fake.calls))
        held = claims(store)
    await asyncio.gather(asking, return_exceptions=True)

    assert (held, claims(store)) == (1, 0)
    assert len(fake.calls) == 1
