"""crt.sh: what is asked, what the answer means, and certificates of odd shapes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from threatwalk.errors import AnswerError, UnavailableError
from threatwalk.sample import parse
from threatwalk.sources.crtsh import filter_
from threatwalk.sources.filter import NotKnownError

DOMAIN = parse("domain:example.com")


@dataclass
class Got:
    """A session that answers every GET alike; what was asked is kept."""

    answer: str | Exception
    key: str | None = None
    asked: list[tuple[str, object]] = field(default_factory=list)

    def endpoint(self, name: str) -> str:
        return f"https://{name}.example"

    async def get(self, url: str, *, params: Mapping[str, str], headers: object = None) -> str:
        self.asked.append((url, params))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def read(*certificates: object, sample: str = "domain:example.com") -> set[str]:
    return {str(p.found) for p in filter_.read(parse(sample), json.dumps(certificates))}


@pytest.mark.parametrize(
    ("sample", "pattern"),
    [("domain:example.com", "%.example.com"), ("hostname:www.example.com", "www.example.com")],
)
async def test_a_question_costs_one_search(sample: str, pattern: str) -> None:
    session = Got('[{"name_value": "example.com"}]')
    await filter_.ask(parse(sample), session)

    assert session.asked == [("https://crtsh.example/", {"q": pattern, "output": "json", "deduplicate": "Y"})]


async def test_an_empty_list_is_nothing_known() -> None:
    with pytest.raises(NotKnownError) as told:
        await filter_.ask(DOMAIN, Got("[]"))

    assert told.value.raw == "[]"
    assert read() == set()


@pytest.mark.parametrize(
    "raw",
    [
        *("", "null", "7", '"[]"', "{}", "[{}]", "[[]]", "[null]", '{"error": "x"}', '[{"name_value": "a"}'),
        *("<!DOCTYPE HTML><HTML><BODY>Sorry, something went wrong</BODY></HTML>", "[" * 5000),
    ],
)
async def test_what_is_no_answer_is_refused(raw: str) -> None:
    with pytest.raises(AnswerError):
        await filter_.ask(DOMAIN, Got(raw))
    with pytest.raises(AnswerError):
        list(filter_.read(DOMAIN, raw))


async def test_a_404_says_nothing_and_an_error_goes_through() -> None:
    with pytest.raises(AnswerError):
        await filter_.ask(DOMAIN, Got(NotKnownError("[]")))
    with pytest.raises(UnavailableError):
        await filter_.ask(DOMAIN, Got(UnavailableError("crtsh answered 502")))


def test_every_name_of_a_certificate_is_told_also_those_beside_the_domain() -> None:
    certificate = {
        "common_name": "Example Holdings (Guernsey) Limited",
        "name_value": "*.example.com\nexample.com\nadmin@example.com\nWWW.Example.net\n192.0.2.1\n*.shop.example.org\n",
    }

    assert read(certificate, {"common_name": "mail.example.com", "name_value": "mail.example.com"}) == {
        *(
            "hostname:www.example.net",
            "ipv4:192.0.2.1",
            "hostname:shop.example.org",
            "hostname:mail.example.com",
        )
    }


def test_a_certificate_that_no_watched_log_holds_is_undated() -> None:
    raw = json.dumps(
        [{"name_value": "a.example.com", "entry_timestamp": None, "not_before": "2026-01-01T00:00:00"}]
    )
    (pivot,) = filter_.read(DOMAIN, raw)

    assert (pivot.first_seen, pivot.last_seen) == (None, None)


@pytest.mark.parametrize(
    "odd", [None, 7, True, "", "nonsense", [], [[]], {}, [None], ["a.example.net"], 1e300], ids=repr
)
def test_odd_parts_are_skipped(odd: object) -> None:
    good = {"name_value": "good.example.com", "common_name": odd, "entry_timestamp": odd, "issuer_name": odd}

    assert read(odd, good, {"name_value": odd, "common_name": odd}) == {"hostname:good.example.com"}
