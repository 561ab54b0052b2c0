"""S5: nobody who is asked about an indicator is the indicator, and each source is asked only where its tags allow it."""

import asyncio
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from tests.trust.conftest import ROOT, Trust
from tests.trust.listeners import Listeners

from threatwalk.emulator import feed
from threatwalk.emulator.log import RequestLog
from threatwalk.emulator.serve import KEY, Emulator, Generated, start, write_endpoints
from threatwalk.emulator.world import World, make_world
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind
from threatwalk.sources import catalog
from threatwalk.sources.filter import Opsec

# The emulator's parts by the name of the source that they play, where that is another one.
PARTS = {
    "rdap": "whois",
    "internetdb": "shodan",
    "mdti_login": "mdti",
    "censys_legacy": "censys",
}
SERVERS = {"dns": "dns", "whois": "whois", "otx": "otx"}  # a source behind each of the emulator's three ports
UNTAGGED: tuple[str, str, bool] = ("", "", False)


def combinations(trust: Trust) -> list[tuple[str, str, bool]]:
    """Every TLP, PAP and choice of active DNS; in the short form the ends of each."""
    every = [(str(tlp), str(pap), active) for tlp, pap, active in product(Tlp, Pap, (False, True))]
    some = [
        one for one in every if one[:2] in {("clear", "clear"), ("clear", "red"), ("red", "clear")} and one[2]
    ]
    return [UNTAGGED, *(every if trust.full else [("green", "green", False), *some])]


def allowed(tlp: str, pap: str, *, active_dns: bool) -> set[str]:
    """The sources that params.yaml's table opens to these tags, read off the file itself."""
    table = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["gate"]
    classes = [str(one) for one in Opsec]  # from the safest to the least safe
    top = min(classes.index(table["tlp"][tlp or "amber"]), classes.index(table["pap"][pap or "amber"]))
    return {
        f.name
        for f in catalog.filters()
        if classes.index(f.opsec) <= top and (f.opsec is not Opsec.ACTIVE_DNS or active_dns)
    }


def indicators(world: World) -> list[str]:
    """One of each kind of which the sources have the most to say."""
    known = Generated(world)
    told: Counter[Any] = Counter()
    for sample in random.Random(0).sample(world.graph.samples, 6000):
        told[sample] = sum(
            bool(known.answer(f.name, sample)) for f in catalog.filters() if sample.kind in f.accepts
        )
    best = {sample.kind: str(sample) for sample, _ in reversed(told.most_common())}
    assert best.keys() >= set(Kind) - {Kind.IPV6}
    return list(best.values())


async def nights(plan: Path, env: dict[str, str]) -> list[dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", "-m", "tests.trust.night", str(plan)), cwd=ROOT, env=env,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=1 << 28,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(), 540)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, err.decode()[-3000:]
    return [json.loads(line) for line in out.splitlines()]


def asked(log: Path, began: float, ended: float) -> set[str]:
    """The sources that the emulator heard of in that time."""
    lines = map(json.loads, log.read_text(encoding="utf-8").splitlines())
    return {PARTS.get(line["source"], line["source"]) for line in lines if began <= line["at"] <= ended}


def environment(emulator: Emulator, folder: Path) -> dict[str, str]:
    write_endpoints(emulator.endpoints, folder / "endpoints.json")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("THREATWALK_")}
    keys = {f"THREATWALK_KEY_{f.name.upper()}": KEY for f in catalog.CATALOG}
    keys["THREATWALK_KEY_MDTI"] = f"tenant:client:{KEY}"
    return plain | keys | {"THREATWALK_ENDPOINTS": str(folder / "endpoints.json")}


async def test_a_nights_connections(trust: Trust, tmp_path: Path) -> None:
    world = make_world(11, 40)
    log, done = tmp_path / "requests.jsonl", combinations(trust)
    with Listeners() as listeners:
        # Indicators that would notice: this machine listens at their addresses and at the port of the URL.
        bait = ["ipv4:127.0.0.2", f"url:http://127.0.0.2:{listeners.port}/x", "ipv4:127.0.0.3"]
        plan = tmp_path / "plan.json"
        plan.write_text(
            json.dumps(
                {
                    "params": str(ROOT / "params.yaml"),
                    "folder": str(tmp_path),
                    "indicators": [*indicators(world), *bait],
                    "combinations": done,
                    "steps": 2 if trust.full else 1,
                    "questions": 400 if trust.full else 150,
                }
            )
        )
        emulator = await start(
            Generated(world), feed.of_reports(world.reports), log=RequestLog(log), nsrl=tmp_path / "rds.db"
        )
        try:
            runs = await nights(plan, environment(emulator, tmp_path))
        finally:
            await emulator.close()
        touched = listeners.visits.total()

    wrong = [
        problem
        for tags, run in zip(done, runs, strict=True)
        for problem in problems(tags, run, log, emulator)
    ]
    packets = sum(len(run["packets"]) for run in runs)
    requests = len(log.read_text(encoding="utf-8").splitlines())
    value = (
        f"{touched} packets to an indicator; {packets} connections and {requests} requests of {2 * len(runs)} runs over"
        f" {len(runs)} combinations of tags, {len(wrong)} of them not as the table says"
    )
    ok = not wrong and not touched and packets > 0
    trust.record(
        "S5", "no contact with the threat, and TLP and PAP as the table says", value=value,
        figure="0 packets to an indicator; DNS at the configured resolver, where PAP allows it; untagged is amber", ok=ok,
    )  # fmt: skip
    assert ok, "\n".join(wrong)


def problems(
    tags: tuple[str, str, bool], run: dict[str, Any], log: Path, emulator: Emulator
) -> Iterator[str]:
    """What of a run is not as the table of these tags says."""
    tlp, pap, active = tags
    name = f"TLP:{tlp or 'none'} PAP:{pap or 'none'}{' with active DNS' * active}"
    if run["tags"] != [[tlp or "amber", pap or "amber", active]] or run["failed"] or not run["analysed"]:
        yield f"{name}: queued as {run['tags']}, {run['analysed']} analysed, {run['failed']}"
    opened = allowed(tlp, pap, active_dns=active)
    began, between, ended = run["times"]
    for what, seen in (("desk", asked(log, began, between)), ("recorder", asked(log, between, ended))):
        if seen != opened - {"nsrl"}:  # which lies on this machine
            yield f"{name}, {what}: {sorted(seen ^ (opened - {'nsrl'}))} differ from the table"
    to = {place(emulator.endpoints[endpoint]) for source, endpoint in SERVERS.items() if source in opened}
    for event, host, port in run["packets"]:
        literal = event == "socket.getaddrinfo" and host == "127.0.0.1"  # no look-up: it is an address
        if (host, port) not in to and not literal:
            yield f"{name}: {event} {host}:{port}"


def place(endpoint: str) -> tuple[str, int]:
    parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
    return parts.hostname or "", parts.port or 0
