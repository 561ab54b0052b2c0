"""Which checks for known-good samples an installation has, as `params.yaml: gate` names them."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
import structlog

from threatwalk import params
from threatwalk.errors import ParamsError, StoreError, UnavailableError
from threatwalk.gate import tables
from threatwalk.gate.benign import Benign, Check, WarningLists, among, hashes_in, listed
from threatwalk.sample import Sample, parse
from threatwalk.sources import nsrl

KNOWN = ("nsrl", "isc")
_STALE = timedelta(days=1)

log = structlog.get_logger()

_known_good = sa.Table(
    "known_good",
    tables.metadata,
    sa.Column("source", sa.String(64), primary_key=True),
    sa.Column("fetched", sa.Float, nullable=False),  # seconds since 1970
    sa.Column("samples", sa.Text, nullable=False),  # JSON list of KIND:VALUE
)


def of(limits: params.Gate, endpoints: Mapping[str, str], engine: sa.Engine) -> Benign:
    """The warning lists, files that NSRL's database holds, and addresses of researchers that the Internet Storm
    Center knows, as far as they are chosen and here.

    Raises:
        ParamsError: a check that is chosen does not exist.
    """
    unknown = set(limits.known_good) - set(KNOWN)
    if unknown:
        raise ParamsError(f"params.yaml: gate.known_good may name {', '.join(KNOWN)}, not {min(unknown)!r}")

    def checks() -> Sequence[Check]:
        made: list[Check] = []
        if limits.warning_lists or limits.exact_lists:
            made.append(listed(WarningLists(limits.warning_lists, limits.exact_lists)))
        if "nsrl" in limits.known_good and endpoints.get("nsrl"):
            made.append(hashes_in(_in_nsrl(endpoints["nsrl"]), "NSRL knows it as a published file"))
        if "isc" in limits.known_good:
            made.append(
                among(load(engine, "isc"), "the Internet Storm Center knows it as a researcher's scanner")
            )
        return made

    return Benign(checks)


def _in_nsrl(path: str) -> Callable[[Sample], bool]:
    broken: list[str] = []

    def knows(sample: Sample) -> bool:
        if broken:
            return False
        try:
            return nsrl.knows(path, sample)
        except UnavailableError as err:
            broken.append(str(err))  # said once; the source nsrl itself says it with each answer
            log.warning("no known-good check by NSRL", reason=str(err))
            return False

    return knows


def stale(engine: sa.Engine, source: str, now: datetime) -> bool:
    """Whether a source's list is older than a day, or was never fetched."""
    with engine.begin() as connection:
        fetched = connection.scalar(sa.select(_known_good.c.fetched).where(_known_good.c.source == source))
    return fetched is None or now - datetime.fromtimestamp(fetched, UTC) >= _STALE


def load(engine: sa.Engine, source: str) -> frozenset[Sample]:
    """A source's list as it was fetched last; empty where it never was."""
    with engine.begin() as connection:
        text = connection.scalar(sa.select(_known_good.c.samples).where(_known_good.c.source == source))
    return frozenset(map(parse, json.loads(text))) if text else frozenset()


def keep(engine: sa.Engine, source: str, samples: Iterable[Sample], now: datetime) -> None:
    """Replace a source's list.

    Raises:
        StoreError: the database cannot be written.
    """
    values = {"fetched": now.timestamp(), "samples": json.dumps(sorted(map(str, samples)))}
    fresh = tables.insert(engine, _known_good).values(source=source, **values)
    try:
        with engine.begin() as connection:
            connection.execute(fresh.on_conflict_do_update(index_elements=["source"], set_=values))
    except sa.exc.SQLAlchemyError as err:
        raise StoreError(f"the list of {source} cannot be kept: {err}") from err
