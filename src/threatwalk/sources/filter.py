"""A filter asks one source about one sample: what it accepts and yields is data, not code."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from threatwalk.pivot import Pivot
from threatwalk.sample import Kind, Sample


class Opsec(StrEnum):
    """Who may learn of the question, from the safest to the least safe (PROVIDERS.md, 13)."""

    LOCAL = "local"
    THIRD_PARTY = "third_party"
    REGISTRY = "registry"
    ACTIVE_DNS = "active_dns"
    ACTIVE_TOUCH = "active_touch"
    DISCLOSING = "disclosing"


class Status(StrEnum):
    LIVE = "live"
    RETIRED = "retired"  # the service is gone; archive and emulator only
    ARCHIVE = "archive"  # known from imported answers only; never asked


@dataclass(frozen=True, slots=True)
class Quota:
    """Calls that the source allows: None where it publishes no limit for that span."""

    per_minute: int | None = None
    per_day: int | None = None
    per_month: int | None = None


class Session(Protocol):
    """What an adapter may use of the outside world; the gate makes one for each question."""

    endpoint: str  # base URL, or host:port, where the source listens
    key: str | None

    async def get(
        self, path: str, *, params: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> str:
        """The body of a GET below `endpoint`; raises NotKnown, UnavailableError or QuotaError."""
        ...


@dataclass(frozen=True, slots=True)
class Filter:
    """One source of the paper's figure 2, as an adapter.

    `ask` is the only part that touches the network; it returns the raw answer as text, which the
    archive keeps. `read` is pure: the pivots that a raw answer holds.
    """

    name: str
    title: str
    accepts: frozenset[Kind]
    yields: frozenset[Kind]
    opsec: Opsec
    quota: Quota
    status: Status
    endpoint: str
    needs_key: bool
    terms: str
    ask: Callable[[Sample, Session], Awaitable[str]]
    read: Callable[[Sample, str], Iterable[Pivot]]
