"""CIRCL passive DNS is asked in one question, never resolves for us, and its truncation is followed."""

from base64 import b64decode

import pytest
from tests.unit.sources.scripted import Request, Scripted

from threatwalk.errors import AnswerError
from threatwalk.sample import parse
from threatwalk.sources.circl_pdns import filter_
from threatwalk.sources.filter import NotKnownError
from threatwalk.sources.response import DeniedError, Response, ThrottledError

ASKED = parse("domain:example.org")
RECORD = '{"rrtype": "A", "rrname": "example.org", "rdata": "198.51.100.7"}'
SECOND = '{"rrtype": "A", "rrname": "example.org", "rdata": "198.51.100.8"}'
UNKNOWN = "<html><title>404: Not Found</title><body>404: Not Found</body></html>"


async def ask(session: Scripted) -> str:
    assert filter_.ask is not None
    return await filter_.ask(ASKED, session)


async def test_one_question_that_shows_the_key_and_lets_nobody_resolve() -> None:
    session = Scripted(lambda _: Response(200, f"{RECORD}\n"))

    assert await ask(session) == RECORD

    (asked,) = session.asked
    assert asked.path == "circl_pdns/pdns/query/example.org"
    assert b64decode(asked.headers["Authorization"].removeprefix("Basic ")) == b"user:secret"
    assert asked.headers["dribble-disable-active-query"] == "1"


async def test_a_cut_answer_is_followed_page_by_page_with_the_active_resolver_off() -> None:
    def script(request: Request) -> Response:
        cursor = request.headers.get("dribble-paginate-cursor")
        return Response(200, SECOND) if cursor == "7" else Response(200, RECORD, {"x-dribble-cursor": "7"})

    session = Scripted(script)

    assert await ask(session) == f"{RECORD}\n{SECOND}"

    assert all(asked.headers["dribble-disable-active-query"] == "1" for asked in session.asked)


@pytest.mark.parametrize(("public", "pages"), [(True, 5), (False, 100)])
async def test_an_endless_answer_is_not_followed_for_ever(public: bool, pages: int) -> None:
    session = Scripted(lambda _: Response(200, RECORD, {"x-dribble-cursor": "7"}), public=public)

    await ask(session)

    assert len(session.asked) == pages


@pytest.mark.parametrize("response", [Response(404, UNKNOWN), Response(404, ""), Response(200, "\n")])
async def test_nothing_known_is_an_answer(response: Response) -> None:
    with pytest.raises(NotKnownError):
        await ask(Scripted(lambda _: response))


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (Response(404, "<html><h1>404 Not Found</h1><hr>nginx</html>"), AnswerError),
        (Response(200, "<html>maintenance</html>"), AnswerError),
        (Response(200, RECORD[:-9]), AnswerError),
        (Response(200, "", {"x-dribble-errors": '{"err_msg": "overload"}'}), AnswerError),
        (Response(401, ""), DeniedError),
        (Response(429, ""), ThrottledError),
    ],
    ids=["a proxy's 404", "a page", "truncated", "an error beside an empty body", "key", "throttled"],
)
async def test_a_failure_is_no_answer(response: Response, error: type[Exception]) -> None:
    with pytest.raises(error):
        await ask(Scripted(lambda _: response))


@pytest.mark.parametrize("key", [None, "", "user:"])
async def test_without_both_parts_of_a_key_nothing_is_sent(key: str | None) -> None:
    session = Scripted(lambda _: Response(200, RECORD), key=key)

    with pytest.raises(DeniedError):
        await ask(session)

    assert session.asked == []
