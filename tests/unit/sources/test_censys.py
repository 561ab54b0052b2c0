"""What Censys is asked under each plan, on each wire, and what its refusals mean."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from threatwalk.emulator import censys as platform
from threatwalk.emulator import censys_legacy
from threatwalk.emulator.http import Request, Route
from threatwalk.errors import AnswerError, UnavailableError
from threatwalk.sample import Sample, parse
from threatwalk.sources.censys import filter_
from threatwalk.sources.filter import NotKnownError
from threatwalk.sources.response import DeniedError, Response, ThrottledError

IP, NAME, STRANGE = parse("ipv4:192.0.2.1"), parse("domain:example.com"), parse("domain:example.net")
DAY = datetime(2026, 1, 1, tzinfo=UTC)
PLATFORM, LEGACY = "https://api.platform.censys.io", "https://search.censys.io"


@dataclass(frozen=True)
class Known:
    sample: Sample
    first_seen: datetime | None = DAY
    last_seen: datetime | None = DAY


@dataclass
class World:
    """A world of two: an address with more names than a host lists, and a name on it."""

    known: dict[Sample, list[Known]] = field(
        default_factory=lambda: {
            IP: [Known(NAME), *(Known(parse(f"hostname:n{i}.example.org")) for i in range(249))],
            NAME: [Known(IP), Known(parse("hostname:www.example.com")), Known(parse("domain:beside.org"))],
        }
    )

    def answer(self, source: str, sample: Sample) -> Sequence[Known]:
        assert source == "censys"
        return self.known.get(sample, [])

    def samples(self) -> list[Sample]:
        return list(self.known)

    def knows(self, sample: Sample) -> bool:
        return sample in self.known


@dataclass
class Wire:
    """A session that leads straight to the emulator's routes, or to one answer for every question."""

    key: str | None = "token"
    elsewhere: frozenset[str] = frozenset()
    always: Response | None = None
    memo: dict[str, object] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def endpoint(self, name: str) -> str:
        return {"censys": PLATFORM, "censys_legacy": LEGACY}[name]

    def moved(self, name: str) -> bool:
        return name in self.elsewhere

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None,
        follow: bool = True,
    ) -> Response:  # fmt: skip
        assert not follow
        parts = urlsplit(url)
        self.asked.append(f"{method} {unquote(parts.path)}")
        if self.always is not None:
            return self.always
        lowered = {name.lower(): value for name, value in (headers or {}).items()}
        query = dict(parse_qsl(parts.query))
        reply = self._route(url)(
            Request(method, unquote(parts.path).lstrip("/"), query, lowered, "", body or b"")
        )
        return Response(
            reply.status, reply.body.decode(), {"content-type": reply.media_type, **dict(reply.headers)}
        )

    def _route(self, url: str) -> Route:
        if url.startswith(LEGACY):
            return censys_legacy.route(World(), "token")
        return platform.route(World(), "token")


async def found(wire: Wire, sample: Sample) -> set[Sample]:
    assert filter_.ask is not None
    assert filter_.read is not None
    return {pivot.found for pivot in filter_.read(sample, await filter_.ask(sample, wire))}


def said(sample: Sample) -> set[Sample]:
    return {known.sample for known in World().known[sample]}


class TestFree:
    """Without an organization: one lookup for each question."""

    async def test_an_address_costs_one_lookup(self) -> None:
        wire = Wire("token-free")

        assert len(await found(wire, IP)) == 100  # what a host lists
        assert wire.asked == ["GET /v3/global/asset/host/192.0.2.1"]

    async def test_a_name_is_its_site(self) -> None:
        wire = Wire("token-free")

        assert await found(wire, NAME) == said(NAME)
        assert wire.asked == ["GET /v3/global/asset/webproperty/example.com:443"]

    async def test_a_name_without_a_site_is_no_empty_answer(self) -> None:
        with pytest.raises(UnavailableError, match="may not search"):
            await found(Wire("token-free"), STRANGE)

    async def test_an_address_that_is_not_known_is_one(self) -> None:
        with pytest.raises(NotKnownError):
            await found(Wire("token-free"), parse("ipv4:192.0.2.77"))

    async def test_one_question_is_under_way_at_a_time(self) -> None:
        under_way = []

        class Slow(Wire):
            async def request(self, *rest: Any, **options: Any) -> Response:
                under_way.append(1)
                await asyncio.sleep(0)
                assert len(under_way) == 1
                response = await super().request(*rest, **options)
                under_way.pop()
                return response

        wire = Slow("token-free")
        await asyncio.gather(*(found(wire, IP) for _ in range(3)))


class TestOrganization:
    async def test_it_is_named_and_may_search(self) -> None:
        wire = Wire("8f4c:token")

        assert await found(wire, NAME) == said(NAME)
        assert wire.asked == [
            "GET /v3/global/dns/resolutions/example.com/bounds",
            "POST /v3/global/search/query",
        ]

    async def test_a_long_answer_is_asked_in_three_pages_at_most(self) -> None:
        wire = Wire("8f4c:token")

        assert await found(wire, IP) == said(IP)
        assert len(wire.asked) == 1 + 3

    async def test_what_its_plan_does_not_hold_is_asked_once(self) -> None:
        wire = Wire("8f4c:token-free")

        assert await found(wire, NAME) == said(NAME)
        assert await found(wire, NAME) == said(NAME)
        assert wire.asked == [
            "GET /v3/global/dns/resolutions/example.com/bounds",
            "POST /v3/global/search/query",
            "GET /v3/global/asset/webproperty/example.com:443",
            "GET /v3/global/asset/webproperty/example.com:443",
        ]

    async def test_a_search_that_finds_nothing_is_an_answer(self) -> None:
        assert await found(Wire("8f4c:token"), STRANGE) == set()


async def test_elsewhere_there_are_no_plans() -> None:
    wire = Wire(elsewhere=frozenset({"censys", "censys_legacy"}))

    assert await found(wire, IP) == said(IP)
    assert await found(wire, NAME) == said(NAME)
    assert all("/v3/" in asked for asked in wire.asked)


class TestRetired:
    """Where the old endpoint alone was moved."""

    @pytest.mark.parametrize("key", ["token", "id:token"])
    async def test_it_is_asked_on_its_own_wire(self, key: str) -> None:
        wire = Wire(key, elsewhere=frozenset({"censys_legacy"}))

        assert await found(wire, IP) == said(IP)
        assert await found(wire, NAME) == said(NAME)
        assert wire.asked == [
            "GET /api/v2/hosts/192.0.2.1",
            "GET /api/v2/hosts/192.0.2.1/names",
            "POST /api/v2/hosts/search",
            "POST /api/v2/certificates/search",
        ]

    async def test_what_is_not_known_is_one_answer(self) -> None:
        with pytest.raises(NotKnownError):
            await found(Wire(elsewhere=frozenset({"censys_legacy"})), parse("ipv4:192.0.2.77"))

    async def test_a_name_that_nothing_bears_is_an_answer(self) -> None:
        assert await found(Wire(elsewhere=frozenset({"censys_legacy"})), STRANGE) == set()


def problem(status: int, message: str) -> str:
    return json.dumps(
        {"title": "Problem", "status": status, "detail": "Problem", "errors": [{"message": message}]}
    )


REFUSALS: list[tuple[Response, type[Exception]]] = [
    (Response(401, '{"error": {"code": 401, "status": "Unauthorized"}}'), DeniedError),
    (Response(403, problem(403, "access denied")), DeniedError),
    (Response(422, problem(422, "insufficient balance")), ThrottledError),
    (Response(422, problem(422, "invalid query")), UnavailableError),
    (Response(429, problem(429, "too many"), {"retry-after": "7"}), ThrottledError),
    (Response(429, '{"code": 429, "error": "You have used your full quota"}'), ThrottledError),
    (Response(500, problem(500, "later")), UnavailableError),
    (Response(302, "", {"location": "https://example.org/"}), UnavailableError),
    (Response(404, "<html>404</html>"), AnswerError),
    (Response(404, '{"detail": "no such page"}'), AnswerError),
    (Response(200, ""), AnswerError),
    (Response(200, "[]"), AnswerError),
    (Response(200, '"ok"'), AnswerError),
    (Response(200, "<html>maintenance</html>"), AnswerError),
    (Response(200, '{"result": {"resource": {"ip": "192.0'), AnswerError),
    (Response(200, '{"result": null}'), AnswerError),
    (Response(200, '{"result": {"passive_dns": []}}'), AnswerError),
    (Response(200, '{"error": {"code": 401}}'), DeniedError),
    (Response(200, '{"code": 429, "error": "Too many"}'), ThrottledError),
    (Response(200, '{"error": "Slow down", "status": "error", "error_type": "rate_limit_exceeded"}'), ThrottledError),
    (Response(200, '{"error": "odd"}'), AnswerError),
]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "error"), REFUSALS, ids=lambda one: str(getattr(one, "text", ""))[:30] or None
)
@pytest.mark.parametrize("wire", [frozenset(), frozenset({"censys_legacy"})], ids=["platform", "retired"])
@pytest.mark.parametrize("sample", [IP, NAME], ids=str)
async def test_a_refusal_is_no_answer(
    answer: Response, error: type[Exception], wire: frozenset[str], sample: Sample
) -> None:
    with pytest.raises(error):
        await found(Wire(elsewhere=wire, always=answer), sample)


async def test_a_retry_after_is_told_and_not_waited_for() -> None:
    answer = Response(429, problem(429, "too many"), {"retry-after": "3600"})

    for wire in (frozenset(), frozenset({"censys_legacy"})):
        with pytest.raises(ThrottledError) as caught:
            await found(Wire(elsewhere=wire, always=answer), IP)
        assert caught.value.retry_after_s == 3600


@pytest.mark.parametrize("wire", [frozenset(), frozenset({"censys_legacy"})], ids=["platform", "retired"])
async def test_what_goes_wrong_on_the_way_goes_through(wire: frozenset[str]) -> None:
    class Broken(Wire):
        async def request(self, *_: object, **__: object) -> Response:
            raise UnavailableError("the line is dead")

    with pytest.raises(UnavailableError, match="the line is dead"):
        await found(Broken(elsewhere=wire), IP)


async def test_a_body_that_the_package_refuses_is_kept_as_it_came() -> None:
    body = {
        "result": {"resource": {"ip": "192.0.2.1", "services": 7, "dns": {"names": ["a.example.org", None]}}}
    }
    wire = Wire(always=Response(200, json.dumps(body), {"content-type": "application/json"}))

    assert filter_.ask is not None
    assert json.loads(await filter_.ask(IP, wire)) == {"host": body}
    assert await found(wire, IP) == {parse("hostname:a.example.org")}


async def test_the_environment_names_no_organization(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORGANIZATION_ID", "somebody-elses")
    urls: list[str] = []

    class Noting(Wire):
        async def request(self, method: str, url: str, **rest: object) -> Response:
            urls.append(url)
            return await super().request(method, url, **rest)

    await found(Noting("token-free"), IP)
    await found(Noting("mine:token"), STRANGE)

    assert "organization_id" not in urls[0]
    assert all("organization_id=mine" in url for url in urls[1:])
