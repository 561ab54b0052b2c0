"""Internet Storm Center (SANS, DShield): what its sensors and feeds say of an address, and the names it bears.

Its User-Agent must hold a contact address: THREATWALK_CONTACT.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

from threatwalk import __version__, settings
from threatwalk.errors import AnswerError
from threatwalk.pivot import Pivot, pivots
from threatwalk.sample import Kind, Sample
from threatwalk.sources.body import as_ip, as_name, moment, parse
from threatwalk.sources.filter import Filter, NotKnownError, Opsec, Quota, Session, Status
from threatwalk.sources.response import DeniedError, ThrottledError

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_PAUSE_S = 300.0  # after a 429 that does not say for how long
_NOBODY = "threatwalk@localhost"  # for an emulator or a mirror of the operator's own

_ADDRESS_KEYS = ("number", "ip", "ipv4", "ipv6", "source", "sourceip", "source_ip", "src")
_NAME_KEYS = frozenset(
    {"hostname", "hostnames", "host", "domain", "domains", "domainname", "fqdn", "rdns", "reverse", "ptr"}
)


async def _ask(sample: Sample, session: Session) -> str:
    """One request: `ipdetails` would tell of single packets, which name nobody."""
    raw = await _get(session, f"/api/ip/{quote(sample.value, safe=':')}?json")
    value = _checked(raw)
    record = value.get("ip") if isinstance(value, dict) else None
    if not isinstance(record, dict):
        raise AnswerError("isc answered without a record of the address")
    told = _address(record)
    if told not in {None, sample}:
        raise AnswerError(f"isc answered about {told}, not about {sample}")
    return raw


async def research(session: Session) -> frozenset[Sample]:
    """The addresses from which researchers scan the whole internet: known, and no threat. One request."""
    return read_research(await _get(session, "/api/threatcategory/research?json"))


async def _get(session: Session, path: str) -> str:
    contact = settings.contact()
    if contact is None or "@" not in contact:
        if not session.moved("isc"):
            raise DeniedError(
                "isc wants to know whom to write to: set THREATWALK_CONTACT to an e-mail address"
            )
        contact = _NOBODY
    agent = f"threatwalk/{__version__} (contact: {contact})"
    try:
        return await session.get(f"{session.endpoint('isc')}{path}", headers={"User-Agent": agent})
    except ThrottledError as err:
        raise ThrottledError(str(err), err.retry_after_s or _PAUSE_S) from err
    except NotKnownError as err:
        raise AnswerError("isc answered 404, which is none of its answers") from err


def _checked(raw: str) -> Any:
    """The JSON of a body; raises AnswerError or ThrottledError where it tells an error."""
    value = parse("isc", raw)
    if not value or not isinstance(value, (dict, list)):
        raise AnswerError(f"isc answered what is none of its bodies: {raw[:60]!r}")
    error = value.get("error") if isinstance(value, dict) else None
    if error and ("rate" in str(error).lower() or "too many" in str(error).lower()):
        raise ThrottledError(f"isc answered: {str(error)[:120]}", _PAUSE_S)
    if error:
        raise AnswerError(f"isc answered: {str(error)[:120]}")
    return value


def _read(sample: Sample, raw: str) -> list[Pivot]:
    """Reads the record of an address, and any feed: of that, what it says about the sample."""
    try:
        value = _checked(raw)
    except ThrottledError as err:
        raise AnswerError(str(err)) from err
    record = value.get("ip", value) if isinstance(value, dict) else None
    found = _names(record) if isinstance(record, dict) and _is_record(record) else _told(value, sample)
    return pivots(sample, "isc", ((name, first, last, None) for name, first, last in found))


def _is_record(value: dict[str, Any]) -> bool:
    """Whether it is the one record of an address, and no table of records."""
    return "number" in value or "alexa" in value or "asname" in value


Finding = tuple[Sample, datetime | None, datetime | None]


def _told(value: Any, sample: Sample) -> Iterator[Finding]:
    """The names in those records of a feed, however deep they lie, that bear the address."""
    if isinstance(value, dict):
        if _address(value) == sample:
            yield from _names(value)
        else:
            for inner in value.values():
                yield from _told(inner, sample)
    elif isinstance(value, list):
        for inner in value:
            yield from _told(inner, sample)


def _names(record: dict[str, Any]) -> Iterator[Finding]:
    """Every host name in a record, with the days that stand beside it."""
    for key, value in record.items():
        if not value:
            continue
        if isinstance(value, dict):
            yield from _names(value)
        elif isinstance(value, list):
            yield from (one for inner in value if isinstance(inner, dict) for one in _names(inner))
        if key.lower() in _NAME_KEYS:
            first, last = moment(record.get("firstseen")), moment(record.get("lastseen"))
            for one in value if isinstance(value, list) else [value]:
                if name := as_name(one):
                    yield name, first, last


def _address(record: dict[str, Any]) -> Sample | None:
    return next((ip for key in _ADDRESS_KEYS if (ip := _ip(record.get(key)))), None)


def _ip(value: Any) -> Sample | None:
    """An address; older feeds pad its numbers with zeros (`093.174.095.106`)."""
    if isinstance(value, str) and value.count(".") == 3 and value.replace(".", "").isdigit():
        value = ".".join(part.lstrip("0") or "0" for part in value.split("."))
    return as_ip(value)


def read_research(raw: str) -> frozenset[Sample]:
    """The addresses of a `threatcategory` or `threatlist` body.

    Raises:
        AnswerError: it holds none.
    """
    found = frozenset(_addresses(_checked(raw)))
    if not found:
        raise AnswerError("isc answered a list without addresses")
    return found


def _addresses(value: Any) -> Iterator[Sample]:
    if isinstance(value, dict):
        if address := _address(value):
            yield address
            return
        value = list(value.values())
    for inner in value if isinstance(value, list) else ():
        yield from _addresses(inner)


filter_ = Filter(
    "isc",
    "Internet Storm Center",
    accepts=_IPS,
    yields=_NAMES,
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(per_minute=60),
    status=Status.LIVE,
    terms="Free; the User-Agent must hold a contact address (THREATWALK_CONTACT). No resale.",
    endpoints={"isc": "https://isc.sans.edu"},
    ask=_ask,
    read=_read,
)
