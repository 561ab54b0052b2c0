"""The emulated internet for rows about single sources: faults that a test switches, and questions that count."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from tests.trust.conftest import ROOT

from threatwalk import params
from threatwalk.archive.store import Archive
from threatwalk.emulator import feed
from threatwalk.emulator.faults import Fault, Faults
from threatwalk.emulator.serve import KEY, Emulator, Generated, start
from threatwalk.emulator.world import World
from threatwalk.gate.gate import Caller, Gate
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample
from threatwalk.sources import catalog
from threatwalk.sources.filter import Filter, Session

OPEN = {"tlp": Tlp.CLEAR, "pap": Pap.CLEAR, "active_dns": True}
# A made-up internet has no real hubs, and its sources are told apart: nobody is asked behind the test's back.
LIMITS = replace(
    params.load(ROOT / "params.yaml").gate, warning_lists=(), exact_lists=(), known_good=(), timeout_s=5
)


class Switch(Faults):
    """What the emulator does wrong right now, and what it was asked: by endpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: dict[str, Callable[[], Fault | None]] = {}
        self.asked: Counter[str] = Counter()

    def draw(self, source: str) -> Fault | None:
        self.asked[source] += 1
        fault = self.wrong.get(source)
        return fault() if fault is not None else None


@asynccontextmanager
async def emulated(world: World, faults: Switch, folder: Path) -> AsyncIterator[Emulator]:
    running = await start(
        Generated(world), feed.of_reports(world.reports), faults=faults, nsrl=folder / "rds.db"
    )
    try:
        yield running
    finally:
        await running.close()


def gate(
    archive: Archive,
    endpoints: dict[str, str],
    filters: Iterable[Filter] = catalog.CATALOG,
    *,
    quota: str = "none",
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    **changes: object,
) -> Gate:
    return Gate(
        archive,
        filters,
        replace(LIMITS, **changes),
        endpoints,
        caller=Caller.ASK,
        keys=lambda _: KEY,
        quotas=lambda _: quota,
        now=now,
    )


def counted(f: Filter, calls: Counter[str]) -> Filter:
    """The filter, its calls upstream counted, those of its successors too."""

    async def ask(sample: Sample, session: Session) -> str:
        calls[f.name] += 1
        assert f.ask is not None
        return await f.ask(sample, session)

    return replace(f, ask=ask, successors=tuple(counted(one, calls) for one in f.successors))


def known(world: World, source: str, count: int) -> list[Sample]:
    """Samples of every kind that the source has something to say about, the kinds in turn."""
    answers = Generated(world)
    by_kind: dict[str, list[Sample]] = {}
    for sample in world.graph.samples:
        mine = by_kind.setdefault(sample.kind, [])
        if source == "whois" and sample.kind is Kind.HOSTNAME:
            continue  # a registry speaks of the registered domain
        if sample.kind in catalog.accepts(source) and len(mine) < count and answers.answer(source, sample):
            mine.append(sample)
    rows = [mine for mine in by_kind.values() if mine]
    return [mine[turn] for turn in range(count) for mine in rows if turn < len(mine)][:count]
