"""The gate: the only way out. Every live question passes it, in this order:

    kind accepted → TLP and PAP → (warning lists: their place) → archive → one flight → key → breaker
    → quota and rate → allow list → the call, with its limits → archive → cap

and ends in one of four outcomes, never merged: found, empty, failed, not asked (why).
"""

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol, Self

import aiohttp
import sqlalchemy as sa

from threatwalk import params, settings
from threatwalk.errors import AnswerError, QuotaError, SampleError, UnavailableError
from threatwalk.pivot import Answer, Outcome, Pivot, capped
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Sample
from threatwalk.sources import quota
from threatwalk.sources.breaker import Breaker
from threatwalk.sources.filter import Ask, Filter, NotKnownError, Quota, Read
from threatwalk.sources.policy import Policy
from threatwalk.sources.quota import Denied, Ledger
from threatwalk.sources.session import DeniedError, SourceSession, ThrottledError, http_client

_LONG_WAIT_S = 120.0  # a source that asks for a longer pause is done for this run


class Caller(StrEnum):
    """Who asks: a person first, then the night's queue, then the recorder, each with its reserve."""

    ASK = "ask"
    ANALYZE = "analyze"
    RECORD = "record"


class Kept(Protocol):
    """One archived answer."""

    @property
    def raw(self) -> str: ...
    @property
    def outcome(self) -> Outcome: ...
    @property
    def asked_at(self) -> datetime | None: ...
    @property
    def form(self) -> str: ...


class Store(Protocol):
    """What the gate needs of an archive; `archive.store.Archive` is one."""

    @property
    def engine(self) -> sa.Engine: ...
    def fresh(self, filter: str, sample: Sample, *, not_before: datetime) -> Kept | None: ...  # noqa: A002
    def keep(self, answers: Iterable[tuple[str, Sample, str, Outcome, datetime]]) -> None: ...
    def read_rows(self, filter: str, sample: Sample, raw: str) -> Iterable[Pivot]: ...  # noqa: A002


@dataclass(slots=True)
class _Source:
    """One filter with what it needs to be asked."""

    filter: Filter
    session: SourceSession
    breaker: Breaker
    quota: Quota
    closed: str | None = None  # why it is not asked any more in this run (its quota is spent)


class Gate:
    """The gate of one program: sessions, breakers, flights and the writer to the archive.

    Use it as an async context manager. Where it is `offline` it answers from the archive alone. `policy` decides by TLP and PAP; `now` and `sleep` are the clock.
    """

    def __init__(
        self,
        store: Store,
        filters: Iterable[Filter],
        limits: params.Gate,
        endpoints: Mapping[str, str],
        *,
        caller: Caller,
        offline: bool = False,
        keys: Callable[[str], str | None] = settings.key,
        quotas: Callable[[str], str | None] = settings.quota,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._filters = {f.name: f for f in filters}
        self._limits = limits
        self._endpoints = endpoints
        self._offline = offline
        self._keys = keys
        self._quotas = quotas
        self._now = now
        self._sleep = sleep
        self._share = 1.0 - limits.reserve[caller]
        self._policy = Policy(limits)
        self._flights: dict[tuple[str, Sample], asyncio.Task[Answer]] = {}
        self._sources: dict[str, _Source] = {}
        self._writer = _Writer(store)
        self._ledger: Ledger | None = None
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = http_client(timeout_s=self._limits.timeout_s, per_host=self._limits.in_flight)
        self._sources = {name: self._source(f) for name, f in self._filters.items() if f.ask is not None}
        return self

    async def __aexit__(self, *_: object) -> None:
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        await self._writer.close()
        for source in self._sources.values():
            source.session.close()
        if self._http is not None:
            await self._http.close()

    def _source(self, f: Filter) -> _Source:
        assert self._http is not None
        breaker = Breaker(
            failures=self._limits.breaker_failures, wait_s=self._limits.breaker_wait_s, now=self._now
        )

        async def pace(requests: int) -> None:
            await self._pace(self._sources[f.name], requests)

        session = SourceSession(
            f,
            http=self._http,
            endpoints=self._endpoints,
            key=self._keys(f.name),
            pace=pace,
            timeout_s=self._limits.timeout_s,
            max_bytes=self._limits.max_bytes,
        )
        override = self._quotas(f.name)
        # A published limit is that of the public host: an emulator or a mirror has none but the operator's.
        allowed = Quota() if all(session.moved(name) for name in f.endpoints) else f.quota
        return _Source(f, session, breaker, quota.parse(override) if override else allowed)

    def closed(self, name: str) -> str | None:
        """Why a source answers nothing more in this run; None: it may."""
        if self._offline:
            return "this installation is offline (THREATWALK_OFFLINE)"
        source = self._sources.get(name)
        if source is None:
            return "it has no adapter yet"
        if source.filter.needs_key and not source.session.key:
            return f"it needs a key: set THREATWALK_KEY_{name.upper()}"
        return source.closed

    def resting(self, name: str) -> str | None:
        """Why a source is left alone for a while after failures; None: it is not."""
        source = self._sources.get(name)
        return None if source is None else source.breaker.refuses

    def knows(self, name: str, sample: Sample) -> bool:
        """Whether the archive holds a fresh answer: the question would cost nothing."""
        return self._store.fresh(name, sample, not_before=self._oldest()) is not None

    def a_day(self, name: str) -> float:
        """Requests a day that this caller may send to a source; infinite without a limit, 0 where it may not."""
        if self.closed(name) is not None:
            return 0.0
        allowed = self._sources[name].quota
        limits = (
            allowed.per_minute and allowed.per_minute * 1440.0,
            allowed.per_day and allowed.per_day * self._share,
            allowed.per_month and allowed.per_month * self._share / 30,
        )
        return min((limit for limit in limits if limit is not None), default=math.inf)

    def _oldest(self) -> datetime:
        return self._now() - timedelta(days=self._limits.fresh_days)

    def requests(self, name: str) -> int:
        """Requests that left for a source."""
        source = self._sources.get(name)
        return 0 if source is None else source.session.requests

    def endpoints(self, name: str) -> list[str]:
        """Where a source's requests go."""
        source = self._sources[name]
        return [source.session.endpoint(endpoint) for endpoint in source.filter.endpoints]

    def held_back(self, name: str, sample: Sample, *, tlp: Tlp, pap: Pap, active_dns: bool) -> str | None:
        """Why this question is not asked, whatever the archive holds; None: it may be."""
        f = self._filters.get(name)
        if f is None:
            return f"no source is called {name}: it is known from the archive only"
        if sample.kind not in f.accepts:
            return f"{name} takes no {sample.kind}"
        return self._policy.refuses(f.opsec, tlp=tlp, pap=pap, active_dns=active_dns)

    async def ask(self, name: str, sample: Sample, *, tlp: Tlp, pap: Pap, active_dns: bool) -> Answer:
        """The answer of one source about one sample; never raises for what the source does wrong.

        Raises:
            StoreError: our own database cannot be read or written.
        """
        reason = self.held_back(name, sample, tlp=tlp, pap=pap, active_dns=active_dns)
        if reason is not None:
            return Answer(Outcome.NOT_ASKED, reason=reason)
        # Warning lists belong here: a benign hub would be kept, marked, and not asked about.
        known = self._archived(name, sample)
        if known is not None:
            return known
        flight = self._flights.get((name, sample))
        if flight is None:
            flight = asyncio.create_task(self._fly(name, sample))
            self._flights[name, sample] = flight
            flight.add_done_callback(lambda _: self._flights.pop((name, sample), None))
        return await asyncio.shield(flight)

    def _archived(self, name: str, sample: Sample) -> Answer | None:
        kept = self._store.fresh(name, sample, not_before=self._oldest())
        if kept is None:
            return None
        if kept.outcome is Outcome.EMPTY:
            return Answer(Outcome.EMPTY, asked_at=kept.asked_at, archived=True)
        read = self._filters[name].read
        try:
            if kept.form == "rows":
                pivots = list(self._store.read_rows(name, sample, kept.raw))
            elif read is not None:
                pivots = _read(read, sample, kept.raw)
            else:
                return None
        except AnswerError:
            return None  # kept by an older reader, or broken: ask again
        return self._answer(pivots, asked_at=kept.asked_at, archived=True)

    async def _fly(self, name: str, sample: Sample) -> Answer:
        reason = self.closed(name) or self.resting(name)
        if reason is not None:
            return Answer(Outcome.NOT_ASKED, reason=f"{name}: {reason}")
        source = self._sources[name]
        source.breaker.enter()
        asked_at = self._now()
        try:
            answer, raw = await self._asked(source, sample, asked_at)
        except BaseException:
            source.breaker.left()
            raise
        if raw is not None:
            await self._writer.put((name, sample, raw, answer.outcome, asked_at))
        return answer

    async def _asked(self, source: _Source, sample: Sample, asked_at: datetime) -> tuple[Answer, str | None]:
        """The answer, and what the archive keeps of it (None: nothing, it was no answer)."""
        f = source.filter
        assert f.ask is not None and f.read is not None  # noqa: PT018 - __aenter__ took only such
        try:
            raw = await _ask(f.ask, sample, source.session)
            pivots = _read(f.read, sample, raw)
        except NotKnownError as nothing:
            source.breaker.succeeded()
            return Answer(Outcome.EMPTY, asked_at=asked_at), nothing.raw
        except _SpentError as err:
            source.breaker.left()
            return Answer(Outcome.NOT_ASKED, reason=str(err)), None
        except (AnswerError, UnavailableError, QuotaError) as err:
            self._note(source, err)
            return Answer(Outcome.FAILED, asked_at=asked_at, reason=str(err)), None
        source.breaker.succeeded()
        return self._answer(pivots, asked_at=asked_at, archived=False), raw

    def _note(self, source: _Source, err: Exception) -> None:
        """What a failure means for the questions that follow."""
        wait_s = err.retry_after_s if isinstance(err, ThrottledError) else None
        source.breaker.failed(wait_s=wait_s, final=isinstance(err, DeniedError))

    def _answer(self, pivots: list[Pivot], *, asked_at: datetime | None, archived: bool) -> Answer:
        kept, cut = capped(dict.fromkeys(pivots), self._limits.max_pivots)
        outcome = Outcome.FOUND if kept else Outcome.EMPTY
        return Answer(outcome, kept, asked_at, cut=cut, archived=archived)

    async def _pace(self, source: _Source, requests: int) -> None:
        """Wait until the source's limits allow so many requests.

        Raises:
            _SpentError: its day or month is spent.
        """
        if not source.quota.limited:
            return
        while (denied := self._granted(source, requests)) is not None:
            if denied.span != "minute" or denied.wait_s > _LONG_WAIT_S:
                source.closed = f"the {denied.span}'s quota is spent for {_hours(denied.wait_s)}"
                raise _SpentError(f"{source.filter.name}: {source.closed}")
            await self._sleep(denied.wait_s)

    def _granted(self, source: _Source, requests: int) -> Denied | None:
        if self._ledger is None:
            self._ledger = Ledger(self._store.engine)
        return self._ledger.grant(
            source.filter.name, source.quota, requests=requests, now=self._now(), share=self._share
        )


# What an adapter raises where a body is so odd that it did not foresee it.
_ODD = (SampleError, ValueError, TypeError, LookupError, AttributeError, RecursionError)


async def _ask(ask: Ask, sample: Sample, session: SourceSession) -> str:
    """The raw answer; an adapter that stumbles over a body in between raises AnswerError."""
    try:
        return await ask(sample, session)
    except _ODD as err:
        raise AnswerError(f"the answer about {sample} is odd: {type(err).__name__} {err}"[:200]) from err


def _read(read: Read, sample: Sample, raw: str) -> list[Pivot]:
    """Every pivot of a raw answer; raises AnswerError where it cannot be read, however odd it is."""
    try:
        return list(read(sample, raw))
    except _ODD as err:
        raise AnswerError(f"the answer about {sample} is odd: {type(err).__name__} {err}"[:200]) from err


class _SpentError(QuotaError):
    """Our own count says that the quota is spent: nothing was sent."""


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"


class _Writer:
    """Writes answers in groups: while one group is written, the next one gathers.

    `put` returns when its answer is safe, so that no answer is used that is not archived.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._gathered: list[tuple[tuple[str, Sample, str, Outcome, datetime], asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def put(self, answer: tuple[str, Sample, str, Outcome, datetime]) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gathered.append((answer, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write())
        await future

    async def _write(self) -> None:
        while self._gathered:
            group, self._gathered = self._gathered, []
            try:
                await asyncio.to_thread(self._store.keep, [answer for answer, _ in group])
            except Exception as err:  # noqa: BLE001 - handed to everyone who waits for this group
                for _, future in group:
                    if not future.cancelled():
                        future.set_exception(err)
            else:
                for _, future in group:
                    if not future.cancelled():
                        future.set_result(None)

    async def close(self) -> None:
        if self._task is not None:
            await self._task
