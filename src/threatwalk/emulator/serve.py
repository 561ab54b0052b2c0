"""The emulator: one process on loopback that plays a whole internet, and says where its parts listen."""

import asyncio
import gc
import ipaddress
import json
import os
import signal
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from threatwalk.emulator import (
    abuse_ch,
    censys,
    censys_legacy,
    circl_pdns,
    crtsh,
    dns,
    extras,
    feed,
    hashlookup,
    hybrid_analysis,
    isc,
    malwarebazaar,
    mdti,
    otx,
    passivetotal,
    rdap,
    shodan,
    threatcrowd,
    threatexpert,
    threatfox,
    urlhaus,
    virustotal,
    whois,
)
from threatwalk.emulator.answers import Answers, Found
from threatwalk.emulator.faults import Faults, Wording
from threatwalk.emulator.http import Reply, Request, Route, Site, json_reply
from threatwalk.emulator.log import RequestLog
from threatwalk.emulator.nsrl import write_missing
from threatwalk.emulator.quota import Clock
from threatwalk.emulator.world import World
from threatwalk.errors import UsageError
from threatwalk.sample import Sample

KEY = "emulated"


@dataclass(frozen=True, slots=True)
class Ports:
    """Where to listen; 0 takes a free port."""

    http: int = 0
    dns: int = 0
    whois: int = 0


class Generated:
    """A generated world as the servers see it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._samples = frozenset(world.graph.samples)

    def answer(self, source: str, sample: Sample) -> Sequence[Found]:
        if source in extras.EXTRAS:
            return extras.answer(self._world.answer, source, sample)
        return self._world.answer(source, sample)

    def samples(self) -> Iterable[Sample]:
        return self._world.graph.samples

    def knows(self, sample: Sample) -> bool:
        return sample in self._samples


_WITHOUT_KEY: dict[str, Callable[[Answers], Route]] = {
    "rdap": rdap.route,
    "internetdb": shodan.internetdb,
    "isc": isc.route,
    "threatcrowd": threatcrowd.route,
    "threatexpert": threatexpert.route,
    "hashlookup": hashlookup.route,
    "crtsh": crtsh.route,
}
_WITH_KEY: dict[str, Callable[[Answers, str], Route]] = {
    "virustotal": virustotal.route,
    "shodan": shodan.route,
    "otx": otx.route,
    "censys": censys.route,
    "censys_legacy": censys_legacy.route,
    "passivetotal": passivetotal.route,
    "mdti": mdti.route,
    "mdti_login": mdti.login,
    "circl_pdns": circl_pdns.route,
    "hybrid_analysis": hybrid_analysis.route,
    "urlhaus": urlhaus.route,
    "threatfox": threatfox.route,
    "malwarebazaar": malwarebazaar.route,
}
WORDINGS: dict[str, Wording] = {
    "virustotal": virustotal.wording,
    "shodan": shodan.wording,
    "internetdb": shodan.wording,
    "otx": otx.wording,
    "rdap": rdap.wording,
    "censys": censys.wording,
    "censys_legacy": censys_legacy.wording,
    "passivetotal": passivetotal.wording,
    "mdti": mdti.wording,
    "circl_pdns": circl_pdns.wording,
    "hybrid_analysis": hybrid_analysis.wording,
    "hashlookup": hashlookup.wording,
    "isc": isc.wording,
    "urlhaus": abuse_ch.wording,
    "threatfox": abuse_ch.wording,
    "malwarebazaar": abuse_ch.wording,
}
SITES = (*_WITHOUT_KEY, *_WITH_KEY)  # endpoints over HTTP, each below a path segment of its own


def routes(
    world: Answers, files: Mapping[str, feed.File], key: str, clock: Clock | None = None
) -> dict[str, Route]:
    """What each first path segment leads to."""
    return {
        "feed": feed.route(files),
        **{name: make(world) for name, make in _WITHOUT_KEY.items()},
        **{name: make_with(world, key) for name, make_with in _WITH_KEY.items()},
        "healthz": _healthy,
        "clock": _clock(clock or Clock()),
    }


def _clock(clock: Clock) -> Route:
    """The time by which quotas are counted; POST /clock?advance_s=60 pushes it forward."""

    def answer(request: Request) -> Reply:
        if request.method == "POST":
            try:
                clock.advance(float(request.query.get("advance_s", "")))
            except ValueError:
                return json_reply({"error": "advance_s is no number of seconds"}, 400)
        return json_reply({"now": clock.now()})

    return answer


def _healthy(_: Request) -> Reply:
    return Reply(b"ok\n", media_type="text/plain")


class Emulator:
    """The listeners of a running emulator and their addresses."""

    def __init__(
        self,
        site: Site,
        http: asyncio.Server,
        resolver: dns.Listeners,
        registry: asyncio.Server,
        address: str,
        nsrl: Path | None = None,
    ) -> None:
        self._site = site
        self._http = http
        self._dns = resolver
        self._whois = registry
        base = f"http://{address}:{_port(http)}"
        self.endpoints = {
            "dns": f"{address}:{resolver.port}",
            "whois": f"{address}:{_port(registry)}",
            **{name: f"{base}/{name}" for name in SITES},
            "feed": f"{base}/feed/",
            "health": f"{base}/healthz",
            "clock": f"{base}/clock",
        }
        if nsrl is not None:
            self.endpoints["nsrl"] = str(nsrl.absolute())

    async def close(self) -> None:
        """Stops listening and hangs up on every client."""
        self._dns.close()
        self._http.close()
        self._whois.close()
        self._site.close()
        self._site.log.close()
        await asyncio.sleep(0)


def _port(server: asyncio.Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


async def start(
    world: Answers,
    files: Mapping[str, feed.File],
    *,
    address: str = "127.0.0.1",
    ports: Ports | None = None,
    key: str = KEY,
    log: RequestLog | None = None,
    faults: Faults | None = None,
    nsrl: Path | None = None,
) -> Emulator:
    """Starts every listener. `nsrl` is where NSRL's database lies: it is written where there is none.

    Raises:
        UsageError: the address is not this machine's alone, or a port is taken.
    """
    if not ipaddress.ip_address(address).is_loopback:
        raise UsageError(f"{address} is no loopback address: the emulator serves this machine alone")
    ports, log, faults = ports or Ports(), log or RequestLog(), faults or Faults()
    if nsrl is not None:
        write_missing(world, nsrl)
    site = Site(routes(world, files, key, faults.quotas.clock), log=log, faults=faults, wordings=WORDINGS)
    opened: list[Callable[[], None]] = []
    try:
        http = await asyncio.get_running_loop().create_server(site, address, ports.http, backlog=1024)
        opened.append(http.close)
        resolver = await dns.listen(dns.Resolver(world, log=log, faults=faults), address, ports.dns)
        opened.append(resolver.close)
        registry = await whois.listen(world, address, ports.whois, log=log, faults=faults)
    except OSError as err:
        for close in opened:
            close()
        raise UsageError(f"the emulator cannot listen on {address}: {err.strerror or err}") from err
    return Emulator(site, http, resolver, registry, address, nsrl)


def run(starting: Callable[[], Coroutine[None, None, Emulator]], endpoints: Path | None) -> None:
    """Runs until SIGTERM or SIGINT; the file `endpoints` names every listener while all are ready."""

    async def until_stopped() -> None:
        stopped = asyncio.Event()
        for sign in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(sign, stopped.set)
        emulator = await starting()
        gc.freeze()  # a world is a million objects that never go: no collection need walk them
        if endpoints is not None:
            write_endpoints(emulator.endpoints, endpoints)
        await stopped.wait()
        await emulator.close()

    try:
        uvloop.run(until_stopped())
    finally:
        if endpoints is not None:
            endpoints.unlink(missing_ok=True)


def write_endpoints(table: Mapping[str, str], path: Path) -> None:
    """Writes the table whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    fresh.replace(path)
