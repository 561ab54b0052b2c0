"""Defender Threat Intelligence: one login for many questions, pages at home only, unknown told from failed."""

import asyncio
import json
from typing import Any

import pytest
from tests.unit.sources.scripted import Request, Scripted

from threatwalk.errors import AnswerError, UnavailableError
from threatwalk.sample import Sample, parse
from threatwalk.sources.filter import NotKnownError
from threatwalk.sources.mdti import filter_
from threatwalk.sources.response import DeniedError, Response, ThrottledError

NAME = parse("domain:example.org")
ADDRESS = parse("ipv4:198.51.100.7")
EMPTY = {"value": [], "id": "of a whois record"}
HOSTS = "https://mdti/v1.0/security/threatIntelligence/hosts"


def said(value: Any, status: int = 200) -> Response:
    return Response(status, json.dumps(value))


def error(code: str, message: str = "", status: int = 404) -> Response:
    return said({"error": {"code": code, "message": message, "innerError": {}}}, status)


class Graph:
    """A login, and one answer to every question about hosts; `valid_s` is how long its tokens last."""

    def __init__(self, answer: Response, *, login: Response | None = None, valid_s: Any = 3599) -> None:
        self.answer = answer
        self.login = login
        self.valid_s = valid_s
        self.tokens = 0

    def __call__(self, request: Request) -> Response:
        if not request.path.startswith("mdti_login/"):
            return self.answer
        self.tokens += 1
        token = {"token_type": "Bearer", "expires_in": self.valid_s, "access_token": f"token-{self.tokens}"}
        return self.login or said(token)


def session(graph: Any, key: str = "tenant:client:secret:with colon") -> Scripted:
    return Scripted(graph, key=key)


async def ask(asked: Sample, scripted: Scripted) -> str:
    assert filter_.ask is not None
    return await filter_.ask(asked, scripted)


async def test_the_login_is_asked_as_oauth_wants_it() -> None:
    scripted = session(Graph(said(EMPTY)))

    await ask(ADDRESS, scripted)

    login = scripted.asked[0]
    assert (login.method, login.path) == ("POST", "mdti_login/tenant/oauth2/v2.0/token")
    assert login.form == {
        "grant_type": "client_credentials",
        "client_id": "client",
        "client_secret": "secret:with colon",
        "scope": "https://graph.microsoft.com/.default",
    }
    assert {asked.headers["Authorization"] for asked in scripted.asked[1:]} == {"Bearer token-1"}


@pytest.mark.parametrize(
    ("asked", "sections"),
    [
        (ADDRESS, ["hostPairs", "passiveDnsReverse", "sslCertificates"]),
        (
            NAME,
            ["hostPairs", "passiveDns", "passiveDnsReverse", "sslCertificates", "subdomains", "whois"],
        ),
    ],
    ids=["an address", "a name"],
)
async def test_each_section_is_asked_once(asked: Sample, sections: list[str]) -> None:
    scripted = session(Graph(said(EMPTY)))

    raw = await ask(asked, scripted)

    assert sorted(json.loads(raw)) == sections
    assert sorted(one.path.rpartition("/")[2] for one in scripted.asked[1:]) == sections


async def test_one_token_serves_all_questions_until_it_expires() -> None:
    lasting, fleeting = Graph(said(EMPTY)), Graph(said(EMPTY), valid_s="60")
    kept = session(lasting)

    await asyncio.gather(*(ask(asked, kept) for asked in (NAME, ADDRESS, NAME)))
    await ask(ADDRESS, session(fleeting))

    assert lasting.tokens == 1
    assert fleeting.tokens == 4  # too short-lived to be kept: one before, one for each section


async def test_a_token_that_graph_refuses_is_replaced_once() -> None:
    graph = Graph(said(EMPTY))

    def answer(request: Request) -> Response:
        stale = request.headers.get("Authorization") == "Bearer token-1"
        return error("InvalidAuthenticationToken", status=401) if stale else graph(request)

    raw = await ask(ADDRESS, session(answer))

    assert graph.tokens == 2
    assert len(json.loads(raw)) == 3


async def test_pages_are_followed_at_home_only() -> None:
    def graph(request: Request) -> Response:
        if "mdti_login" in request.path:
            return said({"access_token": "token", "expires_in": 3599})
        if request.query:
            return said({"value": [{"host": {"id": "b.example.net"}}]})
        more = f"{HOSTS}/198.51.100.7/{request.path.rpartition('/')[2]}?$skip=1"
        return said({"value": [{"host": {"id": "a.example.net"}}], "@odata.nextLink": more})

    raw = await ask(ADDRESS, session(graph))

    assert filter_.read is not None
    assert {str(pivot.found) for pivot in filter_.read(ADDRESS, raw)} == {
        "hostname:a.example.net",
        "hostname:b.example.net",
    }


@pytest.mark.parametrize(
    "link", ["https://mdti.evil.example/v1.0/x", "https://mdti_login/v1.0/x", "http://mdti/v1.0/x"]
)
async def test_a_page_elsewhere_never_sees_our_token(link: str) -> None:
    scripted = session(Graph(said({"value": [], "@odata.nextLink": link})))

    with pytest.raises(AnswerError, match="elsewhere"):
        await ask(ADDRESS, scripted)

    assert all(asked.path.startswith(("mdti/", "mdti_login/tenant/")) for asked in scripted.asked)


async def test_pages_end_even_where_they_never_end() -> None:
    link = f"{HOSTS}/198.51.100.7/hostPairs?$skip=1"
    scripted = session(Graph(said({"value": [], "@odata.nextLink": link})))

    await ask(ADDRESS, scripted)

    assert len(scripted.asked) == 1 + 3 * 5


async def test_a_host_that_is_not_known_is_an_answer() -> None:
    with pytest.raises(NotKnownError):
        await ask(NAME, session(Graph(error("ResourceNotFound", "No such host."))))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error("ResourceNotFound", "Resource not found for the segment 'hosts'."), AnswerError),
        (error("UnknownError"), AnswerError),
        (Response(404, "<html>404</html>"), AnswerError),
        (Response(200, "<html>maintenance</html>"), AnswerError),
        (Response(200, '{"value": ['), AnswerError),
        (said({"error": {"code": "TooManyRequests"}, "value": []}), AnswerError),
        (said({}), AnswerError),
        (error("Forbidden", "not licensed", 403), DeniedError),
        (error("InvalidAuthenticationToken", "", 401), DeniedError),
        (Response(429, "", {"retry-after": "7"}), ThrottledError),
        (error("ServiceUnavailable", "", 503), UnavailableError),
    ],
    ids=[
        *("no such interface", "unknown 404", "a proxy's 404", "a page", "truncated", "error in 200"),
        *("no list", "licence", "token", "throttled", "down"),
    ],
)
async def test_a_failure_is_no_answer(answer: Response, expected: type[Exception]) -> None:
    with pytest.raises(expected):
        await ask(NAME, session(Graph(answer)))


@pytest.mark.parametrize(
    ("login", "expected"),
    [
        (said({"error": "invalid_client", "error_description": "AADSTS7000215"}, 401), DeniedError),
        (said({"error": "unauthorized_client"}, 400), DeniedError),
        (said({"error": "temporarily_unavailable"}, 400), UnavailableError),
        (said({"token_type": "Bearer"}), AnswerError),
        (Response(404, "<html>404</html>"), AnswerError),
        (Response(429, ""), ThrottledError),
        (Response(200, "<html>"), AnswerError),
    ],
    ids=["secret", "application", "busy", "no token", "elsewhere", "throttled", "a page"],
)
async def test_a_login_that_fails_is_no_answer(login: Response, expected: type[Exception]) -> None:
    scripted = session(Graph(said(EMPTY), login=login))

    with pytest.raises(expected):
        await ask(NAME, scripted)

    assert len(scripted.asked) == 1


async def test_a_key_of_two_parts_is_refused_before_anything_is_sent() -> None:
    scripted = session(Graph(said(EMPTY)), key="client:secret")

    with pytest.raises(DeniedError):
        await ask(NAME, scripted)

    assert scripted.asked == []
