"""What the emulator does wrong on purpose: a plan of faults by source, drawn from a seed."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from threatwalk.emulator.quota import Clock, Quotas
from threatwalk.errors import UsageError
from threatwalk.sources.filter import Quota

_STATUSES = frozenset({"400", "401", "403", "404", "429", "500", "502", "503", "504"})
_INSIDE = {"error_inside": 500, "limit_inside": 429}
_BODIES = {
    "wrong_type": b'"ok"',
    "hollow": b"{}",
    "foreign": b'{"message": "no healthy upstream", "request_id": "0"}',
}
_SHAPES = frozenset({"reset", "drop", "truncated", "garbage", "slow", "throttled", *_INSIDE, *_BODIES})
NAMES = _STATUSES | _SHAPES


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: a status, or `reset`, `drop` (never answered), `slow` (delayed, else right), `truncated`,
    `garbage`, `wrong_type` (no object), `hollow` (an empty one), `foreign` (one in another machine's words),
    `throttled` (prose on port 43, 429 with Retry-After over HTTP), or what the source says to a 500
    (`error_inside`) or a 429 (`limit_inside`) under the status 200.
    """

    name: str
    delay_s: float = 0.0

    @property
    def told(self) -> int:
        """The HTTP status whose wording stands in place of an answer; 0 where the answer itself is sent."""
        if self.name.isdigit():
            return int(self.name)
        return 429 if self.name == "throttled" else _INSIDE.get(self.name, 0)

    @property
    def status(self) -> int:
        """The HTTP status of that wording."""
        return 200 if self.name in _INSIDE else self.told

    def spoil(self, body: bytes) -> bytes:
        """The body as this fault leaves it."""
        if self.name == "garbage":
            return b"<html><body>\x00\xff Service is under maintenance" + body[:40][::-1]
        return _BODIES.get(self.name, body)


class Faults:
    """The plan: for each source the share of its questions that each fault spoils.

    Each source draws from a generator of its own, so its n-th question always fares alike.
    """

    def __init__(
        self,
        shares: dict[str, dict[str, float]] | None = None,
        *,
        seed: int = 0,
        slow_s: float = 1,
        quotas: Quotas | None = None,
    ):
        self.quotas = quotas or Quotas()
        self._shares = shares or {}
        self._slow_s = slow_s
        self._draws = {source: random.Random(f"{seed} {source}") for source in self._shares}

    def draw(self, source: str) -> Fault | None:
        """What happens to the next question to that source; None: nothing. Its quota comes first."""
        if not self.quotas.take(source):
            return Fault("429")
        shares = self._shares.get(source)
        if shares is None:
            return None
        point = self._draws[source].random()
        for name, share in shares.items():
            point -= share
            if point < 0:
                return Fault(name, self._slow_s if name == "slow" else 0.0)
        return None


def read(path: Path) -> Faults:
    """The plan of a JSON file; each of its words may be left out.

    `{"seed": 1, "slow_s": 2, "sources": {"otx": {"503": 0.1, "reset": 0.05}},
    "quotas": {"virustotal": {"per_minute": 4, "per_day": 500}}, "clock_speed": 60}`

    Raises:
        UsageError: it cannot be read, names an unknown fault or span, or its shares pass 1.
    """
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        sources = {
            str(source): {str(name): float(share) for name, share in shares.items()}
            for source, shares in plan.get("sources", {}).items()
        }
        limits = {str(source): Quota(**spans) for source, spans in plan.get("quotas", {}).items()}
        seed, slow_s = int(plan.get("seed", 0)), float(plan.get("slow_s", 1))
        clock = Clock(float(plan.get("clock_speed", 1)))
    except (OSError, ValueError, TypeError, AttributeError) as err:
        raise UsageError(f"the fault plan {path} cannot be read: {err}") from err
    unknown = set(plan) - {"seed", "slow_s", "sources", "quotas", "clock_speed"}
    if unknown:
        raise UsageError(f"the fault plan {path} holds an unknown word {min(unknown)!r}")
    for source, shares in sources.items():
        for name, share in shares.items():
            if name not in NAMES or not 0 <= share <= 1:
                raise UsageError(
                    f"the fault plan {path}: {source} has {name!r}: {share}; known are {', '.join(sorted(NAMES))}"
                )
        if sum(shares.values()) > 1 + 1e-9:
            raise UsageError(f"the fault plan {path}: the shares of {source} pass 1")
    return Faults(sources, seed=seed, slow_s=slow_s, quotas=Quotas(limits, clock))


Wording = Callable[[int], tuple[bytes, str]]
"""Body and media type of an error status as one source words it."""


def plain(status: int) -> tuple[bytes, str]:
    """The page of the machine before a service."""
    text = f"<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>\r\n"
    return text.encode(), "text/html"
