"""DNS: what a name resolves to now, and which name an address points back to.

Asked at one configured resolver over UDP, over TCP where an answer is truncated. The raw answer is
JSON in the form of DNS over HTTPS (`{"Status": ..., "Answer": [{"type": ..., "data": ...}]}`), one
object for each type asked.
"""

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.reversename

from threatwalk.errors import AnswerError, UnavailableError
from threatwalk.pivot import Pivot, pivots
from threatwalk.sample import Kind, Sample
from threatwalk.sources.body import as_name, table, tables
from threatwalk.sources.filter import Filter, NotKnownError, Opsec, Quota, Session, Status
from threatwalk.sources.sandbox import as_machine

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})

# CNAME needs no question of its own: a resolver answers every type with the chain that leads there.
_FORWARD = tuple(map(dns.rdatatype.from_text, ("A", "AAAA", "MX", "NS", "SOA", "TXT")))
_SERVICE = (dns.rdatatype.SRV, *_FORWARD)  # _sip._tcp.example.org and the like; no other name has SRV records
_REVERSE = (dns.rdatatype.PTR,)
_KNOWING = frozenset({int(dns.rcode.NOERROR), int(dns.rcode.NXDOMAIN)})
_SPF = re.compile(
    r"(?:^|\s)(?:[+?~-]?ip[46]:([0-9a-f.:]+)(/\d+)?|(?:[+?~-]?(?:include|a|mx|ptr|exists):|redirect=)([^\s/]+)\S*)(?=\s|$)"
)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ADDRESSES = frozenset({1, 28})  # A AAAA
_TEXTS = frozenset({16, 99})  # TXT SPF
# Where the name stands in a record's data (MX: preference name; SOA: mname first).
_NAME_FIELD = {2: 0, 5: 0, 12: 0, 15: 1, 33: 3, 6: 0}  # NS CNAME PTR MX SRV SOA


async def _ask(sample: Sample, session: Session) -> str:
    name, types = _question(sample)
    resolver = session.endpoint("dns")
    queries = [dns.message.make_query(name, type_, use_edns=0, payload=1232) for type_ in types]
    wires = await session.udp(resolver, [query.to_wire() for query in queries])
    responses = [_parse(wire) for wire in wires]
    cut = [i for i, response in enumerate(responses) if response.flags & dns.flags.TC]
    whole = await asyncio.gather(
        *(session.tcp(resolver, queries[i].to_wire(), framed=True) for i in cut),
    )
    for i, wire in zip(cut, whole, strict=True):
        responses[i] = _parse(wire)
    for query, response in zip(queries, responses, strict=True):
        if not query.is_response(response):
            raise UnavailableError("the resolver answered another question")
        if response.flags & dns.flags.TC:
            raise UnavailableError("the resolver's answer is cut off, over TCP as well")
        if response.rcode() not in _KNOWING:
            raise UnavailableError(f"the resolver answered {dns.rcode.to_text(response.rcode())}")
    raw = json.dumps({"responses": [_shown(response) for response in responses]}, separators=(",", ":"))
    if not any(response.answer for response in responses):
        raise NotKnownError(raw)  # NXDOMAIN, or the name exists and holds nothing of this
    return raw


def _question(sample: Sample) -> tuple[dns.name.Name, tuple[dns.rdatatype.RdataType, ...]]:
    if sample.kind in _IPS:
        return dns.reversename.from_address(sample.value), _REVERSE
    types = _SERVICE if sample.value.startswith("_") else _FORWARD
    try:
        return dns.name.from_text(sample.value), types
    except dns.exception.DNSException as err:
        raise AnswerError(f"{sample} is no name that DNS can carry") from err


def _parse(wire: bytes) -> dns.message.Message:
    try:
        return dns.message.from_wire(wire, ignore_trailing=True)
    except dns.message.Truncated as err:
        message: dns.message.Message = err.message()  # type: ignore[no-untyped-call]
        return message
    except (dns.exception.DNSException, ValueError) as err:
        raise UnavailableError(f"the resolver's answer is broken: {type(err).__name__}") from err


def _shown(response: dns.message.Message) -> dict[str, Any]:
    question = response.question[0]
    return {
        "Status": int(response.rcode()),
        "Question": [{"name": question.name.to_text(), "type": int(question.rdtype)}],
        "Answer": [
            {
                "name": rrset.name.to_text(),
                "type": int(rrset.rdtype),
                "TTL": rrset.ttl,
                "data": rdata.to_text(),
            }
            for rrset in response.answer
            for rdata in rrset
        ],
    }


def _read(sample: Sample, raw: str) -> list[Pivot]:
    """Reads our own responses and a single one of DNS over HTTPS alike."""
    body = table("dns", raw)
    responses = body.get("responses", [body])
    if not isinstance(responses, list) or not all(map(_is_response, responses)):
        raise AnswerError("dns answered what is no DNS answer")
    for response in responses:
        if response["Status"] not in _KNOWING or response.get("TC") is True:
            raise AnswerError(f"dns answered with status {response['Status']}, or not all")
    records = (record for response in responses for record in tables(response.get("Answer")))
    return pivots(
        sample, "dns", ((found, None, None, None) for record in records for found in _found(record))
    )


def _is_response(value: Any) -> bool:
    return isinstance(value, dict) and type(value.get("Status")) is int


def _found(record: dict[str, Any]) -> Sequence[Sample | None]:
    type_, data = record.get("type"), record.get("data")
    if not isinstance(data, str) or not isinstance(type_, int):
        return ()
    if type_ in _ADDRESSES:
        return (_machine(data),)
    if type_ in _NAME_FIELD:
        fields = data.split()
        return (as_name(fields[_NAME_FIELD[type_]]),) if len(fields) > _NAME_FIELD[type_] else ()
    return list(_spf(data)) if type_ in _TEXTS else ()


def _machine(text: str) -> Sample | None:
    """An address; None where it names no machine of its own. Sinkholes and parking hosts are real machines, and
    stay: the gate's warning lists mark them.
    """
    found = as_machine(text)
    return found if found is not None and found.kind in _IPS else None


def _spf(text: str) -> Iterator[Sample]:
    """The single addresses and names that an SPF record (RFC 7208) allows to send mail."""
    plain = ("".join(_QUOTED.findall(text)) or text).strip().lower()
    if not plain.startswith("v=spf1"):
        return
    for ip, length, name in _SPF.findall(plain):
        if ip:
            found = _machine(ip)
            whole = {Kind.IPV4: "/32", Kind.IPV6: "/128"}
            if found and length in {"", whole[found.kind]}:
                yield found  # a range names no single sample
        elif (host := as_name(name)) is not None:
            yield host


filter_ = Filter(
    "dns",
    "DNS",
    accepts=_IPS | _NAMES,
    yields=_IPS | _NAMES,
    opsec=Opsec.ACTIVE_DNS,
    quota=Quota(per_minute=600),
    status=Status.LIVE,
    terms="Public resolvers ask for restraint; use your own with THREATWALK_ENDPOINTS where you have one.",
    endpoints={"dns": "1.1.1.1:53"},
    cost=7,
    ask=_ask,
    read=_read,
)
