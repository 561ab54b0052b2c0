"""DNS on UDP and TCP of one port: the world's addresses, names and pointers as real messages."""

import asyncio
import socket
import struct
from functools import lru_cache
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import dns.rrset

from threatwalk.emulator.answers import Answers
from threatwalk.emulator.faults import Fault, Faults
from threatwalk.emulator.log import RequestLog
from threatwalk.errors import SampleError
from threatwalk.sample import Kind, Sample, host, registered_domain

_TTL = 300  # seconds
_UDP_MOST = 1232  # bytes; what public resolvers allow (DNS flag day 2020), whatever the client offers
_REFUSED = frozenset({"401", "403", "404", "429", "throttled", "limit_inside"})
_ARPA = (dns.reversename.ipv4_reverse_domain, dns.reversename.ipv6_reverse_domain)

Records = dict[str, list[str]]  # type of record -> its values as a zone file writes them


def records(asked: Sample, found: list[Sample]) -> Records:
    """The zone of one name or address: which record carries each sample that DNS knows for it.

    Addresses are A and AAAA, names for an address PTR. Of a name's names, `ns1.` and the like are NS (the first
    is the SOA's primary), `mail.` and the like MX, `_spf.` and the like stand in a TXT record of senders. A service's
    (`_sip._tcp.`) others are SRV; one other name of a deeper name is its CNAME, several are MX.
    """
    zone: Records = {}
    if asked.kind in {Kind.IPV4, Kind.IPV6}:
        pointers = [f"{s.value}." for s in found if s.kind in {Kind.DOMAIN, Kind.HOSTNAME}]
        return {"PTR": pointers} if pointers else {}
    others = []
    for s in found:
        label = s.value.partition(".")[0]
        if s.kind is Kind.IPV4:
            zone.setdefault("A", []).append(s.value)
        elif s.kind is Kind.IPV6:
            zone.setdefault("AAAA", []).append(s.value)
        elif s.kind not in {Kind.DOMAIN, Kind.HOSTNAME}:
            continue
        elif label.startswith(("ns", "dns")):
            zone.setdefault("NS", []).append(f"{s.value}.")
        elif label.startswith(("spf", "_spf")):
            zone.setdefault("TXT", []).append(f"include:{s.value}")
        elif asked.value.startswith("_"):
            zone.setdefault("SRV", []).append(f"0 5 5060 {s.value}.")
        elif label.startswith(("mail", "mx", "smtp")):
            zone.setdefault("MX", []).append(f"{10 * len(zone.get('MX', [])) + 10} {s.value}.")
        else:
            others.append(s.value)
    if "TXT" in zone:
        zone["TXT"] = [f'"v=spf1 {" ".join(zone["TXT"])} -all"']
    if len(others) == 1 and asked.kind is Kind.HOSTNAME and not zone.keys() & {"NS", "MX"}:
        zone["CNAME"] = [f"{others[0]}."]
    elif others:
        mx = zone.setdefault("MX", [])
        mx += [f"{10 * (len(mx) + n) + 10} {name}." for n, name in enumerate(others)]
    return zone


class Resolver:
    """Answers DNS messages out of the world; a name that nothing is known of does not exist."""

    def __init__(self, world: Answers, *, log: RequestLog, faults: Faults) -> None:
        self._world = world
        self._log = log
        self._faults = faults

    def reply(self, wire: bytes, *, udp: bool) -> tuple[bytes, float] | None:
        """The reply to one message and how late it comes (s); None: none is sent."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        if not query.question or query.flags & dns.flags.QR:
            return None
        question = query.question[0]
        fault = self._faults.draw("dns")
        response = dns.message.make_response(query, recursion_available=True)
        if fault is None or fault.name == "slow":
            self._fill(response, question)
        kind = dns.rdatatype.to_text(question.rdtype)
        sent = _spoil(response, fault)
        self._log.write("dns", f"{question.name} {kind}", dns.rcode.to_text(response.rcode()), fault)
        if not sent:
            return None
        if fault is not None and fault.name == "garbage":
            return wire[:2] + b"\xff\xff\x00\x01", 0.0
        limit = min(max(query.payload, 512), _UDP_MOST) if udp else 65535
        return _to_wire(response, limit), fault.delay_s if fault is not None else 0.0

    def _fill(self, response: dns.message.Message, question: dns.rrset.RRset) -> None:
        name = question.name
        asked = _asked(name)
        zone = records(asked, [f.sample for f in self._world.answer("dns", asked)]) if asked else {}
        owner = name
        if "CNAME" in zone:
            response.answer.append(dns.rrset.from_text(name, _TTL, "IN", "CNAME", *zone["CNAME"]))
            owner = dns.name.from_text(zone["CNAME"][0])
        kind = dns.rdatatype.to_text(question.rdtype)
        if kind != "CNAME" and zone.get(kind):
            response.answer.append(dns.rrset.from_text(owner, _TTL, "IN", kind, *zone[kind]))
        if kind == "SOA" and zone.get("NS"):
            response.answer.append(_soa(name, zone["NS"][0]))
        if not zone and not (asked and self._world.knows(asked)):
            response.set_rcode(dns.rcode.NXDOMAIN)
        if not response.answer:
            apex = registered_domain(asked.value) if asked and asked.kind is Kind.HOSTNAME else None
            parent = dns.name.from_text(apex) if apex else name
            response.authority.append(_soa(parent, f"a.nic.{str(name).rstrip('.').rpartition('.')[2]}."))


def _asked(name: dns.name.Name) -> Sample | None:
    try:
        if any(name.is_subdomain(zone) for zone in _ARPA):
            return host(dns.reversename.to_address(name))
        return host(name.to_text(omit_final_dot=True))
    except (SampleError, dns.exception.DNSException, ValueError):
        return None


def _soa(owner: dns.name.Name, primary: str) -> dns.rrset.RRset:
    return dns.rrset.from_rdata(owner, _TTL, _soa_data(primary))


@lru_cache(maxsize=1024)
def _soa_data(primary: str) -> dns.rdata.Rdata:
    text = f"{primary} hostmaster.{primary} 2026110100 7200 3600 1209600 {_TTL}"
    return dns.rdata.from_text("IN", "SOA", text)


def _spoil(response: dns.message.Message, fault: Fault | None) -> bool:
    """Sets the return code that a fault asks for; whether anything is sent at all."""
    if fault is None or fault.name in {"slow", "garbage"}:
        return True
    if fault.name in {"reset", "drop"}:
        return False
    if fault.name == "truncated":
        response.flags |= dns.flags.TC
    else:
        response.set_rcode(dns.rcode.REFUSED if fault.name in _REFUSED else dns.rcode.SERVFAIL)
    return True


def _to_wire(response: dns.message.Message, limit: int) -> bytes:
    """The message; where it passes the limit in bytes, empty and marked as truncated (RFC 2181, 9)."""
    try:
        return response.to_wire(max_size=limit)
    except dns.exception.TooBig:
        for section in (response.answer, response.authority, response.additional):
            section.clear()
        response.flags |= dns.flags.TC
        return response.to_wire()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = self._resolver.reply(data, udp=True)
        if reply is not None:
            wire, delay_s = reply
            if delay_s:
                asyncio.get_running_loop().call_later(delay_s, self._transport.sendto, wire, addr)
            else:
                self._transport.sendto(wire, addr)


class Listeners:
    """The two listeners of one port."""

    def __init__(self, udp: asyncio.BaseTransport, tcp: asyncio.Server) -> None:
        self._udp = udp
        self._tcp = tcp
        self.port: int = tcp.sockets[0].getsockname()[1]

    def close(self) -> None:
        self._udp.close()
        self._tcp.close()


async def listen(resolver: Resolver, address: str, port: int) -> Listeners:
    """Binds TCP and UDP to the same port; port 0 takes one that is free for both.

    Raises:
        OSError: no such port is free.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                reply = resolver.reply(await reader.readexactly(length), udp=False)
                if reply is None:
                    break
                wire, delay_s = reply
                await asyncio.sleep(delay_s)
                writer.write(struct.pack("!H", len(wire)) + wire)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client is done, or we are closing
        finally:
            writer.close()

    for attempt in range(20):
        tcp = await asyncio.start_server(serve, address, port, family=socket.AF_INET)
        taken = tcp.sockets[0].getsockname()[1]
        try:
            udp, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Udp(resolver), local_addr=(address, taken)
            )
        except OSError:
            tcp.close()
            if port or attempt == 19:
                raise
            continue
        return Listeners(udp, tcp)
    raise OSError(f"no port of {address} is free for both UDP and TCP")
