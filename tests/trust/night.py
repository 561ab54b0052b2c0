"""A night in a process of its own, which tells of every socket that it uses: python -m tests.trust.night PLAN

For each combination of tags of the plan the queue's indicators are analysed, and then recorded, by every source,
each time into a new archive. Prints one JSON object a combination, the places of its packets included.
"""

import sys

packets: list[tuple[str, str, int]] = []  # (event, host, port)
_EVENTS = frozenset(
    f"socket.{name}"
    for name in (
        *("connect", "sendto", "sendmsg", "getaddrinfo", "gethostbyname", "gethostbyaddr", "getnameinfo"),
    )
)


def _note(event: str, args: tuple[object, ...]) -> None:
    if event in _EVENTS:
        place = args[0] if event.startswith("socket.get") else args[1]
        host, port = place[:2] if isinstance(place, tuple) else (place, 0)
        packets.append((event, str(host), port if isinstance(port, int) else 0))


sys.addaudithook(_note)  # before anything else is imported

import asyncio  # noqa: E402
import json  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from dataclasses import dataclass, replace  # noqa: E402
from datetime import UTC, datetime  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import structlog  # noqa: E402
from click.testing import CliRunner  # noqa: E402

from threatwalk import params  # noqa: E402
from threatwalk.archive.store import Archive  # noqa: E402
from threatwalk.cli.queue import queue as queue_command  # noqa: E402
from threatwalk.desk.analyze import Desk, Walker  # noqa: E402
from threatwalk.desk.queue import Queue, Wanted  # noqa: E402
from threatwalk.desk.worlds import worlds  # noqa: E402
from threatwalk.gate.gate import Caller, Gate  # noqa: E402
from threatwalk.gate.recorder import Recorder, starts  # noqa: E402
from threatwalk.learning.policy import Choice, View  # noqa: E402
from threatwalk.reports.report import Pap, Report, Tlp  # noqa: E402
from threatwalk.sample import parse  # noqa: E402
from threatwalk.settings import Settings  # noqa: E402
from threatwalk.sources import catalog  # noqa: E402


@dataclass(frozen=True)
class Everything:
    """The policy that asks whatever it may."""

    name: str = "everything"

    def choose(self, view: View) -> Choice:
        return Choice(view.mask)


def limits(home: Path, plan: dict[str, Any]) -> params.Params:
    """Made-up addresses stand on real warning lists, and the Storm Center's list costs a request: it is kept."""
    made = params.load(Path(plan["params"]))
    gate = replace(made.gate, warning_lists=(), exact_lists=(), known_good=("isc",))
    return replace(
        made,
        gate=gate,
        walk=replace(made.walk, steps=plan["steps"]),
        analyze=replace(made.analyze, lookups=20),
    )


async def analysed(
    home: Path, plan: dict[str, Any], tlp: Tlp | None, pap: Pap | None, *, active_dns: bool
) -> dict[str, Any]:
    """Queue the indicators, and walk from each: untagged ones by the command, tagged ones past it.

    The command refuses active DNS where the tags forbid it; the gate has to hold without its help.
    """
    settings = replace(Settings.from_env(), home=home, database=f"sqlite:///{home / 'desk.db'}")
    env = {"THREATWALK_HOME": str(home), "THREATWALK_DATABASE": settings.database}
    if tlp is None or pap is None:
        line = ["add", *plan["indicators"]]
        added = await asyncio.to_thread(CliRunner(env=env).invoke, queue_command, line)
        assert added.exit_code == 0, added.output
    filters = tuple(f.name for f in catalog.CATALOG)
    archive, queue, made = Archive.open(settings.database), Queue.open(settings.database), limits(home, plan)
    try:
        if tlp and pap:
            queue.add(Wanted(parse(one), tlp, pap, active_dns=active_dns) for one in plan["indicators"])
        tags = {(one.wanted.tlp, one.wanted.pap, one.wanted.active_dns) for one in queue.list(None)}
        async with worlds(archive, filters, made, settings) as world_of:
            walker = Walker(
                Everything(), "none", filters, catalog.accepts, world_of, made, lambda: datetime.now(UTC)
            )
            desk = Desk(queue, walker, results=settings.results, author="t", owner="t", run="t")
            night = await desk.night()
    finally:
        queue.close()
        archive.close()
    return {
        "tags": sorted(tags),
        "analysed": night.analysed,
        "failed": night.errors,
        "lookups": night.lookups,
    }


async def recorded(home: Path, plan: dict[str, Any], tlp: Tlp | None, pap: Pap, *, active_dns: bool) -> int:
    """Record the indicators as samples of one report."""
    goal = frozenset(map(parse, plan["indicators"]))
    report = Report("r", "made up", None, goal, tlp)
    settings, made = Settings.from_env(), limits(home, plan)
    archive = Archive.open(f"sqlite:///{home / 'record.db'}")
    sources = catalog.filters()
    try:
        async with Gate(archive, sources, made.gate, settings.endpoints, caller=Caller.RECORD) as gate:
            recorder = Recorder(
                gate, sources, questions=plan["questions"], follow=3, in_flight=64, pap=pap, active_dns=active_dns,
                rest_s=0.1,
            )  # fmt: skip
            await recorder.run(starts([(report, None)]), hops=2)
            return recorder.asked
    finally:
        archive.close()


async def night(plan: dict[str, Any]) -> None:
    default = Pap(params.load(Path(plan["params"])).record.pap)
    for tlp, pap, active_dns in plan["combinations"]:
        packets.clear()
        began = time.time()
        colours = (Tlp(tlp), Pap(pap)) if tlp else (None, None)
        with tempfile.TemporaryDirectory(dir=plan["folder"]) as folder:
            said = await analysed(Path(folder), plan, *colours, active_dns=active_dns)
            between = time.time()
            said["asked"] = await recorded(
                Path(folder), plan, colours[0], colours[1] or default, active_dns=active_dns
            )
        said |= {"times": [began, between, time.time()], "packets": list(packets)}
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(night(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
