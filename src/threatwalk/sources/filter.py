"""A filter asks one source about one sample: what it accepts and yields is data, not code."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from threatwalk.pivot import Pivot
from threatwalk.sample import Kind, Sample
from threatwalk.sources.response import NotKnownError, Response

__all__ = ["Ask", "Filter", "NotKnownError", "Opsec", "Quota", "Read", "Session", "Status"]


class Opsec(StrEnum):
    """Who may learn of the question, from the safest to the least safe."""

    LOCAL = "local"  # nobody: the source lies on this machine
    THIRD_PARTY = "third_party"  # the company behind a database of earlier observations
    REGISTRY = "registry"  # a registry of domains or addresses
    ACTIVE_DNS = "active_dns"  # maybe the adversary's own name server
    ACTIVE_TOUCH = "active_touch"  # the adversary's machine
    DISCLOSING = "disclosing"  # the public


class Status(StrEnum):
    LIVE = "live"
    RETIRED = "retired"  # the service is gone: archive and emulator only, a successor answers live
    ARCHIVE = "archive"  # known from imported answers only; never asked


@dataclass(frozen=True, slots=True)
class Quota:
    """Requests that the source allows: None where it publishes no limit for that span."""

    per_minute: int | None = None
    per_day: int | None = None
    per_month: int | None = None

    @property
    def limited(self) -> bool:
        return self != Quota()


class Session(Protocol):
    """What an adapter may use of the outside world. Every request passes quota, allow list and limits.

    All raise UnavailableError (unreachable, too slow, too large, nonsense), QuotaError (throttled) or
    GuardError (not on the allow list).
    """

    key: str | None

    def endpoint(self, name: str) -> str:
        """Where one of the filter's endpoints lies: a base URL without a slash at its end, or host:port."""
        ...

    def moved(self, name: str) -> bool:
        """Whether that endpoint was sent elsewhere than to its public host."""
        ...

    async def get(
        self,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """The body of a GET. 404 is NotKnownError."""
        ...

    async def post(
        self,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """The body of a POST of form fields or of JSON: for look-ups that want one. 404 is NotKnownError."""
        ...

    async def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        follow: bool = True,
    ) -> Response:
        """Whatever a request brings back, its status not judged (`response.judged` does). Redirects are
        followed on the allow list only, or with `follow` False returned.
        """
        ...

    async def udp(self, endpoint: str, messages: list[bytes]) -> list[bytes]:
        """The replies to DNS messages (told apart by id and question), sent at once, in their order."""
        ...

    async def tcp(self, endpoint: str, message: bytes, *, framed: bool = False) -> bytes:
        """What a TCP server says to a message until it closes; `framed`: with DNS's two-byte lengths."""
        ...

    def trust(self, hosts: Iterable[str]) -> None:
        """Let this filter's requests go to these public hosts too, on the ports of HTTPS and whois."""
        ...

    @property
    def memo(self) -> dict[str, object]:
        """What the adapter wants to remember while the program runs (a bootstrap file, say)."""
        ...


Ask = Callable[[Sample, Session], Awaitable[str]]
Read = Callable[[Sample, str], Iterable[Pivot]]


@dataclass(frozen=True, slots=True)
class Filter:
    """One source of the paper's figure 2.

    `ask` is the only part that touches the network; it returns the raw answer as text, which the
    archive keeps, and raises NotKnownError for a proper "not found". `read` is pure: the pivots that
    a raw answer holds; it raises AnswerError where the text is no answer of this source.
    `endpoints` are named as THREATWALK_ENDPOINTS names them; an empty one has no public place (a file).
    `successors` are asked in its place, the first that may be, where it cannot be asked itself: it is
    retired, or its file is not here.
    """

    name: str
    title: str
    accepts: frozenset[Kind]
    yields: frozenset[Kind]
    opsec: Opsec
    quota: Quota
    status: Status
    terms: str
    endpoints: Mapping[str, str] = field(default_factory=dict)
    needs_key: bool = False
    takes_key: bool = False  # it answers without a key, and more with one
    forbids: str = ""  # what the terms of a free key forbid, for a warning where there is a key
    cost: int = 1  # requests of a usual question
    ask: Ask | None = None
    read: Read | None = None
    successors: tuple["Filter", ...] = ()

    @property
    def homeless(self) -> bool:
        """Whether there is no public place to ask: only an endpoint that the operator names answers."""
        return self.status is Status.RETIRED or not all(self.endpoints.values())
