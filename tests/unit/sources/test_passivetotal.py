"""PassiveTotal: what a question costs, what is asked next, and what an error in a body means."""

import json
from typing import Any

import pytest
from tests.unit.sources.scripted import Scripted, script

from threatwalk.errors import AnswerError
from threatwalk.sample import Sample, parse
from threatwalk.sources.filter import NotKnownError
from threatwalk.sources.passivetotal import filter_
from threatwalk.sources.response import DeniedError, Response, ThrottledError

NAME = parse("domain:example.org")
ADDRESS = parse("ipv4:198.51.100.7")


def said(value: Any, status: int = 200) -> Response:
    return Response(status, json.dumps(value))


def found(*results: Any) -> Response:
    return said({"success": True, "results": results})


SILENT = {
    "/enrichment/subdomains": said({"queryValue": "example.org", "subdomains": []}),
    "/whois": said({"domain": "example.org", "nameServers": []}),
    "": found(),
}


def beside(answers: dict[str, Response]) -> Scripted:
    """These answers; whatever else is asked, there is nothing."""
    return Scripted(script({**answers, **{end: one for end, one in SILENT.items() if end not in answers}}))


async def ask(asked: Sample, session: Scripted) -> str:
    assert filter_.ask is not None
    return await filter_.ask(asked, session)


@pytest.mark.parametrize(("asked", "requests"), [(NAME, 10), (ADDRESS, 7)], ids=["a name", "an address"])
async def test_a_question_costs_a_request_for_each_relation(asked: Sample, requests: int) -> None:
    session = beside({})

    await ask(asked, session)

    assert len(session.asked) == requests
    assert len({(one.path, one.query.get("direction")) for one in session.asked}) == requests


async def test_trackers_certificates_and_the_registrant_lead_on() -> None:
    trackers = [{"attributeType": "GoogleAnalyticsId", "attributeValue": f"UA-{i // 2}"} for i in range(20)]
    answers = {
        "/host-attributes/trackers": found(*trackers),
        "/trackers/search": found({"entity": "twin.example.net"}),
        "/ssl-certificate/history": found({"sha1": "00", "ipAddresses": ["198.51.100.8"]}),
        "/ssl-certificate": found({"subjectCommonName": "named.example.net"}),
        "/whois/search": said({"results": [{"domain": "example.net", "nameServers": []}]}),
        "/whois": said({"domain": "example.org", "nameServers": [], "contactEmail": "a@example.org"}),
    }
    session = beside(answers)

    raws = {asked: await ask(asked, session) for asked in (NAME, ADDRESS)}

    assert filter_.read is not None
    heard = {asked: {str(one.found) for one in filter_.read(asked, raw)} for asked, raw in raws.items()}
    assert heard[NAME] == {"hostname:twin.example.net", "domain:example.net"}
    assert heard[ADDRESS] == {"hostname:twin.example.net", "ipv4:198.51.100.8", "hostname:named.example.net"}
    searched = [one.query["query"] for one in session.asked if one.path.endswith("/trackers/search")]
    assert searched == ["UA-0", "UA-1", "UA-2"] * 2


async def test_a_section_without_an_answer_leaves_the_others() -> None:
    nothing = said({"error": {"http_code": 404, "message": "no results found"}}, 404)

    raw = await ask(NAME, beside({"/whois": nothing}))

    assert "whois" not in json.loads(raw)
    assert "passive" in json.loads(raw)


async def test_nothing_known_at_all_is_an_answer() -> None:
    with pytest.raises(NotKnownError):
        await ask(NAME, Scripted(script({"": said({"message": "No data found"}, 404)})))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Response(404, "<html>404</html>"), AnswerError),
        (said({"error": {"message": "endpoint is unknown"}}, 404), AnswerError),
        (said({"error": {"message": "quota has been exceeded"}}), ThrottledError),
        (said({"error": "Forbidden", "message": "invalid credentials"}), DeniedError),
        (said({"success": False}), AnswerError),
        (said({"found": []}), AnswerError),
        (said({"results": None}), AnswerError),
        (Response(200, "[]"), AnswerError),
        (said({}, 401), DeniedError),
        (said({}, 429), ThrottledError),
    ],
    ids=[
        *(
            "a proxy's 404",
            "no such place",
            "quota in 200",
            "key in 200",
            "no success",
            "another's body",
            "no list",
        ),
        *("no object", "key", "throttled"),
    ],
)
async def test_a_failure_is_no_answer(answer: Response, error: type[Exception]) -> None:
    with pytest.raises(error):
        await ask(ADDRESS, Scripted(script({"": answer})))
