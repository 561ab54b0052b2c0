"""The Internet Storm Center: whom it wants to know, and what is no answer."""

import pytest
from tests.unit.sources.replies import Replies

from threatwalk.errors import AnswerError
from threatwalk.sample import parse
from threatwalk.sources.isc import filter_, research
from threatwalk.sources.response import DeniedError, Response, ThrottledError

IP = parse("ipv4:192.0.2.7")
RECORD = '{"ip": {"number": "192.0.2.7", "count": null}}'


def replies(status: int = 200, text: str = RECORD, *, moved: bool = False, **headers: str) -> Replies:
    base = "http://127.0.0.1:9/isc" if moved else "https://isc.sans.edu"
    return Replies("isc", base, Response(status, text, headers), moved=moved)


async def ask(session: Replies, sample: str = str(IP)) -> str:
    assert filter_.ask is not None
    return await filter_.ask(parse(sample), session)  # type: ignore[arg-type]


@pytest.fixture
def contact(monkeypatch):
    monkeypatch.setenv("THREATWALK_CONTACT", "soc@example.org")


@pytest.mark.usefixtures("contact")
async def test_one_request_shows_the_contact():
    session = replies()
    raw = await ask(session)

    ((url, headers),) = session.asked
    assert raw == RECORD
    assert url == "https://isc.sans.edu/api/ip/192.0.2.7?json"
    assert "(contact: soc@example.org)" in headers["User-Agent"]


@pytest.mark.usefixtures("contact")
async def test_an_ipv6_address_stands_in_the_path():
    session = replies(text='{"ip": {"number": "2001:db8::7"}}')
    await ask(session, "ipv6:2001:db8::7")

    assert session.asked[0][0].endswith("/api/ip/2001:db8::7?json")


@pytest.mark.parametrize("value", ["", "nobody"])
async def test_nobody_is_asked_without_a_contact(monkeypatch, value):
    monkeypatch.setenv("THREATWALK_CONTACT", value)
    session = replies()
    with pytest.raises(DeniedError, match="THREATWALK_CONTACT"):
        await ask(session)
    with pytest.raises(DeniedError):
        await research(session)  # type: ignore[arg-type]

    assert session.asked == []


async def test_an_emulator_or_mirror_needs_no_contact():
    session = replies(moved=True)

    assert await ask(session) == RECORD
    assert "@" in session.asked[0][1]["User-Agent"]


@pytest.mark.usefixtures("contact")
@pytest.mark.parametrize(("headers", "pause_s"), [({}, 300), ({"retry-after": "40"}, 40)])
async def test_a_429_is_a_pause_of_five_minutes_unless_it_says_so(headers, pause_s):
    with pytest.raises(ThrottledError) as err:
        await ask(replies(429, "Slow down", **headers))

    assert err.value.retry_after_s == pause_s


@pytest.mark.usefixtures("contact")
async def test_a_throttling_text_inside_a_200_is_one_too():
    with pytest.raises(ThrottledError) as err:
        await ask(replies(text='{"error": "Rate limit exceeded"}'))

    assert err.value.retry_after_s == 300


@pytest.mark.usefixtures("contact")
@pytest.mark.parametrize(
    ("status", "text"),
    [
        (200, '{"error":"bad IP address"}'),
        (200, "<html>"),
        (200, '{"ip": {"number": "192.'),
        (200, "[]"),
        (200, '{"ip": null}'),
        (200, '{"ip": {"number": "192.0.2.8"}}'),
        (404, "<html>"),
        (404, "{}"),
    ],
    ids=["bad address", "a page", "cut", "a list", "no record", "another address", "404", "JSON 404"],
)
async def test_what_is_no_answer_is_no_empty_one(status, text):
    with pytest.raises(AnswerError):
        await ask(replies(status, text))


@pytest.mark.usefixtures("contact")
async def test_researchers_are_asked_for_in_one_request():
    session = replies(text='[{"ipv4": "192.0.2.9", "type": "openscan"}]')
    found = await research(session)  # type: ignore[arg-type]

    assert found == {parse("ipv4:192.0.2.9")}
    assert [url for url, _ in session.asked] == ["https://isc.sans.edu/api/threatcategory/research?json"]
