"""A breaker: after so many failures in a row a source is left alone, then one probe decides."""

from collections.abc import Callable
from datetime import datetime, timedelta


class Breaker:
    """The state of one source within one process.

    Closed: questions pass. Open: none does, until `wait_s` is over or the time that the source itself named.
    Then one probe passes; its success closes the breaker, its failure opens it again.
    """

    def __init__(self, *, failures: int, wait_s: float, now: Callable[[], datetime]) -> None:
        self._limit = failures
        self._wait = timedelta(seconds=wait_s)
        self._now = now
        self._failures = 0
        self._open_until: datetime | None = None
        self._probing = False

    @property
    def refuses(self) -> str | None:
        """Why no question may pass now; None: one may."""
        if self._open_until is None:
            return None
        if self._now() < self._open_until:
            return f"it failed {self._failures} times; left alone until {self._open_until:%H:%M:%S} UTC"
        return "it failed before, and one probe is under way" if self._probing else None

    def enter(self) -> bool:
        """Count a question in, and say whether it is the probe."""
        if self._open_until is None:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        self._failures = 0
        self._open_until = None
        self._probing = False

    def failed(self, *, wait_s: float | None = None, final: bool = False) -> None:
        """One more failure. `wait_s` is what the source asked for; `final`: more tries would change nothing."""
        self._failures += 1
        if self._probing or final or wait_s is not None or self._failures >= self._limit:
            span = self._wait if wait_s is None else timedelta(seconds=wait_s)
            self._open_until = self._now() + span
        self._probing = False

    def left(self) -> None:
        """The question ended without saying anything about the source (it was cancelled, or never left)."""
        self._probing = False
