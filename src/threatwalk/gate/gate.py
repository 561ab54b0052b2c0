"""The gate: the only way out. Every live question passes it, in this order:

    kind accepted → TLP and PAP → warning lists and known-good → archive → who answers (the source, or its
    successor): key, breaker → one flight, over processes by a claim → quota and rate → allow list → the call,
    with its limits → archive → cap

and ends in one of four outcomes, never merged: found, empty, failed, not asked (why).
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol, Self

import aiohttp
import sqlalchemy as sa

from threatwalk import params, settings
from threatwalk.errors import AnswerError, QuotaError, SampleError, UnavailableError
from threatwalk.gate import known_good, quota, tables
from threatwalk.gate.benign import Benign
from threatwalk.gate.breaker import Breaker
from threatwalk.gate.claims import Claims
from threatwalk.gate.nights import Nights
from threatwalk.gate.policy import Policy
from threatwalk.gate.quota import Denied, Ledger
from threatwalk.gate.session import SourceSession, http_client
from threatwalk.gate.shapes import Shapes
from threatwalk.gate.writer import Kept as Row
from threatwalk.gate.writer import Writer
from threatwalk.pivot import Answer, Outcome, Pivot, capped, renamed
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample
from threatwalk.sources import isc
from threatwalk.sources.filter import Ask, Filter, NotKnownError, Quota, Read
from threatwalk.sources.response import DeniedError, NotInPlanError, ThrottledError

_LOOK_S = 0.5  # how often an answer is looked for that another process asks for
_LONG_WAIT_S = 120.0  # a source that asks for a longer pause is done for this run


class Caller(StrEnum):
    """Who asks: a person first, then the night's queue, then the recorder, each with its reserve."""

    ASK = "ask"
    ANALYZE = "analyze"
    RECORD = "record"


_WAITED: ContextVar[list[float]] = ContextVar("waited")
"""Seconds that the lookup under way waited for its turn: they are ours, not the source's."""

_RANK = {caller: rank for rank, caller in enumerate(Caller)}


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
    @property
    def by(self) -> str | None: ...


class Store(Protocol):
    """What the gate needs of an archive; `archive.store.Archive` is one."""

    @property
    def engine(self) -> sa.Engine: ...
    def fresh(self, filter: str, sample: Sample, *, not_before: datetime) -> Kept | None: ...  # noqa: A002
    def keep(self, answers: Iterable[Row]) -> None: ...
    def read_rows(self, filter: str, sample: Sample, raw: str) -> Iterable[Pivot]: ...  # noqa: A002


@dataclass(slots=True)
class _Source:
    """One filter with what it needs to be asked."""

    filter: Filter
    session: SourceSession
    breaker: Breaker
    quota: Quota
    here: bool  # there is a place to ask it
    spent: str | None = None  # why it is not asked any more in this run


@dataclass(frozen=True, slots=True)
class _Said:
    """An answer, and what the archive keeps of it (None: nothing, it was no answer)."""

    answer: Answer
    raw: str | None


class Gate:
    """The gate of one program: sessions, breakers, flights and the writer to the archive.

    Use it as an async context manager. Where it is `offline` it answers from the archive alone. `now` and
    `sleep` are the clock; `benign` says why nobody is asked about a sample (None: as `limits` says).
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
        benign: Benign | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
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
        self._rank = _RANK[caller]
        self._share = 1.0 - limits.reserve[caller]
        self._policy = Policy(limits)
        self._benign = benign or known_good.of(limits, endpoints, store.engine)
        self._flights: dict[tuple[str, str, Sample], asyncio.Task[_Said]] = {}
        self._sources: dict[str, _Source] = {}
        self._writer = Writer(store.keep)
        self._claims = Claims(store.engine, now)
        self._nights = Nights(store.engine, now)
        self._shapes = Shapes(store.engine, now)
        self._ledger: Ledger | None = None
        self._http: aiohttp.ClientSession | None = None
        self._researchers: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        tables.create(self._store.engine)
        self._http = http_client(timeout_s=self._limits.timeout_s)
        every = {one.name: one for f in self._filters.values() for one in (f, *f.successors)}
        self._sources = {name: self._source(f) for name, f in every.items() if f.ask is not None}
        return self

    async def __aexit__(self, *_: object) -> None:
        flights: list[asyncio.Task[Any]] = [*self._flights.values()]
        if self._researchers is not None:
            flights.append(self._researchers)
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        await self._writer.close()
        await self._claims.close()
        self._nights.keep()
        self._shapes.keep()
        for source in self._sources.values():
            source.session.close()
        if self._http is not None:
            await self._http.close()

    def _source(self, f: Filter) -> _Source:
        assert self._http is not None
        breaker = Breaker(
            f.name,
            self._store.engine,
            failures=self._limits.breaker_failures,
            wait_s=self._limits.breaker_wait_s,
            probe_s=2 * self._limits.timeout_s,
            now=self._now,
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
            in_flight=self._limits.in_flight,
        )
        override = self._quotas(f.name)
        moved = [session.moved(name) for name in f.endpoints]
        # A published limit is that of the public host: an emulator or a mirror has none but the operator's.
        allowed = Quota() if all(moved) else f.quota
        here = not f.homeless or any(moved)
        return _Source(f, session, breaker, quota.parse(override) if override else allowed, here)

    def closed(self, name: str) -> str | None:
        """Why neither a source nor its successors answer anything more in this run; None: one may."""
        if self._offline:
            return "this installation is offline (THREATWALK_OFFLINE)"
        reasons = [reason for one in self._standing(name) if (reason := self._shut(one)) is not None]
        if len(reasons) < len(self._standing(name)):
            return None
        return "; ".join(dict.fromkeys(reasons)) or "it is known from the archive only"

    def _standing(self, name: str) -> Sequence[Filter]:
        """Who may answer for a filter: itself where it can be asked, else its successors, the best first."""
        f = self._filters.get(name)
        if f is None:
            return ()
        source = self._sources.get(name)
        return (f,) if (source is not None and source.here) or not f.successors else f.successors

    def lacks(self, name: str) -> bool:
        """Whether this installation can ask neither a source nor its successors, tonight or any other night."""
        return all(self._lacking(one) for one in self._standing(name))

    def _shut(self, f: Filter) -> str | None:
        """Why this very source answers nothing more in this run."""
        if lacking := self._lacking(f):
            return lacking
        spent = self._sources[f.name].spent
        return None if spent is None else f"{f.name}: {spent}"

    def _lacking(self, f: Filter) -> str | None:
        """Why this very source cannot be asked by this installation."""
        source = self._sources.get(f.name)
        if source is None:
            return f"{f.name} has no adapter"
        if not source.here:
            return f"{f.name} is not here: name its place in THREATWALK_ENDPOINTS"
        if f.needs_key and not source.session.key:
            return f"{f.name} needs a key: set THREATWALK_KEY_{f.name.upper()}"
        return None

    def resting(self, name: str) -> str | None:
        """Why a source is left alone for a while after failures; None: it is not."""
        resting = [
            self._sources[one.name].breaker.refuses for one in self._standing(name) if not self._shut(one)
        ]
        return next(iter(resting)) if resting and None not in resting else None

    def knows(self, name: str, sample: Sample) -> bool:
        """Whether the archive holds a fresh answer: the question would cost nothing."""
        return self._store.fresh(name, sample, not_before=self._oldest()) is not None

    def a_day(self, name: str) -> float:
        """Requests a day that this caller may send to a source; infinite without a limit, 0 where it may not."""
        if self.closed(name) is not None:
            return 0.0
        source = next(self._sources[one.name] for one in self._standing(name) if not self._shut(one))
        allowed = source.quota
        limits = (
            allowed.per_minute and allowed.per_minute * 1440.0,
            allowed.per_day and allowed.per_day * self._share,
            allowed.per_month and allowed.per_month * self._share / 30,
        )
        return min((limit for limit in limits if limit is not None), default=math.inf)

    def left(self, name: str) -> float:
        """Usual questions that this caller may still put to whoever answers for a source, this day and month.

        Infinite without a limit; 0 where none of them may be asked.

        Raises:
            StoreError: the database cannot be used.
        """
        if self.closed(name) is not None:
            return 0.0
        source = next(self._sources[one.name] for one in self._standing(name) if not self._shut(one))
        limits = source.quota.per_day, source.quota.per_month
        if limits == (None, None):
            return math.inf
        used = self._books().used(source.filter.name, now=self._now())
        left = (int(most * self._share) - n for most, n in zip(limits, used, strict=True) if most is not None)
        return max(0, min(left)) // source.filter.cost

    def cost(self, name: str) -> int:
        """Requests of a usual question to whoever answers for a source."""
        return next((f.cost for f in self._standing(name) if not self._shut(f)), self._filters[name].cost)

    def _oldest(self) -> datetime:
        return self._now() - timedelta(days=self._limits.fresh_days)

    def requests(self, name: str) -> int:
        """Requests that left for a source or, where they stand in for it, its successors."""
        return sum(
            self._sources[f.name].session.requests for f in self._standing(name) if f.name in self._sources
        )

    def endpoints(self, name: str) -> list[str]:
        """Where the requests of a source go."""
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

    def benign(self, sample: Sample) -> str | None:
        """Why nobody is asked about this sample; None: it is not known to be good."""
        return self._benign.why(sample)

    async def ask(
        self,
        name: str,
        sample: Sample,
        *,
        tlp: Tlp,
        pap: Pap,
        active_dns: bool,
        even_benign: bool = False,
    ) -> Answer:
        """The answer of one source about one sample; never raises for what the source does wrong.

        Raises:
            StoreError: our own database cannot be read or written.
        """
        reason = self.held_back(name, sample, tlp=tlp, pap=pap, active_dns=active_dns)
        if reason is not None:
            return Answer(Outcome.NOT_ASKED, reason=reason)
        # The local file of known files is itself how a file is known to be good: it may always be asked.
        good = None
        if not even_benign and any(self._filters[name].endpoints.values()):
            await self._know_researchers(sample)
            good = self.benign(sample)
        if good is not None:
            return Answer(Outcome.NOT_ASKED, reason=f"{sample.kind} not expanded: {good}", benign=good)
        known = self._archived(name, sample)
        if known is not None:
            return known.answer
        source, reason = self._who(name, sample, tlp=tlp, pap=pap, active_dns=active_dns)
        if source is None:
            return Answer(Outcome.NOT_ASKED, reason=reason)
        return (await self._flight(name, source, sample)).answer

    async def _know_researchers(self, sample: Sample) -> None:
        """Once, before the first address: the Internet Storm Center's list, where it is a day old.

        The list names no sample of ours. Where it cannot be had, the older one stays.
        """
        if sample.kind not in {Kind.IPV4, Kind.IPV6}:
            return
        if self._researchers is None:
            self._researchers = asyncio.create_task(self._fetch_researchers())
        if self._researchers.done():
            self._researchers.result()
        else:
            await asyncio.shield(self._researchers)

    async def _fetch_researchers(self) -> None:
        source, engine = self._sources.get("isc"), self._store.engine
        if (
            source is None
            or self._offline
            or "isc" not in self._limits.known_good
            or self._shut(source.filter)
        ):
            return
        if source.breaker.refuses or not known_good.stale(engine, "isc", self._now()):
            return
        try:
            known_good.keep(engine, "isc", await isc.research(source.session), self._now())
        except (AnswerError, UnavailableError, QuotaError, NotKnownError) as err:
            source.breaker.failed(str(err), final=isinstance(err, DeniedError))

    def _who(
        self, name: str, sample: Sample, *, tlp: Tlp, pap: Pap, active_dns: bool
    ) -> tuple[_Source | None, str]:
        """The source that may answer now, the asked one before its successors; else why none may."""
        if self._offline:
            return None, f"{name}: {self.closed(name)}"
        reasons = []
        for f in self._standing(name):
            reason = (
                None if sample.kind in f.accepts else f"{f.name} takes no {sample.kind}"
            ) or self._policy.refuses(f.opsec, tlp=tlp, pap=pap, active_dns=active_dns)
            reason = reason or self._shut(f)
            if reason is None and (resting := self._sources[f.name].breaker.refuses):
                reason = f"{f.name}: {resting}"
            if reason is None:
                return self._sources[f.name], ""
            reasons.append(reason)
        return None, "; ".join(dict.fromkeys(reasons)) or f"{name} has no adapter"

    async def _flight(self, name: str, source: _Source, sample: Sample) -> _Said:
        """Equal questions share one flight; one to a successor shares that of the successor's own slot."""
        key = (name, source.filter.name, sample)
        flight = self._flights.get(key)
        if flight is None:
            flying = (
                self._fly(source, sample)
                if name == source.filter.name
                else self._fly_for(name, source, sample)
            )
            flight = asyncio.create_task(flying)
            self._flights[key] = flight
            flight.add_done_callback(lambda _: self._flights.pop(key, None))
        return await asyncio.shield(flight)

    async def _fly_for(self, name: str, source: _Source, sample: Sample) -> _Said:
        """The successor's answer, under the name of the slot that was asked."""
        by = source.filter.name
        said = self._archived(by, sample) or await self._flight(by, source, sample)
        answer = replace(said.answer, pivots=tuple(renamed(said.answer.pivots, name)), by=by)
        if said.raw is not None and answer.asked_at is not None:
            await self._writer.put((name, sample, said.raw, answer.outcome, answer.asked_at, by))
        return _Said(answer, said.raw)

    def _archived(self, name: str, sample: Sample) -> _Said | None:
        kept = self._store.fresh(name, sample, not_before=self._oldest())
        if kept is None:
            return None
        by = kept.by or name
        if kept.outcome is Outcome.EMPTY:
            return _Said(Answer(Outcome.EMPTY, asked_at=kept.asked_at, archived=True, by=kept.by), kept.raw)
        reader = self._sources.get(by)
        try:
            if kept.form == "rows":
                return _Said(
                    self._answer(
                        list(self._store.read_rows(name, sample, kept.raw)),
                        asked_at=kept.asked_at,
                        archived=True,
                    ),
                    None,  # not in the words of the source: no other slot could read it
                )
            if reader is None or reader.filter.read is None:
                return None
            pivots = _read(reader.filter.read, sample, kept.raw)
            if by != name:
                pivots = list(renamed(pivots, name))
        except AnswerError:
            return None  # kept by an older reader, or broken: ask again
        answer = self._answer(pivots, asked_at=kept.asked_at, archived=True)
        return _Said(answer if kept.by is None else replace(answer, by=kept.by), kept.raw)

    async def _fly(self, source: _Source, sample: Sample) -> _Said:
        """Where the source has limits, no two processes ask it the same: one waits for the other's answer."""
        name = source.filter.name
        if not source.quota.limited:
            return await self._ask_now(source, sample)
        while not await self._claims.take(name, sample):
            await self._sleep(_LOOK_S)
            known = self._archived(name, sample)
            if known is not None:
                return known
        try:
            if (known := self._archived(name, sample)) is not None:
                return known
            if (resting := source.breaker.refuses) is not None:
                return _Said(Answer(Outcome.NOT_ASKED, reason=f"{name}: {resting}"), None)
            return await self._ask_now(source, sample)
        finally:
            self._claims.give(name, sample)

    async def _ask_now(self, source: _Source, sample: Sample) -> _Said:
        if not source.breaker.enter():
            reason = f"{source.filter.name}: it failed before, and another process probes it"
            return _Said(Answer(Outcome.NOT_ASKED, reason=reason), None)
        asked_at = self._now()
        try:
            said = await self._asked(source, sample, asked_at)
        except BaseException:
            source.breaker.left()
            raise
        if said.raw is not None:
            await self._writer.put(
                (source.filter.name, sample, said.raw, said.answer.outcome, asked_at, None)
            )
        return said

    async def _asked(self, source: _Source, sample: Sample, asked_at: datetime) -> _Said:
        f = source.filter
        assert f.ask is not None and f.read is not None  # noqa: PT018 - __aenter__ took only such

        def counted(outcome: Outcome, *, odd: bool = False) -> None:
            took = (self._now() - asked_at).total_seconds() - sum(waited)
            self._nights.count(f.name, outcome.value, max(0.0, took), odd=odd)

        waited: list[float] = []
        _WAITED.set(waited)
        try:
            raw = await _ask(f.ask, sample, source.session)
            pivots = _read(f.read, sample, raw)
        except NotKnownError as nothing:
            source.breaker.succeeded()
            counted(Outcome.EMPTY)
            return _Said(Answer(Outcome.EMPTY, asked_at=asked_at), nothing.raw)
        except (_HeldBackError, NotInPlanError) as err:
            source.breaker.left()
            return _Said(Answer(Outcome.NOT_ASKED, reason=str(err)), None)
        except (AnswerError, UnavailableError, QuotaError) as err:
            wait_s = err.retry_after_s if isinstance(err, ThrottledError) else None
            source.breaker.failed(str(err), wait_s=wait_s, final=isinstance(err, DeniedError))
            counted(Outcome.FAILED, odd=isinstance(err, AnswerError))
            return _Said(Answer(Outcome.FAILED, asked_at=asked_at, reason=str(err)), None)
        source.breaker.succeeded()
        answer = self._answer(pivots, asked_at=asked_at, archived=False)
        counted(answer.outcome)
        self._shapes.see(f.name, raw)
        return _Said(answer, raw)

    def _answer(self, pivots: list[Pivot], *, asked_at: datetime | None, archived: bool) -> Answer:
        kept, cut = capped(dict.fromkeys(pivots), self._limits.max_pivots)
        outcome = Outcome.FOUND if kept else Outcome.EMPTY
        return Answer(outcome, kept, asked_at, cut=cut, archived=archived)

    async def _pace(self, source: _Source, requests: int) -> None:
        """Wait until the source's limits allow so many requests.

        Raises:
            _HeldBackError: its day or month is spent, or it failed so often meanwhile that it is left alone.
        """
        again = False
        while (rests := source.breaker.rests) is None:
            if not source.quota.limited:
                return
            denied = self._granted(source, requests, again=again)
            if denied is None:
                return
            if denied.span != "minute" or denied.wait_s > _LONG_WAIT_S:
                source.spent = f"the {denied.span}'s quota is spent for {_hours(denied.wait_s)}"
                raise _HeldBackError(f"{source.filter.name}: {source.spent}")
            await self._sleep(denied.wait_s)
            _WAITED.get().append(denied.wait_s)
            again = True
        raise _HeldBackError(f"{source.filter.name}: {rests}")

    def _granted(self, source: _Source, requests: int, *, again: bool) -> Denied | None:
        return self._books().grant(
            source.filter.name,
            source.quota,
            requests=requests,
            now=self._now,
            share=self._share,
            rank=self._rank,
            again=again,
        )

    def _books(self) -> Ledger:
        if self._ledger is None:
            self._ledger = Ledger(self._store.engine)
        return self._ledger


# What an adapter raises where a body is so odd that it did not foresee it.
_ODD = (SampleError, ValueError, TypeError, LookupError, AttributeError, RecursionError)


async def _ask(ask: Ask, sample: Sample, session: SourceSession) -> str:
    """The raw answer; an adapter that stumbles over a body in between raises AnswerError."""
    try:
        with session.guarded():  # a package that asks by itself reaches no other place either
            return await ask(sample, session)
    except _ODD as err:
        raise AnswerError(f"the answer about {sample} is odd: {type(err).__name__} {err}"[:200]) from err


def _read(read: Read, sample: Sample, raw: str) -> list[Pivot]:
    """Every pivot of a raw answer; raises AnswerError where it cannot be read, however odd it is."""
    try:
        return list(read(sample, raw))
    except _ODD as err:
        raise AnswerError(f"the answer about {sample} is odd: {type(err).__name__} {err}"[:200]) from err


class _HeldBackError(QuotaError):
    """The gate itself holds a request back, by its own count or by the breaker: nothing was sent."""


def _hours(seconds: float) -> str:
    if seconds == math.inf:
        return "ever: it is less than one question needs"
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"
