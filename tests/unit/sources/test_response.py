"""What a status means, and how long a source wants to be left alone."""

import pytest

from threatwalk.errors import UnavailableError
from threatwalk.sources.filter import NotKnownError
from threatwalk.sources.response import DeniedError, Response, ThrottledError, judged, retry_after


@pytest.mark.parametrize("status", [200, 203])
def test_a_proper_answer_is_its_body(status: int) -> None:
    assert judged("otx", Response(status, "{}")) == "{}"


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        (404, {}, NotKnownError),
        (401, {}, DeniedError),
        (402, {}, DeniedError),
        (403, {}, DeniedError),
        (429, {}, ThrottledError),
        (503, {"retry-after": "5"}, ThrottledError),
        (503, {}, UnavailableError),
        (500, {}, UnavailableError),
        (204, {}, UnavailableError),
        (302, {}, UnavailableError),
        (418, {}, UnavailableError),
    ],
)
def test_every_other_status_is_an_error_of_ours(status: int, headers: dict[str, str], error: type) -> None:
    with pytest.raises(error) as raised:
        judged("otx", Response(status, "", headers))

    assert type(raised.value) is error


def test_the_wait_is_said_in_seconds() -> None:
    assert retry_after({"retry-after": "90"}) == 90


def test_a_date_counts_from_the_servers_own_clock_however_wrong_it_goes() -> None:
    headers = {"date": "Tue, 05 Jan 1999 10:00:00 GMT", "retry-after": "Tue, 05 Jan 1999 10:05:00 GMT"}

    assert retry_after(headers) == 300


@pytest.mark.parametrize("text", ["", "soon", "-5", "1e9", "٣", "Tue, 99 Jan 1999 10:00:00 GMT"])
def test_nonsense_is_no_wait(text: str) -> None:
    assert retry_after({"retry-after": text}) is None
