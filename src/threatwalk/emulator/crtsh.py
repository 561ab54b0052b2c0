"""crt.sh (`/?q=...&output=json`) over HTTP."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from threatwalk.emulator.answers import Answers, Found
from threatwalk.emulator.http import Reply, Request, Route, json_reply
from threatwalk.emulator.registry import number
from threatwalk.errors import SampleError
from threatwalk.sample import Kind, Sample, host

_SOME_DAY = datetime(2024, 6, 1, tzinfo=UTC)
_MOST = 90  # names of one certificate
_ISSUERS = (
    (16418, "C=XX, O=Mossgate Trust, CN=Mossgate Server CA R3"),
    (105493, "C=XX, O=Larkfield CA Limited, CN=Larkfield Domain Validation CA 2"),
)
_START = b"<!DOCTYPE HTML><HTML><HEAD><TITLE>crt.sh | Certificate Search</TITLE></HEAD><BODY></BODY></HTML>\n"


def route(world: Answers) -> Route:
    """The search by name; a pattern `%.domain` finds what stands below."""

    def answer(request: Request) -> Reply:
        if request.path.strip("/"):
            return Reply(_START, 404, "text/html")
        if "q" not in request.query or request.query.get("output") != "json":
            return Reply(_START, media_type="text/html")
        asked = _name(request.query["q"])
        return json_reply([] if asked is None else _certificates(asked, world.answer("crtsh", asked)))

    return answer


def _name(pattern: str) -> Sample | None:
    try:
        found = host(pattern.removeprefix("%."))
    except SampleError:
        return None
    return found if found.kind in {Kind.DOMAIN, Kind.HOSTNAME} else None


def _certificates(asked: Sample, found: Sequence[Found]) -> list[dict[str, object]]:
    """A certificate for each day on which names were found, the latest first."""
    days: dict[datetime | None, list[str]] = {}
    for f in found:
        days.setdefault(f.first_seen, []).append(f.sample.value)
    latest = sorted(days, key=lambda day: day or _SOME_DAY, reverse=True)
    return [
        _certificate(asked.value, days[day][at : at + _MOST], day)
        for day in latest
        for at in range(0, len(days[day]), _MOST)
    ]


def _certificate(asked: str, names: Sequence[str], day: datetime | None) -> dict[str, object]:
    """`day` is when the logs first showed it; None: it is in none of those that are watched."""
    drawn = number(f"{asked} {names[0]}")
    issuer, issuer_name = _ISSUERS[drawn % len(_ISSUERS)]
    made = day or _SOME_DAY
    return {
        "issuer_ca_id": issuer,
        "issuer_name": issuer_name,
        "name_value": "\n".join((f"*.{asked}", asked, *names)),
        "id": 10**9 + drawn % 10**9,
        "entry_timestamp": day and day.replace(tzinfo=None).isoformat(),
        "not_before": f"{made:%Y-%m-%dT00:00:00}",
        "not_after": f"{made + timedelta(days=90):%Y-%m-%dT23:59:59}",
    }
