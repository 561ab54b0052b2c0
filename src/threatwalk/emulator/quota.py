"""Quotas as the sources enforce them, on a clock that a test may run fast or push forward."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime

from threatwalk.sources.filter import Quota


class Clock:
    """Seconds since 1970 as the emulator counts them: real time, `speed` times as fast, plus what was added."""

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed
        self._began = time.time()
        self._started = time.monotonic()
        self._added = 0.0

    def now(self) -> float:
        return self._began + self._added + (time.monotonic() - self._started) * self._speed

    def advance(self, seconds: float) -> None:
        self._added += seconds


class Quotas:
    """Counts each source's questions by calendar minute, day and month (UTC)."""

    def __init__(self, limits: Mapping[str, Quota] | None = None, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self._limits = dict(limits or {})
        self._counts: dict[tuple[str, str], tuple[str, int]] = {}  # (source, span) -> window, questions

    def take(self, source: str) -> bool:
        """Counts one question; False, and not counted, where a quota of the source is spent."""
        limit = self._limits.get(source)
        if limit is None:
            return True
        now = datetime.fromtimestamp(self.clock.now(), UTC)
        spans = {
            "minute": (now.strftime("%Y%m%d%H%M"), limit.per_minute),
            "day": (now.strftime("%Y%m%d"), limit.per_day),
            "month": (now.strftime("%Y%m"), limit.per_month),
        }
        used = {}
        for span, (window, most) in spans.items():
            kept, count = self._counts.get((source, span), (window, 0))
            used[span] = count if kept == window else 0
            if most is not None and used[span] >= most:
                return False
        for span, (window, _) in spans.items():
            self._counts[source, span] = (window, used[span] + 1)
        return True
