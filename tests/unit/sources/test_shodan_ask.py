"""How Shodan is asked: with and without a key or a plan, in how few requests, and what its errors are to us."""

import json

import pytest
from tests.unit.sources.scripted import Request, Scripted
from tests.unit.sources.wired import told, wired

from threatwalk.emulator import shodan as emulated
from threatwalk.emulator.serve import KEY, Generated
from threatwalk.emulator.world import World, make_world
from threatwalk.errors import AnswerError, UnavailableError
from threatwalk.sample import Kind, Sample, parse
from threatwalk.sources.filter import NotKnownError
from threatwalk.sources.response import DeniedError, Response, ThrottledError
from threatwalk.sources.shodan import filter_

IP = parse("ipv4:198.51.100.7")
DOMAIN = parse("domain:example.org")
NAMES = (Kind.DOMAIN, Kind.HOSTNAME)


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(3, 60)


def known(world: World, kind: Kind, *found: Kind) -> Sample:
    """A sample of a kind of which Shodan knows some of those kinds."""
    return next(
        s
        for s in world.graph.samples
        if s.kind is kind and set(found) <= {f.sample.kind for f in world.answer("shodan", s)}
    )


def said(world: World, sample: Sample, *kinds: Kind) -> set[Sample]:
    return {f.sample for f in world.answer("shodan", sample) if not kinds or f.sample.kind in kinds}


def session(world: World, *, key: str | None = KEY, public: bool = True, **plan: object) -> Scripted:
    answers = Generated(world)
    script = wired(
        shodan=emulated.route(answers, KEY, **plan),  # type: ignore[arg-type]
        internetdb=emulated.internetdb(answers),
    )
    return Scripted(script, key=key, public=public)


def paths(asked: Scripted) -> list[str]:
    return [request.path.partition("/")[2] for request in asked.asked]


async def found(sample: Sample, asked: Scripted) -> set[Sample]:
    assert filter_.ask
    assert filter_.read
    return {pivot.found for pivot in filter_.read(sample, await filter_.ask(sample, asked))}


async def test_an_address_costs_no_credit(world: World) -> None:
    sample, asked = known(world, Kind.IPV4, Kind.IPV4, Kind.HOSTNAME), session(world)

    assert await found(sample, asked) == said(world, sample, *NAMES)
    assert paths(asked) == [f"shodan/host/{sample.value}", "dns/reverse"]


async def test_a_domain_costs_one_credit_and_a_host_name_none(world: World) -> None:
    sample, asked = known(world, Kind.DOMAIN, Kind.HOSTNAME), session(world)

    assert await found(sample, asked) == said(world, sample)
    assert paths(asked) == [f"dns/domain/{sample.value}"]
    with pytest.raises(NotKnownError):
        await found(parse("hostname:www.example.org"), asked)
    assert paths(asked)[1:] == ["dns/resolve"]


async def test_elsewhere_searches_find_who_shares_a_certificate_or_a_page(world: World) -> None:
    samples = [s for s in world.graph.samples if s.kind is Kind.IPV4 and said(world, s, Kind.IPV4)][:10]
    asked = session(world, public=False)
    for sample in samples:
        assert await found(sample, asked) == said(world, sample)
    queries = {
        request.query["query"].partition(":")[0] for request in asked.asked if "query" in request.query
    }

    assert queries == {"ssl.cert.fingerprint", "http.html_hash"}


async def test_elsewhere_searches_and_domains_are_read_page_by_page(world: World) -> None:
    asked = session(world, public=False, page_size=2)
    for kind in (Kind.IPV4, Kind.DOMAIN):
        sample = next(
            s for s in world.graph.samples if s.kind is kind and 4 < len(world.answer("shodan", s)) < 10
        )
        assert await found(sample, asked) == said(world, sample)

    assert {request.query.get("page") for request in asked.asked} >= {"1", "2", "3"}


async def test_an_unknown_address_that_dns_points_back_from_is_known() -> None:
    def script(request: Request) -> Response:
        if request.path.endswith("/dns/reverse"):
            return Response(200, json.dumps({IP.value: ["www.example.org"]}))
        return Response(404, '{"error": "No information available for that IP."}')

    assert await found(IP, Scripted(script, key=KEY)) == {parse("hostname:www.example.org")}


async def test_without_a_key_internetdb_answers_about_addresses_and_nobody_about_names(world: World) -> None:
    sample, asked = known(world, Kind.IPV4, Kind.HOSTNAME), session(world, key=None)

    assert await found(sample, asked) == said(world, sample, *NAMES)
    with pytest.raises(NotKnownError):
        await found(IP, asked)
    with pytest.raises(UnavailableError, match="THREATWALK_KEY_SHODAN"):
        await found(DOMAIN, asked)
    assert [request.path for request in asked.asked] == [
        f"internetdb/{sample.value}",
        f"internetdb/{IP.value}",
    ]
    assert all("key" not in request.query for request in asked.asked)


async def test_a_key_without_membership_leaves_addresses_to_internetdb_and_resolves_names(
    world: World,
) -> None:
    asked = session(world, member=False)
    sample, domain = known(world, Kind.IPV4, Kind.HOSTNAME), known(world, Kind.DOMAIN, Kind.IPV4)

    assert await found(sample, asked) == said(world, sample, *NAMES)
    assert await found(sample, asked) == said(world, sample, *NAMES)
    assert await found(domain, asked) <= said(world, domain, Kind.IPV4)
    assert await found(domain, asked)
    # each refusal costs one request in a run
    assert [request.path for request in asked.asked] == [
        f"shodan/shodan/host/{sample.value}",
        f"internetdb/{sample.value}",
        f"internetdb/{sample.value}",
        f"shodan/dns/domain/{domain.value}",
        "shodan/dns/resolve",
        "shodan/dns/resolve",
    ]


@pytest.mark.parametrize(
    ("status", "text", "error"),
    [
        (404, '{"error": "No information available for that IP."}', NotKnownError),
        (404, "<html><h1>404</h1></html>", AnswerError),
        (404, '{"error": "Not found"}', AnswerError),
        (401, "<html><h1>401 Unauthorized</h1></html>", DeniedError),
        (401, '{"error": "Invalid API key"}', DeniedError),
        (200, '{"error": "Invalid API key"}', DeniedError),
        (403, "<html><h1>403</h1></html>", DeniedError),
        (429, '{"error": "Request rate limit reached (1 request/ second)."}', ThrottledError),
        (200, '{"error": "Request rate limit reached (1 request/ second)."}', ThrottledError),
        (502, "<html></html>", UnavailableError),
        (200, '{"error": "Invalid IP"}', AnswerError),
        (200, "<html></html>", AnswerError),
        (200, '{"data": [', AnswerError),
        (200, '{"message": "no healthy upstream"}', AnswerError),
        (200, "{}", AnswerError),
    ],
)
async def test_what_goes_wrong_is_told_apart(status: int, text: str, error: type[Exception]) -> None:
    reverse = '{"198.51.100.7": null}'

    def script(request: Request) -> Response:
        return Response(200, reverse) if request.path.endswith("reverse") else Response(status, text)

    with pytest.raises(error) as raised:
        await found(IP, Scripted(script, key="a-secret-key"))

    assert type(raised.value) is error
    assert "a-secret-key" not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "text", "error"),
    [
        (404, '{"detail": "No information available"}', NotKnownError),
        (404, "<html><h1>404</h1></html>", AnswerError),
        (429, '{"error": "Rate limit exceeded."}', ThrottledError),
        (200, '{"message": "no healthy upstream"}', AnswerError),
    ],
)
async def test_what_goes_wrong_at_internetdb_is_told_apart(
    status: int, text: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await found(IP, Scripted(told(status, text), key=None))


@pytest.mark.parametrize("text", ['{"message": "no healthy upstream"}', '{"198.51.100.8": null}', "[]"])
async def test_pointers_of_something_else_are_no_answer(text: str) -> None:
    def script(request: Request) -> Response:
        host = '{"error": "No information available for that IP."}'
        return Response(200, text) if request.path.endswith("reverse") else Response(404, host)

    with pytest.raises(AnswerError):
        await found(IP, Scripted(script, key=KEY))


async def test_credits_that_are_spent_leave_the_resolution() -> None:
    def script(request: Request) -> Response:
        if request.path.endswith("/dns/resolve"):
            return Response(200, '{"example.org": "198.51.100.9"}')
        return Response(401, '{"error": "Insufficient query credits, please upgrade your API plan"}')

    assert await found(DOMAIN, Scripted(script, key=KEY)) == {parse("ipv4:198.51.100.9")}
