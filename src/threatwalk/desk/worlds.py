"""Which world an indicator's walk sees: the sources through the gate, or the archive alone."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from threatwalk.archive.replay import replay
from threatwalk.archive.store import Archive
from threatwalk.desk.analyze import World
from threatwalk.desk.queue import Wanted
from threatwalk.gate.gate import Caller, Gate
from threatwalk.params import Params
from threatwalk.pivot import Answer
from threatwalk.sample import Sample
from threatwalk.settings import Settings
from threatwalk.sources import catalog


@asynccontextmanager
async def worlds(
    archive: Archive, filters: Sequence[str], params: Params, settings: Settings
) -> AsyncIterator[Callable[[Wanted], World]]:
    """The world of each indicator, for a model that knows `filters`. One gate serves the whole night."""
    if settings.offline:
        world = _archived(archive, filters, params)
        yield lambda _wanted: world
        return
    catalog.chosen(tuple(filters))  # a usage error where none of them could ever be asked
    named = [f for name in filters if (f := catalog.known(name)) is not None]
    async with Gate(archive, named, params.gate, settings.endpoints, caller=Caller.ANALYZE) as gate:
        yield lambda wanted: _live(gate, filters, wanted)


def _archived(archive: Archive, filters: Sequence[str], params: Params) -> World:
    known = archive.counts()
    closed = {name: "the archive holds no answer of it" for name in filters if name not in known}
    return World(replay(archive, catalog.readers(), params.gate.max_pivots), closed, absent=frozenset(closed))


def _live(gate: Gate, filters: Sequence[str], wanted: Wanted) -> World:
    async def look_up(name: str, sample: Sample) -> Answer:
        return await gate.ask(name, sample, tlp=wanted.tlp, pap=wanted.pap, active_dns=wanted.active_dns)

    closed, asleep = {}, {}
    for name in filters:
        if reason := forbidden(gate, name, wanted):
            closed[name] = reason
        elif reason := gate.closed(name) or gate.resting(name):
            asleep[name] = f"{reason}; what the archive holds of it counts"
    absent = frozenset(name for name in filters if gate.lacks(name))
    return World(look_up, closed, gate.benign, asleep, gate.knows, absent, gate.left)


def forbidden(gate: Gate, name: str, wanted: Wanted) -> str | None:
    """Why a source may be asked about no sample of this walk, whatever the archive holds; None: it may about some."""
    if catalog.known(name) is None:
        return "known from imported answers only"
    refused = {
        gate.held_back(name, Sample(kind, ""), tlp=wanted.tlp, pap=wanted.pap, active_dns=wanted.active_dns)
        for kind in catalog.accepts(name)
    }
    return None if None in refused else min(filter(None, refused), default="it accepts nothing")
