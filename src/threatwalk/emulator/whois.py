"""WHOIS on a TCP port (RFC 3912): a root that refers, and each registry's own text.

A top-level domain asked alone is answered as IANA does, with a `refer:` line; a whole name as its
registry does, so that one port plays them all.
"""

import asyncio
import socket
from collections.abc import Callable
from datetime import UTC, datetime

from threatwalk.emulator.answers import Answers
from threatwalk.emulator.faults import Faults
from threatwalk.emulator.log import RequestLog
from threatwalk.emulator.registry import Registration, number, registration, tld
from threatwalk.errors import SampleError
from threatwalk.sample import Kind, host

_QUERY_S = 10.0  # how long a client may take to say what it wants
_NOW = datetime(2026, 11, 1, tzinfo=UTC)
_LINE = "\r\n"

Dialect = Callable[[Registration], list[str]]


def _day(when: datetime, form: str = "%Y-%m-%d") -> str:
    return when.strftime(form)


def _names(found: Registration) -> list[str]:
    return [f.sample.value for f in found.nameservers]


def _icann(found: Registration) -> list[str]:
    stamp = "%Y-%m-%dT%H:%M:%SZ"
    site = f"registrar{found.registrar_id}.example"
    return [
        f"   Domain Name: {found.domain.upper()}",
        f"   Registry Domain ID: {found.handle}",
        f"   Registrar WHOIS Server: whois.{site}",
        f"   Registrar URL: http://www.{site}",
        f"   Updated Date: {_day(found.updated, stamp)}",
        f"   Creation Date: {_day(found.created, stamp)}",
        f"   Registry Expiry Date: {_day(found.expires, stamp)}",
        f"   Registrar: {found.registrar}",
        f"   Registrar IANA ID: {found.registrar_id}",
        f"   Registrar Abuse Contact Email: abuse@{site}",
        "   Domain Status: clientTransferProhibited https://icann.org/epp#clientTransferProhibited",
        "   Registrant Organization: REDACTED FOR PRIVACY",
        *(f"   Name Server: {name.upper()}" for name in _names(found)),
        "   DNSSEC: unsigned",
        "   URL of the ICANN Whois Inaccuracy Complaint Form: https://www.icann.org/wicf/",
        f">>> Last update of whois database: {_day(_NOW, stamp)} <<<",
        "",
        "NOTICE: this registry and everything that it holds are made up.",
    ]


def _tcinet(found: Registration) -> list[str]:
    return [
        "% This registry is made up; by asking it you agree to its terms.",
        "",
        f"domain:        {found.domain.upper()}",
        *(f"nserver:       {name}." for name in _names(found)),
        "state:         REGISTERED, DELEGATED, VERIFIED",
        "person:        Private Person",
        f"registrar:     REG{found.registrar_id}-RU",
        f"created:       {_day(found.created, '%Y-%m-%dT%H:%M:%SZ')}",
        f"paid-till:     {_day(found.expires, '%Y-%m-%dT%H:%M:%SZ')}",
        f"free-date:     {_day(found.expires)}",
        "source:        TCI",
        "",
        f"Last updated on {_day(_NOW, '%Y-%m-%dT%H:%M:%SZ')}",
    ]


def _jprs(found: Registration) -> list[str]:
    return [
        "[ This registry is made up; its use is restricted to network administration  ]",
        "[ of networks that do not exist.                                              ]",
        "",
        "Domain Information:",
        f"[Domain Name]                   {found.domain.upper()}",
        "",
        "[Registrant]                    Private Person",
        "",
        *(f"[Name Server]                   {name}" for name in _names(found)),
        "[Signing Key]                   ",
        "",
        f"[Created on]                    {_day(found.created, '%Y/%m/%d')}",
        f"[Expires on]                    {_day(found.expires, '%Y/%m/%d')}",
        "[Status]                        Active",
        f"[Last Updated]                  {_day(found.updated, '%Y/%m/%d %H:%M:%S')} (JST)",
    ]


def _denic(found: Registration) -> list[str]:
    # Latin-1 on the wire, as the real one was for long: a client must not take it for UTF-8.
    return [
        "% Copyright (c) 2026 by nobody: Diese Registrierungsstelle ist erfunden, für Übungszwecke.",
        "% Version: 2.0",
        "",
        f"Domain: {found.domain}",
        *(f"Nserver: {name}" for name in _names(found)),
        "Status: connect",
        f"Changed: {_day(found.updated, '%Y-%m-%dT%H:%M:%S')}+01:00",
    ]


def _nominet(found: Registration) -> list[str]:
    return [
        "",
        "    Domain name:",
        f"        {found.domain}",
        "",
        "    Registrar:",
        f"        {found.registrar} [Tag = REG{found.registrar_id}]",
        "",
        "    Relevant dates:",
        f"        Registered on: {_day(found.created, '%d-%b-%Y')}",
        f"        Expiry date:  {_day(found.expires, '%d-%b-%Y')}",
        f"        Last updated:  {_day(found.updated, '%d-%b-%Y')}",
        "",
        "    Registration status:",
        "        Registered until expiry date.",
        "",
        "    Name servers:",
        *(f"        {name}" for name in _names(found)),
        "",
        f"    WHOIS lookup made at {_day(_NOW, '%H:%M:%S %d-%b-%Y')}",
    ]


def _ripe(found: Registration) -> list[str]:
    """The attribute lists of AFNIC, Registro.br, hostmaster.ua and many other country codes."""
    return [
        "% This registry is made up.",
        "",
        f"domain:      {found.domain}",
        "status:      ACTIVE",
        *(f"nserver:     {name}" for name in _names(found)),
        f"registrar:   {found.registrar}",
        f"created:     {_day(found.created, '%Y-%m-%dT%H:%M:%SZ')}",
        f"last-update: {_day(found.updated, '%Y-%m-%dT%H:%M:%SZ')}",
        f"expires:     {_day(found.expires, '%Y-%m-%dT%H:%M:%SZ')}",
        "source:      REGISTRY",
    ]


_DIALECTS: dict[str, Dialect] = {
    "ru": _tcinet,
    "su": _tcinet,
    "xn--p1ai": _tcinet,
    "jp": _jprs,
    "de": _denic,
    "uk": _nominet,
}
_UNKNOWN = {
    "ru": "No entries found for the selected source(s).",
    "su": "No entries found for the selected source(s).",
    "xn--p1ai": "No entries found for the selected source(s).",
    "jp": "No match!!",
    "de": "Domain: {}" + _LINE + "Status: free",
    "uk": '    No match for "{}".' + _LINE + _LINE + "    This domain name has not been registered.",
    "org": "NOT FOUND",
    "cn": "no matching record.",
}
_THROTTLED = (
    "WHOIS LIMIT EXCEEDED - the query quota for your address has been exceeded, try again later",
    "% Error: 55000000002 Connection refused; access control limit exceeded.",
    "Your connection limit exceeded. Please slow down and try again later.",
    "-- Excessive querying, grace period of 30 seconds.",
    "% You have been blocked for 24 hours because of too many requests",
    "Queried interval is too short.",
)
_BROKEN = "% Internal error: the database of this registry is not available at the moment."


def text(world: Answers, query: str) -> str:
    """The answer to one query line, as the registry in charge words it."""
    words = query.split()
    asked = words[-1].rstrip(".").lower() if words else ""  # `-T dn,ace example.de` and the like
    if not asked:
        return "% No query: say which name you want to know about" + _LINE
    if "." not in asked:
        return _iana(asked)
    try:
        domain = host(asked)
    except SampleError:
        return f'% Error: "{asked[:80]}" is no domain name' + _LINE
    zone = tld(domain.value)
    found = registration(world, domain) if domain.kind is Kind.DOMAIN else None
    if found is None:
        return _UNKNOWN.get(zone, 'No match for "{}".').format(domain.value.upper()) + _LINE
    return _LINE.join(_DIALECTS.get(zone, _icann)(found)) + _LINE


def _iana(zone: str) -> str:
    if zone not in _DIALECTS and not zone.isalpha() and not zone.startswith("xn--"):
        return "% IANA WHOIS server" + _LINE + f"% This query returned 0 objects: {zone[:80]}" + _LINE
    lines = [
        "% IANA WHOIS server",
        "% for more information on IANA, visit http://www.iana.org",
        "% This query returned 1 object",
        "",
        f"refer:        whois.nic.{zone}",
        "",
        f"domain:       {zone.upper()}",
        "",
        f"whois:        whois.nic.{zone}",
        "status:       ACTIVE",
        "source:       IANA",
    ]
    return _LINE.join(lines) + _LINE


async def listen(
    world: Answers, address: str, port: int, *, log: RequestLog, faults: Faults
) -> asyncio.Server:
    """Serves WHOIS; each connection carries one query and is closed after its answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await asyncio.wait_for(reader.readline(), _QUERY_S)
            query = line.decode("utf-8", errors="replace").strip()
            fault = faults.draw("whois")
            name = fault.name if fault is not None else ""
            log.write("whois", query, "ok", fault)
            await asyncio.sleep(fault.delay_s if fault is not None else 0)
            throttled = name in {"throttled", "429", "limit_inside"}
            if name in {"reset", "drop"} or (name.isdigit() and not throttled):
                writer.transport.abort()
                return
            answer = _BROKEN if name == "error_inside" else text(world, query)
            answer = _THROTTLED[number(query) % len(_THROTTLED)] if throttled else answer
            charset = "latin-1" if query.lower().rstrip(".").endswith(".de") else "utf-8"
            body = answer.encode(charset, errors="replace")
            if fault is not None:
                body = fault.spoil(body[: len(body) // 2] if name == "truncated" else body)
            writer.write(body)
            await writer.drain()
        except (TimeoutError, ConnectionError, ValueError, asyncio.CancelledError):
            pass  # the client left, said nothing or too much; or we are closing
        finally:
            writer.close()

    return await asyncio.start_server(serve, address, port, family=socket.AF_INET, limit=1024)
