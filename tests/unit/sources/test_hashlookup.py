"""hashlookup: what is an empty answer, and what is none."""

import pytest
from tests.unit.sources.replies import Replies

from threatwalk.errors import AnswerError, UnavailableError
from threatwalk.sample import parse
from threatwalk.sources.filter import NotKnownError
from threatwalk.sources.hashlookup import filter_
from threatwalk.sources.response import Response, ThrottledError

MD5 = parse("md5:" + "a1" * 16)
UNKNOWN = '{"message": "Non existing MD5", "query": "A1A1"}'


async def ask(status: int, text: str, **headers: str) -> tuple[str, Replies]:
    session = Replies("hashlookup", "https://hashlookup.circl.lu", Response(status, text, headers))
    assert filter_.ask is not None
    return await filter_.ask(MD5, session), session  # type: ignore[arg-type]


async def test_one_request_asks_for_the_hash_in_upper_case():
    raw, session = await ask(200, '{"MD5": "%s"}' % ("A1" * 16))

    assert raw.startswith('{"MD5"')
    assert [url for url, _ in session.asked] == ["https://hashlookup.circl.lu/lookup/md5/" + "A1" * 16]


@pytest.mark.parametrize("status", [404, 200])
async def test_an_unknown_file_is_an_empty_answer(status):
    with pytest.raises(NotKnownError) as err:
        await ask(status, UNKNOWN)

    assert err.value.raw == UNKNOWN


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (404, "<html><body>404</body></html>"),
        (404, '{"message": "The requested URL was not found"}'),
        (404, "{}"),
        (200, "<html>"),
        (200, '{"MD5": "A1'),
        (200, "[]"),
        (200, "{}"),
        (200, '{"message": "Too many requests"}'),
        (200, '{"MD5": "%s"}' % ("B2" * 16)),
    ],
    ids=["a proxy", "a path", "nothing", "a page", "cut", "a list", "empty", "a message", "another file"],
)
async def test_what_is_no_answer_is_no_empty_one(status, text):
    with pytest.raises(AnswerError):
        await ask(status, text)


async def test_errors_of_the_session_pass():
    with pytest.raises(ThrottledError) as err:
        await ask(429, "", **{"retry-after": "60"})
    assert err.value.retry_after_s == 60
    with pytest.raises(UnavailableError):
        await ask(400, '{"message": "MD5 value incorrect"}')
