"""How VirusTotal is asked: in how few requests, what a plan lacks, and what its errors are to us."""

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from tests.unit.sources.scripted import Scripted
from tests.unit.sources.wired import told, wired

from threatwalk.emulator import virustotal as emulated
from threatwalk.emulator.serve import KEY, Generated
from threatwalk.emulator.world import Found, World, make_world
from threatwalk.errors import AnswerError, UnavailableError
from threatwalk.sample import Kind, Sample, parse
from threatwalk.sources.filter import NotKnownError
from threatwalk.sources.response import DeniedError, ThrottledError
from threatwalk.sources.virustotal import filter_

IP = parse("ipv4:198.51.100.7")
FORBIDDEN = '{"error": {"code": "ForbiddenError", "message": "You are not authorized"}}'


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(3, 60)


def known(world: World, *kinds: Kind, least: int = 1, most: int = 10_000) -> list[Sample]:
    return [
        s
        for s in world.graph.samples
        if s.kind in kinds and least <= len(world.answer("virustotal", s)) <= most
    ]


async def found(sample: Sample, session: Scripted) -> set[Sample]:
    assert filter_.ask
    assert filter_.read
    return {pivot.found for pivot in filter_.read(sample, await filter_.ask(sample, session))}


async def test_a_public_key_wastes_one_request_of_a_collection(world: World) -> None:
    session = Scripted(wired(virustotal=emulated.route(Generated(world), KEY, premium=False)), key=KEY)
    asked = known(world, Kind.IPV4)[:6]
    await asyncio.gather(*(found(sample, session) for sample in asked))
    await found(known(world, Kind.SHA256)[0], session)
    await found(known(world, Kind.SHA256)[1], session)

    assert len(session.asked) == (1 + 6) + (1 + 2)
    assert "urls" in session.asked[0].query["relationships"]
    assert all("downloaded_files" not in one.query["relationships"] for one in session.asked[1:7])
    assert {f.sample for f in world.answer("virustotal", asked[0])} == await found(asked[0], session)


async def test_a_premium_key_costs_one_request_a_question(world: World) -> None:
    session = Scripted(wired(virustotal=emulated.route(Generated(world), KEY, descriptors=20)), key=KEY)
    for sample in known(world, Kind.IPV4, least=30)[:3]:
        await found(sample, session)

    assert [one.path.rpartition("/")[0] for one in session.asked] == ["virustotal/api/v3/ip_addresses"] * 3
    assert session.asked[0].headers["x-apikey"] == KEY


async def test_elsewhere_the_pages_are_asked_for_too(world: World) -> None:
    session = Scripted(
        wired(virustotal=emulated.route(Generated(world), KEY, descriptors=20)), key=KEY, public=False
    )
    for sample in [
        known(world, Kind.IPV4, least=50, most=200)[0],
        known(world, Kind.DOMAIN, least=30, most=219)[0],
    ]:
        assert await found(sample, session) == {f.sample for f in world.answer("virustotal", sample)}

    assert len(session.asked) > 4


async def test_pages_are_bounded(world: World) -> None:
    session = Scripted(
        wired(virustotal=emulated.route(Generated(world), KEY, descriptors=20)), key=KEY, public=False
    )
    sample = max(known(world, Kind.IPV4), key=lambda s: len(world.answer("virustotal", s)))
    read = await found(sample, session)

    assert len(world.answer("virustotal", sample)) > 20 + 5 * 40
    assert read < {f.sample for f in world.answer("virustotal", sample)}
    assert len([one for one in session.asked if one.path.endswith("resolutions")]) <= 5


@dataclass
class Told:
    """A world of one answer."""

    asked: Sample
    found: list[Found]

    def answer(self, _: str, sample: Sample) -> list[Found]:
        return self.found if sample == self.asked else []

    def samples(self) -> list[Sample]:
        return [self.asked]

    def knows(self, sample: Sample) -> bool:
        return sample == self.asked


@pytest.mark.parametrize(
    ("asked", "names", "relations"),
    [
        (parse("ipv4:198.51.100.1"), ("www.example.net",), {"historical_ssl_certificates"}),
        (
            parse("domain:a10.com"),
            ("ns1.host.net", "www.host.net"),
            {"historical_ssl_certificates", "historical_whois"},
        ),
        (parse(f"sha256:{'ab' * 32}"), ("c2.example.net",), {"behaviours"}),
    ],
    ids=lambda value: str(value) if isinstance(value, Sample) else "",
)
async def test_elsewhere_what_the_one_request_tells_only_ids_of_is_asked_for(
    asked: Sample, names: tuple[str, ...], relations: set[str]
) -> None:
    day = datetime(2025, 2, 3, tzinfo=UTC)
    known = [Found(parse(f"hostname:{name}"), day, day) for name in names]
    session = Scripted(wired(virustotal=emulated.route(Told(asked, known), KEY)), key=KEY, public=False)

    assert await found(asked, session) == {one.sample for one in known}
    assert {one.path.rpartition("/")[2] for one in session.asked[1:]} == relations


async def test_a_file_and_a_url_are_asked_by_their_own_ids() -> None:
    session = Scripted(told(200, '{"data": {"type": "file"}}'), key=KEY)
    await found(parse(f"md5:{'ab' * 16}"), session)
    await found(parse("url:http://example.org/a?b=c"), session)

    assert [one.path for one in session.asked] == [
        f"virustotal/api/v3/files/{'ab' * 16}",
        "virustotal/api/v3/urls/aHR0cDovL2V4YW1wbGUub3JnL2E_Yj1j",
    ]


@pytest.mark.parametrize(
    ("status", "text", "error"),
    [
        (404, '{"error": {"code": "NotFoundError", "message": "not found"}}', NotKnownError),
        (404, "<html><h1>404</h1></html>", AnswerError),
        (401, '{"error": {"code": "WrongCredentialsError", "message": "Wrong API key"}}', DeniedError),
        (401, '{"error": {"code": "UserNotActiveError", "message": "Not active"}}', DeniedError),
        (403, FORBIDDEN, DeniedError),
        (403, "<html><h1>403</h1></html>", DeniedError),
        (429, '{"error": {"code": "QuotaExceededError", "message": "Quota exceeded"}}', ThrottledError),
        (429, '{"error": "too many"}', ThrottledError),
        (200, '{"error": {"code": "QuotaExceededError", "message": "Quota exceeded"}}', ThrottledError),
        (503, '{"error": {"code": "TransientError", "message": "Retry"}}', UnavailableError),
        (400, '{"error": {"code": "InvalidArgumentError", "message": "No such pattern"}}', UnavailableError),
        (203, '{"data": {}}', UnavailableError),
        (200, "<html></html>", AnswerError),
        (200, '{"data": ', AnswerError),
        (200, '{"data": {}}', AnswerError),
        (200, '{"message": "no healthy upstream"}', AnswerError),
        (200, "[]", AnswerError),
    ],
)
async def test_what_goes_wrong_is_told_apart(status: int, text: str, error: type[Exception]) -> None:
    session = Scripted(told(status, text), key=KEY)

    with pytest.raises(error) as raised:
        await found(IP, session)

    assert type(raised.value) is error or status == 403
    assert KEY not in str(raised.value)


async def test_only_virustotals_own_refusal_is_the_plan() -> None:
    proxy = Scripted(told(403, "<html><h1>403</h1></html>", content_type="text/html"), key=KEY)
    plan = Scripted(told(403, FORBIDDEN), key=KEY)
    for session in (proxy, plan):
        with pytest.raises(DeniedError):
            await found(IP, session)

    assert (len(proxy.asked), len(plan.asked)) == (1, 2)


async def test_a_pause_that_is_asked_for_is_passed_on() -> None:
    body = json.dumps({"error": {"code": "TooManyRequestsError", "message": "Slow down"}})
    session = Scripted(told(429, body, retry_after="30"), key=KEY)

    with pytest.raises(ThrottledError) as raised:
        await found(IP, session)

    assert raised.value.retry_after_s == 30


async def test_without_a_key_nothing_is_asked() -> None:
    session = Scripted(told(200, "{}"), key=None)

    with pytest.raises(DeniedError):
        await found(IP, session)

    assert session.asked == []
