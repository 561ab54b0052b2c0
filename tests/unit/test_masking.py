from base64 import b64encode
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest

from threatwalk.errors import UnavailableError
from threatwalk.masking import forms, masked, streamed, unsaid, without_login

KEY = "analyst:s3cret/of-mine+1"


@pytest.mark.parametrize(
    "text",
    [
        f"you said {KEY}",
        "pass=s3cret/of-mine+1",
        "?key=s3cret%2Fof-mine%2B1&x=1",
        '{"you said": "s3cret\\/of-mine+1"}',
        f"Authorization: Basic {b64encode(KEY.encode()).decode()}",
        f"?Authorization=Basic%20{quote(b64encode(KEY.encode()).decode(), safe='')}",
    ],
)
def test_a_key_is_taken_out_in_whatever_dress_it_comes_back(text: str) -> None:
    left = masked(text, forms(KEY))

    assert "[key]" in left
    assert "cret" not in left
    assert b64encode(KEY.encode()).decode()[:20] not in left


def test_a_word_that_is_too_short_to_be_a_secret_stays() -> None:
    assert forms("analyst") == forms(None) == forms("") == ()
    assert "analyst" not in forms(KEY)


def test_an_error_loses_the_key_before_it_is_read() -> None:
    with pytest.raises(UnavailableError, match=r"^it answers \[key\]$"), unsaid(forms("0123456789abcdef")):
        raise UnavailableError("it answers 0123456789abcdef")


def test_a_url_loses_its_login() -> None:
    assert without_login("postgresql://me:it@db/x cannot") == "postgresql://db/x cannot"
    assert without_login("https://x.example/a@b") == "https://x.example/a@b"


async def test_a_key_that_comes_in_two_pieces_is_found() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"you said 01234567", b"89abc", b"def, did you", b"?"):
            yield piece

    whole = b"".join([piece async for piece in streamed(pieces(), forms("0123456789abcdef"))])
    same = b"".join([piece async for piece in streamed(pieces(), ())])

    assert whole == b"you said [key], did you?"
    assert same == b"you said 0123456789abcdef, did you?"
