"""Last night's walks, for a challenger to repeat in the shadow: which they are, and the world that they saw."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from threatwalk.analysis.analysis import Analysis
from threatwalk.analysis.shadow import Before, Shadow, shadow
from threatwalk.archive import database
from threatwalk.archive.store import Archive
from threatwalk.desk import result
from threatwalk.desk.analyze import World
from threatwalk.desk.queue import Indicator, Queue, indicators
from threatwalk.desk.worlds import forbidden, worlds
from threatwalk.errors import DocumentError
from threatwalk.gate.gate import Caller, Gate
from threatwalk.gate.nights import night_of
from threatwalk.learning.policy import Policy
from threatwalk.params import Params
from threatwalk.pivot import Answer
from threatwalk.sample import Sample
from threatwalk.settings import Settings
from threatwalk.sources import catalog

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Walk = tuple[Indicator, Analysis]


def of_last_night(settings: Settings, params: Params) -> Callable[[Policy, Sequence[str]], Shadow]:
    """The shadow run of this installation: policy and its filters in, what came of it out. It opens what it needs itself."""

    def run(policy: Policy, filters: Sequence[str]) -> Shadow:
        if not params.promote.shadow:
            return Shadow(missing="promote.shadow is 0")
        queue, archive = Queue.open(settings.database), Archive.open(settings.database)
        try:
            walks, missing = last_night(queue, archive.engine, most=params.promote.shadow)
            if missing:
                return Shadow(missing=missing)
            return asyncio.run(_run(policy, filters, walks, archive, params, settings))
        finally:
            queue.close()
            archive.close()

    return run


def last_night(queue: Queue, engine: sa.Engine, *, most: int) -> tuple[list[_Walk], str]:
    """At most so many walks of the newest night (noon to noon UTC) that finished any, evenly chosen; or why there are none."""
    finished = indicators.c.finished_us, indicators.c.result
    done = [one.isnot(None) for one in finished]
    with database.transaction(engine, write=False) as connection:
        newest = connection.scalar(sa.select(sa.func.max(finished[0])).where(*done))
        if newest is None:
            return [], "no night has analysed anything yet"
        night = night_of(_EPOCH + timedelta(microseconds=newest))
        noon = datetime.fromisoformat(night).replace(tzinfo=UTC) + timedelta(hours=12)
        since = (noon - _EPOCH) // timedelta(microseconds=1)
        query = sa.select(indicators.c.id).where(*done, finished[0] >= since).order_by(indicators.c.id)
        ids = connection.execute(query).scalars().all()
    chosen = ids[:: -(-len(ids) // most)]
    walks = list(_read(one for number in chosen if (one := queue.find(number)) is not None))
    missing = "" if walks else f"the {len(ids)} results of the night of {night} are not on this machine"
    return walks, missing


def _read(found: Iterable[Indicator]) -> Iterable[_Walk]:
    """Those whose result can be read here."""
    for one in found:
        try:
            yield one, result.read(Path(one.result or ""))
        except DocumentError:
            continue


async def _run(
    policy: Policy,
    filters: Sequence[str],
    walks: Sequence[_Walk],
    archive: Archive,
    params: Params,
    settings: Settings,
) -> Shadow:
    async with _befores(filters, archive, params, settings) as before:
        return await shadow(
            policy,
            filters,
            [before(indicator, analysis) for indicator, analysis in walks],
            params,
            catalog.accepts,
            limit_s=params.promote.shadow_s,
        )


@asynccontextmanager
async def _befores(
    filters: Sequence[str], archive: Archive, params: Params, settings: Settings
) -> AsyncIterator[Callable[[Indicator, Analysis], Before]]:
    """What answers and refuses in the shadow: the night's own replay where this installation is offline, else the gate,
    which answers from the archive alone and holds back what the tags forbid.
    """
    if settings.offline:
        async with worlds(archive, filters, params, settings) as world_of:
            yield lambda indicator, analysis: _replayed(world_of(indicator.wanted), analysis)
        return
    named = [f for name in filters if (f := catalog.known(name)) is not None]
    async with Gate(
        archive, named, params.gate, settings.endpoints, caller=Caller.ANALYZE, offline=True
    ) as gate:
        yield lambda indicator, analysis: _gated(gate, filters, indicator, analysis)


def _replayed(world: World, analysis: Analysis) -> Before:
    return Before(analysis, world.look_up, world.closed.keys(), lambda _name, _sample: None)


def _gated(gate: Gate, filters: Sequence[str], indicator: Indicator, analysis: Analysis) -> Before:
    wanted = indicator.wanted

    def refuses(name: str, sample: Sample) -> str | None:
        return gate.held_back(name, sample, tlp=wanted.tlp, pap=wanted.pap, active_dns=wanted.active_dns)

    async def look_up(name: str, sample: Sample) -> Answer:
        return await gate.ask(name, sample, tlp=wanted.tlp, pap=wanted.pap, active_dns=wanted.active_dns)

    closed = [name for name in filters if forbidden(gate, name, wanted)]
    return Before(analysis, look_up, closed, refuses)
