"""VirusTotal API v3: what resolves where, which files talk to whom, and a file's other hashes and names.

`vt-py` makes the requests and understands the errors; our session carries them. Objects are looked up by id
only; nothing is ever submitted.

One request for each sample: `?relationships=` brings the object and up to some 20 neighbours of each relation.
The first question of a collection asks for the premium relations too; where the key's plan refuses them (403),
that is remembered and the public ones alone are asked for. Pages beyond the 20, and old certificates,
registrations and sandbox reports, of which the one request brings only ids, cost a request each: they are
asked for only where the endpoint was sent elsewhere, since there are no plans.
"""

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from threatwalk.errors import AnswerError, UnavailableError
from threatwalk.pivot import Pivot, pivots
from threatwalk.sample import Kind, Sample
from threatwalk.sources.body import inner, parse, sections
from threatwalk.sources.filter import Filter, NotKnownError, Opsec, Quota, Session, Status
from threatwalk.sources.response import DeniedError, Response, ThrottledError, judged, retry_after
from threatwalk.sources.virustotal_bodies import collection, findings

_PUBLIC = {
    "ip_addresses": "resolutions communicating_files referrer_files historical_whois historical_ssl_certificates",
    "domains": "resolutions subdomains siblings communicating_files referrer_files historical_whois"
    " historical_ssl_certificates immediate_parent parent",
    "files": "contacted_ips contacted_domains contacted_urls dropped_files bundled_files execution_parents"
    " pe_resource_parents pe_resource_children behaviours",
    "urls": "last_serving_ip_address network_location",
}
_PREMIUM = {
    "ip_addresses": "urls downloaded_files",
    "domains": "urls downloaded_files cname_records mx_records ns_records soa_records caa_records",
    "files": "itw_urls itw_domains itw_ips embedded_urls embedded_domains embedded_ips similar_files"
    " compressed_parents email_parents email_attachments overlay_parents overlay_children",
    "urls": "contacted_ips contacted_domains downloaded_files redirecting_urls redirects_to referrer_files"
    " referrer_urls communicating_files",
}
_ONLY_IDS = frozenset({"historical_whois", "historical_ssl_certificates", "behaviours"})
_PAGES, _PAGE = 5, 40  # further pages of one relation, and objects of one page: the most that is served

_DENIED = frozenset({"WrongCredentialsError", "AuthenticationRequiredError", "UserNotActiveError"})
_THROTTLED = frozenset({"QuotaExceededError", "TooManyRequestsError"})


class _NotInPlanError(DeniedError):
    """The key's plan does not hold what was asked for."""


@dataclass(frozen=True, slots=True)
class _Reply:
    """What vt-py wants of an `aiohttp.ClientResponse`."""

    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def text(self) -> str:
        return self.body

    async def json(self) -> Any:
        return orjson.loads(self.body)


class _Carrier:
    """Stands in for vt-py's `aiohttp.ClientSession`: each look-up goes through our session."""

    def __init__(self, session: Session, key: str) -> None:
        self._session = session
        self._headers = {"x-apikey": key}

    async def get(self, url: str, *, params: Mapping[str, str] | None, proxy: str | None) -> _Reply:
        assert proxy is None
        response = await self._session.request("GET", url, params=params, headers=self._headers)
        return _Reply(response.status, response.headers, response.text)


async def _ask(sample: Sample, session: Session) -> str:
    import vt  # noqa: PLC0415 - brings aiohttp: only this source should cost the time

    if not session.key:
        raise DeniedError("virustotal needs a key")
    carrier = _Carrier(session, session.key)
    # With a connector given vt-py makes none of its own; with a session, it never makes use of it.
    client = vt.Client(session.key, host=session.endpoint("virustotal"), connector=carrier)
    client._session = carrier
    where = collection(sample.kind)
    path = f"/{where}/{url_id(sample.value) if where == 'urls' else sample.value}"
    body = await _object(client, path, where, session)
    if not session.moved("virustotal"):
        return body
    pages = await _pages(client, path, body)
    return sections({"object": body, **pages}) if pages else body


def url_id(url: str) -> str:
    """VirusTotal's id of a URL: base64url without padding."""
    return urlsafe_b64encode(url.encode()).decode().rstrip("=")


async def _object(client: Any, path: str, where: str, session: Session) -> str:
    """The object with all relations of the plan; the first question finds out, while the others wait for it."""
    plans: dict[str, bool] = session.memo.setdefault("premium", {})  # type: ignore[assignment]
    finding_out: asyncio.Lock = session.memo.setdefault(f"plan of {where}", asyncio.Lock())  # type: ignore[assignment]
    if where not in plans:
        async with finding_out:
            if where not in plans:
                try:
                    body = await _get(client, path, f"{_PUBLIC[where]} {_PREMIUM[where]}")
                except _NotInPlanError:
                    plans[where] = False
                else:
                    plans[where] = True
                    return body
    return await _get(client, path, f"{_PUBLIC[where]} {_PREMIUM[where]}" if plans[where] else _PUBLIC[where])


async def _pages(client: Any, path: str, body: str) -> dict[str, str]:
    """Pages of the relations that the object's own request cut, or told only the ids of."""
    pages: dict[str, str] = {}
    relations = inner(parse("virustotal", body), "data", "relationships")
    for name, relation in relations.items() if isinstance(relations, dict) else ():
        cursor = inner(relation, "meta", "cursor") or None
        if not inner(relation, "data") or not (cursor or name in _ONLY_IDS):
            continue
        if name in _ONLY_IDS:
            cursor = None  # from its start
        for number in range(_PAGES):
            try:
                page = await _get(client, f"{path}/{name}", cursor=cursor)
            except (NotKnownError, _NotInPlanError):
                break  # the object's own answer stands
            pages[f"{name} {number}"] = page
            cursor = inner(parse("virustotal", page), "meta", "cursor")
            if not isinstance(cursor, str) or not cursor:
                break
    return pages


async def _get(client: Any, path: str, relations: str = "", *, cursor: str | None = None) -> str:
    """The body of a proper answer; vt-py's errors are ours.

    Raises:
        NotKnownError: VirusTotal has never seen it.
        DeniedError: it refuses the key, or its plan does not hold the question.
        ThrottledError: rate or quota is spent.
        AnswerError: the answer is in words that are not VirusTotal's.
    """
    params = {"relationships": relations.replace(" ", ",")} if relations else {"limit": str(_PAGE)}
    if cursor:
        params["cursor"] = cursor
    reply = await client.get_async(path, params=params)
    response = Response(reply.status, await reply.text_async(), reply.headers)
    try:
        error = await client.get_error_async(reply)
        code = error and error.code
    except (ValueError, TypeError, LookupError, AttributeError):
        code = "ClientError"  # its body is broken
    if code is None:
        value = parse("virustotal", response.text)
        if isinstance(inner(value, "data", "type") if relations else inner(value, "data"), (str, list)):
            return response.text
        code = inner(value, "error", "code")  # an error that calls itself 200
    if code is None:
        raise AnswerError("virustotal answered neither what was asked for nor an error")
    raise _error(str(code), response)


def _error(code: str, response: Response) -> Exception:
    if code == "NotFoundError":
        return NotKnownError(response.text)
    if code == "ForbiddenError":
        return _NotInPlanError("virustotal: the key's plan does not hold the question")
    if code in _DENIED:
        return DeniedError(f"virustotal refuses the key ({code})")
    if code in _THROTTLED:
        return ThrottledError(f"virustotal says that we ask too much ({code})", retry_after(response.headers))
    try:
        judged("virustotal", response)
    except NotKnownError:
        return AnswerError("virustotal answered 404 in words that are not its own")
    except UnavailableError as err:  # and those below it: a proxy's 403, 429 or 503
        return err
    except ThrottledError as err:
        return err
    return UnavailableError(f"virustotal answered {code}")


def _read(sample: Sample, raw: str) -> list[Pivot]:
    """Reads an object, a page of a relation, a behaviour report, or its own words for not found."""
    value = parse("virustotal", raw)
    code = inner(value, "error", "code")
    if code is not None and code != "NotFoundError":
        raise AnswerError(f"virustotal answered {code}")
    if not isinstance(value, (dict, list)):
        raise AnswerError("virustotal answered neither an object nor a list")
    found = ((one, first, last, None) for one, first, last in findings(sample, value))
    return pivots(sample, "virustotal", found)


filter_ = Filter(
    "virustotal",
    "VirusTotal",
    accepts=frozenset(Kind) - {Kind.FILENAME},
    yields=frozenset(Kind),
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(per_minute=4, per_day=500, per_month=15_500),
    status=Status.LIVE,
    terms="A free key is not for commercial products, services or business workflows; no redistribution of its data.",
    endpoints={"virustotal": "https://www.virustotal.com"},
    needs_key=True,
    forbids="a free key may not be used in commercial products, services or business workflows",
    ask=_ask,
    read=_read,
)
