"""What came back over HTTP, and what its status means: one table for all sources."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from threatwalk.errors import QuotaError, UnavailableError


@dataclass(frozen=True, slots=True)
class Response:
    """One answer as it came; header names are lower case, the body is decoded (undecodable bytes replaced)."""

    status: int
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)


class NotKnownError(Exception):
    """The source answered properly that it knows nothing of the sample: an empty answer, no failure.

    `raw` is the body that said so, for the archive.
    """

    def __init__(self, raw: str) -> None:
        super().__init__("not known")
        self.raw = raw


class ThrottledError(QuotaError):
    """The source said that we ask too much; `retry_after_s` where it said for how long (else None)."""

    def __init__(self, text: str, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class DeniedError(UnavailableError):
    """The source refuses the key, or the key's plan does not hold the question: asking again changes nothing."""


class NotInPlanError(UnavailableError):
    """The key is good, but its plan cannot answer this question: others it can. The question counts as not asked."""


def judged(name: str, response: Response) -> str:
    """The body of a proper answer.

    Raises:
        NotKnownError: 404.
        DeniedError: 401, 402 or 403.
        ThrottledError: 429, or 503 with a Retry-After.
        UnavailableError: any other status.
    """
    status = response.status
    retry_after_s = retry_after(response.headers)
    if status in {200, 203}:
        return response.text
    if status == 404:
        raise NotKnownError(response.text)
    if status in {401, 402, 403}:
        raise DeniedError(f"{name} refuses the key or its plan ({status})")
    if status == 429 or (status == 503 and retry_after_s is not None):
        raise ThrottledError(f"{name} says that we ask too much ({status})", retry_after_s)
    raise UnavailableError(f"{name} answered {status}")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or a date; None without a sensible one.

    A date counts from the server's own Date, so that a clock that goes wrong, its or ours, changes nothing.
    """
    text = headers.get("retry-after", "")
    if text.isascii() and text.isdigit():
        return float(text)
    until = _date(text)
    if until is None:
        return None
    return max(0.0, (until - (_date(headers.get("date", "")) or datetime.now(UTC))).total_seconds())


def _date(text: str) -> datetime | None:
    try:
        read = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read
