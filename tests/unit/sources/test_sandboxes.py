"""How ThreatCrowd, ThreatExpert and Hybrid Analysis are asked: what is found, what is empty and what failed."""

import json
from dataclasses import dataclass, field
from urllib.parse import urlencode

import pytest

from threatwalk.errors import AnswerError, UnavailableError
from threatwalk.sample import Sample, parse
from threatwalk.sources import hybrid_analysis, threatcrowd, threatexpert
from threatwalk.sources.filter import NotKnownError
from threatwalk.sources.response import DeniedError, Response, ThrottledError, judged
from threatwalk.sources.sandbox import routable

HASH = parse("md5:44d88612fea8a8f36de82e1278abb02f")
SHA256 = parse("sha256:275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f")
IP = parse("ipv4:198.51.100.7")


@dataclass
class Told:
    """A session that answers each question with what was prepared for it, and keeps the questions."""

    answers: dict[str, Response]
    key: str = "key"
    asked: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    def endpoint(self, name: str) -> str:
        return f"http://{name}.example"

    async def request(self, method, url, *, params=None, headers=None, body=None, follow=True):
        query = f"?{urlencode(params)}" if params else f" {body.decode()}" if body else ""
        self.asked.append(url.removeprefix("http://").partition("/")[2] + query)
        self.headers = dict(headers or {})
        return self.answers.get(self.asked[-1], Response(500, ""))

    async def get(self, url, *, params=None, headers=None):
        return judged("told", await self.request("GET", url, params=params, headers=headers))


def json_of(value: object, status: int = 200, **headers: str) -> Response:
    return Response(status, json.dumps(value), headers)


# --- ThreatCrowd


async def ask_threatcrowd(sample: Sample, response: Response) -> str:
    question = {"md5": "file/report/?resource", "ipv4": "ip/report/?ip"}[sample.kind]
    return await threatcrowd.filter_.ask(sample, Told({f"searchApi/v2/{question}={sample.value}": response}))


async def test_threatcrowd_is_known_or_not_by_its_response_code() -> None:
    known = json_of({"response_code": "1", "hashes": []})

    assert await ask_threatcrowd(IP, known) == known.text
    with pytest.raises(NotKnownError) as nothing:
        await ask_threatcrowd(HASH, json_of({"response_code": "0"}))
    assert nothing.value.raw == '{"response_code": "0"}'


@pytest.mark.parametrize(
    "response",
    [Response(404, "<html>"), Response(200, "<html>"), json_of({"response_code": "-1"}), json_of([])],
)
async def test_threatcrowd_is_not_taken_for_empty_where_it_is_gone(response: Response) -> None:
    with pytest.raises(AnswerError):
        await ask_threatcrowd(IP, response)


# --- ThreatExpert

PAGE = "<html><head><title>ThreatExpert Report</title></head><body>{}</body></html>"
NOTHING = PAGE.format('<span id="txtResults"><p>There were no ThreatExpert reports found</p></span>')
REPORT = f"report.aspx?md5={HASH.value}"
FIND = f"find={IP.value}"


def listing(*md5s: str, following: int | None = None) -> Response:
    rows = "".join(
        f'<tr><td>6/8/2013 3:05:55 PM</td><td><a href="report.aspx?md5={md5}">x</a></td></tr>' for md5 in md5s
    )
    link = f'<a href="reports.aspx?page={following}&amp;{FIND}">Next</a>' if following else ""
    return Response(200, PAGE.format(f'<span id="txtResults"><table>{rows}</table>{link}</span>'))


@pytest.mark.parametrize("location", ["/reports.aspx?find=x", "http://threatexpert.example/reports.aspx", ""])
async def test_an_md5_without_report_is_sent_to_the_search(location: str) -> None:
    session = Told({REPORT: Response(302, "moved", {"location": location})})

    with pytest.raises(NotKnownError) as nothing:
        await threatexpert.filter_.ask(HASH, session)
    assert nothing.value.raw == "moved"


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (Response(302, "", {"location": "http://parked.example/"}), AnswerError),
        (Response(302, "", {"location": f"/report.aspx?md5={HASH.value}"}), AnswerError),
        (Response(301, "", {"location": "/reports.aspx"}), UnavailableError),
        (Response(404, NOTHING), AnswerError),
        (Response(200, "<html><title>Domain for sale</title></html>"), AnswerError),
        (Response(200, PAGE.format("")[:60]), AnswerError),
        (Response(429, "", {"retry-after": "9"}), ThrottledError),
        (Response(503, ""), UnavailableError),
    ],
)
async def test_whatever_else_comes_is_no_empty_answer(response: Response, error: type[Exception]) -> None:
    with pytest.raises(error):
        await threatexpert.filter_.ask(HASH, Told({REPORT: response}))


async def test_a_search_is_followed_page_by_page() -> None:
    md5s = [f"{i:032x}" for i in range(3)]
    session = Told(
        {
            f"reports.aspx?{FIND}": listing(md5s[0], following=2),
            f"reports.aspx?page=2&{FIND}": listing(md5s[1], md5s[2]),
        }
    )

    raw = await threatexpert.filter_.ask(IP, session)

    read = list(threatexpert.filter_.read(IP, raw))
    assert [pivot.found.value for pivot in read] == md5s
    assert {str(pivot.first_seen) for pivot in read} == {"2013-06-08 15:05:55+00:00"}
    assert read[0].reference == f"http://www.threatexpert.com/report.aspx?md5={md5s[0]}"


async def test_a_search_ends_somewhere() -> None:
    pages = {f"reports.aspx?page={i}&{FIND}": listing(f"{i:032x}", following=i + 1) for i in range(2, 100)}
    session = Told(pages | {f"reports.aspx?{FIND}": listing("f" * 32, following=2)})

    await threatexpert.filter_.ask(IP, session)

    assert len(session.asked) == 20


async def test_a_search_is_empty_only_in_its_own_words() -> None:
    with pytest.raises(NotKnownError):
        await threatexpert.filter_.ask(IP, Told({f"reports.aspx?{FIND}": Response(200, NOTHING)}))
    with pytest.raises(AnswerError):
        await threatexpert.filter_.ask(IP, Told({f"reports.aspx?{FIND}": Response(200, PAGE.format(""))}))


@pytest.mark.parametrize(
    "doctype",
    [
        pytest.param('<!DOCTYPE report [<!ENTITY x SYSTEM "file:///etc/hostname">]>', id="a file"),
        pytest.param('<!DOCTYPE report [<!ENTITY a "aaaa"><!ENTITY x "&a;&a;&a;">]>', id="inflating"),
        pytest.param("<!---->" * 1000, id="many comments"),
    ],
)
def test_xml_opens_no_file_and_grows_by_no_entity(doctype: str) -> None:
    raw = f"<?xml version='1.0'?>{doctype}<report><host>&x;</host><host>evil.example.com</host></report>"

    try:
        read = [str(pivot.found) for pivot in threatexpert.filter_.read(IP, raw)]
    except AnswerError:
        read = None

    assert read in (["hostname:evil.example.com"], None)


def test_a_page_has_a_size() -> None:
    with pytest.raises(AnswerError, match="characters"):
        list(threatexpert.filter_.read(IP, PAGE.format("x" * 8_000_000)))


def test_nested_markup_of_malware_ends_no_reading() -> None:
    deep = PAGE.format("<ul>" * 5000 + "<li>The following Host Name was requested from a host database:</li>")

    assert list(threatexpert.filter_.read(IP, deep)) == []


# --- Hybrid Analysis

SEARCH = {
    "sha256s": [SHA256.value],
    "reports": [
        {"id": "5e2bdfa5ead45a359b7ef88b", "state": "SUCCESS"},
        {"id": "5e2bdfa5ead45a359b7ef88c", "state": "ERROR"},
        *({"id": f"5e2bdfa5ead45a359b7ef9{i}", "state": "SUCCESS"} for i in range(5)),
    ],
}
OVERVIEW = f"api/v2/overview/{SHA256.value}"
SUMMARY = "api/v2/report/5e2bdfa5ead45a359b7ef88b/summary"
NOT_FOUND = json_of({"message": "Sample not found"}, 404)


def hash_search(sample: Sample) -> str:
    return f"api/v2/search/hash?hash={sample.value}"


async def test_a_hash_costs_five_requests_at_most() -> None:
    summaries = {f"api/v2/report/{one['id']}/summary": NOT_FOUND for one in SEARCH["reports"]}
    run = json_of({"hosts": ["198.51.100.8"]})
    session = Told(
        {
            hash_search(HASH): json_of(SEARCH),
            OVERVIEW: json_of({"last_file_name": "a.exe"}),
            **summaries,
            SUMMARY: run,
        }
    )

    raw = await hybrid_analysis.filter_.ask(HASH, session)

    assert len(session.asked) == 5
    assert session.headers == {"api-key": "key", "User-Agent": "Falcon Sandbox", "Accept": "application/json"}
    assert {str(pivot.found) for pivot in hybrid_analysis.filter_.read(HASH, raw)} == {
        str(SHA256),
        "filename:a.exe",
        "ipv4:198.51.100.8",
    }


async def test_summaries_that_a_search_lists_itself_are_enough() -> None:
    listed = [{"sha256": SHA256.value, "domains": ["example.org"]}]
    session = Told({hash_search(HASH): json_of(listed), OVERVIEW: NOT_FOUND})

    raw = await hybrid_analysis.filter_.ask(HASH, session)

    read = {str(pivot.found) for pivot in hybrid_analysis.filter_.read(HASH, raw)}
    assert read == {str(SHA256), "domain:example.org"}


@pytest.mark.parametrize(
    ("sample", "term"),
    [
        (IP, "host=198.51.100.7"),
        (parse("domain:example.org"), "domain=example.org"),
        (parse("url:http://example.org/a"), "url=http%3A%2F%2Fexample.org%2Fa"),
    ],
)
async def test_a_term_costs_one_request(sample: Sample, term: str) -> None:
    session = Told({f"api/v2/search/terms {term}": json_of({"result": [{"sha256": SHA256.value}]})})

    raw = await hybrid_analysis.filter_.ask(sample, session)

    assert [pivot.found for pivot in hybrid_analysis.filter_.read(sample, raw)] == [SHA256]


@pytest.mark.parametrize(
    "response",
    [
        json_of([]),
        json_of({"sha256s": [], "reports": []}),
        NOT_FOUND,
        json_of({"message": "The hash was not found"}, 404),
    ],
)
async def test_a_hash_is_unknown_in_its_own_words(response: Response) -> None:
    with pytest.raises(NotKnownError):
        await hybrid_analysis.filter_.ask(HASH, Told({hash_search(HASH): response}))


LIMITS = {"limits": {"minute": 200, "hour": 2000}, "used": {"minute": 7, "hour": 2000}, "limit_reached": True}


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (json_of({"message": "No route found"}, 404), AnswerError),
        (Response(404, "<html>"), AnswerError),
        (json_of({"message": "Failed to authenticate api key"}), DeniedError),
        (json_of({"message": "no"}, 403), DeniedError),
        (json_of({"message": "x"}, 429), ThrottledError),
        (
            json_of({"response_code": -1, "response": {"error": "Exceeded maximum API requests"}}),
            ThrottledError,
        ),
        (json_of({"message": "no"}, 403, **{"api-limits": json.dumps(LIMITS)}), ThrottledError),
        (json_of({"message": "no"}, 403, **{"api-limits": "odd"}), DeniedError),
        (json_of({"surprise": 1}), AnswerError),
        (json_of([{}]), AnswerError),
        (json_of([None]), AnswerError),
        (Response(200, '{"sha256s": ['), AnswerError),
        (Response(502, ""), UnavailableError),
    ],
)
async def test_a_failure_is_told_apart(response: Response, error: type[Exception]) -> None:
    with pytest.raises(error):
        await hybrid_analysis.filter_.ask(HASH, Told({hash_search(HASH): response}))


async def test_a_spent_hour_is_waited_for() -> None:
    refused = json_of({"message": "no"}, 429, **{"api-limits": json.dumps(LIMITS)})

    with pytest.raises(ThrottledError) as slower:
        await hybrid_analysis.filter_.ask(HASH, Told({hash_search(HASH): refused}))
    assert slower.value.retry_after_s == 3600


# --- all three


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(
            (f"ipv4:{one}", False)
            for one in ("0.0.0.0", "10.1.2.3", "127.0.0.2", "172.16.30.68", "192.168.1.1")
        ),
        *((f"ipv4:{one}", False) for one in ("169.254.1.1", "224.0.0.252", "255.255.255.255")),
        *((f"ipv6:{one}", False) for one in ("::1", "fe80::1", "fd00::1", "ff02::1")),
        *(("ipv4:198.51.100.7", True), ("ipv4:172.32.0.1", True), ("ipv6:2001:db8::1", True)),
        ("domain:example.org", True),
    ],
)
def test_a_network_that_is_nobodys_is_no_finding(text: str, *, expected: bool) -> None:
    assert routable(parse(text)) is expected
