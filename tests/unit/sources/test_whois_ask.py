"""How Whois asks: the registry by IANA's list, RDAP through whoisit, port 43 elsewhere; and what each reply means."""

import json
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any

import pytest

from threatwalk.errors import AnswerError, QuotaError, UnavailableError
from threatwalk.gate.guard import GuardError
from threatwalk.sample import Sample, parse
from threatwalk.sources.filter import NotKnownError
from threatwalk.sources.response import Response, ThrottledError, judged
from threatwalk.sources.whois import filter_

COM = parse("domain:example.com")
HOST = parse("hostname:mail.example.com")
IO = parse("domain:example.io")
IP = parse("ipv4:8.8.4.4")

DNS = [
    [["com", "net"], ["http://rdap.example/", "https://rdap.example/com"]],
    [["de"], ["http://rdap.example/"]],
]
IPV4 = [
    [["8.0.0.0/8"], ["https://rdap.example/arin/"]],
    [["8.8.4.0/24"], ["https://rdap.example/near/"]],
    [["9.0.0.0/8"], ["https://rdap.example/nine/"]],
]
FOUND = (
    '{"objectClassName": "domain",  "ldhName":"EXAMPLE.COM","nameservers":[{"ldhName":"NS1.EXAMPLE.NET"}]}'
)
GONE = '{"errorCode": 404, "title": "Not Found"}'
RECORD = "Domain: example.io\r\nName Server: ns1.example.net\r\nRegistrar WHOIS Server: whois.elsewhere.example\r\n"
IANA = "refer:        whois.nic.example\n\ndomain:       IO\n"


@dataclass
class Wire:
    """A session without a network: replies by URL and by (server, question)."""

    replies: dict[str, Any] = field(default_factory=dict)
    texts: dict[tuple[str, str], bytes | Exception] = field(default_factory=dict)
    emulated: bool = False
    key: str | None = None
    memo: dict[str, object] = field(default_factory=dict)
    trusted: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        lists = {"dns": DNS, "ipv4": IPV4}
        for name, services in lists.items():
            self.replies.setdefault(f"https://iana.example/{name}.json", json.dumps({"services": services}))

    def endpoint(self, name: str) -> str:
        return {"rdap": "https://iana.example", "whois": "iana.example:43"}[name]

    def moved(self, name: str) -> bool:
        return self.emulated

    def trust(self, hosts: Any) -> None:
        self.trusted.update(hosts)

    async def get(self, url: str, **options: Any) -> str:
        return judged("whois", await self.request("GET", url, **options))

    async def request(self, method: str, url: str, *, headers: Any = None, **_: Any) -> Response:
        self.asked.append(url)
        assert method == "GET"
        reply = self.replies[url]
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, Response) else Response(200, reply)

    async def tcp(self, endpoint: str, message: bytes, *, framed: bool = False) -> bytes:
        question = message.decode().removesuffix("\r\n")
        self.asked.append(f"{endpoint} {question}")
        reply = self.texts[endpoint, question]
        if isinstance(reply, Exception):
            raise reply
        return reply


def ask(sample: Sample, wire: Wire) -> Awaitable[str]:
    assert filter_.ask is not None
    return filter_.ask(sample, wire)  # type: ignore[arg-type]


def registry(reply: Any) -> Wire:
    return Wire({"https://rdap.example/com/domain/example.com": reply})


def port_43(reply: bytes | Exception) -> Wire:
    return Wire(
        texts={("iana.example:43", "io"): IANA.encode(), ("whois.nic.example:43", "example.io"): reply}
    )


async def test_a_registrys_json_is_kept_as_it_came_and_its_list_is_read_once() -> None:
    wire = registry(FOUND)

    assert [await ask(COM, wire), await ask(HOST, wire)] == [FOUND, FOUND]
    assert wire.asked == [
        "https://iana.example/dns.json",
        *["https://rdap.example/com/domain/example.com"] * 2,
    ]
    assert wire.trusted == {"rdap.example"}


async def test_the_nearest_registry_of_an_address_is_asked() -> None:
    wire = Wire({"https://rdap.example/near/ip/8.8.4.4": '{"objectClassName": "ip network"}'})

    await ask(IP, wire)

    assert wire.asked[-1] == "https://rdap.example/near/ip/8.8.4.4"


@pytest.mark.parametrize("address", ["192.168.1.1", "127.0.0.1", "12.0.0.1"])
async def test_an_address_of_no_registry_is_not_asked_about(address: str) -> None:
    wire = Wire()

    with pytest.raises(NotKnownError):
        await ask(parse(f"ipv4:{address}"), wire)

    assert wire.asked == ["https://iana.example/ipv4.json"]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Response(404, GONE), NotKnownError),
        (Response(404, ""), NotKnownError),
        (Response(404, '{"rdapConformance": ["rdap_level_0"]}'), NotKnownError),
        (GONE, NotKnownError),
        (Response(404, "<html>404 Not Found</html>"), AnswerError),
        (Response(404, '{"message": "no Route matched"}'), AnswerError),
        (Response(404, '{"errorCode": 429}'), ThrottledError),
        ('{"errorCode": 429, "title": "Too Many Requests"}', ThrottledError),
        ('{"errorCode": 500}', AnswerError),
        ('{"errorCode": [1]}', AnswerError),
        (Response(429, ""), ThrottledError),
        (Response(503, "", {"retry-after": "7"}), ThrottledError),
        (Response(503, ""), UnavailableError),
        (Response(500, GONE), UnavailableError),
        (Response(502, "<html>"), UnavailableError),
        (Response(401, ""), UnavailableError),
        (Response(403, "<html>"), UnavailableError),  # one registry, not all
        (Response(422, "{}"), UnavailableError),
        (Response(400, '{"errorCode": 400}'), UnavailableError),
        (Response(302, ""), UnavailableError),
        (FOUND[:-3], AnswerError),
        ("", AnswerError),
        ("<html>maintenance</html>", AnswerError),
        ('{"ok": true}', AnswerError),
        ('["objectClassName"]', AnswerError),
        ("[" * 100_000, AnswerError),
        (UnavailableError("gone"), UnavailableError),
        (QuotaError("spent"), QuotaError),
        (GuardError("not on the list"), GuardError),
    ],
)
async def test_what_a_registrys_reply_means(reply: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as raised:
        await ask(COM, registry(reply))

    assert type(raised.value) is error


async def test_a_throttled_question_says_for_how_long() -> None:
    with pytest.raises(ThrottledError) as raised:
        await ask(COM, registry(Response(429, "{}", {"retry-after": "42"})))

    assert raised.value.retry_after_s == 42


async def test_redirects_pass_our_session_and_end() -> None:
    here, there = "https://rdap.example/com/domain/example.com", "https://rdap.example/net/domain/example.com"
    wire = Wire({here: Response(302, "", {"location": there}), there: FOUND})
    circle = Wire({here: Response(302, "", {"location": here})})

    assert await ask(COM, wire) == FOUND
    assert wire.asked[-2:] == [here, there]
    with pytest.raises(UnavailableError):
        await ask(COM, circle)
    assert len(circle.asked) < 8


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Response(404, "gone"), UnavailableError),
        ('{"services": []}', AnswerError),
        ("[]", AnswerError),
        ("<html>", AnswerError),
        ('{"services": [["com", "https://rdap.example"], 7, [["com"]]]}', AnswerError),
    ],
)
async def test_without_iana_s_list_nothing_is_known(reply: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        await ask(COM, Wire({"https://iana.example/dns.json": reply}))


async def test_sessions_share_no_list() -> None:
    public = registry(FOUND)
    emulated = Wire(
        {
            "https://iana.example/dns.json": json.dumps(
                {"services": [[["com"], ["http://127.0.0.1:8053/"]]]}
            ),
            "http://127.0.0.1:8053/domain/example.com": FOUND,
        },
        emulated=True,
    )

    await ask(COM, public)
    await ask(COM, emulated)
    await ask(COM, public)

    assert public.asked[-1] == "https://rdap.example/com/domain/example.com"
    assert emulated.asked[-1] == "http://127.0.0.1:8053/domain/example.com"


async def test_a_registry_without_rdap_or_without_tls_is_asked_on_port_43() -> None:
    plain = Wire(
        texts={
            ("iana.example:43", "de"): IANA.encode(),
            ("whois.nic.example:43", "-T dn example.de"): b"Domain: example.de\nNserver: ns1.example.net\n",
        }
    )
    wire = port_43(RECORD.encode())

    assert await ask(IO, wire) == RECORD
    assert await ask(IO, wire) == RECORD  # the referral is known by now
    assert wire.asked[1:] == ["iana.example:43 io", *["whois.nic.example:43 example.io"] * 2]
    assert wire.trusted == {"rdap.example", "whois.nic.example"}  # never the registrar's
    assert await ask(parse("domain:example.de"), plain)


async def test_latin_1_is_read() -> None:
    raw = await ask(IO, port_43("Owner: Müller\r\nName Server: ns1.example.net\r\n".encode("latin-1")))

    assert raw == "Owner: Müller\r\nName Server: ns1.example.net\r\n"


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"NOT FOUND\r\n", NotKnownError),
        (b"No match", NotKnownError),
        (b"Domain: example.io\nStatus: free\n", NotKnownError),
        (b"Domain: example.io\nStatus: registered\nsource: REGISTRY\n", NotKnownError),
        (b"Domain: example.io\nStatus: registered\n", UnavailableError),
        (b"Domain: example.io\nStatus: regis", UnavailableError),
        (b"Domain: example.io\nName Server: ns1.example.net\nName Ser", UnavailableError),
        (b"", UnavailableError),
        (b"\r\n \r\n", UnavailableError),
        (b"Please go away for 13 seconds\n", ThrottledError),
        (b"Database unavailable\n", UnavailableError),
        (b"<html>404 Not Found</html>", AnswerError),
        (b"\xff\xfe\x00", AnswerError),
        (UnavailableError("reset"), UnavailableError),
    ],
)
async def test_what_a_text_of_port_43_means(reply: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as raised:
        await ask(IO, port_43(reply))

    assert type(raised.value) is error


async def test_a_zone_without_whois_cannot_be_asked() -> None:
    with pytest.raises(UnavailableError):
        await ask(IO, Wire(texts={("iana.example:43", "io"): b"% This query returned 0 objects\n"}))
