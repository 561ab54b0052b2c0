"""A breaker: after so many failures in a row a source is left alone, then one probe decides.

Its state lies in our database, so that all processes leave a source alone together and one of them probes it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from threatwalk.errors import StoreError
from threatwalk.gate import tables

_LOOK_S = 1.0  # how old our knowledge of what other processes met may be
_NOTE_S = 60.0  # how often a success that changes nothing is written down
_REASON = 300

_health = sa.Table(
    "source_health",
    tables.metadata,
    sa.Column("source", sa.String(64), primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),  # in a row
    sa.Column("open_until", sa.Float),  # seconds since 1970; null: closed
    sa.Column("probe_until", sa.Float),  # a probe is under way, and given up then
    sa.Column("last_success", sa.Float),
    sa.Column("last_failure", sa.Float),
    sa.Column("reason", sa.Text),  # of the last failure
)


@dataclass(frozen=True, slots=True)
class Health:
    """How a source fared lately, over all processes. Times are aware UTC; None: never, or closed."""

    failures: int = 0
    open_until: datetime | None = None
    last_success: datetime | None = None
    last_failure: datetime | None = None
    reason: str | None = None

    def breaker(self, now: datetime) -> str:
        """closed, open, or half-open (the next question is a probe)."""
        if self.open_until is None:
            return "closed"
        return "open" if now < self.open_until else "half-open"


class Breaker:
    """The breaker of one source. Closed: questions pass. Open: none does, until `wait_s` is over or the time that
    the source itself named. Then one probe passes; its success closes the breaker, its failure opens it again.

    Raises:
        StoreError: (each method) the database cannot be used.
    """

    def __init__(
        self,
        source: str,
        engine: sa.Engine,
        *,
        failures: int,
        wait_s: float,
        probe_s: float,
        now: Callable[[], datetime],
    ) -> None:
        self._source = source
        self._engine = engine
        self._limit = failures
        self._wait = timedelta(seconds=wait_s)
        self._probe_s = probe_s
        self._now = now
        self._known = Health()
        self._looked: datetime | None = None
        self._probed_until: datetime | None = None
        self._probing = False

    @property
    def rests(self) -> str | None:
        """Why the source is left alone now, by a probe as well; None: it is not."""
        now = self._now()
        if self._looked is None or now - self._looked >= timedelta(seconds=_LOOK_S):
            self._look(now)
        if self._known.open_until is None or now >= self._known.open_until:
            return None
        return (
            f"it failed {self._known.failures} times ({self._known.reason}); "
            f"left alone until {self._known.open_until:%H:%M:%S} UTC"
        )

    @property
    def refuses(self) -> str | None:
        """Why no further question may pass now; None: one may."""
        rests = self.rests
        if rests is not None or self._known.open_until is None:
            return rests
        now = self._now()
        probed = self._probed_until is not None and now < self._probed_until
        return "it failed before, and one probe is under way" if self._probing or probed else None

    def enter(self) -> bool:
        """Count a question in. False: the breaker is half-open, and another process sent the probe already."""
        if self._known.open_until is None:
            return True
        at = self._now().timestamp()
        free = sa.or_(_health.c.probe_until.is_(None), _health.c.probe_until <= at)
        claim = _health.update().where(_health.c.source == self._source, free)
        with self._transaction() as connection:
            claimed = connection.execute(claim.values(probe_until=at + self._probe_s)).rowcount == 1
        self._probing = claimed
        return claimed

    def succeeded(self) -> None:
        now = self._now()
        known, self._probing = self._known, False
        noted = known.last_success
        if not known.failures and noted is not None and now - noted < timedelta(seconds=_NOTE_S):
            return
        self._write(failures=0, open_until=None, probe_until=None, last_success=now.timestamp())

    def failed(self, reason: str, *, wait_s: float | None = None, final: bool = False) -> None:
        """One more failure. `wait_s` is what the source asked for; `final`: more tries would change nothing."""
        now = self._now()
        self._look(now)
        failures = self._known.failures + 1
        opens = self._probing or final or wait_s is not None or failures >= self._limit
        self._probing = False
        span = self._wait if wait_s is None else timedelta(seconds=wait_s)
        self._write(
            failures=failures,
            open_until=(now + span).timestamp() if opens else None,
            probe_until=None,
            last_failure=now.timestamp(),
            reason=reason[:_REASON],
        )

    def left(self) -> None:
        """The question ended without saying anything about the source (it was cancelled, or never left)."""
        if self._probing:
            self._probing = False
            self._write(probe_until=None)

    def _look(self, now: datetime) -> None:
        with self._transaction() as connection:
            row = connection.execute(sa.select(_health).where(_health.c.source == self._source)).first()
        self._looked = now
        self._known = Health() if row is None else _read(row)
        self._probed_until = None if row is None else _moment(row.probe_until)

    def _write(self, **values: object) -> None:
        fresh = tables.insert(self._engine, _health).values(source=self._source, **{"failures": 0, **values})
        with self._transaction() as connection:
            connection.execute(fresh.on_conflict_do_update(index_elements=["source"], set_=values))
        self._look(self._now())

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.SQLAlchemyError as err:
            raise StoreError(f"the state of {self._source} cannot be read or written: {err}") from err


def states(engine: sa.Engine) -> Mapping[str, Health]:
    """How each source that was ever asked fared.

    Raises:
        StoreError: the database cannot be used.
    """
    tables.create(engine)
    try:
        with engine.begin() as connection:
            return {row.source: _read(row) for row in connection.execute(sa.select(_health))}
    except sa.exc.SQLAlchemyError as err:
        raise StoreError(f"the state of the sources cannot be read: {err}") from err


def _read(row: sa.Row[tuple[object, ...]]) -> Health:
    times = (_moment(row.open_until), _moment(row.last_success), _moment(row.last_failure))
    return Health(row.failures, *times, row.reason)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
