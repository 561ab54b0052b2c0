"""How fast the gate asks: requests per second to the emulator, beside the same requests sent by bare httpx."""

import gc
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, closing
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple, cast

import aiohttp
import httpx

from threatwalk import params
from threatwalk.archive.store import Archive
from threatwalk.bench.emulated import IN_FLIGHT, Question, emulator, in_flight, key, reported, sessions, world
from threatwalk.bench.row import Row, at_least
from threatwalk.errors import DataError
from threatwalk.gate.gate import Caller, Gate
from threatwalk.gate.session import http_client
from threatwalk.pivot import Outcome
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sources.catalog import PAPER, filters
from threatwalk.sources.filter import NotKnownError

SHARE = 0.8
_SLICES = 10
# Their questions are no HTTP requests, or not only: UDP, port 43, a file. Neither side asks them.
_NOT_HTTP = frozenset({"dns", "whois", "nsrl"})


class Call(NamedTuple):
    """One HTTP request as it left."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None


class _Recorder:
    """Stands in for an `aiohttp.ClientSession`, and notes what is asked of it."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http
        self.calls: list[Call] = []

    def request(
        self, method: str, url: object, *, headers: Mapping[str, str] | None, data: Any, **how: Any
    ) -> Any:
        self.calls.append(Call(method, str(url), {**self._http.headers, **(headers or {})}, data))
        return self._http.request(method, url, headers=headers, data=data, **how)  # type: ignore[arg-type]


async def emulator_rate(limits: params.Gate, folder: Path, count: int, say: Callable[[str], None]) -> Row:
    """Requests per second that the gate makes of `count` questions, as a share of what httpx makes of the same.

    Slice by slice, both sides in turn, 64 in flight, on one emulator; the median of the slices' shares.
    """
    asking = [f for f in PAPER if f.name not in _NOT_HTTP]
    with emulator(folder) as endpoints, closing(Archive.open(f"sqlite:///{folder / 'flood.db'}")) as archive:
        gate = Gate(
            archive, filters(), limits, endpoints, caller=Caller.RECORD, keys=key, quotas=lambda _: None
        )
        async with gate, AsyncExitStack() as stack:
            bare = [await stack.enter_async_context(_bare()) for _ in range(IN_FLIGHT)]
            open_to = (one for one in reported(world(), asking) if gate.benign(one[1]) is None)
            asked = list(islice(open_to, count))
            gc.freeze()  # the made-up internet is no part of a gate: no collection need walk it
            size = -(-len(asked) // _SLICES)
            shares: list[float] = []
            for number, start in enumerate(range(0, len(asked), size)):
                part = asked[start : start + size]
                calls = await _recorded(part, endpoints)
                rates = {}
                for ours in (True, False) if number % 2 else (False, True):
                    rates[ours] = await (_ours(gate, part) if ours else _theirs(bare, calls))
                shares.append(rates[True] / rates[False])
                say(
                    f"emulator_rate: {len(part)} questions, {len(calls)} requests: gate {rates[True]:,.0f}/s, "
                    f"httpx {rates[False]:,.0f}/s"
                )
    gc.unfreeze()
    return at_least("emulator_rate", median(shares), "of httpx", SHARE)


def _bare() -> httpx.AsyncClient:
    """A client for one request at a time: one client with 64 connections is five times as slow as 64 with one each,
    since its pool looks at every connection for every request.
    """
    limits = httpx.Limits(max_connections=1)
    return httpx.AsyncClient(limits=limits, timeout=60, trust_env=False, verify=False)  # noqa: S501 - loopback


async def _recorded(part: Sequence[Question], endpoints: dict[str, str]) -> list[Call]:
    """The requests of some questions."""
    async with http_client(timeout_s=60, per_host=IN_FLIGHT) as http:
        recorder = _Recorder(http)
        sources = {f.name: f for f, _ in part}.values()
        async with sessions(sources, endpoints, cast("aiohttp.ClientSession", recorder)) as to:

            async def ask(question: Question) -> None:
                f, sample = question
                assert f.ask is not None
                try:
                    await f.ask(sample, to[f.name])
                except NotKnownError:
                    return

            await in_flight(ask, part)
    return recorder.calls


async def _ours(gate: Gate, part: Sequence[Question]) -> float:
    """Requests per second through the gate: asked, read and archived."""
    sources = {f.name for f, _ in part}

    async def ask(question: Question) -> None:
        f, sample = question
        answer = await gate.ask(f.name, sample, tlp=Tlp.CLEAR, pap=Pap.CLEAR, active_dns=True)
        if answer.outcome not in {Outcome.FOUND, Outcome.EMPTY} or answer.archived:
            raise DataError(f"{f.name} about {sample} was to be asked and answered: {answer}")

    before = sum(map(gate.requests, sources))
    start = perf_counter()
    await in_flight(ask, part)
    return (sum(map(gate.requests, sources)) - before) / (perf_counter() - start)


async def _theirs(bare: Sequence[httpx.AsyncClient], calls: Sequence[Call]) -> float:
    """Requests per second of httpx: each body fetched, and nothing done with it."""
    free = list(bare)

    async def send(call: Call) -> None:
        client = free.pop()
        await client.request(call.method, call.url, headers=call.headers, content=call.body)
        free.append(client)

    start = perf_counter()
    await in_flight(send, calls)
    return len(calls) / (perf_counter() - start)
