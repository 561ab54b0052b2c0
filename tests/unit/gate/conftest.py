"""A world without network for the gate: a store in memory, a filter that does as told, a clock that only we move."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from threatwalk import params
from threatwalk.gate.gate import Caller, Gate
from threatwalk.pivot import Outcome, Pivot
from threatwalk.sample import Kind, Sample, parse
from threatwalk.sources.filter import Filter, Opsec, Quota, Session, Status

ROOT = Path(__file__).parents[3]
IP = parse("ipv4:198.51.100.7")
FOUND = parse("domain:example.org")


UNLISTED = {
    "warning_lists": (),
    "exact_lists": (),
    "known_good": (),
}  # addresses for documentation stand on lists


@dataclass
class Clock:
    """Time stands still but for what sleeps: a virtual clock."""

    now: datetime = datetime(2026, 11, 23, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        await asyncio.sleep(0)


@dataclass(frozen=True)
class Kept:
    raw: str
    outcome: Outcome
    asked_at: datetime
    form: str = "raw"
    by: str | None = None


@dataclass
class Store:
    """An archive in memory; `groups` are the sizes of what was written at once."""

    engine: sa.Engine
    kept: dict[tuple[str, Sample], Kept] = field(default_factory=dict)
    groups: list[int] = field(default_factory=list)

    def fresh(self, filter: str, sample: Sample, *, not_before: datetime) -> Kept | None:  # noqa: A002
        found = self.kept.get((filter, sample))
        return found if found and found.asked_at >= not_before else None

    def keep(self, answers: Iterable[tuple[str, Sample, str, Outcome, datetime, str | None]]) -> None:
        rows = list(answers)
        self.groups.append(len(rows))
        for name, sample, raw, outcome, at, by in rows:
            assert outcome in {Outcome.FOUND, Outcome.EMPTY}
            self.kept[name, sample] = Kept(raw, outcome, at, by=by)

    def read_rows(self, filter: str, sample: Sample, raw: str) -> Iterable[Pivot]:  # noqa: A002
        return [Pivot(sample, filter, parse(line)) for line in raw.splitlines()]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> Iterable[Store]:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'gate.db'}")
    yield Store(engine)
    engine.dispose()


@pytest.fixture(scope="session")
def limits() -> params.Gate:
    return params.load(ROOT / "params.yaml").gate


def filter_of(
    ask: Callable[[Sample, Session], Awaitable[str]] | None = None,
    *,
    name: str = "fake",
    opsec: Opsec = Opsec.THIRD_PARTY,
    quota: Quota | None = None,
    endpoints: dict[str, str] | None = None,
    needs_key: bool = False,
) -> Filter:
    """A source that takes addresses and whose raw answers are lines KIND:VALUE."""

    def read(sample: Sample, raw: str) -> Iterable[Pivot]:
        return [Pivot(sample, name, parse(line)) for line in raw.split()]

    return Filter(
        name,
        name.title(),
        accepts=frozenset({Kind.IPV4}),
        yields=frozenset({Kind.DOMAIN}),
        opsec=opsec,
        quota=quota or Quota(),
        status=Status.LIVE,
        terms="",
        endpoints=endpoints or {"fake": "https://fake.example"},
        needs_key=needs_key,
        ask=ask,
        read=read,
    )


@dataclass
class Fake:
    """A source under test: it answers with what `say` gives, and counts."""

    say: Callable[[Sample], str]
    calls: list[Sample] = field(default_factory=list)
    gate_open: asyncio.Event | None = None

    async def __call__(self, sample: Sample, session: Session) -> str:
        self.calls.append(sample)
        if self.gate_open is not None:
            await self.gate_open.wait()
        return self.say(sample)


MakeGate = Callable[..., Gate]


@pytest.fixture
def make_gate(store: Store, clock: Clock, limits: params.Gate) -> MakeGate:
    def make(
        *filters: Filter, caller: Caller = Caller.ANALYZE, key: str | None = None, **changes: object
    ) -> Gate:
        return Gate(
            store,
            filters,
            replace(limits, **{**UNLISTED, **changes}),
            {},
            caller=caller,
            keys=lambda _: key,
            quotas=lambda _: None,
            now=clock,
            sleep=clock.sleep,
        )

    return make
